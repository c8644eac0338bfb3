package vm

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	mapNoReserve = unix.MAP_NORESERVE

	// From the kernel's uapi headers; x/sys names them on some architectures only.
	madvCold           = 20
	madvPopulateRead   = 22
	madvPopulateWrite  = 23
	madvDontNeedLocked = 24
	madvGuardInstall   = 102
	madvGuardRemove    = 103
)

// EmptyUnlocked is Empty that fails for locked memory: see IsLocked.
func EmptyUnlocked(p unsafe.Pointer, n uintptr) error { return madvise(p, n, unix.MADV_DONTNEED) }

// Empty gives the memory of a usable range back at once; it stays usable and reads zero. MADV_DONTNEED
// and not MADV_FREE, so that resident is true afterwards.
func Empty(p unsafe.Pointer, n uintptr) error {
	err := EmptyUnlocked(p, n)
	if !IsLocked(err) {
		return err
	}
	if err = madvise(p, n, madvDontNeedLocked); !IsLocked(err) {
		return err
	}
	if err = Unlock(p, n); err != nil { // before Linux 5.18
		return err
	}
	return madvise(p, n, unix.MADV_DONTNEED)
}

// IsLocked tells whether err is the error of Guard and EmptyUnlocked for memory that the process has locked into RAM (mlock,
// mlockall).
func IsLocked(err error) bool { return err == unix.EINVAL }

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

// GuardRow puts markers over n bytes at p and again every stride bytes, count times in all. done is the number of
// finished guards, also after an error.
func GuardRow(p unsafe.Pointer, n, stride, count uintptr) (done uintptr, err error) {
	if count >= 4 {
		done = guardMany(p, n, stride, count)
	}
	for ; done < count; done++ {
		if err := Guard(unsafe.Add(p, done*stride), n); err != nil {
			return done, err
		}
	}
	return done, nil
}

// guardMany does the work of GuardRow with one system call for 512 guards, and may stop early: 190 ns a guard, where a call
// for each takes 1600 (in a virtual machine). Kernels that have guards let a process do this to itself; sandboxes may
// not.
func guardMany(p unsafe.Pointer, n, stride, count uintptr) (done uintptr) {
	self, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err != nil {
		return 0
	}
	defer unix.Close(self)
	var list [512]unix.Iovec
	for done < count {
		part := min(count-done, uintptr(len(list)))
		for i := range part {
			list[i].Base = (*byte)(unsafe.Add(p, (done+i)*stride))
			list[i].SetLen(int(n))
		}
		if failing(Madvise) != nil {
			return done
		}
		got, _, _ := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(self), uintptr(unsafe.Pointer(&list[0])), part, madvGuardInstall, 0, 0)
		if int(got) <= 0 {
			return done
		}
		done += got / n
	}
	return done
}

// Unguard removes the markers; the memory under them reads zero.
func Unguard(p unsafe.Pointer, n uintptr) error { return madvise(p, n, madvGuardRemove) }

// Populate brings the range's pages in, writable. The range must be usable and
// free of markers.
func Populate(p unsafe.Pointer, n uintptr) error { return madvise(p, n, madvPopulateWrite) }

// ReserveNear is Reserve at an address, if addresses are free there; the kernel chooses others if not. near is a multiple
// of the OS page, or 0 for none.
func ReserveNear(n, near uintptr) (unsafe.Pointer, error) {
	if near == 0 || !mmapTakesSixArguments {
		return Reserve(n)
	}
	if err := failing(Mmap); err != nil {
		return nil, err
	}
	// Not unix.MmapPtr: near is no pointer, and the collector must not see it as one.
	p, _, errno := unix.Syscall6(unix.SYS_MMAP, near, n, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|mapNoReserve, ^uintptr(0), 0)
	if errno != 0 {
		return nil, errno
	}
	return unsafe.Add(nil, p), nil
}

// mmapTakesSixArguments is true where the call is mmap, and not mmap2 or a struct.
const mmapTakesSixArguments = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" || runtime.GOARCH == "riscv64" || runtime.GOARCH == "loong64" || runtime.GOARCH == "ppc64le"

// StartSync starts to write the changed OS pages of a shared mapping to the file, and does not wait. It goes to the file,
// because msync without waiting does nothing in Linux.
func StartSync(_ unsafe.Pointer, n uintptr, fd int, at int64) error {
	if err := failing(Msync); err != nil {
		return err
	}
	return unix.SyncFileRange(fd, at, int64(n), unix.SYNC_FILE_RANGE_WRITE)
}

// Duplicate returns another descriptor of an open file, which programs that the process starts do not get.
func Duplicate(fd int) (int, error) {
	if err := failing(Dup); err != nil {
		return -1, err
	}
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
}

// Allocate has the file system set space aside for bytes of a file, and makes the file longer if they lie beyond its end.
// After an error some of that may be done. ErrUnsupported where the file system cannot do it.
func Allocate(fd int, at, n int64) error {
	if err := failing(Fallocate); err != nil {
		return err
	}
	for {
		err := unix.Fallocate(fd, 0, at, n)
		if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
			return ErrUnsupported
		}
		if err != unix.EINTR {
			return err
		}
	}
}

// PopulateRead brings the range's pages in as reads do. Where one cannot be read, it is an error.
func PopulateRead(p unsafe.Pointer, n uintptr) error {
	err := madvise(p, n, madvPopulateRead)
	if err == unix.EINVAL {
		return ErrUnsupported
	}
	return err
}

// Drop lets the memory of a shared mapping go from RAM: its contents are the file's.
func Drop(p unsafe.Pointer, n uintptr, fd int, at int64) error {
	if err := madvise(p, n, unix.MADV_DONTNEED); err != nil {
		return err
	}
	return unix.Fadvise(fd, at, int64(n), unix.FADV_DONTNEED)
}

// BeyondFile tells whether the readable OS page at p of a file mapping lies beyond the file's end.
// It is false for one that is not readable, and before Linux 5.14.
func BeyondFile(p unsafe.Pointer) bool {
	return madvise(p, uintptr(Probe().PageSize), madvPopulateRead) == unix.EFAULT
}

var adviceBits = [advices]int{
	Normal: unix.MADV_NORMAL, Sequential: unix.MADV_SEQUENTIAL, Random: unix.MADV_RANDOM, WillNeed: unix.MADV_WILLNEED,
	HugePages: unix.MADV_HUGEPAGE, NoHugePages: unix.MADV_NOHUGEPAGE, NoDump: unix.MADV_DONTDUMP, DontNeed: madvCold,
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
func Resident(p unsafe.Pointer, n uintptr) (total int64, err error) {
	page := uintptr(Probe().PageSize)
	err = residency(p, n, page, func(_ uintptr, in []byte) bool {
		for _, v := range in {
			total += int64(v&1) * int64(page)
		}
		return true
	})
	return total, err
}

// FirstResident returns the offset of the first OS page of the range that is in RAM; n if there is none.
func FirstResident(p unsafe.Pointer, n uintptr) (first uintptr, err error) {
	page := uintptr(Probe().PageSize)
	first = n
	err = residency(p, n, page, func(off uintptr, in []byte) bool {
		for i, v := range in {
			if v&1 != 0 {
				first = off + uintptr(i)*page
				return false
			}
		}
		return true
	})
	return first, err
}

// residency calls yield for one stretch of the range after the other, with a byte for each OS page, which is odd if the
// page is in RAM.
func residency(p unsafe.Pointer, n, page uintptr, yield func(off uintptr, in []byte) bool) error {
	vec := make([]byte, min(n/page, 64<<10))
	for off := uintptr(0); off < n; {
		part := min(n-off, uintptr(len(vec))*page)
		if err := failing(Mincore); err != nil {
			return err
		}
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Add(p, off)), part, uintptr(unsafe.Pointer(&vec[0])))
		if errno != 0 {
			return errno
		}
		if !yield(off, vec[:part/page]) {
			return nil
		}
		off += part
	}
	return nil
}
