package stack

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsideAddressLimit opens pools under a limit of addresses. Default pools leave three quarters of the
// free addresses to others, and have a least size.
func TestOutsideAddressLimit(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the test knows how much is free on Linux only")
	}
	if !stacktest.InOwnProcessAfter(t, "ulimit -v 3000000") {
		return
	}
	alloctest.GrowGoHeap()
	const few = 16 << 20
	var pools []*Pool
	for {
		free := vm.FreeAddresses()
		p, err := OpenPool(Config{})
		if err != nil {
			if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "RLIMIT_AS") {
				t.Error(err)
			}
			break
		}
		pools = append(pools, p)
		s := p.Stats()
		if s.Reserved < few || uint64(s.Reserved) > free/4+4<<20 {
			t.Errorf("pool %d takes %d bytes of %d that are free", len(pools), s.Reserved, free)
		}
		if size := s.Reserved - int64(p.config.Max*(p.config.Size+p.config.Guard)); size < 0 || size > few {
			t.Errorf("pool %d has room for %d stacks in %d bytes", len(pools), p.config.Max, s.Reserved)
		}
		p.Put(get(t, p))
		if len(pools) > 100 {
			t.Fatal("a hundred pools were opened")
		}
	}
	t.Logf("%d pools, %d bytes left", len(pools), vm.FreeAddresses())
	if free := vm.FreeAddresses(); free < 2*few || len(pools) < 3 {
		t.Errorf("%d pools leave %d bytes free", len(pools), free)
	}
	// A pool with Config.Max gets as many stacks as it asks for.
	p, err := OpenPool(Config{Max: 100})
	stacktest.NoError(t, err)
	pools = append(pools, p)
	for range 100 {
		get(t, p)
	}
	for s := range p.inUse() {
		p.Put(s)
	}
	for _, p := range pools {
		stacktest.NoError(t, p.Close())
	}
	guard.SetQuarantine(0)
	// A quarter of the addresses has no room for one stack of the largest size.
	if _, err := OpenPool(Config{Size: 1 << 30}); !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "Config.Max") {
		t.Errorf("one stack that is too large: %v", err)
	}
}
