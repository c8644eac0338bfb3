package arena

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
)

// opened opens an arena for a test, and fails the test if memory is left behind.
func opened(t testing.TB, c Config) *Arena {
	t.Helper()
	nothingLeft(t)
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	})
	return a
}

// nothingLeft fails the test if it ends with more regions or more committed memory than there were at the first
// call.
func nothingLeft(t testing.TB) {
	t.Helper()
	if watched[t.Name()] {
		return
	}
	watched[t.Name()] = true
	before := guard.Usage()
	t.Cleanup(func() {
		delete(watched, t.Name())
		if after := guard.Usage(); after.Regions != before.Regions || after.Committed != before.Committed || after.Reserved != before.Reserved {
			t.Errorf("something is left behind:\nbefore %+v\nafter  %+v", before, after)
		}
	})
}

// watched has the tests that have called nothingLeft. Tests of this package do not run in parallel.
var watched = map[string]bool{}

// panicOf returns the value that f panics with, as an error; nil if f returns.
func panicOf(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			var ok bool
			if err, ok = p.(error); !ok {
				err = fmt.Errorf("panic with %v", p)
			}
		}
	}()
	f()
	return nil
}

func mustBeZero(t testing.TB, what string, b []byte) {
	t.Helper()
	mustAllBe(t, what, b, 0)
}

func mustAllBe(t testing.TB, what string, b []byte, want byte) {
	t.Helper()
	if bytes.Count(b, []byte{want}) == len(b) {
		return
	}
	for i, x := range b {
		if x != want {
			t.Fatalf("%s: byte %d of %d is %#x, want %#x", what, i, len(b), x, want)
		}
	}
}

// smear fills memory with a byte that no allocation contains.
func smear(b []byte) {
	if len(b) > 0 {
		b[0] = smeared
	}
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

const smeared = 0xA5

func TestNew(t *testing.T) {
	a := opened(t, Config{})
	type odd struct {
		a uint32
		b [3]uint8
	}
	var last uintptr
	check := func(p unsafe.Pointer, size uintptr) {
		t.Helper()
		at := uintptr(p)
		if at%granule != 0 || at < last {
			t.Fatalf("object at %#x, the last ended at %#x", at, last)
		}
		b := unsafe.Slice((*byte)(p), size)
		mustBeZero(t, "New", b)
		smear(b)
		last = at + size
	}
	for range 20000 {
		check(unsafe.Pointer(New[byte](a)), 1)
		check(unsafe.Pointer(New[odd](a)), unsafe.Sizeof(odd{}))
		check(unsafe.Pointer(New[[3]uint64](a)), 24)
		p, err := TryNew[[9]uint16](a)
		if err != nil {
			t.Fatal(err)
		}
		check(unsafe.Pointer(p), 18)
	}
	if live, want := a.Stats().Live, int64(20000*(8+8+24+24)); live != want {
		t.Fatalf("%d bytes live, want %d", live, want)
	}
}

func TestZeroSizes(t *testing.T) {
	a := opened(t, Config{})
	for range 2 {
		e := New[struct{}](a)
		f, err := TryNew[[0]uint64](a)
		if e == nil || f == nil || err != nil {
			t.Fatal(e, f, err)
		}
		if r := RefOf(a, e); r.IsNil() || r.Deref(a) != e || len(r.Slice(a, 5)) != 5 {
			t.Fatal("the Ref of an object without a size should lead back to it")
		}
		if s := MakeSlice[struct{}](a, 3, math.MaxInt); len(s) != 3 || cap(s) != math.MaxInt {
			t.Fatal(len(s), cap(s))
		}
		if s := Append(a, make([]struct{}, 2), struct{}{}); len(s) != 3 {
			t.Fatal(len(s))
		}
		if s := Clone(a, make([]struct{}, 7)); len(s) != 7 {
			t.Fatal(len(s))
		}
		for _, b := range [][]byte{a.Alloc(0, 1), MakeSlice[byte](a, 0, 0), Clone(a, []byte{})} {
			if len(b) != 0 || cap(b) != 0 {
				t.Fatal(len(b), cap(b))
			}
		}
		if s := String(a, ""); s != "" {
			t.Fatal(s)
		}
		if s := Append(a, []byte(nil)); s != nil {
			t.Fatal("appending nothing to nil should give nil, as append does")
		}
		if live := a.Stats().Live; live != 0 && live != 8 {
			t.Fatalf("%d bytes live", live)
		}
		New[byte](a)
	}
}

func TestAllocAlignment(t *testing.T) {
	a := opened(t, Config{})
	for align := 1; align <= maxAlign; align *= 2 {
		New[byte](a)
		b := a.Alloc(24, align)
		if at := uintptr(unsafe.Pointer(&b[0])); at%uintptr(max(align, granule)) != 0 {
			t.Fatalf("aligned to %d: %#x", align, at)
		}
		mustBeZero(t, "Alloc", b)
		smear(b)
	}
	if cap(a.Alloc(5, 1)) != 5 {
		t.Fatal("Alloc gives capacity that was not asked for")
	}
}

type holder struct {
	A [2]struct{ Next *holder }
}

// TestPointersAreRefused gives a type with pointers to every function that takes a type, with the fast path and
// without.
func TestPointersAreRefused(t *testing.T) {
	const text = "arena: arena.holder cannot live outside the Go heap: holder.A[0].Next is a pointer (*arena.holder), and the garbage collector does not see pointers there"
	bothWays(t, func(t *testing.T) {
		a := opened(t, Config{})
		k, err := OpenConcurrent(Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		for _, warm := range []bool{false, true} {
			if warm {
				New[uint64](a)
				NewIn[uint64](k)
			}
			before, beforeIn := a.Stats().Live, k.Stats().Live
			for name, f := range map[string]func(){
				"New":            func() { New[holder](a) },
				"TryNew":         func() { TryNew[holder](a) },
				"MakeSlice":      func() { MakeSlice[holder](a, 0, 0) },
				"TryMakeSlice":   func() { TryMakeSlice[holder](a, 1, 1) },
				"Clone":          func() { Clone(a, []holder{}) },
				"TryClone":       func() { TryClone(a, []holder{}) },
				"TryAppend":      func() { TryAppend(a, nil, holder{}) },
				"CloneIn":        func() { CloneIn(k, []holder{}) },
				"TryCloneIn":     func() { TryCloneIn(k, []holder{}) },
				"AppendIn":       func() { AppendIn(k, nil, holder{}) },
				"TryAppendIn":    func() { TryAppendIn(k, nil, holder{}) },
				"Append":         func() { Append(a, nil, holder{}) },
				"NewIn":          func() { NewIn[holder](k) },
				"TryNewIn":       func() { TryNewIn[holder](k) },
				"MakeSliceIn":    func() { MakeSliceIn[holder](k, 0, 0) },
				"TryMakeSliceIn": func() { TryMakeSliceIn[holder](k, 1, 1) },
			} {
				err := panicOf(f)
				var pe *pointerfree.PointerError
				if !errors.As(err, &pe) || err.Error() != text {
					t.Errorf("%s:\n got %v\nwant %s", name, err, text)
				}
			}
			if a.Stats().Live != before || k.Stats().Live != beforeIn {
				t.Error("a refused type took memory")
			}
		}
		for name, f := range map[string]func(){
			"string": func() { New[string](a) }, "slice": func() { New[[]int](a) }, "map": func() { New[map[int]int](a) },
			"interface": func() { New[any](a) }, "func": func() { New[func()](a) }, "chan": func() { New[chan int](a) },
			"pointer": func() { New[*int](a) }, "unsafe.Pointer": func() { New[unsafe.Pointer](a) },
		} {
			var pe *pointerfree.PointerError
			if err := panicOf(f); !errors.As(err, &pe) {
				t.Errorf("New of a %s: %v", name, err)
			}
		}
	})
}

// bothWays runs f with the runtime's type words trusted, and as if they were not.
func bothWays(t *testing.T, f func(t *testing.T)) {
	trusted := pointerfree.Trusted
	defer func() { pointerfree.Trusted = trusted }()
	if trusted {
		t.Run("type words", f)
	}
	pointerfree.Trusted = false
	t.Run("reflect", f)
}

func TestWithoutTypeWords(t *testing.T) {
	trusted := pointerfree.Trusted
	pointerfree.Trusted = false
	defer func() { pointerfree.Trusted = trusted }()
	a := opened(t, Config{Limit: 1 << 20})
	for range 5 {
		n := 0
		var err error
		for p := New[[5]uint64](a); err == nil; n++ {
			if *p != [5]uint64{} {
				t.Fatal("not zero")
			}
			p[4] = 1
			if a.limit != 0 {
				t.Fatal("the fast path is open")
			}
			if n < 10000 {
				p = New[[5]uint64](a)
			} else {
				p, err = TryNew[[5]uint64](a)
			}
		}
		if want := 1 << 20 / 40; n != want {
			t.Fatalf("full after %d objects, want %d", n, want)
		}
		a.Reset()
	}
}

func TestSizesThatCannotBe(t *testing.T) {
	a := opened(t, Config{})
	k, err := OpenConcurrent(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	New[uint64](a)
	before, beforeIn := a.Stats(), k.Stats()
	type big [1 << 20]uint64
	slices := []struct {
		length, capacity int
		noMemory         bool
	}{
		{-1, 0, false}, {-1, -1, false}, {0, -1, false}, {2, 1, false}, {math.MinInt, 0, false},
		{0, math.MaxInt, true}, {math.MaxInt, math.MaxInt, true}, {0, math.MaxInt/8 + 1, true}, {0, math.MaxInt / 8, true},
		// Products that wrap around to something small.
		{1, 1 << (unsafe.Sizeof(uintptr(0))*8 - 3), true}, {1, 1<<(unsafe.Sizeof(uintptr(0))*8-3) + 1, true}, {1, 1<<(unsafe.Sizeof(uintptr(0))*8-2) + 1, true},
	}
	for _, c := range slices {
		check := func(name string, got int, err error) {
			t.Helper()
			if err == nil || got != 0 || errors.Is(err, guard.ErrNoMemory) != c.noMemory {
				t.Errorf("%s of length %d and capacity %d: capacity %d, error %v", name, c.length, c.capacity, got, err)
			}
		}
		s, err := TryMakeSlice[uint64](a, c.length, c.capacity)
		check("TryMakeSlice", cap(s), err)
		s, err = TryMakeSliceIn[uint64](k, c.length, c.capacity)
		check("TryMakeSliceIn", cap(s), err)
		b, err := TryMakeSlice[big](a, c.length, c.capacity)
		check("TryMakeSlice of much", cap(b), err)
		check("MakeSlice", 0, panicOf(func() { MakeSlice[uint64](a, c.length, c.capacity) }))
		check("MakeSliceIn", 0, panicOf(func() { MakeSliceIn[uint64](k, c.length, c.capacity) }))
	}
	for _, c := range [][2]int{{-1, 8}, {8, 0}, {8, 3}, {8, maxAlign * 2}, {math.MaxInt, maxAlign}, {math.MaxInt, 1}, {math.MinInt, math.MinInt}} {
		if err := panicOf(func() { a.Alloc(c[0], c[1]) }); err == nil {
			t.Errorf("Alloc(%d, %d) succeeded", c[0], c[1])
		}
		if err := panicOf(func() { k.Alloc(c[0], c[1]) }); err == nil {
			t.Errorf("Concurrent.Alloc(%d, %d) succeeded", c[0], c[1])
		}
	}
	if after := a.Stats(); after != before {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if after := k.Stats(); after != beforeIn {
		t.Errorf("before %+v, after %+v", beforeIn, after)
	}
}

// TestHugeObject allocates a type that is larger than the arena.
func TestHugeObject(t *testing.T) {
	a := opened(t, Config{Reserve: 2 << 20})
	type huge [1 << 29]byte
	if err := panicOf(func() { New[huge](a) }); !errors.Is(err, guard.ErrNoMemory) {
		t.Fatal(err)
	}
	if _, err := TryNew[huge](a); !errors.Is(err, guard.ErrNoMemory) {
		t.Fatal(err)
	}
	*New[uint64](a) = 1
}
