package native

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// PR_SET_MDWE and PR_MDWE_REFUSE_EXEC_GAIN of prctl, since Linux 6.3.
const (
	prSetMDWE           = 65
	mdweRefusesExecGain = 1
)

// TestOutsideMDWE forbids the process to make memory executable. LoadCode says so, and LoadObject still works.
func TestOutsideMDWE(t *testing.T) {
	needNative(t)
	if !stacktest.InOwnProcess(t) {
		return
	}
	path := build(t, kernels)
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetMDWE, mdweRefusesExecGain, 0, 0, 0, 0); errno != 0 {
		t.Skipf("the kernel does not know PR_SET_MDWE: %v", errno)
	}
	nothingLeft(t)
	_, err := LoadCode([]byte{1, 2, 3, 4})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "PR_SET_MDWE") {
		t.Errorf("LoadCode: %v", err)
	}
	o, err := LoadObject(path)
	stacktest.NoError(t, err)
	f, err := o.Func("add")
	stacktest.NoError(t, err)
	s := hold(t, mustOpen(t, stack.Config{}))
	if sum, err := Call(s, f, 1, 2); err != nil || sum != 3 {
		t.Errorf("1 and 2 are %d, %v", sum, err)
	}
	stacktest.NoError(t, o.Close())
}
