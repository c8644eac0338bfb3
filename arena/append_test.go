package arena

import (
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// dirtied opens an arena whose memory was used and freed, so that bytes that are not cleared show.
func dirtied(t testing.TB, c Config) *Arena {
	t.Helper()
	a := opened(t, c)
	smear(a.Alloc(256<<10, 8))
	a.Reset()
	return a
}

// spare returns the part of a slice between its length and its capacity.
func spare[T any](s []T) []T { return s[len(s):cap(s)] }

func TestAppendBytes(t *testing.T) {
	a := dirtied(t, Config{})
	var s, want []byte
	for i := range 100_000 {
		before := unsafe.SliceData(s)
		s = Append(a, s, byte(i))
		want = append(want, byte(i))
		mustBeZero(t, "spare capacity", spare(s))
		if i > 0 && unsafe.SliceData(s) != before {
			t.Fatalf("the last slice moved at length %d", i)
		}
	}
	if !slices.Equal(s, want) {
		t.Fatal("contents differ")
	}
	if live := a.Stats().Live; live != 100_000 {
		t.Fatalf("%d bytes live for 100,000 appended", live)
	}
}

// TestAppendOddSizes grows slices of elements that do not fill the granule.
func TestAppendOddSizes(t *testing.T) {
	a := dirtied(t, Config{})
	grow3 := func() {
		var s [][3]byte
		for i := range 1000 {
			before := unsafe.SliceData(s)
			s = Append(a, s, [3]byte{byte(i), byte(i >> 8), 7})
			if i > 0 && unsafe.SliceData(s) != before {
				t.Fatalf("moved at length %d", i)
			}
			for _, x := range spare(s) {
				if x != [3]byte{} {
					t.Fatal("spare capacity is not zero")
				}
			}
		}
		for i, x := range s {
			if x != [3]byte{byte(i), byte(i >> 8), 7} {
				t.Fatalf("element %d is %v", i, x)
			}
		}
	}
	grow12 := func() {
		s := MakeSlice[[3]uint32](a, 1, 1)
		first := &s[0]
		for i := range uint32(1000) {
			s = Append(a, s, [3]uint32{i, i, i})
		}
		if &s[0] != first || s[1000] != [3]uint32{999, 999, 999} {
			t.Fatal("a slice that MakeSlice made last should grow in place")
		}
	}
	grow3()
	grow12()
	a.Reset()
	grow12()
	grow3()
}

// TestAppendMoves appends to slices that cannot grow in place.
func TestAppendMoves(t *testing.T) {
	a := dirtied(t, Config{})
	other := opened(t, Config{})
	heap := []uint32{1, 2, 3}
	from := func(name string, s []uint32) {
		t.Helper()
		old := slices.Clone(s)
		grown := Append(a, s, 4, 5)
		if !slices.Equal(grown, append(slices.Clone(old), 4, 5)) || !slices.Equal(s, old) {
			t.Fatalf("%s: %v became %v, and the old one %v", name, old, grown, s)
		}
		if len(s) > 0 && &grown[0] == &s[0] {
			t.Fatalf("%s: grew in place", name)
		}
		for _, x := range spare(grown) {
			if x != 0 {
				t.Fatalf("%s: spare capacity %v is not zero", name, spare(grown))
			}
		}
	}
	from("heap", heap)
	from("nil", nil)
	from("other arena", Append(other, nil, heap...))
	s := Append(a, nil, heap...)
	New[uint64](a)
	from("not last", s[:len(s):len(s)])
	s = Append(a, nil, heap...)
	s = s[:len(s):len(s)]
	p := New[uint64](a)
	*p = ^uint64(0)
	from("followed by an object", s)
	if *p != ^uint64(0) {
		t.Fatal("Append wrote over the next object")
	}
}

// TestAppendKeepsHiddenElements appends to a[:n:n], which must not change a[n], as with the built-in.
func TestAppendKeepsHiddenElements(t *testing.T) {
	a := dirtied(t, Config{})
	for n := range 17 {
		for cut := range n + 1 {
			for name, x := range map[string][]byte{
				"MakeSlice": MakeSlice[byte](a, n, n), "Clone": Clone(a, make([]byte, n)), "Alloc": a.Alloc(n, 1), "Append": Append(a, nil, make([]byte, n)...),
			} {
				for i := range x {
					x[i] = byte(i + 1)
				}
				y := Append(a, x[:cut:cut], 99)
				if len(y) != cut+1 || y[cut] != 99 {
					t.Fatal(y)
				}
				for i := range x {
					if x[i] != byte(i+1) {
						t.Fatalf("%s: appending to the first %d of %d wrote over the others: %v", name, cut, n, x)
					}
				}
			}
		}
	}
	// A field may end where an earlier slice ended before rounding.
	m := a.Mark()
	MakeSlice[byte](a, 6, 6)
	a.Rewind(m)
	type field struct {
		a [2][3]byte
		b byte
	}
	p := New[field](a)
	p.b = 42
	Append(a, p.a[:], [3]byte{1, 1, 1})
	if p.b != 42 {
		t.Fatal("appending to an array's slice wrote over the next field")
	}
}

// TestAppendAgainAfterRewind: after Rewind a slice that was last at the mark grows in place again.
func TestAppendAgainAfterRewind(t *testing.T) {
	a := dirtied(t, Config{})
	s := Append(a, nil, uint64(1))
	m := a.Mark()
	smear(a.Alloc(100, 8))
	a.Rewind(m)
	p := &s[0]
	s = Append(a, s[:1:1], 2, 3)
	if &s[0] != p || !slices.Equal(s, []uint64{1, 2, 3}) {
		t.Fatal(s)
	}
}

func TestAppendAliases(t *testing.T) {
	a := dirtied(t, Config{})
	s := Append(a, nil, 1, 2, 3)
	s = Append(a, s, s...)
	s = Append(a, s[:2], s[1:]...)
	want := []int{1, 2, 3, 1, 2, 3}
	want = append(want[:2], want[1:]...)
	if !slices.Equal(s, want) {
		t.Fatalf("%v, want %v", s, want)
	}
}

// TestAppendGrows moves a slice at every growth. That may copy each element a few times, not n times.
func TestAppendGrows(t *testing.T) {
	a := opened(t, Config{})
	var s []uint64
	moves := 0
	for i := range uint64(100_000) {
		before := unsafe.SliceData(s)
		s = Append(a, s, i)
		if unsafe.SliceData(s) != before {
			moves++
			New[byte](a)
		}
	}
	if moves > 60 {
		t.Fatalf("%d moves", moves)
	}
	for i, x := range s {
		if x != uint64(i) {
			t.Fatalf("element %d is %d", i, x)
		}
	}
}

func TestAppendFull(t *testing.T) {
	a := opened(t, Config{Limit: 64 << 10})
	s := MakeSlice[uint64](a, 1000, 1000)
	s[999] = 9
	for name, f := range map[string]func(){
		"in place":  func() { Append(a, s, make([]uint64, 8000)...) },
		"elsewhere": func() { Append(a, s[:500:500], make([]uint64, 7500)...) },
		"Clone":     func() { Clone(a, make([]uint64, 7500)) },
		"String":    func() { String(a, string(make([]byte, 60000))) },
	} {
		live := a.Stats().Live
		if err := panicOf(f); !errors.Is(err, guard.ErrNoMemory) {
			t.Errorf("%s: %v", name, err)
		}
		if a.Stats().Live != live {
			t.Errorf("%s took memory and failed", name)
		}
	}
	s = Append(a, s, 5)
	if s[999] != 9 || s[1000] != 5 {
		t.Fatal("the slice is damaged")
	}
}

func TestClone(t *testing.T) {
	a := dirtied(t, Config{})
	for n := range 40 {
		heap := make([]byte, n)
		smear(heap)
		c := Clone(a, heap)
		s := String(a, string(heap))
		if !slices.Equal(c, heap) || cap(c) != n || s != string(heap) {
			t.Fatal(c, s)
		}
		if n == 0 {
			continue
		}
		heap[0] = 0
		if c[0] != 0xA5 || s[0] != 0xA5 {
			t.Fatal("the copy follows its original")
		}
		for _, p := range []unsafe.Pointer{unsafe.Pointer(&c[0]), unsafe.Pointer(unsafe.StringData(s))} {
			if off := uintptr(p) - uintptr(a.base); off < first || off >= a.top {
				t.Fatal("the copy is not in the arena")
			}
		}
	}
	if got := Clone(a, []int{1, 2, 3}); !slices.Equal(got, []int{1, 2, 3}) {
		t.Fatal(got)
	}
}

// TestPaddingIsCleared: bytes that String, Clone and Append leave uncleared behind their results must not be handed
// out to others.
func TestPaddingIsCleared(t *testing.T) {
	a := dirtied(t, Config{})
	fill := func() {
		for n := range 20 {
			String(a, string(make([]byte, n)))
			Clone(a, make([]byte, n))
			s := Append(a, nil, make([]byte, n)...)
			s = Append(a, s, make([]byte, 9)...)
			mustBeZero(t, "spare capacity", spare(s))
			mustBeZero(t, "next", unsafe.Slice((*byte)(unsafe.Pointer(New[[3]uint64](a))), 24))
			mustBeZero(t, "next", a.Alloc(n, 64))
		}
	}
	m := a.Mark()
	fill()
	a.Rewind(m)
	mustBeZero(t, "after Rewind", a.Alloc(8<<10, 8))
	smear(a.Alloc(100<<10, 8))
	a.Reset()
	fill()
	a.Reset()
	mustBeZero(t, "after Reset", a.Alloc(256<<10, 8))
}
