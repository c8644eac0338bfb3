//go:build !race

package arena

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// underLimit is a shell command that limits the address space of the process that a test runs in.
const underLimit = "ulimit -v 4194304 || { echo '--- SKIP: the system does not limit addresses'; exit 0; };"

// TestOutsideAddressLimit opens arenas of default size under RLIMIT_AS. Each takes at most a quarter of the
// addresses that are free, and Go's heap has room to grow at the end.
func TestOutsideAddressLimit(t *testing.T) {
	if !child(t, underLimit) {
		return
	}
	if vm.FreeAddresses() == vm.Unlimited {
		t.Skip("the system does not limit addresses")
	}
	const slack = 4 << 20 // guards, and Go itself
	fits := func(what string, before uint64, reserved int64) {
		t.Helper()
		if uint64(reserved) > before/4+slack {
			t.Errorf("%s reserves %d bytes of %d that are free", what, reserved, before)
		}
	}
	for range 3 {
		before := vm.FreeAddresses()
		a, err := Open(Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		fits("Open", before, a.Stats().Reserved)
	}
	before := vm.FreeAddresses()
	k, err := OpenConcurrent(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	fits("OpenConcurrent", before, k.Stats().Reserved)
	before = vm.FreeAddresses()
	p, err := OpenPool(Config{}) // opens the first
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 2 {
		a, err := p.TryGet()
		if err != nil {
			t.Fatal(err)
		}
		defer p.Put(a)
		fits("Get", before, a.Stats().Reserved)
		*New[uint64](a) = 1
		before = vm.FreeAddresses()
	}
	var heap [][]byte
	for range 300 {
		heap = append(heap, make([]byte, 1<<20)) // ends the process if it fails
	}
	runtime.KeepAlive(heap)
	for n := 0; ; n++ {
		a, err := Open(Config{})
		if err == nil && n < 100 {
			defer a.Close()
			continue
		}
		if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "RLIMIT_AS") {
			t.Errorf("after %d more arenas: %v", n, err)
		}
		return
	}
}

// TestOutsideAddressLimitAndLimit: the error of a Limit that does not fit into a default reservation says so.
func TestOutsideAddressLimitAndLimit(t *testing.T) {
	if !child(t, underLimit) {
		return
	}
	if vm.FreeAddresses() == vm.Unlimited {
		t.Skip("the system does not limit addresses")
	}
	for name, open := range map[string]func(c Config) error{
		"Open":           func(c Config) error { a, err := Open(c); return closed(a, err) },
		"OpenConcurrent": func(c Config) error { k, err := OpenConcurrent(c); return closed(k, err) },
		"OpenPool":       func(c Config) error { p, err := OpenPool(c); return closed(p, err) },
	} {
		if err := open(Config{Limit: 2<<30 - 1}); !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "Limit 2147483647 does not fit into a default reservation") {
			t.Errorf("%s with a Limit of 2 GiB: %v", name, err)
		}
		if err := open(Config{Limit: 100 << 20}); err != nil {
			t.Errorf("%s with a Limit of 100 MiB: %v", name, err)
		}
		if err := open(Config{Reserve: 1 << 30, Limit: 1 << 30}); err != nil {
			t.Errorf("%s with a Reserve of 1 GiB, which is what the caller wants: %v", name, err)
		}
	}
}

func closed(x interface{ Close() error }, err error) error {
	if err != nil {
		return err
	}
	return x.Close()
}
