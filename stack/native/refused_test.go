package native

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsideNoExecutableMemory lets the kernel refuse executable memory. The error names the likely causes.
func TestOutsideNoExecutableMemory(t *testing.T) {
	needNative(t)
	path := build(t, kernels)
	nothingLeft(t)
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v does not wrap the kernel's error", what, err)
			return
		}
		for _, cause := range []string{"MDWE", "SELinux", "seccomp"} {
			if !strings.Contains(err.Error(), cause) {
				t.Errorf("%s: %v does not name %s", what, err, cause)
			}
		}
	}
	stop := vm.Inject(vm.Mprotect, 0, nil)
	c, err := LoadCode([]byte{1, 2, 3, 4})
	last := stop()
	stacktest.NoError(t, err, c.Close())
	stop = vm.Inject(vm.Mprotect, last, syscall.EACCES)
	_, err = LoadCode([]byte{1, 2, 3, 4})
	stop()
	check("LoadCode", err)

	stop = vm.Inject(vm.Mmap, 0, nil)
	o, err := LoadObject(path)
	last = stop()
	stacktest.NoError(t, err, o.Close())
	for nth := 2; nth <= last; nth++ { // the first call reserves addresses
		for _, refusal := range []error{syscall.EACCES, syscall.EPERM} {
			stop = vm.Inject(vm.Mmap, nth, refusal)
			_, err = LoadObject(path)
			stop()
			check(fmt.Sprintf("LoadObject, mmap %d", nth), err)
			if err != nil && !strings.Contains(err.Error(), "noexec") {
				t.Errorf("LoadObject: %v does not name noexec", err)
			}
		}
	}
}

// TestOutsideNoSignalHandler lets the kernel refuse the signal handlers of the first Call. The error names the
// likely cause, and a later Call works.
func TestOutsideNoSignalHandler(t *testing.T) {
	needNative(t)
	if !stacktest.InOwnProcess(t) {
		return
	}
	s := hold(t, mustOpen(t, stack.Config{}))
	f := returns.load(t)
	for nth := range 2 {
		stop := vm.Inject(vm.Sigaction, nth+1, syscall.EPERM)
		_, err := Call(s, f)
		stop()
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "seccomp") {
			t.Errorf("rt_sigaction %d was refused: %v", nth+1, err)
		}
	}
	_, err := Call(s, f)
	stacktest.NoError(t, err)
}
