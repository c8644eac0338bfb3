package vm

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The states of a word in which the kernel notes the end of a thread.
const (
	WordThread   uint32 = 1<<30 - 1 // the thread whose word it is
	WordDied     uint32 = 1 << 30   // the thread has ended
	WordWatched  uint32 = 1 << 31   // the kernel is to wake somebody who waits at the word
	robustLength        = 3 * unsafe.Sizeof(uintptr(0))
)

// RobustList names one word to the kernel, which notes in it that the thread has ended, also by SIGKILL: it sets WordDied,
// and wakes one of those who wait at the word. It does so before it frees the memory of the process. The RobustList must stay
// where it is, and alive, until End.
type RobustList struct {
	// As the kernel reads it (struct robust_list_head): a ring of entries from the first field on, the way from an entry to its
	// word, and an entry that is being changed.
	first  uintptr
	toWord uintptr
	_      uintptr

	entry    uintptr // the one entry: the address of the first field, which ends the list
	previous uintptr // the list that the thread had
	length   uintptr
}

// Begin makes the word this thread's: from now on it is noted there when the thread ends. The caller has locked its goroutine to
// the thread. taken is true if the word was not zero: then nothing has changed. noted is false if the kernel does not note
// anything; then the word is the thread's all the same.
func (l *RobustList) Begin(word *atomic.Uint32) (noted, taken bool) {
	l.entry = uintptr(unsafe.Pointer(&l.first))
	l.first = uintptr(unsafe.Pointer(&l.entry))
	l.toWord = uintptr(unsafe.Pointer(word)) - l.first
	if failing(RobustLists) == nil {
		_, _, errno := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&l.previous)), uintptr(unsafe.Pointer(&l.length)))
		if errno == 0 {
			_, _, errno = unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(&l.first)), robustLength, 0)
		}
		noted = errno == 0
	}
	// From here on: the kernel looks for the number of the thread in the word, and finds none before.
	if !word.CompareAndSwap(0, WordWatched|uint32(unix.Gettid())) {
		l.End(noted)
		return false, true
	}
	return noted, false
}

// End gives the thread the list back that it had before Begin. The word does not name the thread any more.
func (l *RobustList) End(noted bool) {
	if noted {
		_, _, _ = unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, l.previous, robustLength, 0)
	}
}
