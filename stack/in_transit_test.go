package stack

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/stack/internal/header"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// idleStacks counts the idle stacks that a Get on any processor finds. Caller holds p.mu, and no other goroutine
// uses the pool.
func (p *Pool) idleStacks() int {
	n := len(p.idle) + p.trimming
	for c := range p.caches.All() {
		n += int(c.n)
	}
	return n
}

// TestGetTakesOneStack takes stacks out of the pool as Get does. When p.mu is unlocked, other goroutines find all
// stacks but this one.
func TestGetTakesOneStack(t *testing.T) {
	p := mustOpen(t, Config{Max: 3 * cacheSize})
	var all []uint32
	for range 3 * cacheSize {
		i, err := p.takeShared()
		stacktest.NoError(t, err)
		all = append(all, i)
		p.mu.Lock()
		if n, want := p.idleStacks(), int(p.initialized.Load()/stackSize)-len(all); n != want {
			t.Errorf("%d stacks are found when %d are idle and %d are taken", n, want, len(all))
		}
		p.mu.Unlock()
	}
	for _, i := range all {
		p.keep(i)
	}
	p.checkInvariants(nil)
}

// TestCachesAreMadeWithTheLock puts stacks while p.mu is held and there are no caches. No processor gets a cache:
// else Get could empty all caches, and not find the stack that a Put has brought into a new one meanwhile.
func TestCachesAreMadeWithTheLock(t *testing.T) {
	p := mustOpen(t, Config{Max: 4})
	held := []*Stack{get(t, p), get(t, p), get(t, p), get(t, p)}
	stacktest.NoError(t, p.Purge()) // takes the caches
	p.mu.Lock()
	var puts sync.WaitGroup
	for _, s := range held {
		puts.Go(func() { p.Put(s) })
	}
	for _, s := range held { // each Put has begun
		for atomic.LoadUint32(&s.head.State) != header.StateIdle {
			runtime.Gosched()
		}
	}
	time.Sleep(10 * time.Millisecond)
	for range p.caches.All() {
		t.Error("a cache was made without the lock")
	}
	p.mu.Unlock()
	puts.Wait()
	p.checkInvariants(nil)
}

// hookError is an error of the kernel whose text is asked for by the caller in the middle of its work.
type hookError func()

func (e hookError) Error() string { e(); return "hook" }

// TestGetWaitsForTrimmedStacks gets a stack while another goroutine trims the only idle ones. Get waits for
// them.
func TestGetWaitsForTrimmedStacks(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const many = cacheSize + 1
	p := mustOpen(t, Config{Max: many, Size: 64 << 10, Retain: 4096})
	all := make([]*Stack, many)
	for i := range all {
		all[i] = get(t, p)
		all[i].Alloc(60<<10, 8)
	}
	got := make(chan error, 1)
	hooked := false
	stop := vm.Inject(vm.Madvise, 1, hookError(func() {
		if hooked {
			return
		}
		hooked = true
		for range many - cacheSize/2 { // those that stay in the cache
			get(t, p)
		}
		go func() {
			s, err := p.TryGet()
			if err == nil {
				p.Put(s)
			}
			got <- err
		}()
		for end := time.Now().Add(50 * time.Millisecond); len(got) == 0 && time.Now().Before(end); {
			runtime.Gosched()
		}
	}))
	for _, s := range all {
		p.Put(s)
	}
	stop()
	if !hooked {
		t.Fatal("no stack was trimmed")
	}
	stacktest.EndsSoon(t, func() {
		if err := <-got; err != nil {
			t.Errorf("%d stacks are idle: %v", cacheSize/2, err)
		}
	})
}

// TestScarceStacks gets one stack more than there are. The Puts that follow bring stacks to where every processor
// finds them, so that the next Get does not stop the world. Later the caches are used again.
func TestScarceStacks(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := mustOpen(t, Config{Max: 2})
	a, b := get(t, p), get(t, p)
	if _, err := p.TryGet(); !errors.Is(err, guard.ErrNoMemory) {
		t.Fatal(err)
	}
	for i := range scarcePuts {
		p.Put(b)
		for range p.caches.All() {
			t.Fatalf("there is a cache after %d Puts", i)
		}
		b = get(t, p)
	}
	p.Put(b)
	p.Put(a)
	caches := 0
	for range p.caches.All() {
		caches++
	}
	if caches != 1 {
		t.Errorf("%d caches", caches)
	}
	p.checkInvariants(nil)
}

// TestHammerFullPool gets and puts as many stacks as there are, each goroutine one at a time. No Get fails,
// wherever the idle stack is.
func TestHammerFullPool(t *testing.T) {
	for _, processors := range []int{1, 2, 4, 8} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			for _, many := range []int{1, 2, 5, 16} {
				p := mustOpen(t, Config{Max: many, Size: 16 << 10, Retain: 4 << 10})
				var stop atomic.Bool
				var purges, wg sync.WaitGroup
				purges.Go(func() {
					for !stop.Load() {
						if err := p.Purge(); err != nil {
							t.Error(err)
						}
						p.Stats()
						time.Sleep(50 * time.Microsecond)
					}
				})
				for g := range many {
					wg.Go(func() {
						for round := range stacktest.Rounds(20_000) {
							s, err := p.TryGet()
							if err != nil {
								t.Errorf("%d processors, %d stacks: %v", processors, many, err)
								return
							}
							if (round+g)%8 == 0 {
								s.Alloc(12<<10, 8)
							}
							if (round+g)%32 == 0 {
								runtime.Gosched()
							}
							p.Put(s)
						}
					})
				}
				wg.Wait()
				stop.Store(true)
				purges.Wait()
				p.checkInvariants(nil)
			}
		}()
	}
}

// TestHammerCloseFullPool closes pools while as many goroutines as there are stacks get, use deeply and put them.
// Get fails only because of Close, and the last Put ends the pool.
func TestHammerCloseFullPool(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for round := range stacktest.Rounds(200) {
		many := 1 + round%12
		p, err := OpenPool(Config{Max: many, Size: 16 << 10, Retain: 4 << 10})
		stacktest.NoError(t, err)
		var wg, begun sync.WaitGroup
		begun.Add(many)
		for range many {
			wg.Go(func() {
				begin := sync.OnceFunc(begun.Done)
				defer begin()
				for n := 0; ; n++ {
					s, err := p.TryGet()
					if errors.Is(err, guard.ErrClosed) && n >= 5 {
						return
					}
					if err != nil {
						t.Errorf("%d stacks: %v", many, err)
						return
					}
					if n == 5 {
						begin()
					}
					if n%4 == 0 {
						runtime.Gosched() // else each goroutine waits for the slices of the others
					}
					if n%2 == 0 {
						s.Alloc(12<<10, 8)
					}
					p.Put(s)
				}
			})
		}
		begun.Wait()
		stacktest.NoError(t, p.Close())
		wg.Wait()
		if s := p.Stats(); s.Reserved != 0 {
			t.Fatalf("%d stacks: the pool is not closed: %+v", many, s)
		}
		if err := p.Close(); !errors.Is(err, guard.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	}
}
