//go:build amd64 || arm64

package trap

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// uninstall undoes what tests before have done.
func uninstall(t *testing.T) {
	installed.Store(false)
	for sig, handler := range old {
		if handler == 0 {
			continue
		}
		a, err := vm.SignalAction(sig)
		if err == nil {
			a.Handler = handler
			err = vm.SetSignalAction(sig, a)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A handler that the kernel refuses is an error, and the old handler stays in charge.
func TestInstallFails(t *testing.T) {
	uninstall(t)
	stop := vm.Inject(vm.Sigaction, 0, nil)
	if _, err := vm.SignalAction(11); err != nil {
		t.Fatal(err)
	}
	stop()
	before, err := vm.SignalAction(11)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for nth := 1; ; nth++ {
		stop := vm.Inject(vm.Sigaction, nth, vm.OutOfMemory)
		err := Install()
		stop()
		if err == nil {
			break
		}
		refused++
		if !errors.Is(err, vm.OutOfMemory) || Ready() {
			t.Errorf("refused at %d: %v, ready %v", nth, err, Ready())
		}
		var nothing *int
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a nil pointer was not told")
				}
			}()
			*nothing = 1
		}()
	}
	if refused < len(signals()) || !Ready() {
		t.Errorf("%d calls were refused, ready %v", refused, Ready())
	}
	after, err := vm.SignalAction(11)
	if err != nil || after.Handler != handlerAddr() || after.Flags != before.Flags || after.Mask != before.Mask || after.Restorer != before.Restorer || old[11] != before.Handler {
		t.Errorf("before %+v, after %+v, kept %#x, %v", before, after, old[11], err)
	}
	if err := Install(); err != nil {
		t.Error(err)
	}
}

// The list that handlers walk does not grow with every pool that is opened and closed.
func TestAreasAreUsedAgain(t *testing.T) {
	for range 1000 {
		a, b := Watch(1<<40, 1<<16, 1<<41, 64), Watch(1<<42, 1<<16, 1<<43, 64)
		a.Grow(1 << 20)
		a.Hide()
		a.Forget()
		b.Hide()
		b.Forget()
	}
	n := 0
	for a := areas; a != nil; a = a.next {
		n++
		if a.size != 0 {
			t.Error("a forgotten area has stacks")
		}
	}
	if n > 2 {
		t.Errorf("%d areas are on the list", n)
	}
}
