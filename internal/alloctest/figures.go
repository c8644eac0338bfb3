package alloctest

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// limit fills an allocator up to its limit, and asks for more.
func limit(t *testing.T, m Maker) {
	const most = 1 << 20
	a, done := open(t, m, most)
	defer done()
	if b, err := a.Alloc(most+1, 1); !errors.Is(err, region.ErrNoMemory) {
		t.Fatalf("%d bytes of %d: %v", len(b), most, err)
	}
	for round := range 3 {
		o := objects{t: t}
		total := 0
		for _, size := range []int{10_000, 100, 1} { // the smaller ones fill what the larger leave
			for {
				b, err := a.Alloc(size, 8)
				if err != nil {
					if !errors.Is(err, region.ErrNoMemory) || !strings.Contains(err.Error(), "1048576") {
						t.Fatalf("the error at the limit should wrap ErrNoMemory and name the limit: %v", err)
					}
					break
				}
				o.add(b, size, 8)
				if total += size; total > most {
					t.Fatalf("%d bytes handed out, the limit is %d", total, most)
				}
			}
		}
		if total < most-m.MaxWaste {
			t.Fatalf("round %d: refused at %d bytes of %d", round, total, most)
		}
		o.verify()
		if a.Free == nil && a.Reset == nil {
			return
		}
		for a.Free != nil && len(o.live) > 0 {
			a.Free(o.take(len(o.live) - 1).bytes)
		}
		if a.Reset != nil {
			a.Reset()
		}
	}
}

// stats checks after every step that the four figures add up, and that they equal those of the registry.
func stats(t *testing.T, m Maker) {
	before := region.Usage()
	a, done := open(t, m, 0)
	defer done()
	var most int64
	look := func(when string, written int64) Stats { // to live objects
		t.Helper()
		s := a.Stats()
		most = max(most, s.Live)
		if s.Live < 0 || s.Live > s.Committed || s.Committed > s.Reserved || s.HighWater < most {
			t.Fatalf("%s: %+v does not add up; %d were live at most", when, s, most)
		}
		n, err := a.Resident()
		if errors.Is(err, errors.ErrUnsupported) {
			n = written
		} else if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if n < written || n > s.Committed {
			t.Fatalf("%s: %d bytes were written, %d are in RAM, %+v", when, written, n, s)
		}
		u := region.Usage()
		if s.Reserved != u.Reserved-before.Reserved || s.Committed != u.Committed-before.Committed {
			t.Fatalf("%s: %+v differs from what guard has, before %+v, now %+v", when, s, before, u)
		}
		return s
	}
	if s := look("fresh", 0); s.Live != 0 || s.HighWater != 0 {
		t.Fatalf("fresh: %+v", s)
	}
	o := objects{t: t}
	var sum int64
	for _, n := range interesting() {
		b, err := a.Alloc(n, 8)
		if err != nil {
			t.Fatal(err)
		}
		o.add(b, n, 8)
		sum += int64(n)
		if s := look("growing", sum); s.Live < sum {
			t.Fatalf("%d bytes are in use, but %+v", sum, s)
		}
	}
	for a.Free != nil && len(o.live) > 0 {
		a.Free(o.take(len(o.live) / 2).bytes)
		look("shrinking", 0)
	}
	if a.Reset != nil {
		a.Reset()
	}
	if s := look("empty", 0); s.Live != 0 || s.HighWater < sum {
		t.Fatalf("empty after %d bytes: %+v", sum, s)
	}
}

// budget runs an allocator into the hard limit of the budget.
func budget(t *testing.T, m Maker) {
	hard := region.Usage().Committed + 8<<20
	if _, err := region.SetBudget(region.Budget{Hard: hard}); err != nil {
		t.Fatal(err)
	}
	defer region.SetBudget(region.Budget{})
	a, done := open(t, m, 0)
	defer done()
	o := objects{t: t}
	var err error
	for err == nil {
		var b []byte
		if b, err = a.Alloc(50_000, 8); err == nil {
			o.add(b, 50_000, 8)
		}
		if u := region.Usage().Committed; u > hard {
			t.Fatalf("%d bytes committed, the hard budget is %d", u, hard)
		}
	}
	if !errors.Is(err, region.ErrNoMemory) || !strings.Contains(err.Error(), "budget") {
		t.Fatalf("the error should wrap ErrNoMemory and name the budget: %v", err)
	}
	if got := len(o.live) * 50_000; got < 4<<20 {
		t.Fatalf("refused at %d bytes of a budget of 8 MiB", got)
	}
	o.verify()
	if _, err := region.SetBudget(region.Budget{}); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		b, err := a.Alloc(50_000, 8)
		if err != nil {
			t.Fatalf("after the budget was lifted: %v", err)
		}
		o.add(b, 50_000, 8)
	}
	o.verify()
}

// closing closes an allocator. Later calls are violations, and touches of its objects fault.
func closing(t *testing.T, m Maker) {
	a, _ := open(t, m, 0)
	small, err := a.Alloc(100, 8)
	if err != nil {
		t.Fatal(err)
	}
	large, err := a.Alloc(1<<20, 8)
	if err != nil {
		t.Fatal(err)
	}
	small[99], large[1<<20-1] = 1, 1
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); !errors.Is(err, region.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	for _, b := range [][]byte{small, large} {
		if fault := region.Catch(func() { b[len(b)-1]++ }); fault == nil || fault.Kind != region.UseAfterClose {
			t.Errorf("touch of a closed allocator: %v", fault)
		}
	}
	if s := a.Stats(); s.Live != 0 || s.Committed != 0 || s.Reserved != 0 || s.HighWater < 1<<20 {
		t.Errorf("after close: %+v", s)
	}
	calls := map[string]func(){
		"Alloc":          func() { a.Alloc(8, 8) },
		"Alloc of none":  func() { a.Alloc(0, 8) },
		"Alloc of large": func() { a.Alloc(1<<20, 4096) },
	}
	if a.Free != nil {
		calls["Free"] = func() { a.Free(small) }
	}
	if a.Reset != nil {
		calls["Reset"] = a.Reset
	}
	for name, call := range calls {
		if p := caught(call); !m.Violation(p) {
			t.Errorf("%s after close: %v, want a *guard.Violation", name, p)
		}
	}
}

// caught returns what f panics with.
func caught(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}
