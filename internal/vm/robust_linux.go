package vm

import (
	"slices"
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

// RobustList names words to the kernel, which notes in them that the thread has ended, also by SIGKILL: it sets WordDied, and
// wakes one of those who wait at the word. It does so before it frees the memory of the process. The RobustList must stay where
// it is, and alive, until End. The caller makes one call at a time.
type RobustList struct {
	// As the kernel reads it (struct robust_list_head): a ring of entries from the first field on, the way from an entry to its
	// word, and an entry that is being changed.
	first  atomic.Uintptr
	toWord uintptr
	_      uintptr

	entries  []*RobustEntry // the last is the first of the ring
	thread   uint32
	noted    bool
	previous uintptr // the list that the thread had
	length   uintptr
}

// RobustEntry is what the kernel reads for a word. It lies as many bytes before the word as Begin was told, where other processes
// cannot store.
type RobustEntry struct{ next atomic.Uintptr }

// MaxRobust is the most words of a list: the kernel looks at no more than 2048.
const MaxRobust = 1024

// Begin begins a list without words for this thread: from now on it is noted in its words when the thread ends. The caller has
// locked its goroutine to the thread. If the kernel does not note anything, words can be taken all the same.
func (l *RobustList) Begin(toWord uintptr) {
	l.first.Store(uintptr(unsafe.Pointer(l)))
	l.toWord = toWord
	l.thread = uint32(unix.Gettid())
	if failing(RobustLists) == nil {
		_, _, errno := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&l.previous)), uintptr(unsafe.Pointer(&l.length)))
		if errno == 0 {
			_, _, errno = unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(l)), robustLength, 0)
		}
		l.noted = errno == 0
	}
}

// Add makes a word this list's. taken is true if the word was not zero: then nothing has changed. Any thread may call it. At each
// moment the list is whole, for the kernel may read it at any.
func (l *RobustList) Add(e *RobustEntry, word *atomic.Uint32) (taken bool) {
	e.next.Store(l.first.Load())
	l.first.Store(uintptr(unsafe.Pointer(e)))
	l.entries = append(l.entries, e)
	// From here on: the kernel looks for the number of the thread in the word, and finds none before.
	if !word.CompareAndSwap(0, WordWatched|l.thread) {
		l.Remove(e)
		return true
	}
	return false
}

// Remove takes a word from the list. Any thread may call it.
func (l *RobustList) Remove(e *RobustEntry) {
	i := slices.Index(l.entries, e)
	before := &l.first
	if i+1 < len(l.entries) {
		before = &l.entries[i+1].next
	}
	before.Store(e.next.Load())
	l.entries = slices.Delete(l.entries, i, i+1)
}

// End gives the thread of Begin, which calls it, the list back that it had before. There are no words any more.
func (l *RobustList) End() {
	if l.noted {
		_, _, _ = unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, l.previous, robustLength, 0)
	}
}
