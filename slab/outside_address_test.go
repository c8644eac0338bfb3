//go:build linux && !race

package slab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// limited runs a test of this binary by itself in a process with few addresses, and tells whether it
// is that process. The output of others is returned.
func limited(t *testing.T, test string, mib int) (out string, inside bool) {
	t.Helper()
	const mark = "OFFHEAP_TEST_FEW_ADDRESSES"
	if os.Getenv(mark) != "" {
		return "", true
	}
	c := exec.Command("sh", "-c", fmt.Sprintf("ulimit -v %d || exit 77; exec \"$0\" -test.v -test.run='^%s$'", mib<<10, test), os.Args[0])
	c.Env = append(os.Environ(), mark+"=1")
	b, err := c.CombinedOutput()
	switch {
	case c.ProcessState != nil && c.ProcessState.ExitCode() == 77:
		t.Skip("the system refuses ulimit -v")
	case err != nil:
		t.Errorf("%d MiB: %v\n%.2000s", mib, err, b)
	}
	return string(b), false
}

// TestOutsideAddressesAreShared opens heaps and pools in a process that may have 4 GiB of addresses:
// each leaves three quarters of the addresses that it finds.
func TestOutsideAddressesAreShared(t *testing.T) {
	if _, inside := limited(t, "TestOutsideAddressesAreShared", 4096); !inside {
		return
	}
	alloctest.GrowGoHeap()
	type pair [2]uint64
	for _, step := range []struct {
		what string
		open func() (any, error)
	}{
		{"a heap", func() (any, error) { return Open(Config{}) }},
		{"a hardened heap", func() (any, error) { return Open(Config{Hardened: true}) }},
		{"a pool", func() (any, error) { return OpenPool[pair](Config{}) }},
		{"a hardened pool", func() (any, error) { return OpenPool[pair](Config{Hardened: true}) }},
	} {
		before := vm.FreeAddresses()
		opened, err := step.open()
		if err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		defer func() { // it is alive up to here
			if err := opened.(interface{ Close() error }).Close(); err != nil {
				t.Error(err)
			}
		}()
		after := vm.FreeAddresses()
		took := before - after
		t.Logf("%s took %d of %d MiB", step.what, took>>20, before>>20)
		const forGo = 8 << 20 // the Go heap may have grown, too
		if took > before/4+forGo {
			t.Errorf("%s took %d of %d bytes of addresses, more than a quarter", step.what, took, before)
		}
		if took < before/5 {
			t.Errorf("%s took %d of %d bytes of addresses, it could have more", step.what, took, before)
		}
	}
	b := make([]byte, 500<<20)
	b[len(b)-1] = 1
}

// TestOutsideAddressesAreTooFew opens a heap where nearly no addresses are free.
func TestOutsideAddressesAreTooFew(t *testing.T) {
	if _, inside := limited(t, "TestOutsideAddressesAreTooFew", 4096); !inside {
		return
	}
	alloctest.GrowGoHeap()
	free := int(vm.FreeAddresses())
	all, err := guard.Reserve(guard.Config{Size: free - 50<<20})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{})
	if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "RLIMIT_AS") || !strings.Contains(err.Error(), `slab: open "heap"`) {
		t.Errorf("with 50 MiB of addresses: %v", err)
	}
	_, err = OpenPool[int](Config{})
	if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "RLIMIT_AS") {
		t.Errorf("with 50 MiB of addresses, a pool: %v", err)
	}
	h, err := Open(Config{Reserve: 8 << 20}) // that is not the default
	if err != nil {
		t.Fatalf("a Reserve that fits: %v", err)
	}
	if err := errors.Join(h.Close(), all.Close()); err != nil {
		t.Error(err)
	}
}
