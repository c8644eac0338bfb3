package table

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// shardLock is the lock of a shard and, in one word, the counter by which searches without the lock see that the
// shard has changed. It is on the Go heap, where the race detector sees it, and has its cache lines for itself: processors
// fetch them in pairs.
type shardLock struct {
	counter atomic.Uint64 // odd while a goroutine has the lock
	queue   sync.Mutex    // of those that wait for the lock: the one that has it tries again and again
	_       [128 - unsafe.Sizeof(atomic.Uint64{}) - unsafe.Sizeof(sync.Mutex{})]byte
}

// lock locks the shard and returns what unlock needs. It panics if the arena has ended the table.
func (l *shardLock) lock(s *supply) (counter uint64) {
	counter = l.counter.Load()
	if counter&1 != 0 || !l.counter.CompareAndSwap(counter, counter+1) {
		counter = l.lockSlow(s)
	}
	storeFence()
	return counter
}

// lockSlow waits for the lock. One goroutine tries to get it, the others sleep.
//
//go:noinline
func (l *shardLock) lockSlow(s *supply) (counter uint64) {
	l.queue.Lock()
	defer l.queue.Unlock()
	for tries := 0; ; tries++ {
		if counter, ok := l.tryLock(); ok {
			return counter
		}
		s.mustNotHaveEnded()
		pause(tries)
	}
}

// tryLock locks the shard if it is not locked.
func (l *shardLock) tryLock() (counter uint64, ok bool) {
	counter = l.counter.Load()
	ok = counter&1 == 0 && l.counter.CompareAndSwap(counter, counter+1)
	storeFence()
	return counter, ok
}

// unlock unlocks the shard. Searches that began before see that it has changed.
func (l *shardLock) unlock(counter uint64) { l.counter.Store(counter + 2) }

// unlockUnchanged unlocks the shard if nothing was changed. Searches that began before go on.
func (l *shardLock) unlockUnchanged(counter uint64) { l.counter.Store(counter) }

// changedSince tells whether the shard has been changed, or is being changed, since its counter had a value.
func (l *shardLock) changedSince(counter uint64) bool {
	loadFence()
	return l.counter.Load() != counter
}

// pause waits a little, longer if it was called some times before. Locks are held for less than a microsecond, unless a
// leaf is rebuilt, or the goroutine that has the lock was interrupted.
func pause(tries int) {
	switch {
	case tries < 10:
		for range 20 {
			spin()
		}
	case tries < 50:
		runtime.Gosched()
	default:
		time.Sleep(20 * time.Microsecond)
	}
}

// spin takes a nanosecond or two.
//
//go:noinline
func spin() {}
