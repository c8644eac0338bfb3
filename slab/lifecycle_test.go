package slab

import (
	"cmp"
	"errors"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestUseAfterCloseAndPause uses a heap after Close, when it is time to give free memory back.
func TestUseAfterCloseAndPause(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	for _, mode := range []Config{{}, {Hardened: true}} {
		for name, use := range map[string]func(h *Heap, l *Local){
			"Alloc":       func(h *Heap, l *Local) { h.Alloc(1000, 8) },
			"Local.Alloc": func(h *Heap, l *Local) { l.Alloc(1000, 8) },
			"AllocN":      func(h *Heap, l *Local) { h.AllocN(make([][]byte, 2), 1000, 8) },
			"Realloc":     func(h *Heap, l *Local) { h.Realloc(nil, 1000) },
		} {
			h := open(t, mode)
			l := h.Local()
			for _, b := range allocMany(h, 1000, 1000) {
				h.Free(b)
			}
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			now += decayAfter
			if v := violationOf(t, func() { use(h, l) }); v == nil || v.Kind != guard.UseAfterClose || v.Detail != "" {
				t.Errorf("%+v, %s: %v", mode, name, v)
			}
		}
	}
}

// TestUseOfAClosedLocal checks that a Local whose slots went back gets no new ones.
func TestUseOfAClosedLocal(t *testing.T) {
	for _, mode := range []Config{{}, {Hardened: true}} {
		h := open(t, mode)
		small, large := h.Alloc(100, 8), h.Alloc(2<<20, 8)
		l := h.Local()
		l.Free(l.Alloc(100, 8))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for name, use := range map[string]func(){
			"AllocDirty":     func() { l.AllocDirty(100, 8) },
			"Alloc":          func() { l.Alloc(100, 8) },
			"Alloc of large": func() { l.Alloc(2<<20, 8) },
			"Free":           func() { l.Free(small) },
			"Free of large":  func() { l.Free(large) },
		} {
			if v := violationOf(t, use); v == nil || v.Kind != guard.UseAfterClose || v.Detail != "the Local is closed" {
				t.Errorf("%+v, %s: %v", mode, name, v)
			}
		}
		l.Free(nil)
		h.Free(small)
		h.Free(large)
		if s := h.Stats(); s.Live != 0 {
			t.Errorf("%+v: %+v", mode, s)
		}
	}
}

// TestLocalClosesOnce has two goroutines close a Local at the same moment: one succeeds.
func TestLocalClosesOnce(t *testing.T) {
	h := open(t, Config{})
	for range 200 {
		l := h.Local()
		for _, b := range allocMany(h, 500, 100) {
			l.Free(b)
		}
		errs := make(chan error)
		for range 2 {
			go func() { errs <- l.Close() }()
		}
		if one, other := <-errs, <-errs; (one == nil) == (other == nil) || !errors.Is(cmp.Or(one, other), guard.ErrClosed) {
			t.Fatalf("%v, and %v", one, other)
		}
	}
	if s := h.Stats(); s.Live != 0 {
		t.Errorf("%+v", s)
	}
}

// TestLocalGivesWayToItself lets a Local fill the limit with what it has cached, again and again.
func TestLocalGivesWayToItself(t *testing.T) {
	h := open(t, Config{Limit: 1 << 20})
	l := h.Local()
	for _, size := range append(sizesOfAllClasses(), 1<<20) {
		if size+unit > 1<<20 {
			size = 500_000
		}
		b, err := l.TryAlloc(size, 8)
		if err != nil {
			t.Fatalf("nothing is live: %v", err)
		}
		l.Free(b)
	}
	for range 1 << 20 / (64 << 10) {
		l.Free(l.Alloc(64<<10, 8))
	}
}

// TestPauseKeepsTheQuarantine frees, and waits: freed objects stay in quarantine.
func TestPauseKeepsTheQuarantine(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	h := open(t, Config{Hardened: true})
	all := allocMany(h, 1000, 2000)
	for size := 600; size < 3000; size += 150 { // so that there is enough to stop the world for
		allocMany(h, 300, size)
	}
	if h.drainGain() < minDrainGain {
		t.Fatal("the test is wrong")
	}
	freed := map[uintptr]bool{}
	for i := range 20 {
		h.Free(all[i*50])
		freed[address(all[i*50])] = true
	}
	for range 2000 {
		now += decayAfter
		if b := h.Alloc(2000, 8); freed[address(b)] {
			t.Fatal("a slot was handed out again, and none was freed since")
		}
	}
}

// TestUsageWhileALocalCloses calls guard.Usage in OnSoft, while another goroutine closes a Local and waits for
// the depot of the goroutine that commits.
func TestUsageWhileALocalCloses(t *testing.T) {
	h := open(t, Config{})
	l := h.Local()
	l.Free(l.Alloc(1000, 8))
	closed, told := make(chan error, 1), make(chan int64, 1)
	b := guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) {
		go func() { closed <- l.Close() }()
		for range 50 { // until it waits, with the heap's lock if it had it
			if time.Sleep(50 * time.Microsecond); !h.mu.TryLock() {
				break
			}
			h.mu.Unlock()
		}
		go func() { told <- guard.Usage().Live }()
		select {
		case live := <-told:
			told <- live
		case <-time.After(patience):
			t.Error("Usage waits for Close, and Close for what OnSoft is told of")
		}
	}}
	if _, err := guard.SetBudget(b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := guard.SetBudget(guard.Budget{}); err != nil {
			t.Error(err)
		}
	})
	allocMany(h, 2000, 1000)
	select {
	case <-told:
	default:
		t.Fatal("nobody asked")
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if s := h.Stats(); s.Live != 2000*1024 {
		t.Errorf("%+v", s)
	}
}

// TestShiftingSizesFillTheReserve fills a heap with objects of one size after another: what was freed in one size is
// there for the next.
func TestShiftingSizesFillTheReserve(t *testing.T) {
	for _, hard := range []bool{false, true} {
		h := open(t, Config{Reserve: 2 << 20, Hardened: hard})
		for _, size := range []int{8, 24, 50, 120, 250, 500, 1000, 4000, 10_000, 30_000, 8} {
			var all [][]byte
			for {
				b, err := h.TryAlloc(size, 1)
				if err != nil {
					if !errors.Is(err, guard.ErrNoMemory) {
						t.Fatal(err)
					}
					break
				}
				all = append(all, b)
			}
			if len(all)*size < 400<<10 {
				t.Errorf("hardened %v: %d objects of %d bytes fill the heap", hard, len(all), size)
			}
			h.FreeN(all)
			if err := h.Purge(); err != nil {
				t.Fatal(err)
			}
			h.check()
		}
	}
}
