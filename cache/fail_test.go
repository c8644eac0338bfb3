package cache

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// scenario does everything with a cache that leads to system calls. It notes errors, tries again what failed, and checks the
// cache as it goes.
type scenario struct {
	t     *testing.T
	what  string
	limit int
	lift  func() // ends what makes calls fail; nil where it happens once
	errs  []error
	cache *Cache
}

func (s *scenario) try(op string, f func() error) {
	s.t.Helper()
	err := f()
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", op, err))
		if !errors.Is(err, guard.ErrNoMemory) {
			s.t.Errorf("%s: the error does not wrap ErrNoMemory: %v", s.what, err)
		}
		if s.cache != nil && !s.cache.closed.Load() {
			s.cache.check()
		}
		if s.lift != nil {
			s.lift()
		}
		if err = f(); err != nil {
			s.t.Errorf("%s: %s failed again: %v", s.what, op, err)
		}
	}
}

func (s *scenario) run() {
	s.try("Open", func() (err error) { s.cache, err = Open(Config{Limit: s.limit}); return err })
	c := s.cache
	if c == nil {
		return
	}
	sizes := []int{10, 300, 5000, 60_000, 700_000}
	if s.limit == 0 {
		sizes = append(sizes, 3<<20)
	}
	for round := range 2 {
		for _, n := range sizes {
			for i := range 4 {
				key, value := fmt.Append(nil, n, i), bytes.Repeat([]byte{byte(i)}, n)
				s.try("Set", func() error { return c.SetTTL(key, value, time.Hour) })
				if got, ok := c.Get(nil, key); !ok || !bytes.Equal(got, value) {
					s.t.Fatalf("%s: a value of %d bytes is not there: %v", s.what, n, ok)
				}
			}
		}
		s.try("Update", func() error {
			return c.Update([]byte("u"), func(old []byte, _ bool) ([]byte, bool) { return make([]byte, 300_000), true })
		})
		s.try("Add", func() error { _, err := c.Add([]byte("n"), 1); return err })
		if round == 0 {
			var b bytes.Buffer
			s.try("WriteTo", func() error { b.Reset(); _, err := c.WriteTo(&b); return err })
			s.try("ReadFrom", func() error { _, err := c.ReadFrom(bytes.NewBuffer(b.Bytes())); return err })
		}
		s.try("Purge", c.Purge)
		c.check()
		if c.Reset(); c.Len() != 0 {
			s.t.Errorf("%s: %d entries after Reset", s.what, c.Len())
		}
		s.try("Purge", c.Purge)
	}
	s.try("Close", c.Close)
	if err := c.Close(); !errors.Is(err, guard.ErrClosed) {
		s.t.Errorf("%s: a second Close: %v", s.what, err)
	}
}

// owned returns what may leak.
func owned() guard.Totals {
	guard.SetQuarantine(0) // so that what the kernel did not take is tried again
	u := guard.Usage()
	u.Resident, u.Live, u.Mappings = 0, 0, 0
	return u
}

// TestFailEveryCall lets every system call fail once: an error comes back or is made up for, the cache is whole, and nothing
// leaks.
func TestFailEveryCall(t *testing.T) {
	skipUnderRace(t)
	alloctest.SetQuarantine(t, 0)
	step := 2
	if testing.Short() {
		step = 13
	}
	for _, limit := range []int{0, 2 << 20} {
		for kind := range vm.Kinds {
			reported, calls := 0, 1
			for nth := 1; nth <= calls && !t.Failed(); nth += step {
				before := owned()
				s := &scenario{t: t, what: fmt.Sprintf("Limit %d: %v %d fails", limit, kind, nth), limit: limit}
				stop := vm.Inject(kind, nth, vm.OutOfMemory)
				s.run()
				calls = stop()
				reported += len(s.errs)
				if len(s.errs) > 1 {
					t.Errorf("%s: several errors: %v", s.what, s.errs)
				}
				if after := owned(); after != before {
					t.Errorf("%s: something is left behind:\nbefore %+v\nafter  %+v", s.what, before, after)
				}
			}
			t.Logf("Limit %d: %-12v %3d calls, %3d failures reported", limit, kind, calls, reported)
		}
	}
}

// TestBudgetEverywhere lets the budget end at many places of the scenario.
func TestBudgetEverywhere(t *testing.T) {
	skipUnderRace(t)
	alloctest.SetQuarantine(t, 0)
	defer guard.SetBudget(guard.Budget{})
	refused, share := 0, 1
	if testing.Short() {
		share = 6
	}
	for pages := 1; !t.Failed(); pages += 1 + pages*share/4 {
		before := owned()
		s := &scenario{t: t, what: fmt.Sprintf("%d OS pages", pages), lift: func() { guard.SetBudget(guard.Budget{}) }}
		if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + int64(pages*guard.PageSize())}); err != nil {
			t.Fatal(err)
		}
		s.run()
		s.lift()
		if after := owned(); after != before {
			t.Errorf("%s: something is left behind:\nbefore %+v\nafter  %+v", s.what, before, after)
		}
		if len(s.errs) == 0 {
			break
		}
		refused++
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}
