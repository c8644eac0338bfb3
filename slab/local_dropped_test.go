package slab

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/guard/guardtest"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// leaks collects the leaks of Locals that the test itself opened, until it ends. A report of a Local that an
// earlier test dropped may come late.
func leaks(t *testing.T) chan guard.Info {
	reports := make(chan guard.Info, 20_000)
	name, _, _ := strings.Cut(t.Name(), "/")
	opener := regexp.MustCompile(`\bslab\.` + name + `\b`)
	guard.SetOnLeak(func(in guard.Info) {
		if strings.HasSuffix(in.Name, ": Local") && opener.MatchString(in.Opened) {
			reports <- in
		}
	})
	t.Cleanup(func() { guard.SetOnLeak(nil) })
	return reports
}

// nextLeak collects garbage until something is reported.
func nextLeak(t *testing.T, reports chan guard.Info) (in guard.Info) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.GC() {
		select {
		case in = <-reports:
			return in
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatal("no report of a Local that was dropped")
	return in
}

// TestLeaksOfOtherTests has a late report of another test come in.
func TestLeaksOfOtherTests(t *testing.T) {
	reports := leaks(t)
	report := guard.CurrentOnLeak()
	const test = "github.com/seed-9a6c551e/offheap/slab.TestLeaksOfOtherTests"
	report(guard.Info{Name: "heap: Local", Leaked: true, Opened: test + "Too\n\tx.go:1\ntesting.tRunner\n"})
	report(guard.Info{Name: "mine: Local", Leaked: true, Opened: test + ".func1\n\tx.go:1\ntesting.tRunner\n"})
	if in := nextLeak(t, reports); in.Name != "mine: Local" || len(reports) > 0 {
		t.Errorf("%+v, and %d more", in, len(reports))
	}
}

// openLocals is how many Locals the heap knows.
func openLocals(h *Heap) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.locals)
}

//go:noinline
func dropLocal(h *Heap, use func(l *Local)) { use(h.Local()) }

func goHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestOutsideIdleLocalIsSmall weighs Locals that nobody has used.
func TestOutsideIdleLocalIsSmall(t *testing.T) {
	h := open(t, Config{})
	const n = 1000
	all := make([]*Local, n)
	before := goHeap()
	for i := range all {
		all[i] = h.Local()
	}
	if each := int(goHeap()-before) / n; each >= 5<<10 {
		t.Errorf("an idle Local takes %d bytes of the Go heap", each)
	}
	for _, l := range all {
		l.Free(l.Alloc(100, 8))
	}
	if each := int(goHeap()-before) / n; each >= 5<<10 {
		t.Errorf("a Local with one object cached takes %d bytes of the Go heap", each)
	}
	for _, l := range all {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOutsideLocalGrows has a Local cache more and more, up to what a magazine holds.
func TestOutsideLocalGrows(t *testing.T) {
	h := open(t, Config{})
	l := h.Local()
	for _, size := range append(sizesOfAllClasses(), 1<<20) {
		k := &sizeclass.Table[sizeclass.Of(uint(size))]
		seen := map[uintptr]bool{}
		var all [][]byte
		for range 3 * int(k.MaxCached) {
			b := l.Alloc(size, 8)
			if seen[address(b)] || zero(b) != nil {
				t.Fatalf("%d bytes: handed out twice, or %v", size, zero(b))
			}
			seen[address(b)] = true
			fill(b, 1)
			all = append(all, b)
		}
		for _, b := range all {
			l.Free(b)
		}
		m := l.cache.magazine(sizeclass.Of(uint(size)))
		if got := uint32(m.room); got != k.MaxCached || m.len() > got {
			t.Errorf("%d bytes: the magazine holds %d slots, has room for %d, want %d", size, m.len(), got, k.MaxCached)
		}
	}
	if s := h.Stats(); s.Live != 0 {
		t.Errorf("%+v", s)
	}
	h.check()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestOutsideDroppedLocal drops a Local without Close: that is reported, its free slots go back to the
// heap, and its objects stay.
func TestOutsideDroppedLocal(t *testing.T) {
	for _, c := range []Config{{Name: "orders"}, {Name: "orders", Hardened: true}} {
		t.Run(fmt.Sprintf("hardened %v", c.Hardened), func(t *testing.T) {
			h := open(t, c)
			reports := leaks(t)
			var kept []held
			dropLocal(h, func(l *Local) {
				var free [][]byte
				for i := range 300 {
					b := l.Alloc(100, 8)
					if i%3 == 0 {
						fill(b, byte(i))
						kept = append(kept, held{b: b, seed: byte(i)})
					} else {
						free = append(free, b)
					}
				}
				for _, b := range free {
					l.Free(b)
				}
			})
			in := nextLeak(t, reports)
			if in.Name != "orders: Local" || in.Size != 0 || !in.Leaked || !strings.Contains(in.Opened, "slab.dropLocal") {
				t.Errorf("report %+v", in)
			}
			if strings.HasPrefix(in.Opened, "github.com/seed-9a6c551e/offheap/slab.(*Heap).Local\n") {
				t.Errorf("it was opened at\n%s", in.Opened)
			}
			if n := openLocals(h); n != 0 {
				t.Errorf("the heap knows %d Locals", n)
			}
			if err := h.Purge(); err != nil {
				t.Fatal(err)
			}
			s := h.Stats()
			if s.Cached != 0 || s.Live != int64(len(kept)*112) {
				t.Errorf("%d objects are live: %+v", len(kept), s)
			}
			for _, o := range kept {
				if err := o.verify(); err != nil {
					t.Fatal(err)
				}
				h.Free(o.b)
			}
			h.check()
		})
	}
}

// TestOutsideDroppedLocalsAreForgotten drops many, twice: the first time the heap's table of Locals grows, which stays.
func TestOutsideDroppedLocalsAreForgotten(t *testing.T) {
	h := open(t, Config{})
	reports := leaks(t)
	const n = 2000
	drop := func() {
		for range n {
			dropLocal(h, func(l *Local) { l.Free(l.Alloc(100, 8)) })
		}
		for range n {
			nextLeak(t, reports)
		}
		if n := openLocals(h); n != 0 {
			t.Errorf("the heap knows %d Locals", n)
		}
	}
	drop()
	before := goHeap()
	drop()
	left := int(goHeap()) - int(before)
	for range 100 { // a finalized object is collected by a later collection
		if left <= n*100 {
			break
		}
		time.Sleep(time.Millisecond)
		left = int(goHeap()) - int(before)
	}
	if left > n*100 {
		t.Errorf("%d dropped Locals keep %d bytes of the Go heap", n, left)
	}
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Cached != 0 || s.Free != 0 || s.Live != 0 {
		t.Errorf("%+v", s)
	}
	h.check()
}

// TestOutsideDroppedLocalIsNotEarly collects garbage in the middle of the last call of a Local, which alone
// keeps it.
func TestOutsideDroppedLocalIsNotEarly(t *testing.T) {
	for name, use := range map[string]func(h *Heap){
		"Alloc":       func(h *Heap) { h.Local().Alloc(1000, 8) },
		"AllocDirty":  func(h *Heap) { h.Local().AllocDirty(1000, 8) },
		"large Alloc": func(h *Heap) { h.Local().Alloc(2<<20, 8) },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, Config{})
			reports := leaks(t)
			called := false
			setBudget(t, guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) {
				called = true
				for range 3 {
					runtime.GC()
					time.Sleep(5 * time.Millisecond)
				}
				if len(reports) > 0 {
					t.Error("the Local is taken for dropped while it allocates")
				}
			}})
			use(h)
			if !called {
				t.Fatal("OnSoft was not called")
			}
			nextLeak(t, reports)
		})
	}
}

// TestOutsideDroppedLocalFreedTwice drops a Local with a slot that was freed twice at the same moment: the
// next Purge, or slow path, says so.
func TestOutsideDroppedLocalFreedTwice(t *testing.T) {
	for name, raises := range map[string]func(h *Heap){
		"Purge": func(h *Heap) { h.Purge() },
		"Alloc": func(h *Heap) { h.Alloc(900_000, 8) },
		"Free":  func(h *Heap) { h.Free(h.Alloc(30_000, 8)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, Config{})
			reports := leaks(t)
			dropLocal(h, func(l *Local) {
				b := l.Alloc(100, 8)
				freeTwice(h, b, l.Free, l.Free)
			})
			nextLeak(t, reports)
			expectFreedTwice(t, func() { raises(h) })
			if err := h.Purge(); err != nil {
				t.Error(err)
			}
			h.check()
		})
	}
}

// TestOutsideDroppedLocalOfAClosedHeap drops Locals of heaps that are closed, before and at the same moment.
func TestOutsideDroppedLocalOfAClosedHeap(t *testing.T) {
	reports := leaks(t)
	h := open(t, Config{Reserve: minReserve})
	l := h.Local()
	l.Free(l.Alloc(100, 8))
	h.dropped.mu.Lock() // as a cleanup does
	closed := make(chan error)
	go func() { closed <- h.Close() }()
	select {
	case <-closed:
		t.Fatal("Close does not wait for a cleanup that uses the heap")
	case <-time.After(10 * time.Millisecond):
	}
	h.dropped.mu.Unlock()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if l.drop(); len(reports) > 0 {
		t.Errorf("a Local of a closed heap is a leak: %+v", <-reports)
	}
	for range rounds(100) {
		h := open(t, Config{Reserve: minReserve})
		for range 20 {
			dropLocal(h, func(l *Local) { l.Free(l.Alloc(100, 8)) })
		}
		go runtime.GC()
		runtime.Gosched()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if n := openLocals(h); n != 0 {
			t.Fatalf("the closed heap knows %d Locals", n)
		}
	}
}

// TestOutsideCheckLeaksSeesLocals opens Locals in tests.
func TestOutsideCheckLeaksSeesLocals(t *testing.T) {
	reports := leaks(t)
	h := open(t, Config{Name: "older"})
	older := h.Local()
	defer older.Close()
	var opened []*Local
	got := leaksOf(t, func() {
		for range 3 {
			opened = append(opened, h.Local())
		}
		opened[2].Free(opened[2].Alloc(100, 8))
		older.Free(older.Alloc(100, 8))
	})
	const want = `guard: this test opened and did not close: "older: Local" 3 times; opened at` + "\ngithub.com/seed-9a6c551e/offheap/slab.TestOutsideCheckLeaksSeesLocals"
	if len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("reports\n%s\nwant one that begins\n%s", strings.Join(got, "\n"), want)
	}
	got = leaksOf(t, func() {
		for _, l := range opened {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := h.Local().Close(); err != nil {
			t.Error(err)
		}
	})
	if len(got) != 0 {
		t.Errorf("what was closed is reported:\n%s", strings.Join(got, "\n"))
	}
	got = leaksOf(t, func() {
		dropLocal(h, func(*Local) {})
		nextLeak(t, reports)
	})
	if len(got) != 1 || !strings.Contains(got[0], `: "older: Local"; opened at`) {
		t.Errorf("of a Local that was dropped:\n%s", strings.Join(got, "\n"))
	}
	if got = leaksOf(t, func() {}); len(got) != 0 {
		t.Errorf("what another test dropped is reported:\n%s", strings.Join(got, "\n"))
	}
	if got = leaksOf(t, func() {
		own := open(t, Config{Name: "own"})
		own.Local()
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}); len(got) != 0 {
		t.Errorf("a Local of a heap that was closed is reported:\n%s", strings.Join(got, "\n"))
	}
}

type leakTB struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (t *leakTB) Cleanup(f func())             { t.cleanups = append(t.cleanups, f) }
func (t *leakTB) Errorf(f string, args ...any) { t.errors = append(t.errors, fmt.Sprintf(f, args...)) }

// leaksOf returns what CheckLeaks says of a test.
func leaksOf(t *testing.T, test func()) []string {
	in := &leakTB{TB: t}
	guardtest.CheckLeaks(in)
	test()
	for i := len(in.cleanups) - 1; i >= 0; i-- {
		in.cleanups[i]()
	}
	return in.errors
}

// TestOutsideDroppedLocalIsNoRace hands slots from a Local that is dropped to others. The race detector
// must be silent.
func TestOutsideDroppedLocalIsNoRace(t *testing.T) {
	h := open(t, Config{})
	reports := leaks(t)
	done := make(chan struct{})
	go func() {
		dropLocal(h, func(l *Local) {
			for range 40 {
				b := l.Alloc(100, 8)
				h.RaceWrite(b)
				l.Free(b)
			}
		})
		race.Unseen(func() { close(done) })
	}()
	race.Unseen(func() { <-done; nextLeak(t, reports) })
	for range 200 {
		h.RaceWrite(h.Alloc(100, 8))
	}
}

// TestOutsideRefillWhileObjectsAreFreed has OnSoft free into the magazine that a Local is about to fill.
func TestOutsideRefillWhileObjectsAreFreed(t *testing.T) {
	h := open(t, Config{})
	l := h.Local()
	defer l.Close()
	const size = 1000
	most := int(sizeclass.Table[sizeclass.Of(size)].MaxCached)
	var all [][]byte
	for range most {
		all = append(all, l.Alloc(size, 8))
	}
	for _, b := range all {
		l.Free(b)
	}
	for i := range all {
		all[i] = h.Alloc(size, 8)
	}
	live := 0
	m, d := l.cache.magazine(sizeclass.Of(size)), &h.depots[sizeclass.Of(size)]
	for m.len() > 0 || d.free > 0 || len(d.batches) > 0 {
		l.Alloc(size, 8)
		live++
	}
	freed := false
	setBudget(t, guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) {
		for _, b := range all { // they just fit
			l.Free(b)
		}
		freed = true
	}})
	for !freed {
		l.Alloc(size, 8)
		live++
	}
	s := h.Stats()
	if s.Live != int64(live*1024) {
		t.Errorf("%d objects were allocated, %d slots are live: the others are lost", live, s.Live/1024)
	}
}

func setBudget(t *testing.T, b guard.Budget) {
	if _, err := guard.SetBudget(b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := guard.SetBudget(guard.Budget{}); err != nil {
			t.Error(err)
		}
	})
}
