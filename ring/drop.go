package ring

import (
	"context"
	"errors"
)

// A ring that drops the oldest message (DropOldest). Here both sides move the consumer's index, each by one compare-and-swap from
// the start of a message to its end: the consumer after it has copied the message, the producer to drop it. Who comes first has
// it. A copy whose swap fails may be torn, and is thrown away. So the consumer can only copy.

// dropOldest makes room for need bytes.
func (p *Producer) dropOldest(need uint64) error {
	for {
		if err := p.look(); err != nil || p.room() >= need {
			return err
		}
		p.stalls.Add(1)
		p.show() // what is not shown cannot be dropped
		n := p.lengthAt(p.peer).Load()
		if n > p.shown-p.peer-frame { // the consumer may store there, too, if it is hostile
			return p.corrupt("a message of %d bytes, where %d are possible", n, p.shown-p.peer-frame)
		}
		if p.theirs.index.CompareAndSwap(p.peer, p.peer+frameSize(n)) {
			p.dropped.Add(1)
		}
	}
}

// errOvertaken says that the producer has moved the consumer's index beyond all that look knew of.
var errOvertaken = errors.New("the producer has dropped what was to be received")

// overtaken tells whether the producer has moved this side's index since it was read.
func (s *side) overtaken() bool {
	return s.ring.full == DropOldest && s.role == 1 && s.mine.index.Load() != s.pos
}

// recvDropping is Recv for such a ring.
func (c *Consumer) recvDropping(ctx context.Context, dst []byte) ([]byte, error) {
	for ; c.err == nil; c.drops++ {
		if c.drops%64 == 63 && ctx.Err() != nil { // a producer that is faster, or hostile, does not keep it beyond its time
			return dst, ctx.Err()
		}
		c.pos = c.mine.index.Load()
		if c.pos%8 != 0 {
			return dst, c.corrupt("its own index is %d", c.pos)
		}
		c.shown, c.peer = c.pos, c.pos
		if err := c.await(ctx, frame); err == errOvertaken {
			continue
		} else if err != nil {
			return dst, err
		}
		n := c.lengthAt(c.pos).Load()
		fits := n <= c.room()-frame
		copied := dst
		if fits {
			copied = appendMessage(dst, c.messageAt(c.pos, n))
		}
		switch {
		case !c.mine.index.CompareAndSwap(c.pos, c.pos+frameSize(n)):
		case !fits:
			return dst, c.corrupt("a message of %d bytes, where %d are possible", n, c.room()-frame)
		default:
			return copied, nil
		}
	}
	return dst, c.errorf("receive", c.err)
}
