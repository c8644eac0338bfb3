package misuse

import (
	"context"
	"errors"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/ring"
	"github.com/seed-9a6c551e/offheap/shm"
)

// ring makes a ring of one OS page and both its sides, which a case may close.
func (w *world) ring(full ring.Full) (*ring.Ring, *ring.Producer, *ring.Consumer) {
	r, err := ring.Create(ring.Config{Size: 1, Full: full})
	w.must(err)
	w.then(func() error {
		if err := r.Close(); !errors.Is(err, guard.ErrClosed) {
			return err
		}
		return nil
	})
	p, err := r.Producer()
	w.must(err)
	c, err := r.Consumer()
	w.must(err)
	return r, p, c
}

// never is the context of calls that must not wait for long.
func never() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

var ringMisuse = []misuse{
	{"Publish without Claim", func(w *world) { _, p, _ := w.ring(ring.Block); p.Publish(0) },
		plainly(`violation: ring.Publish: invalid argument: nothing is claimed ("ring")`)},
	{"Publish twice", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		_, err := p.Claim(never(), 8)
		w.must(err)
		p.Publish(8)
		p.Publish(8)
	}, plainly(`violation: ring.Publish: invalid argument: nothing is claimed ("ring")`)},
	{"Publish of more than was claimed", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		_, err := p.Claim(never(), 8)
		w.must(err)
		p.Publish(9)
	}, plainly(`violation: ring.Publish: invalid argument: 9 bytes, and 8 are claimed ("ring")`)},
	{"Publish of less than no bytes", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		_, err := p.Claim(never(), 8)
		w.must(err)
		p.Publish(-1)
	}, plainly(`violation: ring.Publish: invalid argument: -1 bytes, and 8 are claimed ("ring")`)},
	{"Claim of less than no bytes", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		_, err := p.Claim(never(), -1)
		w.must(err)
	}, plainly(`error: ring: claim "ring": -1 bytes, of at most #: the message is larger than the ring`)},
	{"message larger than the ring", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		w.must(p.Send(never(), make([]byte, 1<<20)))
	}, plainly(`error: ring: claim "ring": 1048576 bytes, of at most #: the message is larger than the ring`)},
	{"Release without Peek", func(w *world) { _, _, c := w.ring(ring.Block); c.Release() },
		plainly(`violation: ring.Release: invalid argument: there is no message from Peek ("ring")`)},
	{"Release twice", func(w *world) {
		_, p, c := w.ring(ring.Block)
		w.must(p.Send(never(), nil))
		w.must(p.Flush())
		_, err := c.Peek(never())
		w.must(err)
		c.Release()
		c.Release()
	}, plainly(`violation: ring.Release: invalid argument: there is no message from Peek ("ring")`)},
	{"Peek where messages are dropped", func(w *world) {
		_, _, c := w.ring(ring.DropOldest)
		_, err := c.Peek(never())
		w.must(err)
	}, plainly(`error: ring: peek "ring": the ring drops the oldest message, which the producer may overwrite at any moment`)},
	{"PublishBatch without ClaimBatch", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		_, err := p.Claim(never(), 8)
		w.must(err)
		p.PublishBatch(1)
	}, plainly(`violation: ring.PublishBatch: invalid argument: no batch is claimed ("ring")`)},
	{"PublishBatch of more than was claimed", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		w.must(p.ClaimBatch(never(), 8, make([][]byte, 2)))
		p.PublishBatch(3)
	}, plainly(`violation: ring.PublishBatch: invalid argument: 3 messages, and 2 are claimed ("ring")`)},
	{"Publish behind ClaimBatch", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		w.must(p.ClaimBatch(never(), 8, make([][]byte, 2)))
		p.Publish(8)
	}, plainly(`violation: ring.Publish: invalid argument: nothing is claimed ("ring")`)},
	{"batch larger than the ring", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		w.must(p.ClaimBatch(never(), 8, make([][]byte, 1<<20)))
	}, plainly(`error: ring: claim "ring": 1048576 messages of 8 bytes, of at most #: the message is larger than the ring`)},
	{"PeekBatch where messages are dropped", func(w *world) {
		_, _, c := w.ring(ring.DropOldest)
		_, err := c.PeekBatch(never(), make([][]byte, 2))
		w.must(err)
	}, plainly(`error: ring: peek "ring": the ring drops the oldest message, which the producer may overwrite at any moment`)},
	{"two producers", func(w *world) {
		r, _, _ := w.ring(ring.Block)
		_, err := r.Producer()
		w.must(err)
	}, plainly(`error: ring: open a side of "ring": the ring has this side already`)},
	{"two consumers", func(w *world) {
		r, _, _ := w.ring(ring.Block)
		_, err := r.Consumer()
		w.must(err)
	}, plainly(`error: ring: open a side of "ring": the ring has this side already`)},
	{"Send after Close of the producer", func(w *world) {
		_, p, _ := w.ring(ring.Block)
		w.must(p.Close())
		w.must(p.Send(never(), nil))
	}, plainly(`error: ring: claim "ring": closed`)},
	{"Send after Close of the consumer", func(w *world) {
		_, p, c := w.ring(ring.Block)
		w.must(c.Close())
		w.must(p.Send(never(), nil))
		w.must(p.Flush())
	}, plainly(`error: ring: flush "ring": the consumer has closed its side`)},
	{"Recv after Close of the producer", func(w *world) {
		_, p, c := w.ring(ring.Block)
		w.must(p.Close())
		_, err := c.Recv(never(), nil)
		w.must(err)
	}, plainly(`error: EOF`)},
	{"Close twice", func(w *world) { r, _, _ := w.ring(ring.Block); w.must(r.Close()); w.must(r.Close()) },
		plainly(`error: ring: close "ring": closed`)},
	{"Send after Close of the ring", func(w *world) {
		r, p, _ := w.ring(ring.Block)
		w.must(r.Close())
		w.must(p.Send(never(), nil))
	}, plainly(`error: ring: claim "ring": closed`)},
	{"message kept beyond Close", func(w *world) {
		r, p, _ := w.ring(ring.Block)
		b, err := p.Claim(never(), 8)
		w.must(err)
		w.must(r.Close())
		poke(b, 0)
	}, plainly(`fault: guard: use after close in region "ring": address 0xADDR, offset 8 of #`)},
	{"memory without a ring", func(w *world) {
		_, err := ring.Attach(w.memory())
		w.must(err)
	}, plainly(`error: ring: attach "memory": memory of 65536 bytes is not one OS page and a power of two of OS pages: the other side has stored what it never should`)},
	{"memory for reading", func(w *world) {
		r, _, _ := w.ring(ring.Block)
		_, err := ring.Attach(w.receive(r.Memory(), shm.ReceiveConfig{Name: "reader", ReadOnly: true}))
		w.must(err)
	}, plainly(`error: ring: attach "reader": both sides of a ring must store, and the memory is for reading`)},
	{"store of a reader", func(w *world) {
		b, err := ring.CreateBroadcast(ring.Config{Size: 1})
		w.must(err)
		w.then(b.Close)
		data, cursor, err := b.AddReader()
		w.must(err)
		here, there := w.sockets()
		w.must(errors.Join(data.Send(here), cursor.Send(here)))
		data, err = shm.Receive(there, shm.ReceiveConfig{Name: "data"})
		w.must(err)
		cursor, err = shm.Receive(there, shm.ReceiveConfig{})
		w.must(err)
		r, err := ring.AttachReader(data, cursor)
		w.must(err)
		c, err := r.Consumer()
		w.must(err)
		w.must(b.Send(never(), make([]byte, 8)))
		w.must(b.Flush())
		m, err := c.Peek(never())
		w.must(err)
		w.then(r.Close)
		poke(m, 0)
	}, plainly(`fault: guard: write to memory that is mapped for reading in region "data": address 0xADDR, offset 8 of #`)},
	{"zero Ring", func(w *world) { new(ring.Ring).Close() }, plainly(`violation: ring.Close: use of a zero value: ring.Create makes a Ring`)},
	{"zero Producer", func(w *world) { new(ring.Producer).Claim(never(), 1) }, plainly(`violation: ring.Claim: use of a zero value: Ring.Producer and Ring.Consumer make a side`)},
	{"zero Broadcast", func(w *world) { new(ring.Broadcast).Flush() }, plainly(`violation: ring.Flush: use of a zero value: ring.CreateBroadcast makes a Broadcast`)},
	{"messages there and back", func(w *world) {
		_, p, c := w.ring(ring.Block)
		for range 1000 {
			w.must(p.Send(never(), make([]byte, 100)))
			w.must(p.Flush())
			_, err := c.Recv(never(), nil)
			w.must(err)
		}
	}, plainly(fine)},
}
