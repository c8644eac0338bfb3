package arena

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

func TestConfig(t *testing.T) {
	nothingLeft(t)
	for _, c := range []struct {
		config   Config
		noMemory bool
	}{
		{Config{Reserve: -1}, false}, {Config{Limit: -1}, false}, {Config{Retain: -1}, false},
		{Config{Reserve: 1 << 20, Limit: 1<<20 + 1}, false},
		{Config{Reserve: math.MaxInt}, true}, {Config{Limit: math.MaxInt}, true}, {Config{Reserve: math.MaxInt/2 + 1, Limit: 1}, true},
	} {
		calls := vm.Inject(vm.Mmap, 0, nil)
		a, err := Open(c.config)
		_, errIn := OpenConcurrent(c.config)
		_, errPool := OpenPool(c.config)
		n := calls()
		for _, err := range []error{err, errIn, errPool} {
			if err == nil || errors.Is(err, guard.ErrNoMemory) != c.noMemory {
				t.Errorf("%+v: %v, %v", c.config, a, err)
			}
		}
		if n > 0 && !c.noMemory {
			t.Errorf("%+v: something was mapped before it was looked at", c.config)
		}
	}
}

func TestDefaults(t *testing.T) {
	a := opened(t, Config{})
	if a.config.Name != "arena" || a.config.Retain != 1<<20 || a.config.Limit != a.config.Reserve {
		t.Errorf("%+v", a.config)
	}
	if as := vm.Probe().AddressSpace; as == vm.Unlimited && a.config.Reserve != defaultReserve {
		t.Errorf("%d bytes are reserved, want %d", a.config.Reserve, defaultReserve)
	}
	for r := range guard.Regions() {
		if r.Name == "arena" && r.Committed != 0 {
			t.Errorf("a fresh arena has %d bytes committed", r.Committed)
		}
	}
	b := opened(t, Config{Name: "odd", Reserve: 1})
	if b.config.Reserve != maxAlign {
		t.Errorf("Reserve 1 became %d", b.config.Reserve)
	}
	if err := panicOf(func() { b.Alloc(maxAlign, 8) }); !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), `arena: "odd": 2097152 bytes more than the 0 in use exceed its Reserve of 2097152`) {
		t.Error(err)
	}
}

// TestSmallerReservation: if the system refuses the default reservation it is halved, but not below Limit.
func TestSmallerReservation(t *testing.T) {
	// Without addresses in quarantine, for guard would give those back first.
	alloctest.SetQuarantine(t, 0)
	nothingLeft(t)
	stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
	a, err := Open(Config{})
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if a.config.Reserve != defaultReserve/2 || a.config.Limit != defaultReserve/2 {
		t.Errorf("Reserve %d and Limit %d, want half of %d", a.config.Reserve, a.config.Limit, defaultReserve)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{Reserve: 4 << 20}, {Limit: defaultReserve}} {
		stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
		_, err := Open(c)
		stop()
		if !errors.Is(err, guard.ErrNoMemory) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
