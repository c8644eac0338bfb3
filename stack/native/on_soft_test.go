package native

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsideOnSoftPanicsWhileLoading lets OnSoft panic in LoadCode and LoadObject. They leave nothing behind.
func TestOutsideOnSoftPanicsWhileLoading(t *testing.T) {
	needNative(t)
	path := build(t, kernels)
	nothingLeft(t)
	for name, load := range map[string]func(){
		"LoadCode":   func() { LoadCode([]byte{1, 2, 3, 4}) },
		"LoadObject": func() { LoadObject(path) },
	} {
		stacktest.SetBudget(t, guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) { panic(errors.New("no")) }})
		if err := stacktest.PanicOf(load); err == nil || err.Error() != "no" {
			t.Errorf("%s: %v", name, err)
		}
		stacktest.SetBudget(t, guard.Budget{})
	}
}
