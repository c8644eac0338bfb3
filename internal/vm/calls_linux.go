package vm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	mapNoReserve = unix.MAP_NORESERVE

	// From the kernel's uapi headers; x/sys names them on some architectures only.
	madvPopulateWrite = 23
	madvGuardInstall  = 102
	madvGuardRemove   = 103
)

// Discard gives the memory of an inaccessible range back at once; it reads zero
// when it is made usable again. MADV_DONTNEED and not MADV_FREE, so that resident
// is true afterwards.
func Discard(p unsafe.Pointer, n uintptr) error { return madvise(p, n, unix.MADV_DONTNEED) }

// Move gives the pages of a usable range to another as long, which loses its own: both stay usable,
// and the first reads zero afterwards. It must be one mapping, private and anonymous. ErrUnsupported
// before Linux 5.7.
func Move(from, to unsafe.Pointer, n uintptr) error {
	if err := failing(Mremap); err != nil {
		return err
	}
	_, err := unix.MremapPtr(from, n, to, n, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED|unix.MREMAP_DONTUNMAP)
	if err == unix.EINVAL {
		return ErrUnsupported
	}
	return err
}

// Guard puts markers over the range: its memory is given back and every touch
// faults. About 300 ns for the first OS page and 14 ns for each that follows.
func Guard(p unsafe.Pointer, n uintptr) error { return madvise(p, n, madvGuardInstall) }

// Unguard takes the markers away; what was under them reads zero.
func Unguard(p unsafe.Pointer, n uintptr) error { return madvise(p, n, madvGuardRemove) }

// Populate brings the range's pages in, writable. The range must be usable and
// free of markers.
func Populate(p unsafe.Pointer, n uintptr) error { return madvise(p, n, madvPopulateWrite) }

var adviceBits = [advices]int{
	Normal: unix.MADV_NORMAL, Sequential: unix.MADV_SEQUENTIAL, Random: unix.MADV_RANDOM, WillNeed: unix.MADV_WILLNEED,
	HugePages: unix.MADV_HUGEPAGE, NoHugePages: unix.MADV_NOHUGEPAGE, NoDump: unix.MADV_DONTDUMP,
}

// Advise passes a hint on. Where the kernel lacks the feature it is ErrUnsupported.
func Advise(p unsafe.Pointer, n uintptr, a Advice) error {
	err := madvise(p, n, adviceBits[a])
	if err == unix.EINVAL {
		return ErrUnsupported
	}
	return err
}

const (
	prSetVMA         = 0x53564d41
	prSetVMAAnonName = 0
)

// Name shows the range as [anon:name] in /proc/PID/maps. The kernel takes up to
// 79 printable bytes without any of \ ` $ [ ].
func Name(p unsafe.Pointer, n uintptr, name string) error {
	buf := append([]byte(name), 0)
	return unix.Prctl(prSetVMA, prSetVMAAnonName, uintptr(p), n, uintptr(unsafe.Pointer(&buf[0])))
}

// Resident returns how many bytes of the range are in RAM. It costs one system
// call for each 256 MiB (4 KiB OS pages).
func Resident(p unsafe.Pointer, n uintptr) (int64, error) {
	return resident(p, n, uintptr(Probe().PageSize))
}

func resident(p unsafe.Pointer, n, page uintptr) (int64, error) {
	vec := make([]byte, min(n/page, 64<<10))
	var pages int64
	for off := uintptr(0); off < n; {
		part := min(n-off, uintptr(len(vec))*page)
		if err := failing(Mincore); err != nil {
			return 0, err
		}
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Add(p, off)), part, uintptr(unsafe.Pointer(&vec[0])))
		if errno != 0 {
			return 0, errno
		}
		for _, v := range vec[:part/page] {
			pages += int64(v & 1)
		}
		off += part
	}
	return pages * int64(page), nil
}
