package stack

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// rounds is how long a hammer test goes on.
func rounds(n int) int {
	if testing.Short() {
		return n / 20
	}
	return n
}

// background runs f again and again until the test ends.
func background(t *testing.T, f func()) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			f()
		}
	})
	t.Cleanup(func() {
		stop.Store(true)
		wg.Wait()
	})
}

// Goroutines get, fill, pop, hand over and put stacks, while others purge, look at figures, collect
// garbage and change the number of processors.
func TestHammerPool(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := mustOpen(t, Config{Size: 64 << 10, Max: 64, Retain: 4 << 10})
	background(t, runtime.GC)
	background(t, func() {
		if err := p.Purge(); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.InUse > 64 || s.Stacks > 64 || s.HighWater > 64<<10 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Millisecond)
	})
	background(t, func() {
		for _, n := range []int{1, 3, 8, 2, 4} {
			runtime.GOMAXPROCS(n)
			time.Sleep(3 * time.Millisecond)
		}
	})
	given := make(chan *Stack, 16)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for range rounds(4000) {
				s, err := p.Get()
				if err != nil {
					if !errors.Is(err, guard.ErrNoMemory) {
						t.Error(err)
					}
					continue
				}
				for range r.IntN(5) {
					f := s.Push()
					b, err := s.TryAlloc(r.IntN(20<<10), 8)
					if err != nil && !errors.Is(err, ErrOverflow) {
						t.Error(err)
					}
					for i := range b {
						if b[i] != 0 {
							t.Error("memory is not zero")
							return
						}
						b[i] = byte(seed) | 1
					}
					if r.IntN(4) > 0 {
						s.Pop(f)
					}
				}
				if r.IntN(4) == 0 { // another goroutine puts it
					select {
					case given <- s:
						s = nil
					default:
					}
				}
				if s == nil {
					select {
					case s = <-given:
					default:
						continue
					}
				}
				p.Put(s)
			}
		})
	}
	wg.Wait()
	for len(given) > 0 {
		p.Put(<-given)
	}
	p.check(nil)
}

// Goroutines run native code that returns, overflows its stack, touches bad addresses and uses all
// registers, under the collector and the profiler, while signals arrive that Go programs handle,
// and Go code faults and recovers.
func TestHammerCalls(t *testing.T) {
	f := native(t)
	sum, ackermann, peek, six, busy, trap := f("sum"), f("ackermann"), f("peek"), f("six"), f("busy"), f("trap")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := mustOpen(t, Config{Size: 32 << 10, Max: 16})
	background(t, runtime.GC)
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		t.Log("without the profiler: ", err)
	} else {
		defer pprof.StopCPUProfile()
	}
	usr := make(chan os.Signal, 100)
	signal.Notify(usr, syscall.SIGUSR1)
	defer signal.Stop(usr)
	background(t, func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		time.Sleep(100 * time.Microsecond)
	})
	var faults atomic.Int64
	want := func(s *Stack, kind guard.Kind, fn Func, args ...uintptr) {
		var fault *guard.Fault
		if _, err := s.Call(fn, args...); !errors.As(err, &fault) || fault.Kind != kind {
			t.Errorf("got %v, want %v", err, kind)
		}
		faults.Add(1)
	}
	wantBusy := func() uintptr {
		s := get(t, p)
		defer p.Put(s)
		return call(t, s, busy, 100)
	}()
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for range rounds(1000) {
				s, err := p.Get()
				if err != nil {
					t.Error(err)
					return
				}
				switch r.IntN(8) {
				case 0:
					want(s, guard.StackOverflow, ackermann, 4, 9)
				case 1:
					want(s, guard.BadAddress, peek, uintptr(r.IntN(4096))&^7)
				case 2:
					want(s, guard.IllegalInstruction, trap)
				case 3:
					var nothing *int
					if err := panicOf(func() { *nothing = 1 }); err == nil || !strings.Contains(err.Error(), "nil pointer") {
						t.Errorf("a nil pointer in Go: %v", err)
					}
				case 4:
					if got, err := s.Call(busy, 100); err != nil || got != wantBusy {
						t.Errorf("registers were disturbed: %v", err)
					}
				default:
					list := MakeSlice[uint64](s, 100, 100)
					for i := range list {
						if list[i] != 0 {
							t.Error("memory is not zero")
						}
						list[i] = seed
					}
					if got, err := s.Call(sum, addr(&list[0]), 100); err != nil || uint64(got) != 100*seed {
						t.Errorf("a sum of %d, %v", got, err)
					}
				}
				if got, err := s.Call(six, 6, 5, 4, 3, 2, 1); err != nil || got != 123456 {
					t.Errorf("%d, %v", got, err)
				}
				p.Put(s)
			}
		})
	}
	wg.Wait()
	p.check(nil)
	if len(usr) == 0 {
		t.Error("no signal arrived")
	}
	t.Logf("%d faults", faults.Load())
}

// Code that moves the stack pointer over a guard at once, into another stack, is found when it
// faults, and never taken for the code that runs on that stack.
func TestLeapOverTheGuard(t *testing.T) {
	if isARM {
		t.Skip("on arm64 the goroutine is known by the stack pointer alone")
	}
	f := native(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	p := mustOpen(t, Config{Size: 64 << 10, Guard: 4096, Max: 100})
	var stacks [8]*Stack
	for range stacks {
		s := get(t, p)
		stacks[p.index(s)] = s
	}
	const from, to = 4, 1 // 215,000 bytes lower
	spins, leap := f("spins"), f("leap")
	background(t, func() { call(t, stacks[to], spins, 20000) })
	for range rounds(2000) {
		var fault *guard.Fault
		if _, err := stacks[from].Call(leap, 8); !errors.As(err, &fault) || fault.Kind != guard.BadAddress || fault.Addr != 8 {
			t.Fatalf("the leap gave %v", err)
		}
	}
	// From the lowest stack it leaves all of them.
	for range 100 {
		var fault *guard.Fault
		if _, err := stacks[0].Call(leap, 8); !errors.As(err, &fault) {
			t.Fatalf("the leap gave %v", err)
		}
	}
}

// Pools come and go while the handler looks for the stack of code that lost its stack pointer.
func TestHammerCloseWhileOthersFault(t *testing.T) {
	if isARM {
		t.Skip("on arm64 the goroutine is known by the stack pointer alone")
	}
	f := native(t)
	leap := f("leap")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := mustOpen(t, Config{Max: 100})
	count := 20000
	if !guard.LightGuards() {
		count = 10000 // each takes two mappings
	}
	var closed atomic.Int64
	background(t, func() {
		q, err := Open(Config{Size: 4096, Max: count})
		if err != nil {
			t.Error(err)
			return
		}
		var all []*Stack
		for range count {
			all = append(all, get(t, q))
		}
		for _, s := range all {
			q.Put(s)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		closed.Add(1)
	})
	s := get(t, p)
	for closed.Load() < int64(rounds(40)) {
		var fault *guard.Fault
		if _, err := s.Call(leap, 8); !errors.As(err, &fault) {
			t.Fatalf("the leap gave %v", err)
		}
	}
}

// Whatever stops the world waits for native code, and gets on when it returns.
func TestStopTheWorldWaits(t *testing.T) {
	f := native(t)
	p := mustOpen(t, Config{})
	s := get(t, p)
	spins := f("spins")
	done := make(chan error)
	go func() {
		_, err := s.Call(spins, 50_000_000)
		done <- err
	}()
	for atomic.LoadUintptr((*uintptr)(&s.block)) == 0 {
		runtime.Gosched()
	}
	runtime.GC()
	if atomic.LoadUintptr((*uintptr)(&s.block)) != 0 {
		t.Error("the world was stopped under native code")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
