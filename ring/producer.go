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
	side
	claimed int // the most that Publish takes
}

// Producer makes this process the producer. The error wraps ErrTaken if the ring has one, or has had one.
func (r *Ring) Producer() (*Producer, error) {
	r.mustBeOpen("Producer")
	p := &Producer{claimed: -1}
	if err := p.open(r, 0); err != nil {
		return nil, err
	}
	return p, nil
}

// MaxMessage returns the most bytes of a message. Messages larger than a quarter of the ring make the two sides take turns.
func (p *Producer) MaxMessage() int { return int(p.size - frame) }

// Claim returns room for a message of n bytes in the ring itself, which has any contents. Write the message there, and Publish it;
// or claim again, which forgets the first. The room is the program's until Publish, Flush or Claim.
//
// If there is no room, Claim does what Config.Full says. Waiting ends with the context's error when the context is done. Other
// errors: ErrPeerClosed, ErrPeerDied, ErrFull, ErrTooLarge, ErrCorrupt, guard.ErrClosed. Nothing is sent then.
//
// Cost: 2 ns, where there is room.
func (p *Producer) Claim(ctx context.Context, n int) ([]byte, error) {
	if uint64(n) > p.size-frame || frameSize(uint64(n)) > p.room {
		if err := p.claimSlowly(ctx, n); err != nil {
			return nil, err
		}
	}
	p.claimed = n
	return p.messageAt(p.pos, uint64(n)), nil
}

// claimSlowly makes room for n bytes.
func (p *Producer) claimSlowly(ctx context.Context, n int) error {
	p.mustBeOpen("Claim")
	p.claimed = -1
	if p.err != nil {
		return p.errorf("claim", p.err)
	}
	if n < 0 || n > p.MaxMessage() {
		return p.errorf("claim", fmt.Errorf("%d bytes, of at most %d: %w", n, p.MaxMessage(), ErrTooLarge))
	}
	need := frameSize(uint64(n))
	switch p.ring.full {
	case Fail:
		if err := p.look(); err != nil || p.room >= need {
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

// Publish sends the message that was written to the room of the last Claim, or its first n bytes. It panics with a
// *guard.Violation if nothing is claimed, or n is more than was claimed.
func (p *Producer) Publish(n int) {
	if uint(n) > uint(p.claimed) || p.claimed < 0 {
		p.misused(n)
	}
	p.claimed = -1
	// A plain store: nobody looks before the index is stored, and an atomic one would wait for the message's bytes.
	*(*uint64)(unsafe.Pointer(p.lengthAt(p.pos))) = uint64(n)
	p.advance(frameSize(uint64(n)))
}

func (p *Producer) misused(n int) {
	p.mustBeOpen("Publish")
	detail := fmt.Sprintf("%d bytes, and %d are claimed", n, p.claimed)
	if p.claimed < 0 {
		detail = "nothing is claimed"
	}
	panic(&guard.Violation{Op: "ring.Publish", Kind: guard.InvalidArgument, Detail: detail, Region: p.ring.name})
}

// lengthAt returns the word before a message.
func (s *side) lengthAt(pos uint64) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(s.data, uintptr(pos&s.mask)))
}

// messageAt returns the n bytes behind that word.
func (s *side) messageAt(pos, n uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(s.data, uintptr(pos&s.mask)+frame)), n)
}

// Send copies a message into the ring: it is Claim, a copy and Publish. Errors are those of Claim.
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
