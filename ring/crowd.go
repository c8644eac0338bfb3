package ring

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// A side that sleeps holds an OS thread. So that a process with a thousand rings does not hold a thousand, some sides sleep each with a
// thread of its own, and the others in crowds, each with one thread. A crowd's thread has to be woken to take a side in, and to wait for
// 127 words takes longer than for three: a message there and back takes 60 µs on one processor, and 11 between sides with threads of their own.
const (
	ownThreads = 16                        // sides that have a thread
	crowdSize  = (vm.MaxWaitWords - 1) / 3 // sides that share one: three words each, and the crowd's own
)

// sleepers counts the sides of this process that sleep.
var sleepers atomic.Int64

// crowd is a goroutine that waits in the kernel for sides that wait for it. It ends with the last.
type crowd struct {
	bell  bell
	waits []crowdWait
	words []vm.WaitWord
}

// crowdWait is a side that sleeps, and what its words had before.
type crowdWait struct {
	side         *side
	life, ticket uint32
}

// crowds are those of this process.
var crowds struct {
	sync.Mutex
	all []*crowd
}

// sleepInCrowd waits as sleep does, without an OS thread of its own.
func (s *side) sleepInCrowd(life, ticket uint32) {
	if s.woken == nil {
		s.woken = make(chan error, 1)
	}
	crowds.Lock()
	i := slices.IndexFunc(crowds.all, func(c *crowd) bool { return len(c.waits) < crowdSize })
	if i < 0 {
		i = len(crowds.all)
		c := new(crowd)
		crowds.all = append(crowds.all, c)
		go c.run()
	}
	c := crowds.all[i]
	c.waits = append(c.waits, crowdWait{s, life, ticket})
	crowds.Unlock()
	c.bell.ring()
	if <-s.woken != nil { // the kernel cannot wait for several words
		time.Sleep(pollTime)
	}
}

// run waits for all sides of the crowd, again and again.
func (c *crowd) run() {
	for err := error(nil); ; err = waitAny(c.words) {
		if c.wake(err) == 0 {
			return
		}
	}
}

// wake wakes the sides whose words have changed, or all after an error, and returns how many are left. If none is, the crowd is no
// more; else its words are set.
func (c *crowd) wake(err error) (left int) {
	crowds.Lock()
	defer crowds.Unlock()
	c.words = append(c.words[:0], c.bell.while(c.bell.count.Load()))
	c.waits = slices.DeleteFunc(c.waits, func(w crowdWait) bool {
		if s := w.side; err == nil && s.mine.asleep.Load() == 1 && s.theirs.life.Load() == w.life && s.bell.count.Load() == w.ticket {
			c.words = append(c.words, s.words[:]...)
			return false
		}
		w.side.woken <- err
		return true
	})
	if len(c.waits) == 0 {
		i := slices.Index(crowds.all, c)
		crowds.all = slices.Delete(crowds.all, i, i+1)
	}
	return len(c.waits)
}
