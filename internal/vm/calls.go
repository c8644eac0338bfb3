//go:build unix && !aix

package vm

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bytes views a range for those calls of x/sys that take a slice.
func bytes(p unsafe.Pointer, n uintptr) []byte { return unsafe.Slice((*byte)(p), n) }

var protBits = [...]int{
	None:        unix.PROT_NONE,
	Read:        unix.PROT_READ,
	ReadWrite:   unix.PROT_READ | unix.PROT_WRITE,
	ReadExecute: unix.PROT_READ | unix.PROT_EXEC,
}

// Reserve claims n bytes of addresses, inaccessible, where the kernel chooses.
// No memory is promised for them: they count towards RLIMIT_AS, not towards overcommit.
func Reserve(n uintptr) (unsafe.Pointer, error) {
	if err := failing(Mmap); err != nil {
		return nil, err
	}
	return unix.MmapPtr(-1, 0, nil, n, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|mapNoReserve)
}

// MapShared maps the first n bytes of a file where the kernel chooses, readable and writable: a write is in the file at
// once.
func MapShared(n uintptr, fd int) (unsafe.Pointer, error) {
	if err := failing(Mmap); err != nil {
		return nil, err
	}
	return unix.MmapPtr(fd, 0, nil, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// MapFile puts a mapping of the file over a reserved stretch, from offset at of the file on. It is shared, so that stores
// go to the file, or private: then a store copies its OS page.
func MapFile(p unsafe.Pointer, n uintptr, fd int, at int64, prot Prot, shared bool) error {
	flags := unix.MAP_PRIVATE
	if shared {
		flags = unix.MAP_SHARED
	}
	return mapOver(p, n, fd, at, protBits[prot], flags)
}

// Sync writes the changed OS pages of a shared mapping to the file, and waits until the disk has them.
func Sync(p unsafe.Pointer, n uintptr) error {
	if err := failing(Msync); err != nil {
		return err
	}
	return unix.Msync(bytes(p, n), unix.MS_SYNC)
}

// Decommit puts a fresh reservation in the place of the range: memory goes back, and so does the kernel's promise for it
// (overcommit "never"); files, locks, markers, names and hints are gone.
//
// Measured against mprotect and MADV_DONTNEED, which promise and hints survive: as long for one OS
// page (6 µs), a third less for 1 MiB.
func Decommit(p unsafe.Pointer, n uintptr) error {
	return mapOver(p, n, -1, 0, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

func mapOver(p unsafe.Pointer, n uintptr, fd int, at int64, prot, flags int) error {
	if err := failing(Mmap); err != nil {
		return err
	}
	_, err := unix.MmapPtr(fd, at, p, n, prot, unix.MAP_FIXED|mapNoReserve|flags)
	return err
}

// Release gives addresses back: the next mapping, of anyone in the process, may get them.
func Release(p unsafe.Pointer, n uintptr) error {
	if err := failing(Munmap); err != nil {
		return err
	}
	return unix.MunmapPtr(p, n)
}

// Protect sets which accesses the range allows.
func Protect(p unsafe.Pointer, n uintptr, prot Prot) error {
	if err := failing(Mprotect); err != nil {
		return err
	}
	return unix.Mprotect(bytes(p, n), protBits[prot])
}

// Lock keeps the range in RAM, bringing it in first. RLIMIT_MEMLOCK bounds it.
func Lock(p unsafe.Pointer, n uintptr) error {
	if err := failing(Mlock); err != nil {
		return err
	}
	return unix.Mlock(bytes(p, n))
}

// IsLockRefused tells whether err is the error of Lock for RLIMIT_MEMLOCK: the range exceeds it, or it is 0 and the
// process may lock nothing.
func IsLockRefused(err error) bool { return IsOutOfMemory(err) || err == unix.EPERM }

// Unlock undoes Lock.
func Unlock(p unsafe.Pointer, n uintptr) error {
	if err := failing(Munlock); err != nil {
		return err
	}
	return unix.Munlock(bytes(p, n))
}

func madvise(p unsafe.Pointer, n uintptr, advice int) error {
	if err := failing(Madvise); err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		err := unix.Madvise(bytes(p, n), advice)
		// EAGAIN: the kernel was short of something for a moment. EINTR: a
		// signal came during a long guard installation, which starts again.
		if err != unix.EAGAIN && err != unix.EINTR || tries == 1000 {
			return err
		}
	}
}

// IsOutOfMemory tells whether err is the kernel's error for "no memory, no addresses or no mapping left".
func IsOutOfMemory(err error) bool { return errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN) }

// OutOfMemory is that error, for tests that inject it.
const OutOfMemory = unix.ENOMEM
