//go:build unix && !linux && !aix

package vm

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The BSDs take no memory for PROT_NONE anonymous mappings, so they need no flag.
const mapNoReserve = 0

// Empty gives the memory of a usable range back, which stays usable and reads zero. These kernels take
// MADV_DONTNEED as a hint and keep the contents, so they are cleared; MADV_FREE then lets the kernel
// take the pages.
func Empty(p unsafe.Pointer, n uintptr) error {
	clear(bytes(p, n))
	return madvise(p, n, unix.MADV_FREE)
}

// EmptyUnlocked is Empty.
func EmptyUnlocked(p unsafe.Pointer, n uintptr) error { return Empty(p, n) }

// IsLocked is false: locked memory is emptied as any other here.
func IsLocked(error) bool { return false }

// ReserveNear is Reserve: the hint is not given.
func ReserveNear(n, _ uintptr) (unsafe.Pointer, error) { return Reserve(n) }

// StartSync starts to write the changed OS pages of a shared mapping to the file, and does not wait.
func StartSync(p unsafe.Pointer, n uintptr, _ int, _ int64) error {
	if err := failing(Msync); err != nil {
		return err
	}
	return unix.Msync(bytes(p, n), unix.MS_ASYNC)
}

// Duplicate returns another descriptor of an open file, which programs that the process starts do not get.
func Duplicate(fd int) (int, error) {
	if err := failing(Dup); err != nil {
		return -1, err
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	other, err := unix.Dup(fd)
	if err == nil {
		unix.CloseOnExec(other)
	}
	return other, err
}

func Allocate(int, int64, int64) error                                    { return ErrUnsupported }
func PopulateRead(unsafe.Pointer, uintptr) error                          { return ErrUnsupported }
func Drop(unsafe.Pointer, uintptr, int, int64) error                      { return ErrUnsupported }
func FileEnd(int) int64                                                   { return 0 }
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
