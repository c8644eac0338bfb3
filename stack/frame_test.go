package stack

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

func TestFramesNest(t *testing.T) {
	p := mustOpen(t, Config{Max: 1})
	s := get(t, p)
	outer := s.Push()
	a := New[[3]uint64](s)
	a[2] = 7
	inner := s.Push()
	b := MakeSlice[byte](s, 10, 100)
	b[9] = 1
	c := s.Alloc(1, 64)
	c[0] = 9
	if uintptr(unsafe.Pointer(&c[0]))%64 != 0 || uintptr(unsafe.Pointer(a))%8 != 0 {
		t.Error("not aligned")
	}
	empty := s.Push()
	s.Pop(empty)
	used := s.Used()
	s.Pop(inner)
	if a[2] != 7 || s.Used() != 24 {
		t.Errorf("%d bytes used after the inner frame, contents %v", s.Used(), a)
	}
	if again := New[[4]uint64](s); *again != [4]uint64{} {
		t.Errorf("popped memory reads %v", *again)
	}
	s.Pop(outer)
	if s.Used() != 0 || s.HighWater() != used {
		t.Errorf("%d bytes used, high water %d, want 0 and %d", s.Used(), s.HighWater(), used)
	}
}

func TestOverflowIsTold(t *testing.T) {
	p := mustOpen(t, Config{Name: "small", Size: 8192, Max: 1})
	s := get(t, p)
	s.Alloc(8192-64, 8)
	f := s.Push()
	for name, try := range map[string]func() error{
		"TryNew":           func() error { _, err := TryNew[[100]byte](s); return err },
		"TryMakeSlice":     func() error { _, err := TryMakeSlice[uint64](s, 0, 9); return err },
		"huge slice":       func() error { _, err := TryMakeSlice[uint64](s, 0, math.MaxInt/8); return err },
		"TryAlloc":         func() error { _, err := s.TryAlloc(65, 1); return err },
		"TryAlloc aligned": func() error { _, err := s.TryAlloc(65, 4096); return err },
		"huge":             func() error { _, err := s.TryAlloc(math.MaxInt, 1); return err },
		"huge and aligned": func() error { _, err := s.TryAlloc(math.MaxInt, 4096); return err },
		"New":              func() error { return panicOf(func() { New[[100]byte](s) }) },
		"huge New":         func() error { return panicOf(func() { New[[1 << 30]byte](s) }) },
		"MakeSlice":        func() error { return panicOf(func() { MakeSlice[int32](s, 17, 17) }) },
		"Alloc":            func() error { return panicOf(func() { s.Alloc(65, 1) }) },
	} {
		err := try()
		if !errors.Is(err, ErrOverflow) || !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "small") || !strings.Contains(err.Error(), "8192") {
			t.Errorf("%s: %v", name, err)
		}
		if s.Used() != 8192-64 {
			t.Fatalf("%s took memory", name)
		}
	}
	if _, err := TryMakeSlice[uint64](s, 0, math.MaxInt); !errors.Is(err, guard.ErrNoMemory) {
		t.Errorf("more than addresses: %v", err)
	}
	if len(s.Alloc(64, 8)) != 64 {
		t.Error("what fits was refused")
	}
	s.Pop(f)
}

// panicOf returns the error that f panics with.
func panicOf(f func()) (err error) {
	defer func() { err, _ = recover().(error) }()
	f()
	return nil
}

func TestBadSizes(t *testing.T) {
	p := mustOpen(t, Config{})
	s := get(t, p)
	for _, c := range []struct{ size, align int }{{-1, 8}, {math.MinInt, 8}, {8, 0}, {8, -8}, {8, 3}, {8, 8192}, {8, math.MinInt}} {
		if b, err := s.TryAlloc(c.size, c.align); err == nil || b != nil {
			t.Errorf("%+v gives %v, %v", c, b, err)
		}
	}
	for _, c := range []struct{ length, capacity int }{{-1, 8}, {9, 8}, {-1, -1}} {
		if b, err := TryMakeSlice[int](s, c.length, c.capacity); err == nil || b != nil {
			t.Errorf("%+v gives %v, %v", c, b, err)
		}
	}
	if s.Used() != 0 {
		t.Error("refused calls took memory")
	}
}

func TestPointersAreRefused(t *testing.T) {
	type order struct {
		ID   int
		Name string
	}
	p := mustOpen(t, Config{})
	s := get(t, p)
	for name, f := range map[string]func(){
		"New": func() { New[order](s) }, "TryNew": func() { TryNew[order](s) },
		"MakeSlice": func() { MakeSlice[order](s, 1, 1) }, "TryMakeSlice": func() { TryMakeSlice[*int](s, 0, 0) },
	} {
		if err := panicOf(f); err == nil || !strings.Contains(err.Error(), "garbage collector") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMisuse is the table of what a program must not do, and the words it is told so with.
func TestMisuse(t *testing.T) {
	type setup struct {
		p, other *Pool
		s        *Stack // in use
		idle     *Stack // put
		shut     *Stack // of a pool that is closed
		outer    Frame  // of s
		inner    Frame
		popped   Frame
	}
	pop := func(s *Stack, f Frame) {
		used := s.Used()
		defer func() {
			if s.Used() != used {
				t.Error("a refused Pop changed the stack")
			}
		}()
		s.Pop(f)
	}
	for _, c := range []struct {
		name string
		do   func(x setup)
		want string
	}{
		{"Put twice", func(x setup) { x.p.Put(x.idle) }, "stack.Put: put twice"},
		{"Put of another pool's", func(x setup) { x.other.Put(x.s) }, "stack.Put: stack of another pool"},
		{"Put of nil", func(x setup) { x.p.Put(nil) }, "stack.Put: nil instead of a stack"},
		{"Put of a copy", func(x setup) { x.p.Put(new(Stack)) }, "stack.Put: stack of another pool"},
		{"Put of what is inside", func(x setup) { x.p.Put((*Stack)(unsafe.Add(unsafe.Pointer(x.s), 8))) }, "stack.Put: stack of another pool"},
		{"Put of what is behind", func(x setup) { x.p.Put(x.p.stack(1000)) }, "stack.Put: stack of another pool"},
		{"Put after Close", func(x setup) { (*Pool).Put(closedPool(t), x.shut) }, "stack.Put: stack of another pool, or this one is closed"},
		{"New after Put", func(x setup) { New[int](x.idle) }, "stack.New: use after Put"},
		{"New of nothing after Put", func(x setup) { New[struct{}](x.idle) }, "stack.New: use after Put"},
		{"TryNew after Put", func(x setup) { TryNew[int](x.idle) }, "stack.TryNew: use after Put"},
		{"MakeSlice after Put", func(x setup) { MakeSlice[int](x.idle, 0, 0) }, "stack.MakeSlice: use after Put"},
		{"Alloc after Put", func(x setup) { x.idle.Alloc(0, 1) }, "stack.Alloc: use after Put"},
		{"Push after Put", func(x setup) { x.idle.Push() }, "stack.Push: use after Put"},
		{"Size after Put", func(x setup) { x.idle.Size() }, "stack.Size: use after Put"},
		{"Used after Put", func(x setup) { x.idle.Used() }, "stack.Used: use after Put"},
		{"HighWater after Put", func(x setup) { x.idle.HighWater() }, "stack.HighWater: use after Put"},
		{"Call after Put", func(x setup) { x.idle.Call(0) }, "stack.Call: use after Put"},
		{"CallF after Put", func(x setup) { x.idle.CallF(0) }, "stack.CallF: use after Put"},
		{"Pop after Put", func(x setup) { x.p.Put(x.s); x.s.Pop(x.inner) }, "stack.Pop: use after Put"},
		{"Pop after Put and Get", func(x setup) {
			x.p.Put(x.s)
			for s := get(t, x.p); s != x.s; s = get(t, x.p) {
			}
			pop(x.s, x.inner)
		}, "stack.Pop: frame that is not the innermost open one"},
		{"New after Close", func(x setup) { New[int](x.shut) }, "stack.New: use after Close of the pool"},
		{"Push after Close", func(x setup) { x.shut.Push() }, "stack.Push: use after Close of the pool"},
		{"Pop after Close", func(x setup) { x.shut.Pop(Frame{stack: x.shut, serial: 1}) }, "stack.Pop: use after Close of the pool"},
		{"Call after Close", func(x setup) { x.shut.Call(0) }, "stack.Call: use after Close of the pool"},
		{"Pop of the outer frame", func(x setup) { pop(x.s, x.outer) }, "stack.Pop: frame that is not the innermost open one"},
		{"Pop twice", func(x setup) { pop(x.s, x.popped) }, "stack.Pop: frame that is not the innermost open one"},
		{"Pop of an empty frame twice", func(x setup) { f := x.s.Push(); x.s.Pop(f); x.s.Pop(f) }, "stack.Pop: frame that is not the innermost open one"},
		{"Pop of no frame", func(x setup) { pop(x.s, Frame{}) }, "stack.Pop: frame of another stack"},
		{"Pop of another stack's frame", func(x setup) { pop(get(t, x.p), x.inner) }, "stack.Pop: frame of another stack"},
		{"Pop with none open", func(x setup) { x.s.Pop(x.inner); x.s.Pop(x.outer); x.s.Pop(x.outer) }, "stack.Pop: frame that is not the innermost open one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := setup{p: mustOpen(t, Config{Name: "mine"}), other: mustOpen(t, Config{Name: "other"})}
			x.s, x.idle = get(t, x.p), get(t, x.p)
			x.p.Put(x.idle)
			closed := mustOpen(t, Config{Name: "shut"})
			x.shut = get(t, closed)
			closed.Put(x.shut)
			if err := closed.Close(); err != nil {
				t.Fatal(err)
			}
			shutPool = closed
			x.outer = x.s.Push()
			New[int](x.s)
			x.popped = x.s.Push()
			New[int](x.s)
			x.s.Pop(x.popped)
			x.inner = x.s.Push()
			New[int](x.s)
			var v *guard.Violation
			if err := panicOf(func() { c.do(x) }); !errors.As(err, &v) || !strings.HasPrefix(v.Error(), c.want+" (") {
				t.Errorf("got %v, want %s", err, c.want)
			}
			// The stack is as it was, or put.
			if x.s.state == used && x.s.frame == x.inner.serial {
				x.s.Pop(x.inner)
				x.s.Pop(x.outer)
			}
		})
	}
}

var shutPool *Pool

func closedPool(*testing.T) *Pool { return shutPool }

// What a program gets for writing over the ends of a stack.
func TestOverrunsFault(t *testing.T) {
	p := mustOpen(t, Config{})
	a, b := get(t, p), get(t, p)
	if b.at(b.top) == unsafe.Add(a.at(a.top), p.stride) {
		a, b = b, a
	}
	x := New[uint64](a)
	var fault *guard.Fault
	err := guard.Catch(func() {
		for p := unsafe.Pointer(x); ; p = unsafe.Add(p, 1) {
			*(*byte)(p) = 1
		}
	})
	if !errors.As(err, &fault) || fault.Addr != uintptr(unsafe.Pointer(x))+8 {
		t.Errorf("upwards: %v", err)
	}
	err = guard.Catch(func() {
		for p := unsafe.Pointer(x); ; p = unsafe.Add(p, -1) {
			*(*byte)(p) = 1
		}
	})
	if !errors.As(err, &fault) || fault.Addr != uintptr(unsafe.Pointer(&whole(a)[0]))-1 || fault.Kind != guard.Guarded {
		t.Errorf("downwards: %v", err)
	}
}
