package slots

import (
	"sync/atomic"
	"unsafe"
)

// FreeOnce makes a live slot cached, referenced or not, as the fast paths do, with an atomic operation: of several
// goroutines that free one object only one succeeds, the others get false.
func (t *Table) FreeOnce(it Item) bool {
	return t.exchange(it.State(), live, cached) || t.exchange(it.State(), referenced, cached)
}

// exchange changes the code of a state from one to another with an atomic operation; false if it has another code.
func (t *Table) exchange(i uint32, from, to State) bool {
	word, one := (*uint32)(unsafe.Pointer(t.State(i&^3))), oneState[i%4]
	for {
		old := atomic.LoadUint32(word)
		if old&(uint32(codeMask)*one) != uint32(from)*one {
			return false
		}
		if atomic.CompareAndSwapUint32(word, old, old^uint32(from^to)*one) {
			return true
		}
	}
}

// oneState has, for each of the four states in a word, the word in which it is 1 and the others are 0. With it
// a state is changed in a register: a byte that is stored and then read as part of a word would wait until
// all stores before it are done.
var oneState = func() (words [4]uint32) {
	for i := range words {
		(*[4]uint8)(unsafe.Pointer(&words[i]))[i] = 1
	}
	return words
}()
