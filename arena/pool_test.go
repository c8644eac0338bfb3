package arena

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

func pooled(t testing.TB, c Config) *Pool {
	t.Helper()
	nothingLeft(t)
	p, err := OpenPool(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	})
	return p
}

func get(t testing.TB, p *Pool) *Arena {
	t.Helper()
	a, err := p.TryGet()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func counts(t *testing.T, what string, p *Pool, open, idle int) {
	t.Helper()
	if s := p.Stats(); s.Open != open || s.Idle != idle {
		t.Fatalf("%s: %+v, want %d open and %d idle", what, s, open, idle)
	}
}

func TestPool(t *testing.T) {
	p := pooled(t, Config{Name: "requests"})
	counts(t, "fresh", p, 1, 1)
	seen := map[*Arena]bool{}
	var out []*Arena
	for range 20 {
		a := get(t, p)
		if seen[a] {
			t.Fatal("an arena in use was handed out again")
		}
		seen[a] = true
		p := New[[2]uint64](a)
		*p = [2]uint64{1, 2}
		out = append(out, a)
	}
	counts(t, "all in use", p, 20, 0)
	for _, a := range out {
		p.Put(a)
	}
	counts(t, "all back", p, 20, 20)
	for range 20 {
		a := get(t, p)
		if !seen[a] {
			t.Fatal("an arena was opened although others were idle")
		}
		delete(seen, a)
		if a.Stats().Live != 0 || *New[[2]uint64](a) != [2]uint64{} {
			t.Fatal("an arena came back with something in it")
		}
	}
	for _, a := range out {
		p.Put(a)
	}
	if err := p.Purge(); err != nil {
		t.Fatal(err)
	}
	counts(t, "purged", p, 0, 0)
	a := get(t, p)
	counts(t, "used again", p, 1, 0)
	if err := a.Close(); err == nil || errors.Is(err, guard.ErrClosed) {
		t.Fatalf("closing an arena of a pool: %v", err)
	}
	*New[uint64](a) = 1

	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	counts(t, "closed", p, 1, 0)
	*New[uint64](a) = 2 // in use until it is put
	if _, err := p.TryGet(); !errors.Is(err, guard.ErrClosed) {
		t.Fatalf("TryGet after Close: %v", err)
	}
	if err := p.Close(); !errors.Is(err, guard.ErrClosed) {
		t.Fatalf("second Close: %v", err)
	}
	p.Put(a)
	counts(t, "put after Close", p, 0, 0)
	if err := p.Purge(); err != nil {
		t.Fatal(err)
	}
	var fault *guard.Fault
	if err := guard.Catch(func() { sink = *(*byte)(a.base) }); !errors.As(err, &fault) || fault.Kind != guard.UseAfterClose {
		t.Fatalf("the arena put after Close should be closed: %v", err)
	}
}

var sink byte

func TestPoolConfig(t *testing.T) {
	p := pooled(t, Config{})
	a := get(t, p)
	if a.config.Reserve != poolReserve {
		t.Errorf("%d bytes are reserved, want %d", a.config.Reserve, poolReserve)
	}
	p.Put(a)
	p.Close()
	if _, err := p.TryGet(); err == nil || err.Error() != `arena: pool "arena": closed` {
		t.Error(err)
	}
	small := pooled(t, Config{Limit: 100})
	a = get(t, small)
	a.Alloc(100, 8)
	if _, err := a.TryAlloc(8, 8); !errors.Is(err, guard.ErrNoMemory) {
		t.Error(err)
	}
	small.Put(a)
}

// TestPoolCallbacks: Put runs the callbacks, and keeps the arena even if one panics.
func TestPoolCallbacks(t *testing.T) {
	p := pooled(t, Config{})
	a := get(t, p)
	ran := 0
	a.OnReset(func() { ran++ })
	p.Put(a)
	if ran != 1 {
		t.Fatalf("the callback ran %d times", ran)
	}
	a = get(t, p)
	a.OnReset(func() { panic(errors.New("callback")) })
	if err := panicOf(func() { p.Put(a) }); err == nil || err.Error() != "callback" {
		t.Fatal(err)
	}
	counts(t, "after a panic", p, 1, 1)
	a = get(t, p)
	a.OnReset(func() { p.Put(a) })
	var v *guard.Violation
	if err := panicOf(a.Reset); !errors.As(err, &v) || v.Op != "arena.Put" {
		t.Fatalf("Put by a callback: %v", err)
	}
	counts(t, "after a Put by a callback", p, 1, 0)
	*New[uint64](a) = 1
	p.Put(a)
}

// TestPoolTrims: an arena does not keep the memory of one large round.
func TestPoolTrims(t *testing.T) {
	p := pooled(t, Config{Retain: 64 << 10})
	for i := range 80 {
		a := get(t, p)
		if i == 0 {
			smear(a.Alloc(16<<20, 8))
		}
		mustBeZero(t, "Alloc", a.Alloc(1000, 8))
		if i == 79 && a.Stats().Committed > 256<<10 {
			t.Fatalf("%+v", a.Stats())
		}
		p.Put(a)
	}
}

// moreProcessors raises GOMAXPROCS above the number of processors when allocators were opened.
func moreProcessors(t *testing.T) {
	old := runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), runtime.NumCPU()) + 3)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

// onAllProcessors runs f on as many goroutines as there are processors, all at once.
func onAllProcessors(f func(g int)) {
	n := runtime.GOMAXPROCS(0)
	var wg, ready sync.WaitGroup
	ready.Add(n)
	for g := range n {
		wg.Go(func() {
			ready.Done()
			ready.Wait()
			f(g)
		})
	}
	wg.Wait()
}

func TestPoolOnMoreProcessors(t *testing.T) {
	p := pooled(t, Config{})
	moreProcessors(t)
	onAllProcessors(func(g int) {
		for i := range 200 {
			a, err := p.TryGet()
			if err != nil {
				t.Error(err)
				return
			}
			x := New[uint64](a)
			if *x != 0 {
				t.Error("not zero")
			}
			*x = uint64(g)<<32 | uint64(i)
			runtime.Gosched()
			if *x != uint64(g)<<32|uint64(i) {
				t.Error("an arena in use was shared")
			}
			p.Put(a)
		}
	})
	if s := p.Stats(); s.Open != s.Idle || s.Open > runtime.GOMAXPROCS(0)+1 {
		t.Fatalf("%+v with %d goroutines", s, runtime.GOMAXPROCS(0))
	}
}

// TestPoolClosedMeanwhile closes a pool while others get and put. Arenas that are put later are closed.
func TestPoolClosedMeanwhile(t *testing.T) {
	for range 20 {
		p := pooled(t, Config{Reserve: 2 << 20})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					a, err := p.TryGet()
					if err != nil {
						if !errors.Is(err, guard.ErrClosed) {
							t.Error(err)
						}
						return
					}
					*New[uint64](a) = 1
					p.Put(a)
				}
			})
		}
		time.Sleep(time.Millisecond / 4)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		counts(t, "closed", p, 0, 0)
	}
}
