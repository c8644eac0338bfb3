package arena

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// clocked gives the test a clock of its own, which the test moves.
func clocked(t *testing.T) (now *uint32) {
	now = new(uint32)
	*now = 1<<32 - 700 // it wraps soon
	old := ticks
	ticks = func() uint32 { return *now }
	t.Cleanup(func() { ticks = old })
	return now
}

// TestOutsidePoolGivesIdleMemoryBack uses many arenas at once, and then one or two: one from the processor's cache,
// two also from the list. The others must give their memory back, and later their addresses.
func TestOutsidePoolGivesIdleMemoryBack(t *testing.T) {
	for _, busy := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d in use", busy), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			now := clocked(t)
			const retain, used, arenas = 128 << 10, 4 << 20, 64
			p := pooled(t, Config{Name: "requests", Retain: retain})
			before := guard.Committed()
			var out []*Arena
			for range arenas {
				a := get(t, p)
				a.Alloc(used, 8)
				out = append(out, a)
			}
			for _, a := range out {
				p.Put(a)
			}
			counts(t, "all back", p, arenas, arenas)
			pass := func(time uint32) {
				for end := *now + time; *now != end; *now += 10 {
					for range lookEvery / 8 {
						out = out[:0]
						for range busy {
							a := get(t, p)
							*New[uint64](a) = 1
							out = append(out, a)
						}
						for _, a := range out {
							p.Put(a)
						}
					}
				}
			}
			pass(purgeAfter - 2*decay.Beat)
			if c := guard.Committed() - before; c < int64(arenas-busy)*used || p.Stats().Open != arenas {
				t.Errorf("before anything was idle for long: %d bytes committed, %+v", c, p.Stats())
			}
			pass(4 * decay.Beat)
			if c := guard.Committed() - before; c > (arenas+2)*retain || c < int64(arenas-busy)*retain {
				t.Errorf("after half a second: %d bytes committed, Retain is %d", c, retain)
			}
			counts(t, "after half a second", p, arenas, arenas)
			pass(closeAfter)
			if c := guard.Committed() - before; c > 4*retain {
				t.Errorf("after more than a second: %d bytes committed", c)
			}
			counts(t, "after more than a second", p, busy, busy)
		})
	}
}

// TestOutsidePoolLooksAtOtherProcessors: an idle arena is closed even if the processor that caches it does nothing.
func TestOutsidePoolLooksAtOtherProcessors(t *testing.T) {
	now := clocked(t)
	p := pooled(t, Config{})
	here := get(t, p)
	there := get(t, p)
	there.Alloc(8<<20, 8)
	there.Reset()
	there.state, there.limit = stateIdle, 0
	far := newCache()
	far.put(there)
	p.caches.Set(percpu.Max-1, far)
	for range 20 {
		*now += decay.Beat
		p.mayDecay()
	}
	counts(t, "after two seconds", p, 1, 0)
	if far.holds() || there.state != stateClosed {
		t.Error("the arena is still there")
	}
	p.Put(here)
}

// TestOutsidePoolKeepsCallbacks: an idle arena with callbacks is not closed by another goroutine's Get.
func TestOutsidePoolKeepsCallbacks(t *testing.T) {
	now := clocked(t)
	p := pooled(t, Config{})
	a, b := get(t, p), get(t, p)
	a.Alloc(8<<20, 8)
	ran := 0
	var again func()
	again = func() {
		if ran++; ran < 10 {
			a.OnReset(again)
		}
		New[uint64](a)
	}
	a.OnReset(again)
	p.Put(a)
	for range 20 {
		*now += decay.Beat
		p.mayDecay()
	}
	counts(t, "after two seconds", p, 2, 1)
	if ran != 1 || a.committed > defaultRetain {
		t.Errorf("the callback ran %d times, %d bytes are committed", ran, a.committed)
	}
	if err := p.Purge(); err != nil || ran != 2 {
		t.Errorf("%v, the callback ran %d times", err, ran)
	}
	p.Put(b)
}

// TestOutsidePurge: Purge gives back all memory that is not handed out. It makes no system call if there is none.
func TestOutsidePurge(t *testing.T) {
	for name, c := range map[string]Config{"plain": {}, "much retained": {Retain: 64 << 20}, "huge pages": {HugePages: true}, "limited": {Limit: 20 << 20}} {
		t.Run(name, func(t *testing.T) {
			a := opened(t, c)
			before := guard.Committed()
			purge := func(want int64) {
				t.Helper()
				if err := a.Purge(); err != nil {
					t.Fatal(err)
				}
				if got := guard.Committed() - before; got != want || a.Stats().Committed != want {
					t.Fatalf("%d bytes committed after Purge, want %d; %+v", got, want, a.Stats())
				}
				a.check()
			}
			purge(0)
			unit := int64(a.config.unit())
			for range 3 {
				b := a.Alloc(100, 8)
				mustBeZero(t, "Alloc", b)
				smear(b)
				m := a.Mark()
				spike := a.Alloc(16<<20, 8)
				mustBeZero(t, "spike", spike)
				smear(spike)
				a.Rewind(m)
				purge(unit)
				mustAllBe(t, "what is handed out", b, smeared)
				mustBeZero(t, "New", New[[100]byte](a)[:])
				a.Reset()
				purge(0)
				smear(a.Alloc(16<<20, 8))
				a.Reset()
				purge(0)
				for kind := range vm.Kinds {
					stop := vm.Inject(kind, 0, nil)
					err := a.Purge()
					if n := stop(); n != 0 || err != nil {
						t.Errorf("%d calls of %v to give nothing back, %v", n, kind, err)
					}
				}
			}
		})
	}
}

// TestOutsidePurgeMisuse: Purge of an arena that is closed or in its pool is a violation.
func TestOutsidePurgeMisuse(t *testing.T) {
	p := pooled(t, Config{})
	a := get(t, p)
	p.Put(a)
	closedOne := opened(t, Config{})
	k := concurrent(t, Config{})
	if err := errors.Join(closedOne.Close(), k.Close()); err != nil {
		t.Fatal(err)
	}
	for want, f := range map[guard.Kind]func() error{guard.UseAfterPut: a.Purge, guard.UseAfterClose: closedOne.Purge} {
		var v *guard.Violation
		if err := panicOf(func() { f() }); !errors.As(err, &v) || v.Op != "arena.Purge" || v.Kind != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	var v *guard.Violation
	if err := panicOf(func() { k.Purge() }); !errors.As(err, &v) || v.Op != "arena.Concurrent.Purge" || v.Kind != guard.UseAfterClose {
		t.Error(err)
	}
}

// TestOutsideConcurrentPurge: Purge gives back all memory that is not carved off; after Reset, all memory.
func TestOutsideConcurrentPurge(t *testing.T) {
	for name, c := range map[string]Config{"plain": {}, "huge pages": {HugePages: true}, "limited": {Limit: 20 << 20}} {
		t.Run(name, func(t *testing.T) {
			k := concurrent(t, c)
			before := guard.Committed()
			for range 3 {
				b := k.Alloc(100, 8)
				mustBeZero(t, "Alloc", b)
				smear(b)
				large := k.Alloc(16<<20, 8)
				mustBeZero(t, "large", large)
				smear(large)
				if err := k.Purge(); err != nil {
					t.Fatal(err)
				}
				mustAllBe(t, "small", b, smeared)
				mustAllBe(t, "large", large, smeared)
				k.Reset()
				if c := k.Stats().Committed; c < 16<<20 {
					t.Fatalf("%d bytes committed after Reset: the next round would have to get them again", c)
				}
				if err := errors.Join(k.Purge(), k.Purge()); err != nil {
					t.Fatal(err)
				}
				if c := guard.Committed() - before; c != 0 || k.Stats().Committed != 0 {
					t.Fatalf("%d bytes committed after Reset and Purge", c)
				}
			}
		})
	}
}

// TestOutsideConcurrentSpikeGoesBack is TestSpikeGoesBack for a Concurrent.
func TestOutsideConcurrentSpikeGoesBack(t *testing.T) {
	k := concurrent(t, Config{Retain: 256 << 10})
	round := mustGiveSpikeBack(t, k)
	for range 20 {
		round(8 << 20)
	}
	stop := vm.Inject(vm.Mprotect, 0, nil)
	for range 20 {
		round(8 << 20)
	}
	if n := stop(); n != 0 {
		t.Errorf("%d commits or decommits in steady rounds", n)
	}
}

// TestOutsideConcurrentPurgeUnderLoad: Purge while others allocate takes nothing from them.
func TestOutsideConcurrentPurgeUnderLoad(t *testing.T) {
	k := concurrent(t, Config{})
	for range 3 {
		var wg, purging sync.WaitGroup
		stop := make(chan struct{})
		purging.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := k.Purge(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
		for g := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 4))
				w := pieces{t: t, seed: byte(g * 40)}
				for range rounds(3000) {
					switch r.IntN(20) {
					case 0:
						w.add(MakeSliceIn[byte](k, 40000, 40000))
					case 1:
						if s := StringIn(k, "a string"); s != "a string" {
							t.Error(s)
						}
					default:
						w.add(NewIn[[24]byte](k)[:])
					}
				}
				w.verify()
			})
		}
		wg.Wait()
		close(stop)
		purging.Wait()
		k.Reset()
	}
}

// TestOutsideConcurrentOnSoft: the budget's callback may purge the arena that is allocating, and the allocation
// succeeds if that makes room.
func TestOutsideConcurrentOnSoft(t *testing.T) {
	k := concurrent(t, Config{Name: "k"})
	other := concurrent(t, Config{Name: "other"})
	other.Alloc(8<<20, 8)
	other.Reset()
	calls := 0
	if _, err := guard.SetBudget(guard.Budget{Soft: guard.Committed() + 1<<20, Hard: guard.Committed() + 2<<20, OnSoft: func(int64) {
		calls++
		if err := errors.Join(k.Purge(), other.Purge()); err != nil {
			t.Error(err)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	defer guard.SetBudget(guard.Budget{})
	b, err := k.TryAlloc(4<<20, 8)
	if err != nil || calls != 1 {
		t.Fatalf("%v, OnSoft was called %d times", err, calls)
	}
	smear(b)
	if _, err := k.TryAlloc(64<<20, 8); !errors.Is(err, guard.ErrNoMemory) {
		t.Fatal(err)
	}
	mustAllBe(t, "what is handed out", b, smeared)
}
