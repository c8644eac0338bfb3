package stack

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
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
		"New":              func() error { return stacktest.PanicOf(func() { New[[100]byte](s) }) },
		"huge New":         func() error { return stacktest.PanicOf(func() { New[[1 << 30]byte](s) }) },
		"MakeSlice":        func() error { return stacktest.PanicOf(func() { MakeSlice[int32](s, 17, 17) }) },
		"Alloc":            func() error { return stacktest.PanicOf(func() { s.Alloc(65, 1) }) },
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
		if err := stacktest.PanicOf(f); err == nil || !strings.Contains(err.Error(), "garbage collector") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPutOfNoStackYet puts a pointer to a Stack that is not initialised yet.
func TestPutOfNoStackYet(t *testing.T) {
	p := mustOpen(t, Config{Name: "mine"})
	get(t, p)
	var v *guard.Violation
	if err := stacktest.PanicOf(func() { p.Put(p.stack(1000)) }); !errors.As(err, &v) || v.Kind != guard.WrongOwner || v.Detail != "stack of another pool" {
		t.Error(err)
	}
}

// TestOverrunsFault writes beyond both ends of a stack. Both writes fault.
func TestOverrunsFault(t *testing.T) {
	p := mustOpen(t, Config{})
	a, b := get(t, p), get(t, p)
	if b.at(b.head.Top) == unsafe.Add(a.at(a.head.Top), p.stride) {
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
