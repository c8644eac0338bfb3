package slab

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

const mib = 1 << 20

const few = 64 * mib // of addresses for slots: a check looks at all of them

// standStill stops the clock of a test, and returns a function that lets it go on for some ticks.
func standStill(t *testing.T) (pass func(n uint32)) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	t.Cleanup(func() { ticks = real })
	return func(n uint32) { now += n }
}

// cachedBytes returns Stats.Cached of a heap without slots, after a check of the heap.
func cachedBytes(h *Heap) int {
	h.check()
	return int(h.Stats().Cached)
}

// fresh allocates large objects of some sizes.
func fresh(h *Heap, sizes ...int) (all [][]byte) {
	for _, size := range sizes {
		all = append(all, h.AllocDirty(size, 8))
	}
	return all
}

// TestLargeIsRecycled frees a large object and allocates it again: it is the same memory, AllocDirty makes no system
// call and clears nothing, and Alloc clears all of it.
func TestLargeIsRecycled(t *testing.T) {
	standStill(t)
	h := open(t, Config{Reserve: few})
	b := h.AllocDirty(2*mib+100, 8)
	for i := range b[:cap(b)] {
		b[:cap(b)][i] = 0xA5
	}
	full := h.Stats()
	h.Free(b)
	if s := h.Stats(); s.Live != 0 || s.Waste != 0 || s.Cached != full.Live || s.Committed != full.Committed || s.Reserved != full.Reserved {
		t.Errorf("freed: %+v, before %+v", s, full)
	}
	again := h.AllocDirty(2*mib+50, 8)
	if addr(again) != addr(b) || len(again) != 2*mib+50 || cap(again) != cap(b) {
		t.Errorf("%p with %d bytes and room for %d, was %p with room for %d", again, len(again), cap(again), b, cap(b))
	}
	if n := bytes.Count(again[:cap(again)], []byte{0xA5}); n != cap(again) {
		t.Errorf("AllocDirty cleared %d bytes", cap(again)-n)
	}
	if s := h.Stats(); s.Live != full.Live || s.Waste != full.Waste+50 || s.Cached != 0 {
		t.Errorf("recycled: %+v, before %+v", s, full)
	}
	h.Free(again)
	zeroed := h.Alloc(2*mib, 8)
	if addr(zeroed) != addr(b) || zero(zeroed[:cap(zeroed)]) != nil {
		t.Errorf("%p, was %p: %v", zeroed, b, zero(zeroed[:cap(zeroed)]))
	}
	h.Free(zeroed)
	makesNoCall(t, func() { h.Free(h.Alloc(2*mib, 8)) })
}

// makesNoCall checks that f makes no system call.
func makesNoCall(t *testing.T, f func()) {
	t.Helper()
	for kind := range vm.Kinds {
		stop := vm.Inject(kind, 0, nil)
		f()
		if n := stop(); n > 0 {
			t.Errorf("%d calls of %v", n, kind)
		}
	}
}

// TestLargeCacheFits asks for sizes near that of a cached object: up to an eighth may stay unused.
func TestLargeCacheFits(t *testing.T) {
	standStill(t)
	h := open(t, Config{Reserve: few})
	page := guard.PageSize()
	for _, c := range []struct {
		size, align int
		fits        bool
	}{
		{9 * mib, 8, true},
		{9*mib + 1, 8, false},
		{9*mib - page, 8, true},
		{8 * mib, 8, true},
		{8*mib - 2*page, 8, false},
		{2 * mib, 8, false},
		{9 * mib, 1 << 20, true},
		{9 * mib, 64, true},
		{1, 1 << 20, false},
	} {
		b := h.Alloc(9*mib, 8)
		h.Free(b)
		again := h.Alloc(c.size, c.align)
		if fits := addr(again) == addr(b); fits != c.fits || fits && cap(again) != 9*mib || address(again)%uintptr(c.align) != 0 {
			t.Errorf("%d bytes aligned to %d: recycled %v, want %v; room for %d", c.size, c.align, fits, c.fits, cap(again))
		}
		h.Free(again)
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLargeCacheKeepsTheAlignment caches objects that are aligned to OS pages only: an object with a larger
// alignment does not get them by chance.
func TestLargeCacheKeepsTheAlignment(t *testing.T) {
	standStill(t)
	h := open(t, Config{Reserve: few})
	for range 20 {
		for _, b := range fresh(h, mib+1, mib+1, mib+1, mib+1) {
			h.Free(b)
		}
		if b := h.Alloc(mib+1, mib); address(b)%mib != 0 {
			t.Fatalf("%p", b)
		}
	}
}

// TestLargeCacheFindsTheBest caches several sizes: the one that leaves the least unused is taken, and of equal ones
// the warmest.
func TestLargeCacheFindsTheBest(t *testing.T) {
	pass := standStill(t)
	h := open(t, Config{Reserve: few})
	all := fresh(h, 4*mib+300_000, 4*mib+100_000, 4*mib+100_000, 4*mib+200_000)
	for _, b := range all {
		h.Free(b)
		pass(1)
	}
	for i, want := range []int{2, 1, 3, 0} {
		if b := h.AllocDirty(4*mib, 8); addr(b) != addr(all[want]) {
			t.Errorf("the %d. of 4 MiB has room for %d, want that for %d", i+1, cap(b), cap(all[want]))
		}
	}
}

// TestLargeDecays lets freed objects wait: slow paths return those that have waited for half a second.
func TestLargeDecays(t *testing.T) {
	pass := standStill(t)
	for name, slow := range map[string]func(h *Heap){
		"Alloc of large": func(h *Heap) { h.AllocDirty(30*mib, 8) },
		"Free of large":  func(h *Heap) { h.Free(h.AllocDirty(4*mib, 8)) },
		"Free of a slot": func(h *Heap) { h.Free(h.AllocDirty(700_000, 8)) },
		"Local":          func(h *Heap) { l := h.Local(); defer l.Close(); l.Free(l.AllocDirty(700_000, 8)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, Config{Reserve: few})
			all := fresh(h, 2*mib, 4*mib, 8*mib)
			h.Free(all[0])
			pass(300)
			h.Free(all[1])
			h.Free(all[2])
			pass(decayAfter - 301)
			slow(h)
			if h.large.cache.bytes < 14*mib {
				t.Errorf("%d bytes are cached before the time", h.large.cache.bytes)
			}
			pass(decay.Beat)
			slow(h)
			if n := h.large.cache.bytes; n < 12*mib || n >= 14*mib {
				t.Errorf("%d bytes are cached after half a second", n)
			}
			pass(decayAfter)
			slow(h)
			if n := h.large.cache.bytes; n > 4*mib { // one that was freed now
				t.Errorf("%d bytes are cached a while later", n)
			}
			h.check()
		})
	}
}

// TestLargeDecayLeavesWhatIsUsed recycles one object each second: it stays.
func TestLargeDecayLeavesWhatIsUsed(t *testing.T) {
	pass := standStill(t)
	h := open(t, Config{Reserve: few})
	first := h.AllocDirty(4*mib, 8)
	h.Free(first)
	for range 5 {
		pass(1000)
		b := h.AllocDirty(4*mib, 8)
		if addr(b) != addr(first) {
			t.Error("it was returned")
		}
		h.Free(b)
	}
}

// TestLargePurge checks that Purge returns what is cached, and that a touch faults from then on.
func TestLargePurge(t *testing.T) {
	standStill(t)
	h := open(t, Config{Reserve: few})
	before := h.Stats()
	b := h.Alloc(4*mib, 8)
	h.Free(b)
	if err := guard.Catch(func() { b[mib] = 1 }); err != nil {
		t.Errorf("cached: %v", err)
	}
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	after := h.Stats()
	if before.HighWater, after.HighWater = 0, 0; cachedBytes(h) != 0 || after.Committed != before.Committed || after.Reserved != before.Reserved {
		t.Errorf("after Purge: %+v, before %+v", after, before)
	}
	var fault *guard.Fault
	if err := guard.Catch(func() { b[mib] = 1 }); !errors.As(err, &fault) || fault.Kind != guard.UseAfterClose {
		t.Errorf("after Purge: %v", err)
	}
}

// TestLargeHardenedIsNotCached checks that in a hardened heap a touch after Free faults at once.
func TestLargeHardenedIsNotCached(t *testing.T) {
	h := open(t, Config{Reserve: few, Hardened: true})
	b := h.Alloc(4*mib, 8)
	h.Free(b)
	var fault *guard.Fault
	if err := guard.Catch(func() { b[mib] = 1 }); !errors.As(err, &fault) || fault.Kind != guard.UseAfterClose {
		t.Error(err)
	}
	if n := cachedBytes(h); n != 0 {
		t.Errorf("%d bytes are cached", n)
	}
}

// TestLargeCacheIsBounded frees more than the cache keeps: the coldest ones leave.
func TestLargeCacheIsBounded(t *testing.T) {
	standStill(t)
	h := open(t, Config{Reserve: few})
	const size = minCachedBytes / 4
	sizes := slices.Repeat([]int{size}, 12)
	all := fresh(h, sizes...)
	for i, b := range all {
		h.Free(b)
		live := (len(all) - i - 1) * size
		if n := cachedBytes(h); n != min((i+1)*size, max(minCachedBytes, live)) {
			t.Errorf("%d bytes are cached beside %d live ones", n, live)
		}
	}
	for i := range 4 { // the warmest
		if b := h.AllocDirty(size, 8); addr(b) != addr(all[len(all)-1-i]) {
			t.Errorf("object %d is not the one that was freed %d. to last", i, i+1)
		}
	}
	// An object that is too long leaves the others alone.
	long := h.AllocDirty(6*size, 8)
	for _, b := range all[len(all)-4:] {
		h.Free(b)
	}
	h.Free(long)
	if n := cachedBytes(h); n != minCachedBytes {
		t.Errorf("%d bytes are cached", n)
	}
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	// There are not too many either.
	many := fresh(h, slices.Repeat([]int{mib + 1}, maxCachedRegions+10)...)
	live := h.AllocDirty((maxCachedRegions+20)*mib, 8) // so that bytes are no bound
	for _, b := range many {
		h.Free(b)
	}
	if h.check(); len(h.large.cache.regions) != maxCachedRegions {
		t.Errorf("%d regions are cached", len(h.large.cache.regions))
	}
	h.Free(live)
}

// TestLargeCacheGivesWay lets memory run out while there is some in the cache, in every way.
func TestLargeCacheGivesWay(t *testing.T) {
	standStill(t)
	requests := map[string]func(h *Heap) error{
		"large": func(h *Heap) error { _, err := h.TryAlloc(20*mib, 8); return err },
		"slots": func(h *Heap) error {
			for range 20 {
				if _, err := h.TryAlloc(900_000, 8); err != nil {
					return err
				}
			}
			return nil
		},
		"Local": func(h *Heap) error {
			l := h.Local()
			_, err := l.TryAlloc(20*mib, 8)
			return errors.Join(err, l.Close())
		},
		"Realloc": func(h *Heap) error {
			b, err := h.TryAlloc(2*mib, 8)
			if err == nil {
				_, err = h.TryRealloc(b, 20*mib)
			}
			return err
		},
	}
	limits := map[string]struct {
		config Config
		end    func(h *Heap) // makes memory end
	}{
		"Limit": {Config{Reserve: few, Limit: 24 * mib}, func(*Heap) {}},
		"Hard":  {Config{Reserve: few}, func(*Heap) { setBudget(t, guard.Budget{Hard: guard.Committed() + 4*mib}) }},
	}
	for name, request := range requests {
		for limit, c := range limits {
			t.Run(name+", "+limit, func(t *testing.T) {
				h := open(t, c.config)
				for _, b := range fresh(h, 5*mib, 5*mib, 5*mib, 5*mib) {
					h.Free(b)
				}
				c.end(h)
				if err := request(h); err != nil {
					t.Error(err)
				}
				h.check()
				setBudget(t, guard.Budget{})
			})
		}
	}
	t.Run("addresses", func(t *testing.T) {
		h := open(t, Config{Reserve: few})
		h.Free(h.Alloc(5*mib, 8))
		stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
		_, err := h.TryAlloc(20*mib, 8)
		if stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("only as many as it takes", func(t *testing.T) {
		h := open(t, Config{Reserve: few, Limit: 24 * mib})
		for _, b := range fresh(h, 5*mib, 5*mib, 5*mib, 5*mib) {
			h.Free(b)
		}
		h.Alloc(8*mib, 8) // beside 4 MiB that nobody has
		if n := cachedBytes(h); n != 10*mib {
			t.Errorf("%d bytes are cached, want %d", n, 10*mib)
		}
	})
}

// TestLargeCacheWithOnSoft has OnSoft free large objects: the request that called it is served, be it a large
// one or one for slots.
func TestLargeCacheWithOnSoft(t *testing.T) {
	for _, size := range []int{8 * mib, 7 * mib, 900_000} {
		h := open(t, Config{Reserve: few})
		kept := fresh(h, 8*mib, 8*mib)
		calls := 0
		hard := guard.Committed() + mib
		setBudget(t, guard.Budget{Hard: hard, OnSoft: func(int64) {
			calls++
			for _, b := range kept {
				h.Free(b)
			}
			kept = nil
		}})
		for range 2 {
			if _, err := h.TryAlloc(size, 8); err != nil {
				t.Errorf("%d bytes, after %d calls: %v", size, calls, err)
			}
		}
		setBudget(t, guard.Budget{})
	}
}

// TestLargeCacheIsNotLive checks that cached objects are no leaks, and that Close releases them.
func TestLargeCacheIsNotLive(t *testing.T) {
	h := open(t, Config{Reserve: few}) // which checks what is left
	leaks := region.WatchLeaks()
	before := guard.Usage()
	h.Free(h.Alloc(4*mib, 8))
	if n := cachedBytes(h); n != 4*mib {
		t.Fatalf("%d bytes are cached", n)
	}
	if u := guard.Usage(); u.Live != before.Live {
		t.Errorf("%d bytes are live", u.Live-before.Live)
	}
	if l := leaks(); len(l) > 0 {
		t.Error(l)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMisuseOfACachedObject uses an object after Free, while its memory is cached: it is not live, whatever part of it
// a pointer names.
func TestMisuseOfACachedObject(t *testing.T) {
	standStill(t)
	h := open(t, Config{Reserve: few})
	b := h.Alloc(4*mib, 8)
	h.Free(b)
	for name, c := range map[string]struct {
		op   string
		kind guard.Kind
		f    func()
	}{
		"Free":              {"slab.Free", guard.DoubleFree, func() { h.Free(b) }},
		"Free of the inner": {"slab.Free", guard.DoubleFree, func() { h.Free(b[5000:]) }},
		"Size":              {"slab.Size", guard.UseAfterFree, func() { h.Size(b) }},
		"Realloc":           {"slab.Realloc", guard.UseAfterFree, func() { h.Realloc(b, 8*mib) }},
		"ReallocAligned":    {"slab.Realloc", guard.UseAfterFree, func() { h.ReallocAligned(b, 100, 64) }},
		"Realloc in place":  {"slab.Realloc", guard.UseAfterFree, func() { h.Realloc(b, len(b)-1) }},
	} {
		v := violationOf(t, c.f)
		if v == nil || v.Op != c.op || v.Kind != c.kind || v.Detail != "freed already, or never allocated" || v.Region != "heap: large object" {
			t.Errorf("%s: %v", name, v)
		}
	}
	again := h.Alloc(4*mib, 8)
	if v := violationOf(t, func() { h.Free(again[5000:]) }); v == nil || v.Kind != guard.InvalidPointer {
		t.Errorf("Free from the middle: %v", v)
	}
	if other := open(t, Config{Reserve: few}); addr(again) != addr(b) {
		t.Error("it is not cached: the test is wrong")
	} else if v := violationOf(t, func() { h.Free(again); other.Free(again) }); v == nil || v.Kind != guard.InvalidPointer {
		t.Errorf("Free by another heap: %v", v)
	}
	if n := cachedBytes(h); n != 4*mib {
		t.Errorf("%d bytes are cached: misuse has changed something", n)
	}
}

// TestLargeCacheRefused lets the kernel refuse to take a cached region back: it is tried again.
func TestLargeCacheRefused(t *testing.T) {
	standStill(t)
	h := open(t, Config{Reserve: few})
	h.Free(h.Alloc(4*mib, 8))
	stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
	err := h.Purge()
	if stop(); err == nil {
		t.Error("Purge has no error")
	}
	if h.check(); h.account.Bytes() != 4*mib {
		t.Errorf("%d bytes are charged", h.account.Bytes())
	}
	if err := h.Purge(); err != nil || h.account.Bytes() != 0 {
		t.Errorf("%d bytes are charged: %v", h.account.Bytes(), err)
	}
}

// TestStatsAsksNobody counts the system calls of Stats with many large objects.
func TestStatsAsksNobody(t *testing.T) {
	h := open(t, Config{Reserve: few})
	all := fresh(h, slices.Repeat([]int{2 * mib}, 50)...)
	for _, b := range all[:20] {
		h.Free(b)
	}
	var s Stats
	makesNoCall(t, func() { s = h.Stats() })
	if s.Live != 60*mib || s.Cached != 40*mib {
		t.Errorf("%+v", s)
	}
}

// TestHugePages touches a fresh object, from its start: the kernel serves huge pages where it has them.
func TestHugePages(t *testing.T) {
	if mode := vm.Probe().HugePageMode; mode != "madvise" && mode != "always" {
		t.Skipf("the mode of huge pages is %q", mode)
	}
	for _, c := range []Config{{Reserve: few}, {Reserve: few, Hardened: true}} {
		h := open(t, c)
		before := resident(t, h)
		b := h.Alloc(8*mib, 8)
		if n := resident(t, h) - before; n > 2*int64(guard.PageSize()) {
			t.Errorf("hardened %v: %d bytes are in RAM before the first touch", c.Hardened, n)
		}
		for i := range 4 {
			b[i*2*mib] = 1
		}
		t.Logf("hardened %v: 4 touches bring in %d bytes", c.Hardened, resident(t, h)-before) // the kernel may have none
	}
}

// TestHammerLarge has goroutines allocate, verify, resize, hand over and free large objects, while others purge and
// look at the figures.
func TestHammerLarge(t *testing.T) {
	h := open(t, Config{Reserve: few, Limit: 300 * mib})
	before := h.Stats()
	mail := make(chan held, 4)
	var all, helpers sync.WaitGroup
	stop := make(chan struct{})
	for g := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 2))
			var live []held
			for range rounds(1500) {
				switch r.IntN(6) {
				case 0, 1, 2:
					n := mib + 1 + r.IntN(3)*700_000 + r.IntN(9)*100_000
					b, err := h.TryAlloc(n, 1<<r.IntN(21))
					if err != nil {
						if !errors.Is(err, guard.ErrNoMemory) {
							t.Error(err)
						}
						break
					}
					for i := range places(cap(b)) {
						if b[:cap(b)][i] != 0 {
							t.Errorf("byte %d of %d is not zero", i, cap(b))
						}
					}
					o := held{b: b, seed: byte(r.Uint32())}
					fill(o.b, o.seed)
					live = append(live, o)
				case 3:
					if len(live) > 0 {
						o := &live[r.IntN(len(live))]
						if b, err := h.TryReallocAligned(o.b, mib+1+r.IntN(3*mib), 64); err == nil {
							o.b = b
							fill(o.b, o.seed)
						}
					}
				case 4:
					if len(live) > 0 {
						select {
						case mail <- live[len(live)-1]:
							live = live[:len(live)-1]
						case o := <-mail:
							live = append(live, o)
						default:
						}
					}
				}
				for len(live) > 8 || len(live) > 0 && r.IntN(3) == 0 {
					i := r.IntN(len(live))
					if err := live[i].verify(); err != nil {
						t.Error(err)
					}
					h.Free(live[i].b)
					live = slices.Delete(live, i, i+1)
				}
			}
			for _, o := range live {
				h.Free(o.b)
			}
		})
	}
	helpers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if s := h.Stats(); s.Live < 0 || s.Cached < 0 || s.Committed > s.Reserved {
				t.Errorf("%+v", s)
			}
			if i%10 == 0 {
				if err := h.Purge(); err != nil {
					t.Error(err)
				}
			}
			if _, err := h.Resident(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Error(err)
			}
			runtime.Gosched()
		}
	})
	all.Wait()
	close(stop)
	helpers.Wait()
	close(mail)
	for o := range mail {
		if err := o.verify(); err != nil {
			t.Error(err)
		}
		h.Free(o.b)
	}
	h.check()
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	h.check()
	if s := h.Stats(); s.Live != 0 || s.Cached != 0 || s.Reserved != before.Reserved || s.Committed != h.slots.Region().Committed() {
		t.Errorf("nothing should be left: %+v", s)
	}
}

// BenchmarkLarge takes times of objects that are touched once in each OS page: of the same size again and again, of
// sizes that shift a little, of four at a time, and of fresh memory, beside Go's heap.
func BenchmarkLarge(b *testing.B) {
	touch := func(b []byte) {
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
	}
	var sink [4][]byte
	for _, kib := range []int{900, 1100, 2 << 10, 4 << 10, 16 << 10, 64 << 10} {
		size := kib << 10
		h := open(b, Config{})
		hard := open(b, Config{Hardened: true})
		i := 0
		shift := func() int { i++; return size - i%8*(size/100) }
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"same/dirty", func() { x := h.AllocDirty(size, 8); touch(x); h.Free(x) }},
			{"same/zeroed", func() { x := h.Alloc(size, 8); touch(x); h.Free(x) }},
			{"same/go", func() { sink[0] = make([]byte, size); touch(sink[0]) }},
			{"shift/dirty", func() { x := h.AllocDirty(shift(), 8); touch(x); h.Free(x) }},
			{"shift/zeroed", func() { x := h.Alloc(shift(), 8); touch(x); h.Free(x) }},
			{"shift/go", func() { sink[0] = make([]byte, shift()); touch(sink[0]) }},
			{"four/dirty", func() {
				for i := range sink {
					sink[i] = h.AllocDirty(size, 8)
					touch(sink[i])
				}
				for i := range sink {
					h.Free(sink[i])
				}
			}},
			{"four/go", func() {
				for i := range sink {
					sink[i] = make([]byte, size)
					touch(sink[i])
				}
			}},
			{"fresh/dirty", func() { x := h.AllocDirty(size, 8); touch(x); h.Free(x); _ = h.sweepLarge() }},
			{"fresh/hardened", func() { x := hard.AllocDirty(size, 8); touch(x); hard.Free(x) }},
			{"fresh/faults", func() { // no more than the system calls and page faults of small pages
				r, err := vm.Reserve(uintptr(size))
				if err != nil || vm.Protect(r, uintptr(size), vm.ReadWrite) != nil {
					b.Fatal(err)
				}
				touch(unsafe.Slice((*byte)(r), size))
				if err := vm.Release(r, uintptr(size)); err != nil {
					b.Fatal(err)
				}
			}},
		} {
			b.Run(fmt.Sprintf("%dKiB/%s", kib, c.name), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					c.f()
				}
			})
			sink = [4][]byte{}
		}
	}
}
