package native

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Func is the address of a native function, for Call and CallF. It is valid until the Code or Object that it
// comes from is closed, and does not keep that open. A call after Close returns a fault
// (guard.UseAfterClose) while the quarantine holds the addresses. A call of the zero Func returns a fault
// (BadAddress).
type Func uintptr

// Code is machine code in a region of its own, which is readable and executable. LoadCode makes one; any use
// of the zero Code is a *guard.Violation. Any number of goroutines may call its methods at the same time.
// A Code must not be copied.
type Code struct {
	_      nocopy.NoCopy
	region *region.Region
	size   int
}

// LoadCode copies machine code, which must be position-independent, into executable memory. The caller may
// change code afterwards. The memory is charged to the budget in whole OS pages, and is never writable and
// executable at once. LoadCode does not look at the instructions.
//
// The error wraps guard.ErrNoMemory where the budget or the kernel refuses the memory, and
// errors.ErrUnsupported on all systems but Linux for amd64 and arm64. An empty code is an error. Some
// systems let no process execute memory that it has written to (MDWE, SELinux, seccomp): then the error
// wraps the kernel's and names these causes. LoadObject may still work there, because it maps a file.
func LoadCode(code []byte) (*Code, error) {
	r, err := loadCode(code)
	if err != nil {
		return nil, fmt.Errorf("native: load code: %w", err)
	}
	return &Code{region: r, size: len(code)}, nil
}

func loadCode(code []byte) (_ *region.Region, err error) {
	if err := checkSupported(); err != nil {
		return nil, err
	}
	if len(code) == 0 {
		return nil, errors.New("there is none")
	}
	return reserveFilled(region.Config{Name: "code", Size: len(code)}, func(r *region.Region) error {
		if err := r.Commit(0, r.Size()); err != nil {
			return err
		}
		copy(r.Bytes(), code)
		syncCode(r.Base(), unsafe.Add(r.Base(), len(code)))
		return explainRefusal(r.Protect(0, r.Size(), guard.ReadExecute), refusedCode)
	})
}

// reserveFilled reserves a region and calls f to fill it. It closes the region if f fails, or panics as
// Budget.OnSoft may.
func reserveFilled(c region.Config, f func(*region.Region) error) (r *region.Region, err error) {
	if r, err = region.Reserve(c); err != nil {
		return nil, err
	}
	built := false
	defer func() {
		if !built {
			err = errors.Join(err, r.Close())
			r = nil
		}
	}()
	err = f(r)
	built = err == nil
	return r, err
}

const (
	refusedCode   = "the system lets no process make memory executable that it has written to: likely MDWE (prctl PR_SET_MDWE, systemd's MemoryDenyWriteExecute), SELinux (execmem) or a seccomp filter"
	refusedObject = "the system does not let the process execute the file: likely a file system that is mounted noexec, SELinux, a seccomp filter or MDWE (prctl PR_SET_MDWE, systemd's MemoryDenyWriteExecute)"
	refusedSignal = "the system does not let the process set signal handlers, which native code needs: likely a seccomp filter"
)

// explainRefusal adds the likely causes to an error of the kernel that says "not permitted" (EACCES, EPERM).
func explainRefusal(err error, why string) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (%s)", err, why)
	}
	return err
}

// checkSupported returns an error on systems where no native code can run.
func checkSupported() error {
	if machine == elf.EM_NONE {
		return fmt.Errorf("no native code on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
	}
	return nil
}

// Func returns the function that begins at offset off of the code, in bytes. It panics with an error if off
// is outside of the code or, on arm64, no multiple of 4.
func (c *Code) Func(off int) Func {
	c.usable("Func")
	if off < 0 || off >= c.size || off%instructionAlign != 0 {
		panic(fmt.Errorf("native: code of %d bytes has no instruction at offset %d", c.size, off))
	}
	return Func(uintptr(c.region.Base()) + uintptr(off))
}

// Close takes the code away. None of its functions may be running. A second Close returns an error that
// wraps guard.ErrClosed. After any other error the code is still there, and Close may be called again.
func (c *Code) Close() error {
	c.usable("Close")
	return c.region.Close()
}

// usable panics unless LoadCode made the code.
func (c *Code) usable(op string) {
	if c == nil || c.region == nil {
		panic(&guard.Violation{Op: "native." + op, Kind: guard.ZeroValue, Detail: "native.LoadCode makes a Code"})
	}
}
