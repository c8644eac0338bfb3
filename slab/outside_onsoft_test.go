package slab

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// withBudget sets a budget of some bytes more than are committed now, so that OnSoft is called soon. It returns
// the number of calls.
func withBudget(t *testing.T, soft, hard int64, onSoft func()) (calls *int) {
	t.Helper()
	calls = new(int)
	b := guard.Budget{Soft: guard.Committed() + soft, OnSoft: func(int64) {
		*calls++
		onSoft()
	}}
	if hard > 0 {
		b.Hard = guard.Committed() + hard
	}
	if _, err := guard.SetBudget(b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := guard.SetBudget(guard.Budget{}); err != nil {
			t.Error(err)
		}
	})
	return calls
}

// patience is how long a test waits for what must happen: long enough for a busy machine and builds that check
// invariants, because it passes only where something is wrong.
const patience = 2 * time.Minute

// ends fails the test if f does not end: it waits for itself then.
func ends(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		f()
	}()
	select {
	case v := <-done:
		if v != nil {
			t.Fatalf("%s: panic: %v", what, v)
		}
	case <-time.After(patience):
		fmt.Fprintf(os.Stderr, "--- FAIL: %s: %s hangs\n", t.Name(), what)
		os.Exit(1) // Close would hang, too
	}
}

// TestOutsideOnSoftUsesTheHeap has OnSoft do all that can be done with the heap which commits.
func TestOutsideOnSoftUsesTheHeap(t *testing.T) {
	sizes := map[string]int{"small": 1000, "slabs": 60_000, "large": 2 << 20}
	for mode, c := range map[string]Config{"heap": {}, "hardened": {Hardened: true}} {
		for name, size := range sizes {
			t.Run(mode+", "+name, func(t *testing.T) {
				h := open(t, c)
				l := h.Local()
				var spare [][]byte
				for range 40 {
					spare = append(spare, h.Alloc(size, 8))
				}
				inside := func() {
					for range 2 {
						h.Free(spare[0])
						l.Free(spare[1])
						spare = spare[2:]
					}
					h.Free(h.Alloc(size, 8))
					l.Free(l.Alloc(size, 8))
					if err := h.Purge(); err != nil {
						t.Error(err)
					}
					if s := h.Stats(); s.Live == 0 {
						t.Errorf("%+v", s)
					}
					for range 10 { // more than a magazine's half, so that stock finds it full
						h.FreeN([][]byte{h.Alloc(size, 8), h.Alloc(size, 8)})
					}
				}
				calls := withBudget(t, 1, 0, inside)
				ends(t, "Alloc", func() {
					for range 200 {
						spare = append(spare, h.Alloc(size, 8))
					}
				})
				if *calls == 0 {
					t.Fatalf("OnSoft was called %d times", *calls)
				}
				guard.SetBudget(guard.Budget{})
				calls = withBudget(t, 1, 0, inside)
				ends(t, "Local.Alloc", func() {
					for range 400 {
						spare = append(spare, l.Alloc(size, 8))
					}
				})
				if *calls == 0 {
					t.Fatalf("OnSoft was called %d times", *calls)
				}
				for _, b := range spare {
					h.Free(b)
				}
				if err := errors.Join(l.Close(), h.Purge()); err != nil {
					t.Fatal(err)
				}
				h.check()
				if s := h.Stats(); s.Live != 0 || s.Cached != 0 || h.account.Bytes() != 0 {
					t.Errorf("something leaks: %+v", s)
				}
			})
		}
	}
}

// TestOutsideOnSoftFillsTheMagazine has OnSoft fill the magazine that the caller is about to fill.
func TestOutsideOnSoftFillsTheMagazine(t *testing.T) {
	for name, alloc := range map[string]func(h *Heap) (get func() []byte, free func([]byte)){
		"Heap": func(h *Heap) (func() []byte, func([]byte)) { return func() []byte { return h.Alloc(64, 8) }, h.Free },
		"Local": func(h *Heap) (func() []byte, func([]byte)) {
			l := h.Local()
			return func() []byte { return l.Alloc(64, 8) }, l.Free
		},
	} {
		h := open(t, Config{})
		get, free := alloc(h)
		var inside, all [][]byte
		for range 200 {
			inside = append(inside, get())
		}
		calls := withBudget(t, 1, 0, func() {
			for _, b := range inside { // the magazine is full then
				free(b)
			}
		})
		ends(t, name, func() {
			for *calls == 0 {
				all = append(all, get())
			}
		})
		for _, b := range all {
			free(b)
		}
		s := h.Stats()
		k := s.Classes[0]
		if slots := k.Slabs * 1024; k.Live != 0 || k.Cached+k.Free != slots {
			t.Errorf("%s: %d slots, %d are live, %d cached and %d free: some are lost", name, slots, k.Live, k.Cached, k.Free)
		}
		guard.SetBudget(guard.Budget{})
	}
}

// TestOutsideOnSoftMakesRoom has OnSoft free what the hard limit leaves no room for.
func TestOutsideOnSoftMakesRoom(t *testing.T) {
	for mode, c := range map[string]Config{"heap": {}, "hardened": {Hardened: true}} {
		for name, size := range map[string]int{"small": 1000, "large": 2 << 20} {
			t.Run(mode+", "+name, func(t *testing.T) {
				h := open(t, c)
				h.Free(h.Alloc(size, 8)) // metadata are there
				var kept [][]byte
				calls := withBudget(t, 15<<20, 15<<20, func() {
					for _, b := range kept {
						h.Free(b)
					}
					kept = nil
				})
				ends(t, "Alloc", func() {
					for made := 0; made < 64<<20; made += size {
						b, err := h.TryAlloc(size, 8)
						if err != nil {
							t.Errorf("after %d bytes, and OnSoft was called %d times: %v", made, *calls, err)
							return
						}
						kept = append(kept, b)
					}
				})
				if *calls == 0 {
					t.Error("OnSoft was not called")
				}
			})
		}
	}
}

// TestOutsideOnSoftInPool uses a pool in OnSoft, where its slots or its generations are committed.
func TestOutsideOnSoftInPool(t *testing.T) {
	for mode, c := range map[string]Config{"pool": {}, "hardened": {Hardened: true}} {
		for soft := int64(0); soft < 40; soft += 3 {
			p, err := OpenPool[int64](c)
			if err != nil {
				t.Fatal(err)
			}
			all := []*int64{p.Get(), p.Get()}
			calls := withBudget(t, 1+soft*16<<10, 0, func() {
				p.Put(all[0])
				all = all[1:]
				all = append(all, p.Get())
				if n := p.Len(); n < len(all) {
					t.Errorf("%d objects, %d are known", n, len(all))
				}
				if err := p.Purge(); err != nil {
					t.Error(err)
				}
			})
			ends(t, mode, func() {
				for range 40_000 {
					all = append(all, p.Get())
				}
			})
			if n := p.Len(); n != len(all) {
				t.Errorf("%s, %d: OnSoft was called %d times, %d of %d objects", mode, soft, *calls, n, len(all))
			}
			guard.SetBudget(guard.Budget{})
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOutsideOnSoftPanics has OnSoft panic wherever it is called: nothing is lost.
func TestOutsideOnSoftPanics(t *testing.T) {
	for mode, c := range map[string]Config{"heap": {}, "hardened": {Hardened: true}} {
		for soft := int64(0); soft < 30; soft += 6 {
			h := open(t, c)
			l := h.Local()
			p := openClosable(t, c)
			calls := withBudget(t, 1+soft*64<<10, 0, func() { panic("OnSoft") })
			var live [][]byte
			got := 0
			try := func(f func() []byte) {
				defer func() {
					if v := recover(); v != nil && v != "OnSoft" {
						t.Fatal(v)
					}
				}()
				if b := f(); b != nil {
					live = append(live, b)
				}
			}
			for i := range 40 {
				try(func() []byte { return h.Alloc(30_000, 8) })
				try(func() []byte { return l.Alloc(300, 8) })
				try(func() []byte { return h.Alloc(100_000, 1<<17) })
				try(func() []byte {
					p.Get()
					got++
					return nil
				})
				if i%10 == 0 {
					try(func() []byte { return h.Alloc(2<<20+1, 8) })
				}
				b := live[len(live)-1]
				if n := len(b); n > 2<<20 && n < 20<<20 { // it grows, and is as it was if OnSoft panics
					b[0] = byte(i) | 1
					try(func() []byte {
						grown := h.Realloc(b, len(b)+4<<20)
						live = live[:len(live)-1]
						return grown
					})
					if now := live[len(live)-1]; now[0] != byte(i)|1 {
						t.Fatal("contents are lost")
					}
				}
			}
			if *calls == 0 {
				t.Fatalf("%s, %d: OnSoft was called %d times", mode, soft, *calls)
			}
			if n := p.Len(); n != got {
				t.Errorf("%s, %d: %d objects were got, %d are live", mode, soft, got, n)
			}
			for _, b := range live {
				h.Free(b)
			}
			if err := errors.Join(l.Close(), h.Purge()); err != nil {
				t.Fatal(err)
			}
			h.check()
			if s := h.Stats(); s.Live != 0 || s.Cached != 0 || s.Waste != 0 || h.account.Bytes() != 0 || h.region.Committed() != 0 {
				t.Errorf("%s, %d: something leaks: %+v", mode, soft, s)
			}
			guard.SetBudget(guard.Budget{})
			if err := errors.Join(h.Close(), p.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOutsideOnSoftClosesDuringRealloc closes the heap from the OnSoft that is called for a large object, which grows in
// its place or moves.
func TestOutsideOnSoftClosesDuringRealloc(t *testing.T) {
	for _, size := range []int{3 << 20, 30 << 20} {
		h := open(t, Config{})
		b := h.Realloc(h.Alloc(2<<20, 1), 2<<20+1) // so that it can grow to 4 MiB in its place
		calls := withBudget(t, 4096, 0, func() { _ = h.Close() })
		v, _ := panicOf(func() { h.Realloc(b, size) }).(*guard.Violation)
		if *calls == 0 || v == nil || v.Kind != guard.UseAfterClose {
			t.Errorf("Realloc to %d bytes, OnSoft closed the heap %d times: %v", size, *calls, v)
		}
		guard.SetBudget(guard.Budget{})
	}
}
