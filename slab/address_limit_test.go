//go:build linux && !race

package slab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// TestAddressLimit opens heaps and pools in processes that may have few addresses: there is one as
// long as it can be, and Go has something left.
func TestAddressLimit(t *testing.T) {
	const mark = "OFFHEAP_TEST_ADDRESS_LIMIT"
	if os.Getenv(mark) == "" {
		for _, mib := range []int{3000, 4000, 10_000, 70_000, 100_000} {
			c := exec.Command("sh", "-c", fmt.Sprintf("ulimit -v %d; exec \"$0\" -test.run='^TestAddressLimit$'", mib<<10), os.Args[0])
			c.Env = append(os.Environ(), mark+"=1")
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%d MiB: %v\n%.500s", mib, err, out)
			}
		}
		return
	}
	for _, mode := range []Config{{}, {Hardened: true}} {
		h, err := Open(mode)
		if err != nil {
			t.Fatal(err)
		}
		h.Free(h.Alloc(100, 8))
		h.Free(h.Alloc(2<<20, 8))
		_ = make([]byte, 100<<20)
		p, err := OpenPool[int](mode) // of what the heap has left
		if err != nil {
			t.Fatal(err)
		}
		p.Put(p.Get())
		if err := errors.Join(p.Close(), h.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
