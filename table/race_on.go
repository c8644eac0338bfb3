//go:build race

package table

import (
	"runtime"
	"sync"
	"unsafe"
	"weak"
)

// marks stand for a Map or a Strings in the eyes of the race detector, which knows the Go heap only: a call that searches
// or iterates reads the mark, a call that may change the table writes it, both before they touch the table. So the detector
// reports a change that is not ordered with other calls. A Concurrent needs no mark: its locks are on the Go heap.
type marks struct{ mark *raceMark }

// raceMark is one for all Maps and Strings that are attached to one table. It is as large as an object that the Go heap
// gives a place of its own, so that its cleanup runs.
type raceMark [4]uint64

func (m *marks) markRead() {
	if m.mark != nil {
		runtime.RaceRead(unsafe.Pointer(m.mark))
	}
}

func (m *marks) markWrite() {
	if m.mark != nil {
		runtime.RaceWrite(unsafe.Pointer(m.mark))
	}
}

// watch gives the map its mark: a new one, or that of the table to which it is attached.
func (m *Map[K, V]) watch(attached bool) {
	m.mark = markOf(m.root, attached)
	find := m.find
	m.find = func(t *typed[K, V], key K) (*slot[K, V], byte) { // Get and Lookup do nothing else
		m.markRead()
		return find(t, key)
	}
}

// watch gives the table its mark.
func (m *Strings[V]) watch(attached bool) { m.mark = markOf(m.root, attached) }

// known has the marks that are in use, by the roots of their tables.
var known struct {
	sync.Mutex
	marks map[*root]weak.Pointer[raceMark]
}

// markOf returns a new mark for the table at a root, or, if attached, the one that it has.
func markOf(r *root, attached bool) *raceMark {
	known.Lock()
	defer known.Unlock()
	if m := known.marks[r].Value(); m != nil && attached {
		return m
	}
	if known.marks == nil {
		known.marks = map[*root]weak.Pointer[raceMark]{}
	}
	m := new(raceMark)
	known.marks[r] = weak.Make(m)
	runtime.AddCleanup(m, forget, r)
	return m
}

// forget removes a mark that nobody uses any more.
func forget(r *root) {
	known.Lock()
	defer known.Unlock()
	if known.marks[r].Value() == nil {
		delete(known.marks, r)
	}
}
