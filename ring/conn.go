package ring

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Conn makes a connection of two rings, one for each direction, for code that takes a net.Conn. It carries a stream of bytes:
// messages have no boundaries there. Write sends at once, and does not wait for more. Read returns io.EOF when the other side has
// closed its connection, and both return errors that wrap ErrPeerDied when its process has died. Deadlines work. Any number of
// goroutines may use it.
//
// The connection uses both sides from then on, and its Close closes them. The program closes the Rings afterwards.
func Conn(in *Consumer, out *Producer) net.Conn {
	in.mustBeOpen("Conn")
	out.mustBeOpen("Conn")
	c := &conn{in: in, out: out}
	c.read.begin()
	c.write.begin()
	return c
}

type conn struct {
	in   *Consumer
	out  *Producer
	rest []byte // of the message that Peek has returned

	reading, writing sync.Mutex // held while a side is used
	read, write      deadline
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (n int, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	for len(c.rest) == 0 {
		if c.in.mayRelease() {
			c.in.Release()
		}
		ctx := c.read.context()
		if err := ctx.Err(); err != nil {
			return 0, c.read.explain(err)
		}
		if c.rest, err = c.in.Peek(ctx); err != nil {
			return 0, c.read.explain(err)
		}
	}
	n = copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	most := c.out.MaxMessage() / 4 // so that the two sides work at the same time
	for {
		ctx := c.write.context()
		if err := ctx.Err(); err != nil {
			return n, c.write.explain(err)
		}
		part := b[n:min(len(b), n+most)]
		if len(part) == 0 {
			return n, c.write.explain(c.out.Flush())
		}
		if err := c.out.Send(ctx, part); err != nil {
			return n, c.write.explain(err)
		}
		n += len(part)
	}
}

// Close implements net.Conn. It ends calls that wait.
func (c *conn) Close() error {
	c.read.end()
	c.write.end()
	c.reading.Lock()
	defer c.reading.Unlock()
	c.writing.Lock()
	defer c.writing.Unlock()
	c.rest = nil
	return c.read.explain(errors.Join(c.in.Close(), c.out.Close()))
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return address(c.in.ring.name) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return address(c.out.ring.name) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.read.set(t), c.write.set(t))
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.read.set(t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.write.set(t) }

// address is the name of a ring as a net.Addr.
type address string

func (a address) Network() string { return "ring" }
func (a address) String() string  { return string(a) }

// deadline makes contexts of a deadline that may be set at any time, also while a call waits.
type deadline struct {
	mu     sync.Mutex
	ctx    context.Context // the same until it is done, so that waiting does not allocate
	cancel context.CancelFunc
	timer  *time.Timer
	closed bool
}

func (d *deadline) begin() { d.ctx, d.cancel = context.WithCancel(context.Background()) }

func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ctx
}

func (d *deadline) set(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.ctx.Err() != nil {
		d.begin()
	}
	if left := time.Until(t); t.IsZero() {
	} else if left <= 0 {
		d.cancel()
	} else {
		d.timer = time.AfterFunc(left, d.cancel)
	}
	return nil
}

func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.closed = true
	d.cancel()
}

// explain returns an error as callers of a net.Conn know it.
func (d *deadline) explain(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, guard.ErrClosed), d.closed && errors.Is(err, context.Canceled):
		return net.ErrClosed
	case errors.Is(err, context.Canceled):
		return os.ErrDeadlineExceeded
	}
	return err
}
