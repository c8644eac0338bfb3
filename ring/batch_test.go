package ring

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestBatches sends batches and single messages, and looks at as many as are there. Batches are seen whole.
func TestBatches(t *testing.T) {
	p, c := mustCreate(t, Config{Size: 8192, start: 1<<64 - 4096})
	ctx := soon(t)
	const count = 20_000
	type head struct{ number, left uint32 } // of the batch
	write := func(b []byte, h head) {
		binary.LittleEndian.PutUint32(b, h.number)
		binary.LittleEndian.PutUint32(b[4:], h.left)
		for i := range b[8:] {
			b[8+i] = byte(h.number)
		}
	}
	beside(t, func() {
		defer p.Close()
		random, rooms := rand.New(rand.NewPCG(1, 2)), make([][]byte, 20)
		for sent := 0; sent < count; {
			n := 8 + random.IntN(60)
			if random.IntN(4) == 0 {
				b, err := p.Claim(ctx, n)
				if err != nil {
					t.Error(err)
					return
				}
				write(b, head{uint32(sent), 0})
				p.Publish(n)
				sent++
				continue
			}
			claimed := rooms[:random.IntN(len(rooms))]
			if err := p.ClaimBatch(ctx, n, claimed); err != nil {
				t.Error(err)
				return
			}
			used := random.IntN(len(claimed) + 1)
			for i, b := range claimed[:used] {
				write(b, head{uint32(sent + i), uint32(used - 1 - i)})
			}
			p.PublishBatch(used)
			sent += used
			if random.IntN(4) == 0 && p.Flush() != nil {
				return
			}
		}
	})
	random, messages := rand.New(rand.NewPCG(3, 4)), make([][]byte, 2000)
	next := uint32(0)
	for {
		n, err := c.PeekBatch(ctx, messages)
		if err == io.EOF {
			break
		}
		mustDo(t, err)
		var h head
		for i, b := range messages[:n] {
			h = head{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
			if h.number != next+uint32(i) {
				t.Fatalf("message %d in the place of %d", h.number, next+uint32(i))
			}
			for _, x := range b[8:] {
				if x != byte(h.number) {
					t.Fatalf("message %d is torn", h.number)
				}
			}
		}
		if h.left > 0 {
			t.Fatalf("%d messages of a batch are not there yet", h.left)
		}
		if random.IntN(2) == 0 { // give back some of them
			n, err = c.PeekBatch(ctx, messages[:1+random.IntN(n)])
			mustDo(t, err)
		}
		c.Release()
		next += uint32(n)
	}
	if next < count {
		t.Errorf("%d messages", next)
	}
}

// TestBatchLimits claims and publishes what is not possible, and looks into a ring whose second message is nonsense.
func TestBatchLimits(t *testing.T) {
	p, c := mustCreate(t, Config{Size: 4096, Full: Fail})
	ctx := soon(t)
	rooms := make([][]byte, 257)
	for _, row := range []struct{ n, rooms int }{{-1, 1}, {4089, 1}, {8, 257}, {2041, 2}} {
		if err := p.ClaimBatch(ctx, row.n, rooms[:row.rooms]); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d rooms of %d bytes: %v", row.rooms, row.n, err)
		}
	}
	mustDo(t, p.ClaimBatch(ctx, 0, nil))
	p.PublishBatch(0)
	mustDo(t, p.ClaimBatch(ctx, 8, rooms[:256]))
	p.PublishBatch(256) // the ring is full
	if err := p.ClaimBatch(ctx, 8, rooms[:1]); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if n, err := c.PeekBatch(ctx, nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	n, err := c.PeekBatch(ctx, make([][]byte, 1000))
	if n != 256 || err != nil {
		t.Error(n, err)
	}
	c.Release()
	c.Flush()
	mustDo(t, p.ClaimBatch(ctx, 8, rooms[:3]))
	p.PublishBatch(2)
	func() {
		defer func() {
			if v, ok := recover().(*guard.Violation); !ok || v.Op != "ring.PublishBatch" {
				t.Error(v)
			}
		}()
		p.PublishBatch(1)
	}()
	mustDo(t, p.Flush())
	p.lengthAt(16).Store(1 << 63)
	if n, err = c.PeekBatch(ctx, rooms); n != 1 || err != nil {
		t.Error(n, err)
	}
	c.Release()
	for range 2 {
		if n, err = c.PeekBatch(ctx, rooms); n != 0 || !errors.Is(err, ErrCorrupt) {
			t.Error(n, err)
		}
	}
}
