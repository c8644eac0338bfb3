package stack_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
	"github.com/seed-9a6c551e/offheap/stack/native"
)

// machineCode is three functions, one after the other.
type machineCode struct {
	code                       []byte
	returns, recurses, touches int // where they begin
}

var machineCodes = map[string]machineCode{
	"amd64": {code: []byte{
		0xc3,                         // ret
		0xe8, 0xfb, 0xff, 0xff, 0xff, // call .
		0x48, 0x8b, 0x07, 0xc3, // mov (%rdi), %rax; ret
	}, returns: 0, recurses: 1, touches: 6},
	"arm64": {code: []byte{
		0xc0, 0x03, 0x5f, 0xd6, // ret
		0xfd, 0x7b, 0xbf, 0xa9, 0xff, 0xff, 0xff, 0x97, // stp x29, x30, [sp, #-16]!; bl .-4
		0x00, 0x00, 0x40, 0xf9, 0xc0, 0x03, 0x5f, 0xd6, // ldr x0, [x0]; ret
	}, returns: 0, recurses: 4, touches: 12},
}

// TestHammerInvariantsOfNativeCode runs native code that returns, overflows its stack and touches bad addresses, on
// many goroutines, and looks at the books of the pool: each stack is idle or in use once, and what is idle reads
// zero as far as the pool believes. (The tests of package native do not see the books.)
func TestHammerInvariantsOfNativeCode(t *testing.T) {
	m := machineCodes[runtime.GOARCH]
	loaded, err := native.LoadCode(m.code)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	stacktest.NoError(t, err)
	defer loaded.Close()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p, err := stack.OpenPool(stack.Config{Size: 32 << 10, Max: 16})
	stacktest.NoError(t, err)
	calls := []struct {
		at   int
		kind guard.Kind // "" for none
	}{{m.returns, ""}, {m.recurses, native.StackOverflow}, {m.touches, native.BadAddress}}
	run := func(s *stack.Stack, r *rand.Rand) {
		f := s.Push()
		for i, x := range stack.MakeSlice[uint64](s, 100, 100) {
			if x != 0 {
				t.Errorf("word %d is %#x", i, x)
			}
		}
		c := calls[r.IntN(len(calls))]
		_, err := native.Call(s, loaded.Func(c.at), 8)
		var fault *guard.Fault
		if (c.kind == "") != (err == nil) || err != nil && (!errors.As(err, &fault) || fault.Kind != c.kind) {
			t.Errorf("a call of the function at %d: %v, want %q", c.at, err, c.kind)
		}
		if r.IntN(2) == 0 {
			s.Pop(f)
		}
	}
	// One goroutine: the pool is looked at after each call.
	r := rand.New(rand.NewPCG(1, 1))
	s, other := p.Get(), p.Get()
	for range stacktest.Rounds(400) {
		run(s, r)
		p.CheckInvariants(map[*stack.Stack]bool{s: true, other: true})
		if r.IntN(3) == 0 {
			p.Put(s)
			p.CheckInvariants(map[*stack.Stack]bool{other: true})
			s = p.Get()
		}
	}
	p.Put(s)
	p.Put(other)
	// Many, while others purge.
	stacktest.Background(t, runtime.GC)
	var wg, purges sync.WaitGroup
	done := make(chan struct{})
	purges.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := p.Purge(); err != nil {
					t.Error(err)
				}
				runtime.Gosched()
			}
		}
	})
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 2))
			for range stacktest.Rounds(1000) {
				s := p.Get()
				run(s, r)
				p.Put(s)
			}
		})
	}
	wg.Wait()
	close(done)
	purges.Wait()
	p.CheckInvariants(nil)
	stacktest.NoError(t, p.Close())
}
