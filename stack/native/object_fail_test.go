package native

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestFailLoad lets each system call of loading and closing fail once. There is an error, or another way was
// found; nothing leaks, and the next call works.
func TestFailLoad(t *testing.T) {
	path := build(t, kernels)
	// Without quarantine: else guard gives back its addresses before it reports that there are none.
	alloctest.SetQuarantine(t, 0)
	nothingLeft(t)
	var errs []error
	try := func(what string, f func() error) {
		t.Helper()
		err := f()
		if err == nil {
			return
		}
		errs = append(errs, err)
		if err := f(); err != nil && !(what == "Close" && errors.Is(err, guard.ErrClosed)) {
			t.Errorf("%s failed again: %v", what, err)
		}
	}
	scenario := func() {
		var c *Code
		try("LoadCode", func() (err error) { c, err = LoadCode([]byte{1, 2, 3, 4}); return err })
		try("Close", c.Close)
		var o *Object
		try("LoadObject", func() (err error) { o, err = LoadObject(path); return err })
		if _, err := o.Func("add"); err != nil {
			t.Error(err)
		}
		try("Close", o.Close)
	}
	for kind := range vm.Kinds {
		o, err := LoadObject(path)
		stacktest.NoError(t, err)
		stop := vm.Inject(kind, 0, nil)
		stacktest.NoError(t, o.Close())
		closing := stop()
		stop = vm.Inject(kind, 0, nil)
		scenario()
		calls := stop()
		if len(errs) > 0 {
			t.Fatalf("nothing injected: %v", errs)
		}
		for nth := 1; nth <= calls; nth++ {
			regions, committed := guard.Usage().Regions, guard.Committed()
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			scenario()
			stop()
			// Close has another way if the kernel refuses to take memory or files out of a mapping.
			unnoticed := kind == vm.Madvise || kind == vm.Munmap || kind == vm.Mmap && nth > calls-closing
			if len(errs) > 1 || len(errs) == 0 && !unnoticed {
				t.Errorf("%v %d of %d: %d errors: %v", kind, nth, calls, len(errs), errs)
			}
			for _, err := range errs {
				if kind == vm.Mmap && !errors.Is(err, guard.ErrNoMemory) {
					t.Errorf("%v %d of %d: %v does not wrap ErrNoMemory", kind, nth, calls, err)
				}
			}
			if guard.Usage().Regions != regions || guard.Committed() != committed {
				t.Errorf("%v %d of %d leaks", kind, nth, calls)
			}
			errs = nil
		}
		t.Logf("%-8v %2d positions", kind, calls)
	}
}
