package ring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// MaxLanes is the most rings that a FanIn has at a time: the kernel waits for 128 words, two for each and one for the program.
const MaxLanes = (vm.MaxWaitWords - 1) / 2

// FanIn receives from many producers: each has a ring of its own, a lane. So no producer waits for another, one that dies ends its
// own lane only, and one that is hostile cannot reach the messages of others. The zero FanIn has no lanes. It must not be copied.
//
// One goroutine at a time may call Next, and use the consumers that Next returns. Any goroutine may call the other methods.
type FanIn struct {
	_     nocopy.NoCopy
	lanes []*Consumer
	turn  int    // the lane that Next has returned
	began uint64 // where it was then
	words []vm.WaitWord
	bell  bell

	mu    sync.Mutex
	added []*Consumer // not in lanes yet
	count int
}

// Add adds a lane, which Next will look at from now on, also if it waits at this moment. The FanIn uses the consumer from then on. The
// error wraps ErrDrops if the ring drops messages, and ErrFull if there are MaxLanes.
func (f *FanIn) Add(lane *Consumer) error {
	lane.mustBeOpen("FanIn.Add")
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case lane.mustCopy():
		return lane.errorf("add a lane", ErrDrops)
	case f.count == MaxLanes:
		return lane.errorf("add a lane", fmt.Errorf("%w: it has %d lanes", ErrFull, f.count))
	}
	f.count++
	f.added = append(f.added, lane)
	lane.fan.Store(f)
	f.bell.ring()
	return nil
}

// Len returns the lanes that have not ended.
func (f *FanIn) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Next returns a lane that has a message, or has ended: its Peek and its Recv do not wait. If there is none, Next waits, also
// where there is no lane. Lanes take turns: a sixteenth of its ring each. A lane that has ended is returned once, and is no lane
// any more: its Peek tells why it has ended, and the program closes its Ring. A lane that the program closes, or whose Peek
// has failed, is not returned again. The error is the context's.
func (f *FanIn) Next(ctx context.Context) (*Consumer, error) {
	if f.turn < len(f.lanes) {
		if c := f.lanes[f.turn]; c.err == nil && c.room() > 0 && c.pos-f.began < c.batch {
			return c, nil
		}
	}
	for {
		f.adopt()
		for range f.lanes {
			f.turn = (f.turn + 1) % len(f.lanes)
			c := f.lanes[f.turn]
			if c.room() == 0 && c.look() != nil {
				f.remove(f.turn)
				return c, nil
			}
			if c.room() > 0 {
				f.began = c.pos
				return c, nil
			}
			c.show()
		}
		if c, err := f.wait(ctx); c != nil || err != nil {
			return c, err
		}
	}
}

// adopt takes the lanes that were added, and forgets those whose end the program knows.
func (f *FanIn) adopt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lanes = append(f.lanes, f.added...)
	f.added = f.added[:0]
	had := len(f.lanes)
	f.lanes = slices.DeleteFunc(f.lanes, func(c *Consumer) bool { return c.err != nil })
	f.count -= had - len(f.lanes)
}

// remove ends a lane.
func (f *FanIn) remove(i int) {
	f.lanes[i].fan.Store(nil)
	f.lanes = slices.Delete(f.lanes, i, i+1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
}

// wait waits until a lane may have something. It returns a lane that has ended.
func (f *FanIn) wait(ctx context.Context) (ended *Consumer, err error) {
	f.bell.watch(ctx)
	f.words = append(f.words[:0], f.bell.while(f.bell.count.Load()))
	f.mu.Lock()
	more := len(f.added) > 0
	f.mu.Unlock()
	if more {
		return nil, nil
	}
	defer func() {
		for _, c := range f.lanes {
			c.mine.asleep.Store(0)
		}
	}()
	for i, c := range f.lanes {
		c.mine.asleep.Store(1)
		life := c.theirs.life.Load()
		switch done, err := c.ready(context.Background(), frame, life); {
		case done && err == nil:
			return nil, nil
		case done:
			f.remove(i)
			c.mine.asleep.Store(0)
			return c, nil
		}
		f.words = append(f.words, vm.WaitWhile(&c.mine.asleep, 1, false), vm.WaitWhile(&c.theirs.life, life, false))
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := waitAny(f.words); err != nil && errors.Is(err, vm.ErrUnsupported) {
		time.Sleep(pollTime / 5)
	}
	return nil, nil
}
