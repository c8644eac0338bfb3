package ring

import (
	"math"
	"runtime"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// The word life of a half says whether its side is there:
//
//	0                       nobody has taken the side yet
//	WordWatched | thread    somebody has; the kernel knows the thread by this number, and nobody else looks at the number
//	WordDied, and maybe     the thread has ended, and with it the process: the kernel stores that, and wakes one of those who
//	    WordWatched         wait at the word
//	lifeClosed              the side was closed
const lifeClosed = 1

// hasDied tells whether a life word says that the process has died.
func hasDied(life uint32) bool { return life&vm.WordDied != 0 }

// keeper is a goroutine with an OS thread of its own, which does nothing but live: its end, which the kernel notes in the life
// word, is the end of the process. A thread of its own, because the kernel keeps one list of such words for each thread, and
// cgo programs use the list of theirs.
type keeper struct {
	list  vm.RobustList
	word  *atomic.Uint32
	begun chan bool // whether the side was taken already
	stop  chan struct{}
	ended chan struct{}
}

// keep takes a side, and starts its keeper. nil if somebody has it.
func keep(word *atomic.Uint32) *keeper {
	k := &keeper{word: word, begun: make(chan bool), stop: make(chan struct{}), ended: make(chan struct{})}
	go k.live()
	if taken := <-k.begun; taken {
		return nil
	}
	return k
}

func (k *keeper) live() {
	defer close(k.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	noted, taken := k.list.Begin(k.word)
	k.begun <- taken
	if taken {
		return
	}
	<-k.stop
	k.word.Store(lifeClosed)
	k.list.End(noted)
	vm.Wake(k.word, math.MaxInt32, false)
}

// end says that the side is closed, and wakes the other.
func (k *keeper) end() {
	close(k.stop)
	<-k.ended
}
