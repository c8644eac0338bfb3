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

// Func is the address of native code that follows the C calling convention of the machine, for
// Call. It is good until what it comes from is closed, which it does not keep open; a call
// after that faults (guard.UseAfterClose), as long as the quarantine holds the addresses.
type Func uintptr

// Code is machine code in a region of its own, which can be read and executed, and not written.
// LoadCode makes one; use of the zero Code is a *guard.Violation. Its methods may be called by any
// number of goroutines. A Code must not be copied.
type Code struct {
	_      nocopy.NoCopy
	region *region.Region
	size   int
}

// LoadCode copies machine code, which must be position-independent, to where it can be executed. The
// bytes are charged to the budget in whole OS pages. No code at all is an error. The error wraps
// guard.ErrNoMemory where the budget or the kernel refuses, and errors.ErrUnsupported where there is
// no native code: on all but Linux for amd64 and arm64. Where the system lets no process make memory
// executable that it has written to (MDWE, SELinux, seccomp) the error says so, and wraps the
// kernel's; LoadObject may still be allowed, because it maps a file.
//
// Nothing is ever writable and executable at once, and instruction caches are synchronised. That the
// code is sound is up to the caller.
func LoadCode(code []byte) (*Code, error) {
	r, err := loadCode(code)
	if err != nil {
		return nil, fmt.Errorf("native: load code: %w", err)
	}
	return &Code{region: r, size: len(code)}, nil
}

func loadCode(code []byte) (_ *region.Region, err error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if len(code) == 0 {
		return nil, errors.New("there is none")
	}
	return mapFilled(region.Config{Name: "code", Size: len(code)}, func(r *region.Region) error {
		if err := r.Commit(0, r.Size()); err != nil {
			return err
		}
		copy(r.Bytes(), code)
		syncCode(r.Base(), unsafe.Add(r.Base(), len(code)))
		return explainRefusal(r.Protect(0, r.Size(), guard.ReadExecute), refusedCode)
	})
}

// mapFilled maps a region and runs f to fill it. It closes the region if f fails or panics, as
// Budget.OnSoft may.
func mapFilled(c region.Config, f func(*region.Region) error) (r *region.Region, err error) {
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

// explainRefusal adds the likely causes to an error where the kernel says that something is not
// permitted (EACCES, EPERM).
func explainRefusal(err error, why string) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (%s)", err, why)
	}
	return err
}

// supported is an error where no native code can be loaded.
func supported() error {
	if machine == elf.EM_NONE {
		return fmt.Errorf("no native code on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
	}
	return nil
}

// Func returns the address of the instruction at offset off, in bytes. It panics with an error if
// there can be none: off is outside of the code or, on arm64, no multiple of 4.
func (c *Code) Func(off int) Func {
	c.usable("Func")
	if off < 0 || off >= c.size || off%instructionAlign != 0 {
		panic(fmt.Errorf("native: code of %d bytes has no instruction at offset %d", c.size, off))
	}
	return Func(uintptr(c.region.Base()) + uintptr(off))
}

// Close takes the code away, which must not be running. A second Close is an error that wraps
// guard.ErrClosed. After any other error the code is as it was, and Close may be called again.
func (c *Code) Close() error {
	c.usable("Close")
	return c.region.Close()
}

// usable panics unless LoadCode made the code.
func (c *Code) usable(op string) {
	if c == nil || c.region == nil {
		panic(&guard.Violation{Op: "native." + op, What: "use of a zero Code: native.LoadCode makes one"})
	}
}
