package ring

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// side is one of the two ends of a ring. What is in it is private to this process; mine and theirs are shared.
//
//	                 peer              shown      pos
//	producer   ───────┬──────────────────┬─────────┬──────────▶  all bytes ever sent
//	                  │ shown, not freed │ written │  room
//	                  └ + size is where the room ends
//
//	                shown      pos                 peer
//	consumer   ───────┬─────────┬────────────────────┬───────▶
//	                  │ read    │ room: to be read   │
//
// Indices count bytes from the start of the ring's life, and wrap around at 2⁶⁴. Only differences are compared.
type side struct {
	_ nocopy.NoCopy

	// fast is for the calls that are inlined: they take a message of fewer bytes without a look at anything else. It may be
	// negative, and is set by settle.
	fast int
	next unsafe.Pointer // data at pos, if fast is positive
	held int            // what was claimed or peeked otherwise, and then fast is 0: see Producer and Consumer

	data unsafe.Pointer // mapped twice in a row, so that no message is cut
	mask uint64
	pos  uint64 // where the next message begins

	shown uint64 // what the other side knows of pos
	batch uint64 // it is told when pos is so far beyond
	peer  uint64 // the other's index as it was read last, and found possible
	lead  uint64 // the size for the producer, 0 for the consumer

	size      uint64
	mine      *half
	theirs    *half
	processor uint32 // what mine.processor has

	ring *Ring
	role int // 0 is the producer
	life *kept
	err  error // what ended this side: then fast is 0

	// Waiting.
	spin  time.Duration         // how long spinning pays, as far as is known
	waits uint                  // since the last try where it does not
	bell  bell                  // rings when a wait should end, whatever the other side does
	gone  atomic.Bool           // PeerDied was called
	fan   atomic.Pointer[FanIn] // which waits for this side, too; or nil
	words [3]vm.WaitWord
	woken chan error // where a crowd tells that the wait is over; nil until the first such wait

	stalls, parks, wakes, dropped atomic.Uint64
}

// open makes this process one side of the ring.
func (s *side) open(r *Ring, role int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("ring: open a side of %q: %w", r.name, guard.ErrClosed)
	}
	s.ring, s.role, s.data, s.size, s.mask = r, role, r.data.Base(), r.size, r.size-1
	s.mine, s.theirs = &r.head.producer, &r.head.consumer
	s.lead = r.size
	if role == 1 {
		s.mine, s.theirs, s.lead = s.theirs, s.mine, 0
	}
	return s.begin()
}

// begin takes the side for this process. Caller holds s.ring.mu, and has set what the side is.
func (s *side) begin() error {
	s.batch = s.size / 16
	s.spin = maxSpin
	start := s.mine.index.Load()
	if start%8 != 0 {
		return s.corrupt("its own index is %d", start)
	}
	if s.life = keep(s.ring, &s.mine.life); s.life == nil {
		return fmt.Errorf("ring: open a side of %q: %w", s.ring.name, ErrTaken)
	}
	s.pos, s.shown, s.peer = start, start, start
	s.ring.sides = append(s.ring.sides, s)
	return nil
}

// end closes the side. Caller holds s.ring.mu.
func (s *side) end() {
	if s.life == nil {
		return
	}
	s.show()
	s.life.end()
	s.life = nil
	s.fail(guard.ErrClosed)
	s.bell.watch(context.Background())
}

// close is Close of a side.
func (s *side) close(op string) error {
	s.mustBeOpen(op)
	s.ring.mu.Lock()
	defer s.ring.mu.Unlock()
	if s.life == nil {
		return s.errorf("close", guard.ErrClosed)
	}
	s.end()
	return nil
}

// PeerDied tells this side that the other process has died, which the program knows from elsewhere: from exec.Cmd.Wait, or the end
// of a socket. A call that waits, and all that would wait later, return ErrPeerDied. What the other side has shown until then is
// received. Any goroutine may call it. It is for kernels that do not tell this by themselves: see the package comment.
func (s *side) PeerDied() {
	s.mustBeOpen("PeerDied")
	s.gone.Store(true)
	s.bell.ring()
	if f := s.fan.Load(); f != nil {
		f.bell.ring()
	}
}

// fail ends the side with an error, which all later calls return.
func (s *side) fail(err error) error {
	s.err, s.fast = err, 0
	return err
}

func (s *side) errorf(op string, err error) error {
	return fmt.Errorf("ring: %s %q: %w", op, s.ring.name, err)
}

// corrupt ends the side because the other has stored something impossible.
func (s *side) corrupt(what string, about ...any) error {
	return s.fail(fmt.Errorf("ring: %q: %s: %w", s.ring.name, fmt.Sprintf(what, about...), ErrCorrupt))
}

// mustBeOpen panics for a zero Producer or Consumer.
func (s *side) mustBeOpen(op string) {
	if s == nil || s.ring == nil {
		panic(&guard.Violation{Op: "ring." + op, Kind: guard.ZeroValue, Detail: "Ring.Producer and Ring.Consumer make a side"})
	}
}

// room returns how many bytes from pos on are this side's: free for the producer, unread for the consumer.
func (s *side) room() uint64 { return s.lead + s.peer - s.pos }

// advance moves pos behind a message of n bytes.
func (s *side) advance(n uint64) {
	// This is frameSize(n), twice: the inliner's budget ends here.
	s.pos += (n + frame + 7) &^ 7
	s.fast -= int((n + frame + 7) &^ 7)
	s.next = unsafe.Add(s.data, s.pos&s.mask)
}

// settle shows the other side all messages if a batch is full, and sets which messages the fast path takes from now on: those
// for which there is room, and that make no batch full.
func (s *side) settle() {
	s.fast = 0
	if s.err != nil {
		return
	}
	if s.pos-s.shown >= s.batch {
		s.show()
	}
	if !s.mustCopy() {
		// A message takes frame bytes more than it has, and up to 7 for what follows.
		s.fast = int(min(max(s.room(), frame-1)-(frame-1), max(s.batch+s.shown-s.pos, frame+7)-(frame+7)))
		s.next = unsafe.Add(s.data, s.pos&s.mask)
	}
}

// show tells the other side where this one is, and wakes it if it sleeps: an atomic store, a load and, if it sleeps, a system
// call. Nothing if nothing has changed.
func (s *side) show() {
	if s.pos == s.shown {
		return
	}
	s.shown = s.pos
	if race.Enabled {
		s.ring.handover[s.role].Add(1)
	}
	if p := uint32(vm.Processor() + 1); p != s.processor {
		s.processor = p
		s.mine.processor.Store(p)
	}
	s.mine.index.Store(s.pos)
	s.wake()
}

// wake wakes the other side if it sleeps. Whatever it is to find when it wakes was stored before.
func (s *side) wake() {
	if s.theirs.asleep.Load() != 0 && s.theirs.asleep.Swap(0) != 0 {
		s.wakes.Add(1)
		vm.Wake(&s.theirs.asleep, 1, false)
	}
}

// look reads the other side's index, once, and takes what it has shown since.
func (s *side) look() error {
	index := s.theirs.index.Load()
	if race.Enabled {
		s.ring.handover[1-s.role].Load()
	}
	// The producer shows no more than fits behind what was freed. The consumer frees no more than was shown.
	moved, most := index-s.peer, s.size-s.lead+s.shown-s.peer
	if s.ring.full == mayLag && s.role == 1 {
		most = math.MaxUint64 // the producer does not wait: see broadcast.go
	}
	if moved > most || moved%8 != 0 {
		if s.overtaken() {
			return errOvertaken
		}
		return s.corrupt("the other side moves its index by %d bytes, where %d are possible", moved, most)
	}
	s.peer = index
	if invariant.Enabled {
		s.check()
	}
	return nil
}

// check panics if an invariant of the side does not hold.
func (s *side) check() {
	holds := func(ok bool, what string) {
		invariant.Holds("ring", ok, "%s: role %d, pos %d, shown %d, peer %d, fast %d, size %d", what, s.role, s.pos, s.shown, s.peer, s.fast, s.size)
	}
	holds(s.room() <= s.size || s.ring.full == mayLag, "the room is within the ring")
	holds(s.fast <= 0 || uint64(s.fast)+frame-1 <= s.room() && s.next == unsafe.Pointer(s.lengthAt(s.pos)), "the fast path takes messages within the room")
	holds(s.pos-s.shown <= s.size, "what is not shown is within the ring")
	holds(s.pos%8 == 0, "messages begin at multiples of 8")
}

// await waits until the side has room for need bytes. It shows before it waits what the other side may be waiting for.
func (s *side) await(ctx context.Context, need uint64) error {
	if s.err != nil {
		return s.err
	}
	if err := s.look(); err != nil || s.room() >= need {
		return err
	}
	s.stalls.Add(1)
	s.show()
	if done, err := s.spinFor(need); done {
		return err
	}
	s.bell.watch(ctx)
	for {
		ticket := s.bell.count.Load()
		s.mine.asleep.Store(1)
		life := s.theirs.life.Load() // before the index: whatever was shown before the end is received
		if done, err := s.ready(ctx, need, life); done {
			s.mine.asleep.Store(0)
			return err
		}
		s.parks.Add(1)
		s.sleep(life, ticket)
	}
}

// ready tells whether a wait is over, and with which error.
func (s *side) ready(ctx context.Context, need uint64, life uint32) (done bool, err error) {
	gone := s.gone.Load()
	if err := s.look(); err != nil || s.room() >= need {
		return true, err
	}
	switch {
	case gone || hasDied(life):
		// The kernel has woken one of those who wait at the word. It may not be the only one.
		vm.Wake(&s.theirs.life, math.MaxInt32, false)
		return true, s.errorf("wait", ErrPeerDied)
	case life == lifeClosed:
		return true, s.closedByPeer()
	case ctx.Err() != nil:
		return true, ctx.Err()
	}
	return false, nil
}

// pollTime is the longest that a side sleeps where the kernel cannot wait for several words: then it looks whether the other side
// has died, and the program has called PeerDied or ended the context.
const pollTime = 5 * time.Millisecond

// waitAny is vm.WaitAny, but for tests.
var waitAny = vm.WaitAny

// sleep waits until the other side has woken this one, or has died, or the bell has rung since ticket.
func (s *side) sleep(life, ticket uint32) {
	s.words = [...]vm.WaitWord{
		vm.WaitWhile(&s.mine.asleep, 1, false),
		vm.WaitWhile(&s.theirs.life, life, false),
		s.bell.while(ticket),
	}
	defer sleepers.Add(-1)
	if sleepers.Add(1) > ownThreads {
		s.sleepInCrowd(life, ticket)
	} else if waitAny(s.words[:]) != nil && vm.Wait(&s.mine.asleep, 1, pollTime) != nil {
		time.Sleep(pollTime)
	}
}
