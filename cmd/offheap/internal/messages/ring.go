package messages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/internal/vm/ipc"
	"github.com/seed-9a6c551e/offheap/ring"
	"github.com/seed-9a6c551e/offheap/shm"
)

// tmpfs is the folder of files that are memory.
const tmpfs = "/dev/shm"

// ringSize is the data of a ring: room for four of the longest messages. With 1 MiB, messages of 4 and 64 KiB took twice as long:
// the receiver found them in the cache of the sender's processor, which answers more slowly than a cache that both share.
const ringSize = 4 * MostBytes

// memory is shared memory that a process has mapped, other than that of package shm.
type memory struct {
	bytes []byte
	unmap func() error
}

func mapped(p unsafe.Pointer, n int, unmap func() error, err error) (memory, error) {
	if err != nil {
		return memory{}, err
	}
	return memory{unsafe.Slice((*byte)(p), n), unmap}, nil
}

// mapFile maps the first n bytes of a file.
func mapFile(f *os.File, n int) (memory, error) {
	p, err := vm.MapShared(uintptr(n), int(f.Fd()))
	return mapped(p, n, func() error { return vm.Release(p, uintptr(n)) }, err)
}

// mapSegment attaches System V shared memory of n bytes.
func mapSegment(number, n int) (memory, error) {
	p, err := ipc.Segment(number).Attach(nil)
	return mapped(p, n, func() error { return ipc.Detach(p) }, err)
}

// rings are both rings of a link, the first from side 0 to side 1, as a process has them.
type rings struct {
	ring   [2]*ring.Ring
	memory [2]memory // if it is not the ring's own
}

// close closes the rings, and then the memory. After an error it may be called again.
func (r *rings) close() (err error) {
	if r == nil {
		return nil
	}
	for i := range r.ring {
		if r.ring[i] != nil {
			if failed := r.ring[i].Close(); failed != nil {
				err = errors.Join(err, failed)
				continue
			}
			r.ring[i] = nil
		}
		if r.memory[i].unmap != nil {
			err = errors.Join(err, r.memory[i].unmap())
			r.memory[i] = memory{}
		}
	}
	return err
}

// createIn makes a ring in memory, and takes the memory over.
func (r *rings) createIn(i int, m memory, err error) error {
	if err != nil {
		return err
	}
	r.memory[i] = m
	r.ring[i], err = ring.CreateIn(m.bytes, ring.Config{})
	return err
}

// attachIn opens the ring in memory, and takes the memory over.
func (r *rings) attachIn(i int, m memory, err error) error {
	if err != nil {
		return err
	}
	r.memory[i] = m
	r.ring[i], err = ring.AttachIn(m.bytes)
	return err
}

func makeRings(l *link) (err error) {
	r := l.hold()
	var files []*os.File
	for i := range r.ring {
		if r.ring[i], err = ring.Create(ring.Config{Size: ringSize}); err != nil {
			return err
		}
		files, _ = r.ring[i].Memory().AppendFile(files)
	}
	l.ends[0].files, l.ends[1].files, l.borrowed = files, reversed(files), true
	return nil
}

// attachRings opens the rings that the process has inherited.
func attachRings(e *end, r *rings) error {
	if len(e.files) > 0 {
		return errors.New("this memory can only be inherited")
	}
	for i := range r.ring {
		m, err := shm.Inherited(firstInherited+i, shm.ReceiveConfig{})
		if err != nil {
			return err
		}
		if r.ring[e.direction(i)], err = ring.Attach(m); err != nil {
			return errors.Join(err, m.Close())
		}
	}
	return nil
}

func makeSegmentRings(l *link) error {
	r, e := l.hold(), &l.ends[0]
	n := ring.MemorySize(ringSize)
	for i := range r.ring {
		s, err := ipc.CreateSegment(n)
		if err != nil {
			return err
		}
		e.Numbers = append(e.Numbers, int(s))
		m, err := mapSegment(int(s), n)
		if err := r.createIn(i, m, err); err != nil {
			return err
		}
	}
	l.ends[1].Numbers = reversed(e.Numbers)
	if !l.named {
		return e.remove() // it stays as long as somebody has attached it
	}
	return nil
}

func attachSegmentRings(e *end, r *rings) error {
	for i, number := range e.Numbers {
		m, err := mapSegment(number, ring.MemorySize(ringSize))
		if err := r.attachIn(e.direction(i), m, err); err != nil {
			return err
		}
	}
	return nil
}

func removeSegments(e *end) (err error) {
	for _, number := range e.Numbers {
		err = errors.Join(err, ipc.Segment(number).Remove())
	}
	return err
}

func makeFileRings(l *link) error {
	r, e := l.hold(), &l.ends[0]
	n := ring.MemorySize(ringSize)
	for i := range r.ring {
		f, err := os.CreateTemp(tmpfs, "offheap-ring-*")
		if err != nil {
			return err
		}
		e.Names, e.files = append(e.Names, f.Name()), append(e.files, f)
		if err := errors.Join(vm.Truncate(f, int64(n)), vm.Allocate(int(f.Fd()), 0, int64(n))); err != nil {
			return err
		}
		m, err := mapFile(f, n)
		if err := r.createIn(i, m, err); err != nil {
			return err
		}
	}
	return l.mirrorFiles()
}

func attachFileRings(e *end, r *rings) error {
	for i, f := range e.files {
		m, err := mapFile(f, ring.MemorySize(ringSize))
		if err := r.attachIn(e.direction(i), m, err); err != nil {
			return err
		}
	}
	return nil
}

func findFile(name string) (*os.File, error) { return os.OpenFile(name, os.O_RDWR, 0) }

func removeFiles(e *end) (err error) {
	for _, name := range e.Names {
		if failed := vm.Remove(name); !errors.Is(failed, os.ErrNotExist) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// direction returns which ring of a link the end's first, to send, is, or its second.
func (e *end) direction(i int) int { return (e.Side + i) % 2 }

// hold returns the rings of the link, which both ends use in this process.
func (l *link) hold() *rings {
	l.rings = new(rings)
	for i := range l.ends {
		l.ends[i].rings = l.rings
	}
	return l.rings
}

// ringConn is an end of two rings.
type ringConn struct {
	bytes int
	to    *ring.Producer
	from  *ring.Consumer
	own   *rings // nil if they are the link's
}

func openRings(e *end) (conn, error) {
	c := &ringConn{bytes: e.Bytes}
	r := e.rings
	if r == nil {
		r = new(rings)
		c.own = r
		if err := kinds[e.Mechanism].attach(e, r); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	var err error
	if c.to, err = r.ring[e.direction(0)].Producer(); err == nil {
		c.from, err = r.ring[e.direction(1)].Consumer()
	}
	if err != nil {
		return nil, errors.Join(err, c.own.close())
	}
	return c, nil
}

func (c *ringConn) claim() ([]byte, error) { return c.to.Claim(context.Background(), c.bytes) }

func (c *ringConn) publish() error {
	c.to.Publish(c.bytes)
	return nil
}

func (c *ringConn) flush() error { return c.to.Flush() }

func (c *ringConn) peek() ([]byte, error) {
	b, err := c.from.Peek(context.Background())
	if err == nil && len(b) != c.bytes {
		err = fmt.Errorf("a message of %d bytes came, and %d were sent", len(b), c.bytes)
	}
	return b, err
}

func (c *ringConn) release() error {
	c.from.Release()
	return nil
}

// send is send without the calls through an interface, which take 4 of 25 ns for a message of 64 bytes.
func (c *ringConn) send(n int, touched bool) error {
	to, ctx := c.to, context.Background()
	every, next := interval(n), 0
	for i := range n {
		b, err := to.Claim(ctx, c.bytes)
		if err != nil {
			return err
		}
		if touched {
			fill(b, uint64(i))
		}
		if i == next {
			stamp(b, i)
			next += every
		}
		to.Publish(len(b))
	}
	return to.Flush()
}

// receive is receive, likewise.
func (c *ringConn) receive(n int, touched bool) (latencies []int64, err error) {
	from, ctx := c.from, context.Background()
	every, next := interval(n), 0
	latencies = make([]int64, 0, n/every+1)
	for i := range n {
		b, err := from.Peek(ctx)
		if err != nil {
			return nil, err
		}
		if touched {
			if err := check(b, uint64(i)); err != nil {
				return nil, err
			}
		}
		if i == next {
			if latencies, err = appendLatency(latencies, b, i); err != nil {
				return nil, err
			}
			next += every
		}
		from.Release()
	}
	return latencies, nil
}

func (c *ringConn) close() error { return c.own.close() }

// done is a context that waits for nothing.
var done = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (c *ringConn) try(b []byte) (int, error) {
	got, err := c.from.Recv(done, b[:0])
	if errors.Is(err, context.Canceled) {
		err = ipc.ErrWouldWait
	}
	return len(got), err
}

// memoryReader is another reader of the memory of a ring: it finds a message where the sender has left it, as the readers of a
// ring.Broadcast do. A ring has one consumer, which alone gives room back.
type memoryReader struct {
	memory
	want []byte
}

// readMemory maps the memory of the ring that an end receives from once more.
func readMemory(e *end, want []byte) (tryer, error) {
	n := ring.MemorySize(ringSize)
	if len(e.files) == 0 {
		m, err := mapSegment(e.Numbers[1], n)
		return &memoryReader{m, want}, err
	}
	m, err := mapFile(e.files[1], n)
	return &memoryReader{m, want}, err
}

func (r *memoryReader) try(b []byte) (int, error) {
	i := bytes.Index(r.bytes, r.want)
	if i < 0 {
		return 0, ipc.ErrWouldWait
	}
	return copy(b, r.bytes[i:][:len(r.want)]), nil
}

func (r *memoryReader) close() error { return r.unmap() }
