package ring

import (
	"errors"
	"io"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestShortMessages sends messages that are short beside a batch, so that most of them take the inlined paths, and some make a
// batch or the ring full.
func TestShortMessages(t *testing.T) {
	for _, start := range []uint64{0, 1<<64 - 4096} {
		p, c := mustCreate(t, Config{Size: 8192, start: start})
		ctx := soon(t)
		const count = 30_000
		length := func(i int) int { return i * i % 41 }
		beside(t, func() {
			defer p.Close()
			for i := range count {
				b, err := p.Claim(ctx, length(i)+i%3) // the claim may be longer than the message
				if err != nil {
					t.Error(err)
					return
				}
				for k := range b {
					b[k] = byte(i)
				}
				p.Publish(length(i))
				if i%100 == 0 && p.Flush() != nil {
					return
				}
			}
		})
		for i := range count {
			b, err := c.Peek(ctx)
			mustDo(t, err)
			if len(b) != length(i) {
				t.Fatalf("message %d has %d bytes", i, len(b))
			}
			for _, x := range b {
				if x != byte(i) {
					t.Fatalf("message %d is torn", i)
				}
			}
			c.Release()
		}
		if _, err := c.Peek(ctx); err != io.EOF {
			t.Fatal(err)
		}
	}
}

// TestClaimAgain claims again and again, by the inlined path and by the other: the last claim counts.
func TestClaimAgain(t *testing.T) {
	ctx := soon(t)
	p, c := mustCreate(t, Config{Size: 8192})
	const short, long = 10, 1000 // beside a batch of 512 bytes
	claim := func(lengths ...int) {
		for _, n := range lengths {
			b, err := p.Claim(ctx, n)
			mustDo(t, err)
			if len(b) != n {
				t.Fatalf("%d bytes are claimed, and there is room for %d", n, len(b))
			}
		}
	}
	refused := func(n int) {
		t.Helper()
		defer func() {
			if v, ok := recover().(*guard.Violation); !ok || v.Kind != guard.InvalidArgument {
				t.Errorf("Publish of %d bytes: %v", n, v)
			}
		}()
		p.Publish(n)
	}
	for _, first := range []int{short, long} {
		claim(first)
		p.Publish(first) // from here on short messages are claimed by the inlined path
		claim(long, short)
		refused(long)
		p.Publish(short)
		refused(0)
		claim(short, long)
		p.Publish(short)
		refused(short)
		claim(long, long, short, short)
		p.Publish(short)
		refused(short)
		if _, err := p.Claim(ctx, -1); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		refused(0)
		mustDo(t, p.Flush())
		for _, want := range []int{first, short, short, short} {
			for range 2 {
				b, err := c.Peek(ctx)
				mustDo(t, err)
				if len(b) != want {
					t.Fatalf("%d bytes in the place of %d", len(b), want)
				}
			}
			c.Release()
		}
		c.Flush()
	}
}

// TestCloseInBetween closes a side between the two calls of a message.
func TestCloseInBetween(t *testing.T) {
	ctx := soon(t)
	p, c := mustCreate(t, Config{Size: 8192})
	for range 3 {
		mustDo(t, p.Send(ctx, []byte("message")))
	}
	mustDo(t, p.Flush())
	for range 2 { // the second by the inlined path
		_, err := c.Peek(ctx)
		mustDo(t, err)
		c.Release()
	}
	_, err := c.Peek(ctx)
	mustDo(t, err, c.Close())
	c.Release()
	_, err = p.Claim(ctx, 1)
	mustDo(t, err, p.Close())
	p.Publish(1)
	for range 2 {
		if _, err := p.Claim(ctx, 1); !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
		if _, err := c.Peek(ctx); !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	}
}

// TestPeekAfterRecv peeks where messages are dropped, when Recv has found more than one message.
func TestPeekAfterRecv(t *testing.T) {
	ctx := soon(t)
	p, c := mustCreate(t, Config{Size: 4096, Full: DropOldest})
	b := mustBroadcast(t, Config{Size: 4096, Full: DropOldest})
	reader := readers(t, b, 1)[0]
	for range 3 {
		mustDo(t, p.Send(ctx, []byte("message")), b.Send(ctx, []byte("message")))
	}
	mustDo(t, p.Flush(), b.Flush())
	for _, c := range []*Consumer{c, reader} {
		_, err := c.Recv(ctx, nil)
		mustDo(t, err)
		if _, err := c.Peek(ctx); !errors.Is(err, ErrDrops) {
			t.Errorf("Peek: %v", err)
		}
	}
}
