package arena

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

func stale(t *testing.T, what string, a *Arena, m Mark) {
	t.Helper()
	live := a.Stats().Live
	var v *guard.Violation
	if err := panicOf(func() { a.Rewind(m) }); !errors.As(err, &v) {
		t.Fatalf("%s: Rewind to a stale mark: %v", what, err)
	}
	if a.Stats().Live != live {
		t.Fatalf("%s: a refused Rewind moved the arena", what)
	}
}

func TestRewind(t *testing.T) {
	a := opened(t, Config{})
	p := New[uint64](a)
	*p = 1
	outer := a.Mark()
	for range 3 {
		q := New[uint64](a)
		if *q != 0 {
			t.Fatal("not zero after Rewind")
		}
		*q = 2
		inner := a.Mark()
		for _, size := range []int{8, 5000, 100_000} {
			b := a.Alloc(size, 8)
			mustBeZero(t, "after Rewind", b)
			smear(b)
			a.Rewind(inner)
			if a.Mark() == inner || a.top != inner.off {
				t.Fatal("Rewind should lead back to its mark, and the next mark be another")
			}
		}
		if *q != 2 {
			t.Fatal("Rewind took what was before the mark")
		}
		a.Rewind(outer)
		if New[uint64](a) != q {
			t.Fatal("the place was not used again")
		}
		a.Rewind(outer)
		stale(t, "inner", a, inner)
	}
	if *p != 1 {
		t.Fatal("Rewind took what was before the mark")
	}
	a.Reset()
	stale(t, "after Reset", a, outer)
	m := a.Mark()
	a.Rewind(m)
	a.Rewind(m)
	a.Reset()
	stale(t, "at the same place, before Reset", a, m)
	if high := a.Stats().HighWater; high != 16+100_000 {
		t.Fatalf("high-water mark %d", high)
	}
}

// TestStaleMarks rewinds at random and compares with the definition: a mark is stale if the arena was rewound below
// it after it was taken, or to an earlier mark with fewer callbacks. Up to 16 rewinds are remembered: beyond that a
// stale mark may pass, but a valid one is never refused.
func TestStaleMarks(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		a := opened(t, Config{Reserve: 2 << 20})
		type known struct {
			mark  Mark
			stale bool
		}
		var marks []known
		depth := 1 + r.IntN(40)
		rewinds := 0
		for range 200 {
			switch r.IntN(4) {
			case 0:
				a.Alloc(8*r.IntN(4), 8)
			case 1:
				if r.IntN(3) == 0 {
					a.OnReset(func() {})
				}
				if len(marks) < depth {
					marks = append(marks, known{mark: a.Mark()})
				}
			case 2:
				if len(marks) == 0 {
					continue
				}
				m := marks[r.IntN(len(marks))]
				if m.stale {
					if rewinds < len(a.rewinds.at) {
						stale(t, "model", a, m.mark)
					}
					continue
				}
				a.Rewind(m.mark)
				rewinds++
				for i := range marks {
					o := &marks[i]
					o.stale = o.stale || o.mark.off > m.mark.off || o.mark.registered() > m.mark.registered()
				}
			case 3:
				if r.IntN(40) == 0 {
					a.Reset()
					rewinds = 0
					for i := range marks {
						marks[i].stale = true
					}
				}
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManyRewinds nests more marks than rewinds are remembered: valid marks always pass.
func TestManyRewinds(t *testing.T) {
	a := opened(t, Config{})
	var marks []Mark
	for range 100 {
		marks = append(marks, a.Mark())
		a.Alloc(64, 8)
	}
	for i := len(marks) - 1; i >= 0; i-- {
		a.Rewind(marks[i])
		a.Alloc(8, 8)
		a.Rewind(marks[i])
	}
	for i := range 100 { // rising rewinds, each of which stays remembered
		m := a.Mark()
		a.Alloc(64, 8)
		a.Rewind(m)
		a.Alloc(64, 8)
		if i == 90 {
			marks[0] = m
		}
	}
	stale(t, "remembered", a, func() Mark { m := marks[0]; m.epoch--; m.off++; return m }())
	a.Rewind(marks[0])
}

func TestRefs(t *testing.T) {
	a := opened(t, Config{Name: "refs"})
	other := opened(t, Config{})
	p, q := New[uint64](a), New[[3]uint32](a)
	*p, q[2] = 5, 6
	rp, rq := RefOf(a, p), RefOf(a, q)
	if rp.Deref(a) != p || rq.Deref(a) != q || rp.IsNil() || unsafe.Sizeof(rp) != 8 {
		t.Fatal("a Ref should lead back")
	}
	var none Ref[uint64]
	if !none.IsNil() || none.Deref(a) != nil || none.Slice(a, 0) != nil || RefOf[uint64](a, nil) != none {
		t.Fatal("the zero Ref should be nil")
	}
	s := MakeSlice[uint16](a, 10, 10)
	s[9] = 7
	if got := RefOf(a, &s[0]).Slice(a, 10); len(got) != 10 || got[9] != 7 || cap(got) != 10 {
		t.Fatal(got)
	}
	refAt := func(off uint64) Ref[uint64] { return Ref[uint64]{off} }
	top := uint64(a.top)
	for name, f := range map[string]func(){
		"RefOf heap":            func() { RefOf(a, new(uint64)) },
		"RefOf other arena":     func() { RefOf(other, p) },
		"RefOf below first":     func() { RefOf(a, (*uint64)(a.base)) },
		"RefOf straddling top":  func() { RefOf(a, (*uint64)(unsafe.Add(a.base, a.top-4))) },
		"RefOf at top":          func() { RefOf(a, (*uint64)(unsafe.Add(a.base, a.top))) },
		"Deref other arena":     func() { rq.Deref(other) },
		"Deref 1":               func() { refAt(1).Deref(a) },
		"Deref below first":     func() { refAt(first - 1).Deref(a) },
		"Deref at top":          func() { refAt(top).Deref(a) },
		"Deref straddling top":  func() { refAt(top - 7).Deref(a) },
		"Deref huge":            func() { refAt(1 << 63).Deref(a) },
		"Deref wrapping":        func() { refAt(^uint64(0)).Deref(a) },
		"Deref wrapping size":   func() { refAt(^uint64(0) - 7).Deref(a) },
		"Deref low half":        func() { refAt(1<<32 + first).Deref(a) },
		"Slice nil":             func() { none.Slice(a, 1) },
		"Slice negative":        func() { rp.Slice(a, -1) },
		"Slice nil negative":    func() { none.Slice(a, -1) },
		"Slice of nothings":     func() { RefOf(a, New[struct{}](a)).Slice(a, -1) },
		"Slice too long":        func() { rp.Slice(a, int(top-first)/8+1) },
		"Slice wrapping length": func() { rp.Slice(a, 1<<(unsafe.Sizeof(0)*8-3)) },
		"Slice above top":       func() { refAt(top+1).Slice(a, 0) },
		"Slice wrapping":        func() { refAt(^uint64(0)-7).Slice(a, 1) },
	} {
		var v *guard.Violation
		if err := panicOf(f); !errors.As(err, &v) || v.Region == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := int(top-first) / 8; len(rp.Slice(a, n)) != n {
		t.Error("Slice of all that is handed out")
	}
	a.Reset()
	var v *guard.Violation
	if err := panicOf(func() { rp.Deref(a) }); !errors.As(err, &v) {
		t.Errorf("Deref after Reset: %v", err)
	}
}
