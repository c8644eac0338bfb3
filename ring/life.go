package ring

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/shm"
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
// words of all sides that it keeps, is the end of the process. A thread of its own, because the kernel keeps one list of such
// words for each thread, and cgo programs use the list of theirs. It ends with the last side.
type keeper struct {
	list  vm.RobustList
	sides int
	begun chan struct{}
	stop  chan struct{}
	ended chan struct{}
}

// keepers are those of this process: one for each vm.MaxRobust sides.
var keepers struct {
	sync.Mutex
	all []*keeper
}

// kept is a side that a keeper keeps.
type kept struct {
	keeper *keeper
	entry  *vm.RobustEntry
	word   *atomic.Uint32
}

// keep takes a side, whose life word is in a header that r.watch shows. nil if somebody has it.
func keep(r *Ring, word *atomic.Uint32) *kept {
	at := uintptr(unsafe.Pointer(word)) - uintptr(unsafe.Pointer(r.head))
	k := &kept{entry: (*vm.RobustEntry)(unsafe.Add(r.watch.Base(), at)), word: word}
	keepers.Lock()
	defer keepers.Unlock()
	i := slices.IndexFunc(keepers.all, func(k *keeper) bool { return k.sides < vm.MaxRobust })
	if i < 0 {
		i = len(keepers.all)
		keepers.all = append(keepers.all, begin())
	}
	k.keeper = keepers.all[i]
	k.keeper.sides++
	if taken := k.keeper.list.Add(k.entry, word); taken {
		k.leave()
		return nil
	}
	return k
}

// watch returns a region with an OS page for the entries of a header's life words, and then the header, so that each entry lies an
// OS page before its word: the kernel wants one distance for all words of a list. The entries are where no other process can
// store.
func watch(head *header, name string, m *shm.Memory) (*region.Region, error) {
	page := guard.PageSize()
	r, err := region.Reserve(region.Config{Name: name, Size: 3 * page, Skip: 4})
	if err != nil {
		return nil, err
	}
	if err = r.Commit(0, page); err == nil {
		err = r.Mirror(page, page, unsafe.Pointer(head), vm.ReadWrite, fileOf(m), 0)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func begin() *keeper {
	k := &keeper{begun: make(chan struct{}), stop: make(chan struct{}), ended: make(chan struct{})}
	go k.live()
	<-k.begun
	return k
}

func (k *keeper) live() {
	defer close(k.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	k.list.Begin(uintptr(guard.PageSize()))
	close(k.begun)
	<-k.stop
	k.list.End()
}

// leave ends the keeper if nobody is left. Caller holds keepers.
func (k *kept) leave() {
	if k.keeper.sides--; k.keeper.sides > 0 {
		return
	}
	i := slices.Index(keepers.all, k.keeper)
	keepers.all = slices.Delete(keepers.all, i, i+1)
	close(k.keeper.stop)
	<-k.keeper.ended
}

// end says that the side is closed, and wakes the other.
func (k *kept) end() {
	keepers.Lock()
	defer keepers.Unlock()
	k.word.Store(lifeClosed)
	k.keeper.list.Remove(k.entry)
	vm.Wake(k.word, math.MaxInt32, false)
	k.leave()
}
