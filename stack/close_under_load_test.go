package stack_test

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
	"github.com/seed-9a6c551e/offheap/stack/native"
)

// TestOutsideCloseUnderLoad closes pools while other goroutines get, use and put stacks. A stack in use stays
// usable until it is put, and TryGet returns ErrClosed after Close.
func TestOutsideCloseUnderLoad(t *testing.T) {
	if !stacktest.InOwnProcess(t) {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	fn := returning(t)
	stacktest.Background(t, runtime.GC)
	for range stacktest.Rounds(100) {
		p, err := stack.OpenPool(stack.Config{Size: 8 << 10, Max: 200})
		stacktest.NoError(t, err)
		var wg sync.WaitGroup
		var ended atomic.Int64
		for range 4 {
			wg.Go(func() {
				defer ended.Add(1)
				for {
					s, err := p.TryGet()
					if err != nil {
						if !errors.Is(err, guard.ErrClosed) {
							t.Errorf("Get: %v", err)
						}
						return
					}
					f := s.Push()
					stack.New[[4]uint64](s)[0] = 1
					if fn != 0 {
						if _, err := native.Call(s, fn); err != nil {
							t.Errorf("Call: %v", err)
						}
					}
					s.Pop(f)
					p.Put(s)
				}
			})
		}
		wg.Go(func() {
			for ended.Load() < 4 {
				if err := p.Purge(); err != nil && !errors.Is(err, guard.ErrClosed) {
					t.Errorf("Purge: %v", err)
				}
				if s := p.Stats(); s.InUse > 4 {
					t.Errorf("%+v", s)
				}
				guard.Usage()
				time.Sleep(10 * time.Microsecond)
			}
		})
		time.Sleep(100 * time.Microsecond)
		stacktest.NoError(t, p.Close())
		wg.Wait()
		if s := p.Stats(); s.Reserved != 0 {
			t.Fatalf("the pool is not closed: %+v", s)
		}
	}
}

// TestOutsideUseAroundClose uses a stack after Put, while its pool is closed. Each use is a violation before
// and after Close, and nothing worse: the Stack is readable when Close returns.
func TestOutsideUseAroundClose(t *testing.T) {
	if !stacktest.InOwnProcess(t) {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	fn := returning(t)
	const putAlready, afterClose = "use after Put", "use after close: the pool is closed"
	for range stacktest.Rounds(100) {
		p, err := stack.OpenPool(stack.Config{Size: 8 << 10, Max: 200})
		stacktest.NoError(t, err)
		s, err := p.TryGet()
		stacktest.NoError(t, err)
		f := s.Push()
		p.Put(s)
		var stop atomic.Bool
		var wg sync.WaitGroup
		var closing sync.RWMutex
		for name, use := range map[string]func(){
			"Push": func() { s.Push() }, "Pop": func() { s.Pop(f) }, "New": func() { stack.New[int](s) },
			"Alloc": func() { s.Alloc(1, 1) }, "Used": func() { s.Used() }, "Call": func() { native.Call(s, fn) },
			"Put": func() { p.Put(s) },
		} {
			wg.Go(func() {
				for !stop.Load() {
					if name == "New" { // it looks at two words, one of which may be from before Close
						closing.RLock()
					}
					stacktest.Violates(t, name, use, putAlready, afterClose, "double free: put twice", "wrong owner: stack of another pool", "wrong owner: stack of another pool, or this one is closed")
					if name == "New" {
						closing.RUnlock()
					}
					time.Sleep(time.Microsecond)
				}
			})
		}
		time.Sleep(50 * time.Microsecond)
		closing.Lock()
		err = p.Close()
		closing.Unlock()
		stacktest.NoError(t, err)
		time.Sleep(50 * time.Microsecond)
		stop.Store(true)
		wg.Wait()
	}
}

// returning loads a function that returns at once; it is 0 where there is no native code.
func returning(t *testing.T) native.Func {
	code := []byte{0xc3}
	if runtime.GOARCH == "arm64" {
		code = []byte{0xc0, 0x03, 0x5f, 0xd6}
	}
	c, err := native.LoadCode(code)
	if errors.Is(err, errors.ErrUnsupported) {
		return 0
	}
	stacktest.NoError(t, err)
	t.Cleanup(func() { stacktest.NoError(t, c.Close()) })
	return c.Func(0)
}
