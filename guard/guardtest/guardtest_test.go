package guardtest

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

var sink byte

func mustReserve(t testing.TB, c region.Config) *region.Region {
	t.Helper()
	r, err := region.Reserve(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

// budget sets a budget until the end of the test.
func budget(t *testing.T, b guard.Budget) {
	t.Helper()
	if _, err := guard.SetBudget(b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := guard.SetBudget(guard.Budget{}); err != nil {
			t.Error(err)
		}
	})
}

func find(name string) (in guard.Info, ok bool) {
	for in := range guard.Regions() {
		if in.Name == name {
			return in, true
		}
	}
	return guard.Info{}, false
}
