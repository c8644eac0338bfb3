package misuse

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
)

// stacks opens a pool of stacks. After the case it must still work.
func (w *world) stacks(name string) *stack.Pool {
	p, err := stack.OpenPool(stack.Config{Name: name, Max: 64})
	w.must(err)
	w.then(func() error {
		s, err := p.TryGet()
		if errors.Is(err, guard.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		f := s.Push()
		for _, x := range stack.MakeSlice[uint64](s, 1000, 1000) {
			if x != 0 {
				return errors.New("fresh memory is not zero")
			}
		}
		s.Pop(f)
		p.Put(s)
		return p.Close()
	})
	return p
}

func (w *world) get(p *stack.Pool) *stack.Stack { return p.Get() }

// idle returns a stack that was put.
func (w *world) idle() *stack.Stack {
	p := w.stacks("stacks")
	s := w.get(p)
	p.Put(s)
	return s
}

// shut returns a closed pool, a stack of it, and a frame of the stack.
func (w *world) shut() (*stack.Pool, *stack.Stack, stack.Frame) {
	p := w.stacks("stacks")
	s := w.get(p)
	f := s.Push()
	p.Put(s)
	w.must(p.Close())
	return p, s, f
}

// exhausted returns a pool of which all stacks are in use.
func (w *world) exhausted() (p *stack.Pool) {
	var held [64]*stack.Stack
	w.then(func() error { // before the check that w.stacks adds
		for _, s := range held {
			p.Put(s)
		}
		return nil
	})
	p = w.stacks("stacks")
	for i := range held {
		held[i] = p.Get()
	}
	return p
}

// unchanged checks after the case that the stack has as many bytes in use as now.
func (w *world) unchanged(s *stack.Stack) {
	used := s.Used()
	w.then(func() error {
		if s.Used() != used {
			return fmt.Errorf("%d bytes are in use, before %d", s.Used(), used)
		}
		return nil
	})
}

// inStack expects a violation of a stack.
func inStack(op, what string) outcomes { return plainly(violates("stack."+op, what, "stacks", "#")) }

const (
	notInnermost = "out of order: frame that is not the innermost open one"
	otherStack   = "wrong owner: frame of another stack"
	otherPool    = "wrong owner: stack of another pool"
	poolIsClosed = "use after close: the pool is closed"
)

var stackMisuse = []misuse{
	{"Put twice", func(w *world) { p := w.stacks("stacks"); s := w.get(p); p.Put(s); p.Put(s) }, inStack("Put", "double free: put twice")},
	{"Put of another pool's", func(w *world) { p, q := w.stacks("stacks"), w.stacks("other"); p.Put(w.get(q)) }, inStack("Put", otherPool)},
	{"Put of nil", func(w *world) { w.stacks("stacks").Put(nil) }, plainly(fine)},
	{"Get from a zero Pool", func(w *world) { w.get(new(stack.Pool)) }, plainly(`violation: stack.Get: use of a zero value: stack.OpenPool makes a Pool`)},
	{"Get from a nil Pool", func(w *world) { w.get(nil) }, plainly(`violation: stack.Get: use of a zero value: stack.OpenPool makes a Pool`)},
	{"TryGet from a zero Pool", func(w *world) {
		_, err := new(stack.Pool).TryGet()
		w.must(err)
	}, plainly(`violation: stack.Get: use of a zero value: stack.OpenPool makes a Pool`)},
	{"Push on a zero Stack", func(w *world) { new(stack.Stack).Push() }, plainly(violates("stack.Push", "use of a zero value: Pool.Get makes a Stack", "", "0"))},
	{"Put of a copy", func(w *world) { w.stacks("stacks").Put(new(stack.Stack)) }, inStack("Put", otherPool)},
	{"Put of what is inside", func(w *world) {
		p := w.stacks("stacks")
		p.Put((*stack.Stack)(unsafe.Add(unsafe.Pointer(w.get(p)), 8)))
	}, inStack("Put", otherPool)},
	{"Put after Close", func(w *world) { p, s, _ := w.shut(); p.Put(s) }, inStack("Put", otherPool+", or this one is closed")},
	{"Get after Close", func(w *world) { p, _, _ := w.shut(); p.Get() }, plainly(`violation: stack.Get: use after close ("stacks")`)},
	{"TryGet after Close", func(w *world) {
		p, _, _ := w.shut()
		_, err := p.TryGet()
		w.must(err)
	}, plainly(`error: stack: pool "stacks": closed`)},
	{"Get of more stacks than there are", func(w *world) { w.exhausted().Get() },
		plainly(`panic: stack: pool "stacks": all of Max 64 stacks are in use: no memory`)},
	{"TryGet of more stacks than there are", func(w *world) {
		_, err := w.exhausted().TryGet()
		w.must(err)
	}, plainly(`error: stack: pool "stacks": all of Max 64 stacks are in use: no memory`)},
	{"Close twice", func(w *world) { p, _, _ := w.shut(); w.must(p.Close()) }, plainly(`error: stack: close pool "stacks": closed`)},
	{"New after Put", func(w *world) { stack.New[int](w.idle()) }, inStack("New", afterPut)},
	{"New of nothing after Put", func(w *world) { stack.New[struct{}](w.idle()) }, inStack("New", afterPut)},
	{"TryNew after Put", func(w *world) {
		_, err := stack.TryNew[int](w.idle())
		w.must(err)
	}, inStack("TryNew", afterPut)},
	{"MakeSlice after Put", func(w *world) { stack.MakeSlice[int](w.idle(), 0, 0) }, inStack("MakeSlice", afterPut)},
	{"Alloc after Put", func(w *world) { w.idle().Alloc(0, 1) }, inStack("Alloc", afterPut)},
	{"Push after Put", func(w *world) { w.idle().Push() }, inStack("Push", afterPut)},
	{"Size after Put", func(w *world) { w.idle().Size() }, inStack("Size", afterPut)},
	{"Used after Put", func(w *world) { w.idle().Used() }, inStack("Used", afterPut)},
	{"HighWater after Put", func(w *world) { w.idle().HighWater() }, inStack("HighWater", afterPut)},
	{"Pop after Put", func(w *world) { p := w.stacks("stacks"); s := w.get(p); f := s.Push(); p.Put(s); s.Pop(f) }, inStack("Pop", afterPut)},
	{"Pop after Put and Get", func(w *world) {
		p := w.stacks("stacks")
		s := w.get(p)
		f := s.Push()
		p.Put(s)
		for w.get(p) != s {
		}
		w.unchanged(s)
		s.Pop(f)
	}, inStack("Pop", notInnermost)},
	{"New after Close", func(w *world) { _, s, _ := w.shut(); stack.New[int](s) }, inStack("New", poolIsClosed)},
	{"Push after Close", func(w *world) { _, s, _ := w.shut(); s.Push() }, inStack("Push", poolIsClosed)},
	{"Pop after Close", func(w *world) { _, s, f := w.shut(); s.Pop(f) }, inStack("Pop", poolIsClosed)},
	{"Pop of the outer frame", func(w *world) {
		s := w.get(w.stacks("stacks"))
		outer := s.Push()
		stack.New[int](s)
		s.Push()
		w.unchanged(s)
		s.Pop(outer)
	}, inStack("Pop", notInnermost)},
	{"Pop twice", func(w *world) {
		s := w.get(w.stacks("stacks"))
		s.Push()
		stack.New[int](s)
		f := s.Push()
		stack.New[int](s)
		s.Pop(f)
		w.unchanged(s)
		s.Pop(f)
	}, inStack("Pop", notInnermost)},
	{"Pop of an empty frame twice", func(w *world) { s := w.get(w.stacks("stacks")); f := s.Push(); s.Pop(f); s.Pop(f) }, inStack("Pop", notInnermost)},
	{"Pop of no frame", func(w *world) {
		s := w.get(w.stacks("stacks"))
		stack.New[int](s)
		w.unchanged(s)
		s.Pop(stack.Frame{})
	}, inStack("Pop", otherStack)},
	{"Pop of another stack's frame", func(w *world) {
		p := w.stacks("stacks")
		one, two := w.get(p), w.get(p)
		stack.New[int](two)
		w.unchanged(two)
		two.Pop(one.Push())
	}, inStack("Pop", otherStack)},
	{"touch of popped memory", func(w *world) {
		p := w.stacks("stacks")
		s := w.get(p)
		f := s.Push()
		b := s.Alloc(4000, 8)
		s.Pop(f)
		b[3999] = 1
		w.ruined()
		p.Put(s)
	}, plainly(notCaught)},
	{"New of more than there is", func(w *world) { stack.New[[1 << 20]byte](w.get(w.stacks("stacks"))) },
		plainly(`panic: stack: "stacks": 1048576 bytes do not fit, 0 of 65536 are in use: stack overflow: no memory`)},
	{"deep recursion", func(w *world) {
		s := w.get(w.stacks("stacks"))
		for {
			s.Push()
			_, err := stack.TryNew[[1000]byte](s)
			w.must(err)
		}
	}, plainly(`error: stack: "stacks": 1000 bytes do not fit, 65000 of 65536 are in use: stack overflow: no memory`)},
	{"write above the top", func(w *world) {
		b := w.get(w.stacks("stacks")).Alloc(16, 8)
		for i := 0; ; i++ {
			poke(b, i)
		}
	}, plainly(`fault: guard: touch of decommitted memory in region "stacks": address 0xADDR, offset # of #`)},
	{"write below the end", func(w *world) {
		b := w.get(w.stacks("stacks")).Alloc(16, 8)
		w.ruined()
		for i := 0; ; i-- {
			poke(b, i)
		}
	}, plainly(`fault: guard: touch of a guard in region "stacks": address 0xADDR, offset # of #`)},
	{"type with pointers", func(w *world) { stack.New[struct{ Name string }](w.get(w.stacks("stacks"))) },
		plainly(pointers("stack", "struct { Name string }", "struct { Name string }.Name is a string"))},
	{"negative size", func(w *world) { w.get(w.stacks("stacks")).Alloc(-1, 8) }, plainly(refused("stack", -1, 8, 4096))},
	{"alignment of 3", func(w *world) { w.get(w.stacks("stacks")).Alloc(8, 3) }, plainly(refused("stack", 8, 3, 4096))},
	{"alignment of 0", func(w *world) { w.get(w.stacks("stacks")).Alloc(8, 0) }, plainly(refused("stack", 8, 0, 4096))},
	{"negative alignment", func(w *world) { w.get(w.stacks("stacks")).Alloc(8, -8) }, plainly(refused("stack", 8, -8, 4096))},
	{"alignment above the limit", func(w *world) { w.get(w.stacks("stacks")).Alloc(8, 8192) }, plainly(refused("stack", 8, 8192, 4096))},
	{"slice overflow", func(w *world) { stack.MakeSlice[int](w.get(w.stacks("stacks")), 0, math.MaxInt) },
		plainly("panic: stack: 9223372036854775807 elements of 8 bytes are more than addresses can hold: no memory")},
	{"Close with stacks in use", func(w *world) {
		p := w.stacks("stacks")
		s := w.get(p)
		w.must(p.Close())
		stack.New[int](s)
		p.Put(s)
	}, plainly(fine)},
}
