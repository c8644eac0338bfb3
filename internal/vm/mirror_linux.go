package vm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// MapAgain maps shared memory a second time, over a reserved stretch: both show the same bytes, and what one may be used for,
// the other may. It needs no descriptor, so that it works for memory of any origin, and for sealed memory whose creator may
// store. The memory must be one mapping, and shared.
func MapAgain(from, to unsafe.Pointer, n uintptr) error {
	if err := failing(Mremap); err != nil {
		return err
	}
	// An old size of 0 leaves the old mapping in place.
	_, err := unix.MremapPtr(from, 0, to, n, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED)
	return err
}
