package native

import (
	"bytes"
	"cmp"
	"errors"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestHammerCalls runs native code on many goroutines: it returns, overflows its stack, touches bad addresses
// and uses all registers. Meanwhile the collector and the profiler run, signals arrive that Go handles, and
// Go code faults and recovers.
func TestHammerCalls(t *testing.T) {
	f := native(t)
	sum, ackermann, peek, six, busy, trap := f("sum"), f("ackermann"), f("peek"), f("six"), f("busy"), f("trap")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := mustOpen(t, stack.Config{Size: 32 << 10, Max: 16})
	stacktest.Background(t, runtime.GC)
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		t.Log("without the profiler: ", err)
	} else {
		defer pprof.StopCPUProfile()
	}
	usr := make(chan os.Signal, 100)
	signal.Notify(usr, syscall.SIGUSR1)
	defer signal.Stop(usr)
	stacktest.Background(t, func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		time.Sleep(100 * time.Microsecond)
	})
	var faults atomic.Int64
	want := func(s *stack.Stack, kind guard.Kind, fn Func, args ...uintptr) {
		var fault *guard.Fault
		if _, err := Call(s, fn, args...); !errors.As(err, &fault) || fault.Kind != kind {
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
			for range stacktest.Rounds(1000) {
				s, err := p.TryGet()
				if err != nil {
					t.Error(err)
					return
				}
				switch r.IntN(8) {
				case 0:
					want(s, StackOverflow, ackermann, 4, 9)
				case 1:
					want(s, BadAddress, peek, uintptr(r.IntN(4096))&^7)
				case 2:
					want(s, IllegalInstruction, trap)
				case 3:
					var nothing *int
					if err := stacktest.PanicOf(func() { *nothing = 1 }); err == nil || !strings.Contains(err.Error(), "nil pointer") {
						t.Errorf("a nil pointer in Go: %v", err)
					}
				case 4:
					if got, err := Call(s, busy, 100); err != nil || got != wantBusy {
						t.Errorf("registers were disturbed: %v", err)
					}
				default:
					list := stack.MakeSlice[uint64](s, 100, 100)
					for i := range list {
						if list[i] != 0 {
							t.Error("memory is not zero")
						}
						list[i] = seed
					}
					if got, err := Call(s, sum, addr(&list[0]), 100); err != nil || uint64(got) != 100*seed {
						t.Errorf("a sum of %d, %v", got, err)
					}
				}
				if got, err := Call(s, six, 6, 5, 4, 3, 2, 1); err != nil || got != 123456 {
					t.Errorf("%d, %v", got, err)
				}
				p.Put(s)
			}
		})
	}
	wg.Wait()
	checkIdle(t, p)
	if len(usr) == 0 {
		t.Error("no signal arrived")
	}
	t.Logf("%d faults", faults.Load())
}

// TestLeapOverTheGuard runs code that moves its stack pointer over a guard, into another stack, and faults
// there. The handler finds its goroutine, and never mistakes it for the one that runs on the other stack.
func TestLeapOverTheGuard(t *testing.T) {
	if isARM {
		t.Skip("on arm64 the goroutine is known by the stack pointer alone")
	}
	f := native(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	p := mustOpen(t, stack.Config{Size: 64 << 10, Guard: 4096, Max: 100})
	var stacks [8]*stack.Stack
	for i := range stacks {
		stacks[i] = hold(t, p)
	}
	slices.SortFunc(stacks[:], func(a, b *stack.Stack) int { return cmp.Compare(addr(a), addr(b)) })
	if last := len(stacks) - 1; addr(stacks[last])-addr(stacks[0]) != uintptr(last)*unsafe.Sizeof(stack.Stack{}) {
		t.Fatal("the stacks do not lie side by side")
	}
	const from, to = 4, 1 // 215,000 bytes lower
	spins, leap := f("spins"), f("leap")
	stacktest.Background(t, func() { call(t, stacks[to], spins, 20000) })
	for range stacktest.Rounds(2000) {
		var fault *guard.Fault
		if _, err := Call(stacks[from], leap, 8); !errors.As(err, &fault) || fault.Kind != BadAddress || fault.Addr != 8 {
			t.Fatalf("the leap gave %v", err)
		}
	}
	// From the lowest stack the stack pointer leaves all stacks.
	for range 100 {
		var fault *guard.Fault
		if _, err := Call(stacks[0], leap, 8); !errors.As(err, &fault) {
			t.Fatalf("the leap gave %v", err)
		}
	}
}

// TestHammerCloseWhileOthersFault opens and closes pools, while the handler searches all stacks for the
// goroutine of code that leapt over its guard.
func TestHammerCloseWhileOthersFault(t *testing.T) {
	if isARM {
		t.Skip("on arm64 the goroutine is known by the stack pointer alone")
	}
	f := native(t)
	leap := f("leap")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := mustOpen(t, stack.Config{Max: 100})
	count := 20000
	if !guard.LightGuards() {
		count = 10000 // each stack takes two mappings
	}
	var closed atomic.Int64
	stacktest.Background(t, func() {
		q, err := stack.OpenPool(stack.Config{Size: 4096, Max: count})
		if err != nil {
			t.Error(err)
			return
		}
		var all []*stack.Stack
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
	s := hold(t, p)
	for closed.Load() < int64(stacktest.Rounds(40)) {
		var fault *guard.Fault
		if _, err := Call(s, leap, 8); !errors.As(err, &fault) {
			t.Fatalf("the leap gave %v", err)
		}
	}
}

// TestStopTheWorldWaits collects garbage while native code runs. The collection waits for the code.
func TestStopTheWorldWaits(t *testing.T) {
	f := native(t)
	s := hold(t, mustOpen(t, stack.Config{}))
	spins := f("spins")
	inside := func() bool { return atomic.LoadUintptr((*uintptr)(&headerOf(s).Block)) != 0 }
	for range 100 {
		done := make(chan error, 1)
		go func() {
			_, err := Call(s, spins, 50_000_000)
			done <- err
		}()
		seen := false
		for !seen && len(done) == 0 {
			runtime.Gosched()
			seen = inside()
		}
		runtime.GC()
		if inside() {
			t.Error("the world was stopped under native code")
		}
		stacktest.NoError(t, <-done)
		if seen {
			return
		}
	}
	t.Skip("the call was always over before it was seen")
}
