//go:build unix && !linux && !aix

package vm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The BSDs take no memory for PROT_NONE anonymous mappings, so they need no flag.
const mapNoReserve = 0

// Discard gives the memory of an inaccessible range back; it reads zero when it is
// made usable again. These kernels take MADV_DONTNEED as a hint and keep the
// contents, so they are cleared first; MADV_FREE then lets the kernel take the pages.
func Discard(p unsafe.Pointer, n uintptr) error {
	if err := Protect(p, n, ReadWrite); err != nil {
		return err
	}
	if err := Empty(p, n); err != nil {
		return err
	}
	return Protect(p, n, None)
}

// Empty is Discard for a usable range, which stays usable.
func Empty(p unsafe.Pointer, n uintptr) error {
	clear(bytes(p, n))
	return madvise(p, n, unix.MADV_FREE)
}

func Move(from, to unsafe.Pointer, n uintptr) error                       { return ErrUnsupported }
func Guard(unsafe.Pointer, uintptr) error                                 { return ErrUnsupported }
func GuardRow(unsafe.Pointer, uintptr, uintptr, uintptr) (uintptr, error) { return 0, ErrUnsupported }
func Unguard(unsafe.Pointer, uintptr) error                               { return ErrUnsupported }
func Populate(unsafe.Pointer, uintptr) error                              { return ErrUnsupported }
func BeyondFile(unsafe.Pointer) bool                                      { return false }
func Advise(unsafe.Pointer, uintptr, Advice) error                        { return ErrUnsupported }
func Name(unsafe.Pointer, uintptr, string) error                          { return ErrUnsupported }
func FirstResident(unsafe.Pointer, uintptr) (uintptr, error)              { return 0, ErrUnsupported }
func Resident(unsafe.Pointer, uintptr) (int64, error)                     { return 0, ErrUnsupported }
