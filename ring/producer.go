package ring

import (
	"context"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Producer is the side of a ring that sends. One goroutine at a time may use it; PeerDied and Stats excepted.
//
// A Producer shows messages to the consumer in batches, as a bufio.Writer does: when a sixteenth of the ring is written, when it
// waits for room, and at Flush. Call Flush when there is nothing more to send at the moment.
type Producer struct {
	side        // held: 1 more than the bytes that claimSlowly has claimed; else 0
	claimed int // the same by the fast path
	rooms   int // of the last ClaimBatch: 1 more than there are; 0 if another claim has come
	each    int // bytes of each of them
}

// Producer makes this process the producer. The error wraps ErrTaken if the ring has one, or has had one.
func (r *Ring) Producer() (*Producer, error) {
	r.mustBeOpen("Producer")
	p := new(Producer)
	if err := p.open(r, 0); err != nil {
		return nil, err
	}
	return p, nil
}

// MaxMessage returns the most bytes of a message: 8 less than the ring. Messages larger than a quarter of the ring make the two
// sides take turns.
func (p *Producer) MaxMessage() int { return int(p.size - frame) }

// Claim returns room for a message of n bytes in the ring itself, which has any contents. Write the message there, and Publish it;
// or claim again, which forgets the first. The room is the program's until Publish, Flush or Claim.
//
// If there is no room, Claim does what Config.Full says. Waiting ends with the context's error when the context is done. Other
// errors: ErrPeerClosed, ErrPeerDied, ErrFull, ErrTooLarge, ErrCorrupt, guard.ErrClosed. Nothing is sent then.
//
// Cost: inlined: two comparisons and a store, where there is room.
func (p *Producer) Claim(ctx context.Context, n int) ([]byte, error) {
	return p.claim(ctx, n, (*Producer).claimSlowly)
}

// claim is Claim with its slow path as a parameter. The parameter is for the inliner: a call through it costs 17 of the budget of
// 80, where a plain call costs 57. When Claim is inlined, the parameter is the constant again. Publish, Peek and Release do the same.
func (p *Producer) claim(ctx context.Context, n int, slowly func(*Producer, context.Context, int) ([]byte, error)) (room []byte, err error) {
	if n >= 0 && n < p.fast {
		p.claimed = n + 1
		return unsafe.Slice((*byte)(unsafe.Add(p.next, frame)), n), nil
	}
	return slowly(p, ctx, n)
}

// claimSlowly is Claim where there is no room, where the message makes a batch full, and where nothing can be claimed.
func (p *Producer) claimSlowly(ctx context.Context, n int) ([]byte, error) {
	p.mustBeOpen("Claim")
	if err := p.makeRoom(ctx, n, 1); err != nil {
		return nil, err
	}
	p.held = n + 1
	return p.messageAt(p.pos, uint64(n)), nil
}

// makeRoom forgets what was claimed, and makes room for some messages of n bytes, as Config.Full says.
func (p *Producer) makeRoom(ctx context.Context, n, count int) error {
	p.claimed, p.held, p.rooms, p.fast = 0, 0, 0, 0
	if p.err != nil {
		return p.errorf("claim", p.err)
	}
	if n < 0 || n > p.MaxMessage() {
		return p.errorf("claim", fmt.Errorf("%d bytes, of at most %d: %w", n, p.MaxMessage(), ErrTooLarge))
	}
	need := frameSize(uint64(n))
	if uint64(count) > p.size/need {
		return p.errorf("claim", fmt.Errorf("%d messages of %d bytes, of at most %d: %w", count, n, p.size/need, ErrTooLarge))
	}
	need *= uint64(count)
	if p.room() >= need {
		return nil
	}
	switch p.ring.full {
	case Fail:
		if err := p.look(); err != nil || p.room() >= need {
			return err
		}
		p.stalls.Add(1)
		if err := p.Flush(); err != nil {
			return err
		}
		return ErrFull
	case DropOldest:
		return p.dropOldest(need)
	}
	return p.await(ctx, need)
}

// Publish sends the message that was written to the room of the last Claim, or its first n bytes. The consumer sees it when the
// batch is full, or at Flush. Publish panics with a *guard.Violation if nothing is claimed, or n is more than was claimed.
//
// Cost: inlined: a comparison and some stores; and once in a batch, what showing it costs.
func (p *Producer) Publish(n int) { p.publish(n, (*Producer).publishSlowly) }

// publish is Publish with its slow path as a parameter: see claim.
func (p *Producer) publish(n int, slowly func(*Producer, int)) {
	if uint(n) >= uint(p.claimed) {
		slowly(p, n)
		return
	}
	p.claimed = 0
	// A plain store: nobody looks before the index is stored, and an atomic one would wait for the message's bytes.
	*(*uint64)(p.next) = uint64(n)
	p.advance(uint64(n))
}

// publishSlowly is Publish behind claimSlowly, and where nothing was claimed.
func (p *Producer) publishSlowly(n int) {
	p.mustBeOpen("Publish")
	if uint(n) >= uint(p.held) {
		detail := "nothing is claimed"
		if claimed := max(p.claimed, p.held); claimed > 0 {
			detail = fmt.Sprintf("%d bytes, and %d are claimed", n, claimed-1)
		}
		panic(&guard.Violation{Op: "ring.Publish", Kind: guard.InvalidArgument, Detail: detail, Region: p.ring.name})
	}
	p.held = 0
	*(*uint64)(unsafe.Pointer(p.lengthAt(p.pos))) = uint64(n)
	p.advance(uint64(n))
	p.settle()
}

// ClaimBatch returns room for as many messages as there are rooms, each of n bytes: it sets the rooms. Write a message into each of
// them, and PublishBatch them; or claim again, which forgets them. Waiting and errors are those of Claim, and there is room for
// all messages or for none. Messages of different lengths are claimed by Claim, one after the other.
//
// Cost: with PublishBatch two thirds of what Claim and Publish take, for messages of 64 bytes.
func (p *Producer) ClaimBatch(ctx context.Context, n int, rooms [][]byte) error {
	p.mustBeOpen("ClaimBatch")
	if err := p.makeRoom(ctx, n, len(rooms)); err != nil {
		return err
	}
	at, size := unsafe.Add(p.data, uintptr(p.pos&p.mask)+frame), frameSize(uint64(n))
	for i := range rooms {
		rooms[i] = unsafe.Slice((*byte)(at), n)
		at = unsafe.Add(at, size)
	}
	p.rooms, p.each = len(rooms)+1, n
	return nil
}

// PublishBatch sends the messages that were written to the first rooms of the last ClaimBatch, count of them: the consumer sees all of
// them at once, or none. It panics with a *guard.Violation if no batch is claimed, or count is more than were claimed.
func (p *Producer) PublishBatch(count int) {
	p.mustBeOpen("PublishBatch")
	if uint(count) >= uint(p.rooms) {
		detail := "no batch is claimed"
		if p.rooms > 0 {
			detail = fmt.Sprintf("%d messages, and %d are claimed", count, p.rooms-1)
		}
		panic(&guard.Violation{Op: "ring.PublishBatch", Kind: guard.InvalidArgument, Detail: detail, Region: p.ring.name})
	}
	p.rooms = 0
	at, size := unsafe.Pointer(p.lengthAt(p.pos)), frameSize(uint64(p.each))
	for range count {
		*(*uint64)(at) = uint64(p.each)
		at = unsafe.Add(at, size)
	}
	p.pos += uint64(count) * size
	p.settle()
}

// lengthAt returns the word before a message.
func (s *side) lengthAt(pos uint64) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(s.data, uintptr(pos&s.mask)))
}

// messageAt returns the n bytes behind that word.
func (s *side) messageAt(pos, n uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(s.data, uintptr(pos&s.mask)+frame)), n)
}

// Send copies a message into the ring: it is Claim, a copy and Publish. Errors are those of Claim. As after Publish, the consumer may
// see the message only after Flush.
func (p *Producer) Send(ctx context.Context, message []byte) error {
	room, err := p.Claim(ctx, len(message))
	if err != nil {
		return err
	}
	copyMessage(room, message)
	p.Publish(len(message))
	return nil
}

// Flush shows the consumer all messages that are published, and wakes it if it sleeps. The error says that the other side is closed
// or dead, so that nobody will receive them. Cost: 10 ns, and a system call if the consumer sleeps.
func (p *Producer) Flush() error {
	p.mustBeOpen("Flush")
	if p.err != nil {
		return p.errorf("flush", p.err)
	}
	p.show()
	switch life := p.theirs.life.Load(); {
	case hasDied(life) || p.gone.Load():
		return p.errorf("flush", ErrPeerDied)
	case life == lifeClosed:
		return p.errorf("flush", ErrPeerClosed)
	}
	return nil
}

// Close flushes and ends the producer's side: the consumer receives what was sent, and then io.EOF. The error of a second Close
// wraps guard.ErrClosed.
func (p *Producer) Close() error { return p.close("Close") }

// copyStep is the most bytes that one copy moves: Go's copy leaves the processor's cache out for more than a MiB, so that the
// consumer finds nothing there.
const copyStep = 128 << 10

// copyMessage copies a message of any length.
func copyMessage(to, from []byte) {
	for len(from) > copyStep {
		copy(to, from[:copyStep])
		to, from = to[copyStep:], from[copyStep:]
	}
	copy(to, from)
}
