// Package alloctest is the conformance suite of the allocators: it checks the promises that all of them make.
// An allocator takes part with a Maker, some ten lines that open an allocator and say what it can do. Run
// does the rest. Only tests import this package.
package alloctest

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Allocator is an open allocator, with the calls that all allocators have in some form.
type Allocator struct {
	Alloc func(size, align int) ([]byte, error)
	Free  func(b []byte) // nil if single objects are not freed
	Reset func()         // nil if the allocator cannot free everything at once
	Stats func() Stats
	Close func() error

	Resident func() (int64, error) // bytes in RAM
}

// Stats are the figures that every allocator has, in bytes.
type Stats struct{ Reserved, Committed, Live, HighWater int64 }

// Maker opens allocators of one kind.
type Maker struct {
	Name      string
	Open      func(limit int) (Allocator, error) // limit is the most bytes to hand out; 0 is the allocator's default
	MaxAlign  int                                // the largest alignment that Alloc takes
	MaxWaste  int                                // bytes of a limit of 1 MiB that may be lost to rounding and chunks
	Violation func(p any) bool                   // reports whether a panic is a *guard.Violation: this package must not import guard
}

// Run checks an allocator against the contract. No other test may open or close regions at the same time,
// because Run compares guard.Usage before and after each check.
func Run(t *testing.T, m Maker) {
	for _, c := range []struct {
		name  string
		check func(*testing.T, Maker)
	}{
		{"sizes and alignments", sizes},
		{"zeroed again", zeroedAgain},
		{"churn", churn},
		{"limit", limit},
		{"bad sizes", badSizes},
		{"stats", stats},
		{"budget", budget},
		{"close", closing},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := region.Usage()
			c.check(t, m)
			after := region.Usage()
			if after.Regions != before.Regions || after.Reserved != before.Reserved || after.Committed != before.Committed || after.Live != before.Live {
				t.Errorf("something is left behind:\nbefore %+v\nafter  %+v", before, after)
			}
		})
	}
}

// open opens an allocator that is closed when the check ends.
func open(t *testing.T, m Maker, limit int) (a Allocator, done func()) {
	t.Helper()
	a, err := m.Open(limit)
	if err != nil {
		t.Fatal(err)
	}
	return a, func() {
		t.Helper()
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

// objects are the live objects of a check, each filled with its own pattern.
type objects struct {
	t    *testing.T
	live []object
	next uint64
}

type object struct {
	bytes []byte
	seed  uint64
}

// add adds a fresh object. Its memory must read zero, be aligned, and have the right length. Overlaps show in
// verify, because every object has its own pattern.
func (o *objects) add(b []byte, size, align int) {
	o.t.Helper()
	if len(b) != size {
		o.t.Fatalf("asked for %d bytes, got %d", size, len(b))
	}
	if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); at%uintptr(align) != 0 || at == 0 {
		o.t.Fatalf("%d bytes at %#x are not aligned to %d", size, at, align)
	}
	for i, x := range b {
		if x != 0 {
			o.t.Fatalf("byte %d of %d fresh ones is %#x", i, size, x)
		}
	}
	o.next++
	fill(b, o.next)
	o.live = append(o.live, object{b, o.next})
}

// verify checks that every object still has its pattern.
func (o *objects) verify() {
	o.t.Helper()
	for _, x := range o.live {
		o.intact(x)
	}
}

func (o *objects) intact(x object) {
	o.t.Helper()
	if i := changed(x.bytes, x.seed); i >= 0 {
		o.t.Fatalf("byte %d of the %d of object %d was changed", i, len(x.bytes), x.seed)
	}
}

// take removes the i-th object and returns it, after a check of its pattern.
func (o *objects) take(i int) object {
	o.t.Helper()
	x := o.live[i]
	o.intact(x)
	o.live[i] = o.live[len(o.live)-1]
	o.live = o.live[:len(o.live)-1]
	return x
}

// pattern returns byte i of a pattern. It is never zero, so cleared memory shows.
func pattern(seed uint64, i int) byte { return byte(seed*0x9E3779B97F4A7C15>>56) + byte(i) | 1 }

func fill(b []byte, seed uint64) {
	for i := range b {
		b[i] = pattern(seed, i)
	}
}

func changed(b []byte, seed uint64) int {
	for i, x := range b {
		if x != pattern(seed, i) {
			return i
		}
	}
	return -1
}

// interesting returns sizes around all multiples that allocators round to.
func interesting() (sizes []int) {
	for n := range 140 {
		sizes = append(sizes, n)
	}
	for n := 256; n <= 2<<20; n *= 2 {
		sizes = append(sizes, n-1, n, n+1, n+n/3)
	}
	return sizes
}

func sizes(t *testing.T, m Maker) {
	a, done := open(t, m, 0)
	defer done()
	o := objects{t: t}
	get := func(size, align int) {
		t.Helper()
		b, err := a.Alloc(size, align)
		if err != nil {
			t.Fatalf("%d bytes aligned to %d: %v", size, align, err)
		}
		o.add(b, size, align)
	}
	for _, n := range interesting() {
		get(n, 1)
	}
	for align := 1; align <= m.MaxAlign; align *= 2 {
		for _, n := range []int{0, 1, align - 1, align, align + 1} {
			get(min(n, 64<<10), align)
		}
	}
	o.verify()
}

// zeroedAgain writes to memory, frees it, and allocates it again in other sizes.
func zeroedAgain(t *testing.T, m Maker) {
	a, done := open(t, m, 0)
	defer done()
	r := rand.New(rand.NewPCG(1, 2))
	all := interesting()
	for range 4 {
		o := objects{t: t}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, n := range all[:len(all)/2] {
			b, err := a.Alloc(n, 8)
			if err != nil {
				t.Fatal(err)
			}
			o.add(b, n, 8)
		}
		o.verify()
		if a.Free != nil {
			for len(o.live) > 0 {
				a.Free(o.take(r.IntN(len(o.live))).bytes)
			}
		}
		if a.Reset != nil {
			a.Reset()
		}
		if live := a.Stats().Live; live != 0 {
			t.Fatalf("%d bytes live after all were freed", live)
		}
	}
}

// churn allocates and frees at random. It resets instead where the allocator cannot free single objects.
func churn(t *testing.T, m Maker) {
	a, done := open(t, m, 0)
	defer done()
	r := rand.New(rand.NewPCG(3, 4))
	o := objects{t: t}
	for step := range 6000 {
		switch {
		case a.Free != nil && len(o.live) > 0 && r.IntN(2) == 0:
			a.Free(o.take(r.IntN(len(o.live))).bytes)
		case a.Reset != nil && r.IntN(1000) == 0:
			o.verify()
			o.live = o.live[:0]
			a.Reset()
		default:
			size, align := r.IntN(1<<r.IntN(14)), 1<<r.IntN(8)
			b, err := a.Alloc(size, align)
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			o.add(b, size, align)
		}
	}
	o.verify()
}

func badSizes(t *testing.T, m Maker) {
	a, done := open(t, m, 0)
	defer done()
	before := a.Stats()
	for _, c := range []struct {
		size, align int
		noMemory    bool // the size is valid, but too large
	}{
		{-1, 8, false}, {math.MinInt, 8, false},
		{8, 0, false}, {8, -8, false}, {8, 3, false}, {8, 24, false}, {8, math.MinInt, false},
		{8, m.MaxAlign * 2, false}, {8, 1 << 30, false},
		{math.MaxInt, 1, true}, {math.MaxInt, m.MaxAlign, true}, {math.MaxInt - 7, 8, true}, {math.MaxInt - m.MaxAlign, m.MaxAlign, true},
		{math.MaxInt/2 + 1, 8, true}, {math.MaxInt &^ 4095, 4096, true},
	} {
		b, err := a.Alloc(c.size, c.align)
		if err == nil || b != nil {
			t.Errorf("%d bytes aligned to %d: got %d bytes, error %v", c.size, c.align, len(b), err)
		} else if c.noMemory != errors.Is(err, region.ErrNoMemory) {
			t.Errorf("%d bytes aligned to %d: ErrNoMemory should be wrapped: %v; error %v", c.size, c.align, c.noMemory, err)
		}
	}
	if after := a.Stats(); after.Live != before.Live || after.Committed != before.Committed {
		t.Errorf("refused calls changed the figures:\nbefore %+v\nafter  %+v", before, after)
	}
}
