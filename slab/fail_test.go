package slab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// scenario does everything with a heap and a pool that leads to system calls. It notes the errors
// that it meets, tries again what failed, and checks the heap and its contents as it goes.
type scenario struct {
	t      *testing.T
	what   string
	config Config
	lift   func() // ends what makes calls fail; nil where it happens once
	heap   *Heap
	errs   []error
}

// try calls f until it succeeds, at most twice.
func (s *scenario) try(op string, f func() error) {
	s.t.Helper()
	err := f()
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", op, err))
		if s.heap != nil && !s.heap.closed.Load() {
			s.heap.check()
		}
		if s.lift != nil {
			s.lift()
		}
		err = f()
	}
	if err != nil {
		s.t.Errorf("%s: %s failed again: %v", s.what, op, err)
	}
}

// fresh checks that an object is as it should be, and fills the first and the last byte.
func (s *scenario) fresh(b []byte, size int) []byte {
	s.t.Helper()
	if len(b) != size {
		s.t.Fatalf("%s: %d bytes for %d", s.what, len(b), size)
	}
	for i := 0; i < size; i += min(64, size-i) { // all, where there may be old contents
		if b[i] != 0 {
			s.t.Fatalf("%s: byte %d of %d is %d", s.what, i, size, b[i])
		}
	}
	b[0], b[size-1] = 1, 1
	return b
}

func (s *scenario) alloc(size int) (b []byte) {
	s.t.Helper()
	s.try("Alloc", func() (err error) { b, err = s.heap.TryAlloc(size, 8); return err })
	return s.fresh(b, size)
}

func (s *scenario) realloc(b []byte, size int) (out []byte) {
	s.t.Helper()
	had := len(b)
	s.try("Realloc", func() (err error) {
		out, err = s.heap.TryRealloc(b, size)
		if err != nil && (len(b) != had || b[0] != 1 || b[had-1] != 1) {
			s.t.Errorf("%s: a Realloc that failed changed the object", s.what)
		}
		return err
	})
	if len(out) != size || out[0] != 1 || size > had && (out[had-1] != 1 || out[size-1] != 0) {
		s.t.Errorf("%s: Realloc from %d to %d bytes: other contents", s.what, had, size)
	}
	out[size-1] = 1
	return out
}

// close closes the subject. If that fails, a second Close must finish the work.
func (s *scenario) close(f func() error) {
	s.t.Helper()
	s.try("Close", f)
	if err := f(); !errors.Is(err, guard.ErrClosed) {
		s.t.Errorf("%s: Close of what is closed: %v", s.what, err)
	}
}

const large = sizeclass.Largest + 5000

func (s *scenario) run() {
	s.try("Open", func() (err error) { s.heap, err = Open(s.config); return err })
	s.objects()
	for _, size := range []int{60_000, 900_000, large} { // where others were, and up to Close
		s.alloc(size)
	}
	s.heap.check()
	s.close(s.heap.Close)
	s.pool()
}

func (s *scenario) objects() {
	h := s.heap
	var all [][]byte
	for _, size := range []int{10, 5000, 60_000, 60_000, 900_000, large} {
		all = append(all, s.alloc(size))
	}
	for _, a := range []struct{ size, align int }{{100, 64}, {3000, 4096}, {5000, 1 << 20}} {
		var b []byte
		s.try("AllocAligned", func() (err error) { b, err = h.TryAlloc(a.size, a.align); return err })
		if address(b)%uintptr(a.align) != 0 {
			s.t.Errorf("%s: %d bytes at %#x, not aligned to %d", s.what, a.size, address(b), a.align)
		}
		all = append(all, s.fresh(b, a.size))
	}
	many := make([][]byte, 40)
	made := 0
	s.try("AllocN", func() error {
		n, err := h.TryAllocN(many[made:], 3000, 8)
		made += n
		return err
	})
	for _, b := range many {
		s.fresh(b, 3000)
	}
	s.try("Stats", func() error {
		if n, live := len(all)+len(many), h.Stats(); live.Live < int64(n*10) {
			s.t.Errorf("%s: %+v", s.what, live)
		}
		return nil
	})
	h.FreeN(many)

	var nothing []byte
	s.try("Alloc", func() (err error) { nothing, err = h.TryAlloc(0, 8); return err })
	h.Free(nothing)

	b := s.alloc(100)
	sizes := []int{5000, large, 2 * large, 2*large + 9000, large, 200} // copied, moves, grows, shrinks, copied
	if s.config.Hardened {
		sizes = []int{5000, large, 200} // copied, whatever the size
	}
	for _, size := range sizes {
		b = s.realloc(b, size)
	}
	all = append(all, b)

	for _, size := range []int{large, large - 5000, large + 2<<20, large} { // recycled, unless it is longer
		h.Free(s.alloc(size))
	}

	l := h.Local()
	for _, size := range []int{200, 20_000, large} {
		var b []byte
		s.try("Local.Alloc", func() (err error) { b, err = l.TryAlloc(size, 8); return err })
		s.fresh(b, size)
		l.Free(b)
	}
	s.try("Local.Close", l.Close)
	for _, b := range all {
		if b[0] != 1 || b[len(b)-1] != 1 {
			s.t.Errorf("%s: contents lost", s.what)
		}
		var r Ref
		s.try("Ref", func() (err error) { r, err = h.TryRef(b); return err })
		if at, ok := h.TryBytes(r); !ok || addr(at) != addr(b) {
			s.t.Errorf("%s: the reference of an object leads to another", s.what)
		}
		h.Free(b)
	}
	var refs []Ref
	for _, size := range []int{10, 60_000, large} {
		b := s.alloc(size)
		s.try("Ref", func() error { r, err := h.TryRef(b); refs = append(refs, r); return err })
	}
	h.Reset()
	for _, r := range refs {
		if _, ok := h.TryBytes(r); ok {
			s.t.Errorf("%s: a reference outlives Reset", s.what)
		}
	}
	s.try("Purge", h.Purge)
	if h.Stats().Discarded > 0 { // a decommit failed
		s.try("Purge", h.Purge)
	}
	h.check()
	if live := h.Stats(); live.Live != 0 || h.account.Bytes() != 0 || live.Committed != h.slots.Region().Committed()+h.slots.ReferencesRegion().Committed() {
		s.t.Errorf("%s: after all: %d bytes in units and large objects, %+v", s.what, h.account.Bytes(), live)
	}
}

func (s *scenario) pool() {
	type page [3000]byte // so that few take several slabs
	var p *Pool[page]
	s.try("OpenPool", func() (err error) { p, err = OpenPool[page](s.config); return err })
	s.heap = p.heap
	for range 2 {
		handles := map[Handle[page]]*page{}
		for range 50 {
			var x *page
			s.try("Get", func() (err error) { x, err = p.TryGet(); return err })
			s.fresh(x[:], len(x))
			handles[HandleOf(p, x)] = x
		}
		if len(handles) != 50 || p.Len() != 50 {
			s.t.Errorf("%s: %d handles of %d objects, want 50", s.what, len(handles), p.Len())
		}
		for h, x := range handles {
			if at, ok := h.Deref(p); !ok || at != x || x[0] != 1 {
				s.t.Errorf("%s: an object is lost", s.what)
			}
			p.Put(x)
			if _, ok := h.Deref(p); ok {
				s.t.Errorf("%s: a handle outlives its object", s.what)
			}
		}
		s.try("Purge", p.Purge)
		p.heap.check()
		p.Stats()
	}
	s.try("Get", func() error { _, err := p.TryGet(); return err })
	s.close(p.Close)
}

// holdings counts the resources of the process that may leak.
type holdings struct {
	regions                    int
	committed, reserved, books int64
	mappings, files            int
}

func owned(t *testing.T) (h holdings) {
	t.Helper()
	guard.SetQuarantine(0)
	u := guard.Usage()
	h.regions, h.committed, h.reserved, h.books = u.Regions, u.Committed, u.Reserved, guard.Committed()
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		h.mappings = bytes.Count(maps, []byte("[anon:offheap: "))
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		h.files = len(files)
	}
	return h
}

// each runs f for a heap and for a hardened one, in which nothing depends on the time.
func each(t *testing.T, f func(t *testing.T, c Config)) {
	alloctest.SetQuarantine(t, 0) // so that addresses are given back, too
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	t.Run("default", func(t *testing.T) { f(t, Config{Reserve: 64 << 20}) })
	t.Run("hardened", func(t *testing.T) { f(t, Config{Reserve: 64 << 20, Hardened: true}) })
}

// TestFailEveryCall lets every system call of the scenario fail once. The failure is reported or
// made up for, nothing is lost, nothing leaks, and the next call works.
func TestFailEveryCall(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 5
	}
	each(t, func(t *testing.T, c Config) {
		(&scenario{t: t, what: "no failure", config: c}).run()
		for kind := range vm.Kinds {
			reported, calls := 0, 1
			for nth := 1; nth <= calls && !t.Failed(); nth += step {
				before := owned(t)
				s := &scenario{t: t, what: fmt.Sprintf("%v %d fails", kind, nth), config: c}
				stop := vm.Inject(kind, nth, vm.OutOfMemory)
				s.run()
				calls = stop()
				s.finish(before)
				reported += len(s.errs)
			}
			t.Logf("%-12v %3d calls, %3d failures reported", kind, calls, reported)
			if kind == vm.Mmap && reported == 0 { // a Commit is made up for by another
				t.Errorf("no failure of %v was reported", kind)
			}
		}
	})
}

// TestBudgetEverywhere lets the budget end at every place of the scenario.
func TestBudgetEverywhere(t *testing.T) {
	defer guard.SetBudget(guard.Budget{})
	each(t, func(t *testing.T, c Config) {
		refused := 0
		for pages := 0; !t.Failed(); pages += 1 + pages/8 {
			before := owned(t)
			s := &scenario{t: t, what: fmt.Sprintf("%d OS pages", pages), config: c, lift: func() { guard.SetBudget(guard.Budget{}) }}
			if _, err := guard.SetBudget(guard.Budget{Hard: before.books + max(int64(pages*guard.PageSize()), 1)}); err != nil {
				t.Fatal(err)
			}
			s.run()
			s.lift()
			s.finish(before)
			if len(s.errs) == 0 {
				break // that was enough
			}
			refused++
		}
		t.Logf("refused at %d levels", refused)
		if refused == 0 {
			t.Error("nothing was refused")
		}
	})
}

// finish checks that one failure made one error at most, that it says what it should, and that
// nothing is left behind.
func (s *scenario) finish(before holdings) {
	s.t.Helper()
	if len(s.errs) > 1 {
		s.t.Errorf("%s: one failure made several errors: %v", s.what, s.errs)
	}
	for _, err := range s.errs {
		if !errors.Is(err, guard.ErrNoMemory) {
			s.t.Errorf("%s: the error does not wrap ErrNoMemory: %v", s.what, err)
		}
	}
	if after := owned(s.t); after != before {
		s.t.Errorf("%s: something is left behind:\nbefore %+v\nafter  %+v", s.what, before, after)
	}
}
