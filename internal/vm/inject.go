package vm

import "sync/atomic"

// Kind is a kind of system call, for Inject.
type Kind uint8

const (
	Mmap Kind = iota
	Munmap
	Mprotect
	Madvise
	Mlock
	Munlock
	Mincore
	Mremap
	Sigaction
	Msync
	Dup
	Ftruncate
	Fallocate
	Pwrite // of zeroes, where there is no fallocate
	MemfdCreate
	Fcntl // seals, and for what a descriptor is open
	Open
	Sendmsg
	Recvmsg
	Flock
	Linkat
	Unlink
	Futex       // waiting
	RobustLists // to be told of the end of a thread
	IPC         // each call of package ipc
	Kinds       // how many there are
)

var kindNames = [Kinds]string{"mmap", "munmap", "mprotect", "madvise", "mlock", "munlock", "mincore", "mremap", "rt_sigaction", "msync", "dup", "ftruncate", "fallocate", "pwrite",
	"memfd_create", "fcntl", "open", "sendmsg", "recvmsg", "flock", "linkat", "unlink", "futex", "set_robust_list", "ipc"}

func (k Kind) String() string { return kindNames[k] }

type injection struct {
	kind Kind
	nth  int64
	err  error
	seen atomic.Int64
}

var injected atomic.Pointer[injection]

// Inject makes the nth call of kind from now on (1 is the next) fail once with
// err, without reaching the kernel. With nth 0 none fails: calls are only counted.
// stop ends it and returns how many calls of the kind were made. One injection
// is active at a time, for the whole process: tests that inject do not run in parallel.
func Inject(kind Kind, nth int, err error) (stop func() int) {
	in := &injection{kind: kind, nth: int64(nth), err: err}
	if !injected.CompareAndSwap(nil, in) {
		panic("vm: an injection is active already")
	}
	return func() int {
		injected.CompareAndSwap(in, nil)
		return int(in.seen.Load())
	}
}

// Failing is failing, for package ipc.
func Failing(k Kind) error { return failing(k) }

// failing is asked by every call before it goes to the kernel.
func failing(k Kind) error {
	in := injected.Load()
	if in == nil || in.kind != k {
		return nil
	}
	if in.seen.Add(1) != in.nth {
		return nil
	}
	return in.err
}
