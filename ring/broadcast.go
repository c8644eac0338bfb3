package ring

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/shm"
)

// Broadcast sends each message to all its readers, from one copy in memory that no reader can store to. Each reader has an OS page of
// its own for its cursor, so that a hostile one harms nobody but itself. CreateBroadcast makes a Broadcast. It must not be copied,
// and one goroutine at a time may use it.
//
// A Broadcast shows messages in batches, as a Producer does: call Flush when there is nothing more to send at the moment.
type Broadcast struct {
	_        nocopy.NoCopy
	name     string
	full     Full
	memory   *shm.Memory
	data     *region.Region
	at       unsafe.Pointer // the data
	size     uint64
	pos      uint64 // where the next message begins
	room     uint64 // bytes from pos on that may be written
	shown    uint64
	batch    uint64
	claimed  int
	messages uint64
	readers  []*lane
	removed  []*lane // readers that are gone, whose memory the kernel did not unmap
	closed   bool
}

// lane is what a Broadcast has for each reader: the page of its cursor is the header of a ring whose data is that of all. side is the
// producer's side of it.
type lane struct {
	side
	memory *shm.Memory
	ring   Ring
	first  uint64 // messages sent before it was added
}

// ErrLagged is the error of a reader that was so slow that messages were overwritten before it has read them. It misses those that
// are still in the ring, too, because it knows no place where one of them begins: the next message is the first that was sent after
// the error was found. Test for it with errors.As.
type ErrLagged struct {
	Missed uint64 // messages
}

func (e *ErrLagged) Error() string {
	return fmt.Sprintf("ring: the reader has missed %d messages", e.Missed)
}

// CreateBroadcast makes a Broadcast without readers. Config.Full says what happens when a reader is slow: Block waits for it, Fail
// returns ErrFull. With DropOldest a reader must copy (Recv), and one that is behind by more than the ring misses all messages until
// the newest (ErrLagged): choose a Size that holds what is sent while a reader pauses, or starts. Errors are those of Create.
func CreateBroadcast(c Config) (*Broadcast, error) {
	b, err := createBroadcast(c)
	return named("create", c.Name, b, err)
}

func createBroadcast(c Config) (*Broadcast, error) {
	size, err := c.check(c.Size)
	if err != nil {
		return nil, err
	}
	if c.Full == DropOldest {
		c.Full = mayLag
	}
	m, err := shm.Create(shm.Config{Name: nameOr(c.Name), Size: size, PeersReadOnly: true})
	if err != nil {
		return nil, err
	}
	data, err := mirror(m.Bytes(), 0, nameOr(c.Name), vm.ReadWrite, m)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &Broadcast{
		name: nameOr(c.Name), full: c.Full, memory: m, data: data, at: data.Base(),
		size: uint64(size), pos: c.start, shown: c.start, batch: uint64(size) / 16, claimed: -1,
	}, nil
}

// AddReader adds a reader, which gets all messages that are sent from now on. Send both memories to its process, the data and then
// the cursor, for AttachReader there. They belong to the Broadcast: do not close them. The reader counts at once: with Block, the
// Broadcast waits for it. A reader that has closed its side, or died, is removed.
func (b *Broadcast) AddReader() (data, cursor *shm.Memory, err error) {
	b.mustBeOpen("AddReader")
	if err := b.Flush(); err != nil {
		return nil, nil, err
	}
	m, err := shm.Create(shm.Config{Name: b.name, Size: headerSize()})
	if err != nil {
		return nil, nil, fmt.Errorf("ring: add a reader to %q: %w", b.name, err)
	}
	l := &lane{memory: m, first: b.messages}
	head := headerOf(m.Bytes())
	head.begin(int(b.size), b.full, b.pos)
	head.lag.dirty.Store(b.pos + b.room)
	l.ring = Ring{name: b.name, full: b.full, head: head, data: b.data, size: b.size}
	if l.ring.watch, err = watch(head, b.name, m); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ring: add a reader to %q: %w", b.name, err), m.Close())
	}
	if err := l.side.open(&l.ring, 0); err != nil {
		return nil, nil, errors.Join(err, l.close())
	}
	if b.full != mayLag {
		b.room = 0 // Claim looks
	}
	b.readers = append(b.readers, l)
	return b.memory, m, nil
}

// Readers returns the readers that are neither closed nor dead, as far as the last Flush has seen.
func (b *Broadcast) Readers() int { return len(b.readers) }

// AttachReader opens the side of a reader, in the two memories of AddReader that shm.Receive or shm.Inherited have returned: the data
// is for reading alone. The memories are the Ring's from then on. After an error they are the caller's. Its only side is Consumer.
func AttachReader(data, cursor *shm.Memory) (*Ring, error) {
	if data == nil || data.Size() == 0 || cursor == nil || cursor.Size() == 0 {
		panic(&guard.Violation{Op: "ring.AttachReader", Kind: guard.ZeroValue, Detail: "shm.Receive returns a Memory"})
	}
	name := data.Region().Name()
	r, err := attachReader(data, cursor, name)
	return named("attach a reader", name, r, err)
}

func attachReader(data, cursor *shm.Memory, name string) (*Ring, error) {
	switch n, err := ringSize(data.Size()); {
	case err != nil || n != data.Size():
		return nil, fmt.Errorf("data of %d bytes is no power of two: %w", data.Size(), ErrCorrupt)
	case cursor.ReadOnly():
		return nil, errors.New("a reader must store to its cursor, which is for reading")
	case cursor.Size() != headerSize():
		return nil, fmt.Errorf("the cursor has %d bytes, not one OS page: %w", cursor.Size(), ErrCorrupt)
	}
	head := headerOf(cursor.Bytes())
	full, err := head.read(data.Size(), mayLag)
	if err != nil {
		return nil, err
	}
	r := &Ring{name: name, full: full, memory: cursor, shared: data, head: head, size: uint64(data.Size())}
	if r.data, err = mirror(data.Bytes(), 0, name, vm.Read, data); err != nil {
		return nil, err
	}
	return r.watched(cursor)
}

// MaxMessage returns the most bytes of a message: 8 less than Config.Size, rounded up as Create does.
func (b *Broadcast) MaxMessage() int { return int(b.size - frame) }

// Claim returns room for a message of n bytes, as Producer.Claim does. Readers that have closed or died are no reason for an error:
// they are removed. Errors: ErrFull, ErrTooLarge, the context's, guard.ErrClosed. Without readers there is always room.
func (b *Broadcast) Claim(ctx context.Context, n int) ([]byte, error) {
	if uint64(n) > b.size-frame || frameSize(uint64(n)) > b.room {
		if err := b.claimSlowly(ctx, n); err != nil {
			return nil, err
		}
	}
	b.claimed = n
	return unsafe.Slice((*byte)(unsafe.Add(b.at, uintptr(b.pos&(b.size-1))+frame)), n), nil
}

func (b *Broadcast) claimSlowly(ctx context.Context, n int) error {
	b.mustBeOpen("Claim")
	b.claimed = -1
	switch {
	case b.closed:
		return b.errorf("claim", guard.ErrClosed)
	case n < 0 || n > b.MaxMessage():
		return b.errorf("claim", fmt.Errorf("%d bytes, of at most %d: %w", n, b.MaxMessage(), ErrTooLarge))
	}
	need := frameSize(uint64(n))
	if b.full == mayLag {
		// Readers learn what may be overwritten before it is.
		b.room = min(max(need, b.batch), b.size)
		for _, l := range b.readers {
			l.ring.head.lag.dirty.Store(b.pos + b.room)
		}
		return nil
	}
	room := b.size
	for i := 0; i < len(b.readers); {
		l := b.readers[i]
		err := l.makeRoom(ctx, b, need)
		switch {
		case err == nil:
			room = min(room, l.room())
			i++
		case errors.Is(err, ErrFull) || ctx.Err() != nil:
			return err
		default: // it has closed, died, or stored nonsense
			b.remove(i)
		}
	}
	b.room = room
	return nil
}

// makeRoom waits for one reader.
func (l *lane) makeRoom(ctx context.Context, b *Broadcast, need uint64) error {
	b.show()
	if b.full == Fail {
		if err := l.look(); err != nil || l.room() >= need {
			return err
		}
		if done, err := l.ready(context.Background(), need, l.theirs.life.Load()); done {
			return err
		}
		return ErrFull
	}
	return l.await(ctx, need)
}

// Publish sends the message that was written to the room of the last Claim, or its first n bytes. It panics as Producer.Publish.
func (b *Broadcast) Publish(n int) {
	if uint(n) > uint(b.claimed) || b.claimed < 0 {
		b.mustBeOpen("Publish")
		panic(&guard.Violation{Op: "ring.Publish", Kind: guard.InvalidArgument, Detail: fmt.Sprintf("%d bytes, and %d are claimed", n, max(b.claimed, 0)), Region: b.name})
	}
	b.claimed = -1
	*(*uint64)(unsafe.Add(b.at, uintptr(b.pos&(b.size-1)))) = uint64(n)
	used := frameSize(uint64(n))
	b.pos += used
	b.room -= used
	b.messages++
	if b.pos-b.shown >= b.batch {
		b.show()
	}
}

// Send copies a message to where all readers read it: it is Claim, a copy and Publish. Errors are those of Claim.
func (b *Broadcast) Send(ctx context.Context, message []byte) error {
	room, err := b.Claim(ctx, len(message))
	if err != nil {
		return err
	}
	copyMessage(room, message)
	b.Publish(len(message))
	return nil
}

// show shows all messages to each reader.
func (b *Broadcast) show() {
	b.shown = b.pos
	for _, l := range b.readers {
		l.pos = b.pos
		if b.full == mayLag {
			l.ring.head.lag.before.Store(b.messages - l.first)
		}
		l.show()
		if b.full == mayLag {
			l.ring.head.lag.after.Store(b.messages - l.first)
		}
	}
}

// Flush shows the readers all messages that are published, and removes readers that have closed or died. The error wraps
// guard.ErrClosed after Close.
func (b *Broadcast) Flush() error {
	b.mustBeOpen("Flush")
	if b.closed {
		return b.errorf("flush", guard.ErrClosed)
	}
	b.show()
	for i := len(b.readers) - 1; i >= 0; i-- {
		if life := b.readers[i].theirs.life.Load(); life == lifeClosed || hasDied(life) {
			b.remove(i)
		}
	}
	return nil
}

// remove ends a reader.
func (b *Broadcast) remove(i int) {
	l := b.readers[i]
	b.readers = slices.Delete(b.readers, i, i+1)
	l.side.end()
	if l.close() != nil {
		b.removed = append(b.removed, l) // Close tries again
	}
}

// close closes what a lane has alone.
func (l *lane) close() error { return closeAll([]*region.Region{l.ring.watch}, l.memory) }

// Close flushes and ends the Broadcast: the readers receive what was sent, and then io.EOF. The error of a second Close wraps
// guard.ErrClosed.
func (b *Broadcast) Close() error {
	b.mustBeOpen("Close")
	if b.closed {
		return b.errorf("close", guard.ErrClosed)
	}
	b.show()
	for len(b.readers) > 0 {
		b.remove(len(b.readers) - 1)
	}
	for _, l := range b.removed {
		if err := l.close(); err != nil {
			return b.errorf("close", err)
		}
	}
	if err := closeAll([]*region.Region{b.data}, b.memory); err != nil {
		return b.errorf("close", err)
	}
	b.closed, b.room = true, 0
	return nil
}

func (b *Broadcast) errorf(op string, err error) error {
	return fmt.Errorf("ring: %s %q: %w", op, b.name, err)
}

// mustBeOpen panics for a zero Broadcast.
func (b *Broadcast) mustBeOpen(op string) {
	if b == nil || b.data == nil {
		panic(&guard.Violation{Op: "ring." + op, Kind: guard.ZeroValue, Detail: "ring.CreateBroadcast makes a Broadcast"})
	}
}

// recvLagging is Recv for a producer that does not wait. It copies the message and looks afterwards whether the producer may have
// begun to overwrite it: then the copy may be torn, and is thrown away.
func (c *Consumer) recvLagging(ctx context.Context, dst []byte) ([]byte, error) {
	if c.err != nil {
		return dst, c.errorf("receive", c.err)
	}
	if c.room() == 0 {
		if err := c.await(ctx, frame); err != nil {
			return dst, err
		}
	}
	n := c.lengthAt(c.pos).Load()
	fits := n <= min(c.room(), c.size)-frame
	copied := dst
	if fits {
		copied = appendMessage(dst, c.messageAt(c.pos, n))
	}
	// This store keeps the reads before it and the load behind it in order.
	c.mine.index.Store(c.pos)
	switch dirty := c.ring.head.lag.dirty.Load(); {
	case dirty-c.pos > c.size:
		return dst, c.lagged(ctx)
	case !fits:
		return dst, c.corrupt("a message of %d bytes, where %d are possible", n, c.room()-frame)
	}
	c.number++
	c.advance(n)
	c.settle()
	return copied, nil
}

// lagged moves the reader to the newest message, and returns the error that says how many it has missed.
func (c *Consumer) lagged(ctx context.Context) error {
	l := &c.ring.head.lag
	for tries := 0; ; tries++ {
		after := l.after.Load()
		index := c.theirs.index.Load()
		if l.before.Load() != after { // the producer is just showing messages
			if tries%64 == 63 && ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if index%8 != 0 || index-c.pos > math.MaxInt64 {
			return c.corrupt("the other side moves its index to %d", index)
		}
		missed := after - c.number
		if missed > (index-c.pos)/frame {
			return c.corrupt("the other side has sent %d messages in %d bytes", missed, index-c.pos)
		}
		c.number = after
		c.pos, c.shown, c.peer = index, index, index
		return &ErrLagged{Missed: missed}
	}
}
