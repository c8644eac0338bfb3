package ring

import (
	"context"
	"io"
	"iter"
	"math"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Consumer is the side of a ring that receives. One goroutine at a time may use it; PeerDied and Stats excepted.
//
// A Consumer gives room back in batches: when a sixteenth of the ring is read, when it waits, and at Flush.
type Consumer struct {
	side          // held: the bytes of the ring that the messages of peekSlowly and PeekBatch take; else 0
	peeked uint64 // the bytes of the message that the fast path has returned; else none
	drops  uint   // tries of Recv that the producer has thwarted
	number uint64 // messages received or missed, of a producer that does not wait
}

// none is the length of no message.
const none = math.MaxUint64

// Consumer makes this process the consumer. The error wraps ErrTaken if the ring has one, or has had one.
func (r *Ring) Consumer() (*Consumer, error) {
	r.mustBeOpen("Consumer")
	c := &Consumer{peeked: none}
	if err := c.open(r, 1); err != nil {
		return nil, err
	}
	return c, nil
}

// Peek returns the next message where it lies in the ring, until Release. If there is none, it waits. A second Peek returns the
// same message.
//
// The producer must not change the message meanwhile, and a hostile one may: then check a copy, not the message. Recv copies.
//
// Errors: io.EOF when the producer has closed its side and all messages were received; ErrPeerDied when its process has died
// and all that it has shown was received; ErrCorrupt; ErrDrops; the context's; guard.ErrClosed.
//
// Cost: inlined: a load of the length and two comparisons, where there is a message.
func (c *Consumer) Peek(ctx context.Context) ([]byte, error) {
	return c.peek(ctx, (*Consumer).peekSlowly)
}

// peek is Peek with its slow path as a parameter: see Producer.claim.
func (c *Consumer) peek(ctx context.Context, slowly func(*Consumer, context.Context) ([]byte, error)) (message []byte, err error) {
	if c.fast > 0 {
		if n := *(*uint64)(c.next); n < uint64(c.fast) { // read once: the other side may change it
			c.peeked = n
			return unsafe.Slice((*byte)(unsafe.Add(c.next, frame)), n), nil
		}
	}
	return slowly(c, ctx)
}

// peekSlowly is Peek where no message is known, where the message makes a batch full, and where nothing can be received.
func (c *Consumer) peekSlowly(ctx context.Context) ([]byte, error) {
	c.mustBeOpen("Peek")
	c.peeked, c.held, c.fast = none, 0, 0
	switch {
	case c.err != nil:
		return nil, c.errorf("receive", c.err)
	case c.mustCopy():
		return nil, c.errorf("peek", ErrDrops)
	}
	if c.room() == 0 {
		if err := c.await(ctx, frame); err != nil {
			return nil, err
		}
	}
	n := c.lengthAt(c.pos).Load()
	if n > c.room()-frame {
		return nil, c.corrupt("a message of %d bytes, where %d are possible", n, c.room()-frame)
	}
	c.held = int(frameSize(n))
	return c.messageAt(c.pos, n), nil
}

// PeekBatch returns the next messages where they lie in the ring, until Release: it sets as many of messages as there are, and returns
// how many. If there is none, it waits for the first. A second PeekBatch returns the same messages, and more if more have come.
// It may be asked for fewer, so that Release gives back the first ones alone. Trust and errors are those of Peek.
//
// Cost: what Peek and Release take.
func (c *Consumer) PeekBatch(ctx context.Context, messages [][]byte) (count int, err error) {
	c.mustBeOpen("PeekBatch")
	if len(messages) == 0 {
		return 0, nil
	}
	if c.err == nil && !c.mustCopy() && c.room() > 0 {
		if err := c.look(); err != nil {
			return 0, err
		}
	}
	if messages[0], err = c.peekSlowly(ctx); err != nil {
		return 0, err
	}
	// All of them end where the room does, so they lie in the data as it is mapped.
	p := unsafe.Add(c.data, uintptr(c.pos&c.mask)+uintptr(c.held))
	left := c.room() - uint64(c.held)
	for count = 1; count < len(messages) && left > 0; count++ {
		n := (*atomic.Uint64)(p).Load()
		if n > left-frame { // the next Peek says so
			break
		}
		messages[count] = unsafe.Slice((*byte)(unsafe.Add(p, frame)), n)
		p = unsafe.Add(p, frameSize(n))
		left -= frameSize(n)
	}
	c.held = int(c.room() - left)
	return count, nil
}

// Release gives the message of the last Peek back, or all messages of the last PeekBatch: the producer may overwrite them. It
// panics with a *guard.Violation if there is none.
//
// Cost: inlined: a comparison and some stores; and once in a batch, what showing it costs.
func (c *Consumer) Release() { c.release((*Consumer).releaseSlowly) }

// release is Release with its slow path as a parameter: see Producer.claim.
func (c *Consumer) release(slowly func(*Consumer)) {
	n := c.peeked
	if n >= uint64(c.fast) {
		slowly(c)
		return
	}
	c.peeked = none
	c.advance(n)
}

// releaseSlowly is Release behind peekSlowly, behind Close, and where nothing was peeked.
func (c *Consumer) releaseSlowly() {
	c.mustBeOpen("Release")
	if !c.mayRelease() {
		panic(&guard.Violation{Op: "ring.Release", Kind: guard.InvalidArgument, Detail: "there is no message from Peek", Region: c.ring.name})
	}
	n := uint64(c.held)
	if c.peeked != none {
		n = frameSize(c.peeked)
	}
	c.peeked, c.held = none, 0
	c.pos += n
	c.settle()
}

// mayRelease tells whether there is a message from Peek.
func (c *Consumer) mayRelease() bool { return c.peeked != none || c.held > 0 }

// Recv appends the next message to dst, as append does. A program that passes the last result again, cut to no bytes, allocates
// nothing. If there is no message, Recv waits. Errors are those of Peek; then the result is dst. A reader of
// a Broadcast that drops messages gets *ErrLagged for those that it has missed, and after that the next ones.
func (c *Consumer) Recv(ctx context.Context, dst []byte) ([]byte, error) {
	c.mustBeOpen("Recv")
	switch c.ring.full {
	case DropOldest:
		return c.recvDropping(ctx, dst)
	case mayLag:
		return c.recvLagging(ctx, dst)
	}
	message, err := c.Peek(ctx)
	if err != nil {
		return dst, err
	}
	dst = appendMessage(dst, message)
	c.Release()
	return dst, nil
}

// appendMessage appends a message of any length.
func appendMessage(dst, message []byte) []byte {
	had := len(dst)
	dst = slices.Grow(dst, len(message))[:had+len(message)]
	copyMessage(dst[had:], message)
	return dst
}

// All iterates over the messages until the producer closes its side. A message is valid until the next step. An error of Peek
// other than io.EOF is the last step.
func (c *Consumer) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var copied []byte
		for {
			var message []byte
			var err error
			if c.mustCopy() {
				copied, err = c.Recv(ctx, copied[:0])
				message = copied
			} else {
				message, err = c.Peek(ctx)
			}
			if err == io.EOF {
				return
			}
			more := yield(message, err)
			if c.mayRelease() {
				c.Release()
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// mustCopy tells whether this is a consumer whose producer may overwrite a message while it is being read.
func (s *side) mustCopy() bool {
	return s.role == 1 && (s.ring.full == DropOldest || s.ring.full == mayLag)
}

// Flush shows the producer which room is free again. Call it before a pause without calls of this Consumer, if the producer may wait for
// room meanwhile; a call that waits does it by itself. Cost: that of Producer.Flush.
func (c *Consumer) Flush() {
	c.mustBeOpen("Flush")
	c.show()
}

// Close ends the consumer's side: the producer gets ErrPeerClosed. The error of a second Close wraps guard.ErrClosed.
func (c *Consumer) Close() error { return c.close("Close") }

// closedByPeer returns the error that says that the other side is closed.
func (s *side) closedByPeer() error {
	if s.role == 1 {
		return io.EOF
	}
	return s.errorf("wait", ErrPeerClosed)
}
