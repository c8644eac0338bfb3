package sampled

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// TestMostLive allocates more objects than may be live, and one more after one was freed.
func TestMostLive(t *testing.T) {
	defer func(old int) { mostLive = old }(mostLive)
	mostLive = 10
	const owner = 1
	defer Close(owner)
	for i := range mostLive + 3 {
		if _, ok := Alloc(owner, "test", 100, 16); ok != (i < mostLive) {
			t.Errorf("object %d is made: %v, want %v", i, ok, i < mostLive)
		}
	}
	for p := range Objects(owner) {
		if _, _, ok := Free(owner, p); !ok {
			t.Fatalf("%p is not freed", p)
		}
		break
	}
	for i, want := range []bool{true, false} {
		if _, ok := Alloc(owner, "test", 100, 16); ok != want {
			t.Errorf("after one was freed, object %d is made: %v, want %v", i, ok, want)
		}
	}
	if n, bytes, _ := Live(owner); n != mostLive || bytes != n*100 {
		t.Errorf("%d objects of %d bytes are live, want %d of 100 each", n, bytes, mostLive)
	}
}

// TestMostKept puts objects into every slot, on both sides: only a few slots keep memory committed.
func TestMostKept(t *testing.T) {
	defer func(old int) { mostKept = old }(mostKept)
	defer opened.Store(opened.Load())
	opened.Store(nil)
	mostKept = 3
	for range 20 * Slots() {
		free(t, alice, alloc(t, alice, 100, 16))
	}
	if got, want := opened.Load().region.Committed(), int64(2*mostKept*region.PageSize()); got != want {
		t.Errorf("%d bytes stay committed, want %d", got, want)
	}
}

// TestFewerSlots makes the kernel refuse the addresses for all slots: then there are half as many.
func TestFewerSlots(t *testing.T) {
	defer opened.Store(opened.Load())
	opened.Store(nil)
	alloctest.FlushQuarantine() // else the quarantine gives way, and the reservation is tried again
	stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
	_, ok := Alloc(1, "test", 100, 16)
	stop()
	if s := opened.Load(); !ok || s == nil || len(s.all) < Slots()/2 || len(s.all) >= Slots() {
		t.Errorf("made: %v, by %+v", ok, s)
	}
	Close(1)
}

// TestOutsideFewAddresses bounds the addresses of the process: slots take as many as DefaultReserve says, and none where it
// fails.
func TestOutsideFewAddresses(t *testing.T) {
	defer func(old func(int) (int, error)) { defaultReserve = old }(defaultReserve)
	for _, left := range []int{Slots() * int(stride), 100 * int(stride), 0} {
		defer opened.Store(opened.Load())
		opened.Store(nil)
		asked := 0
		defaultReserve = func(want int) (int, error) {
			if asked = want; left == 0 {
				return 0, guard.ErrNoMemory
			}
			return left, nil
		}
		_, ok := Alloc(1, "test", 100, 16)
		if asked != Slots()*int(stride) {
			t.Errorf("%d bytes of addresses were asked for", asked)
		}
		if s := opened.Load(); ok != (left > 0) || ok && len(s.all) != left/int(stride) {
			t.Errorf("of %d bytes of addresses: made: %v", left, ok)
		}
		Close(1)
	}
}
