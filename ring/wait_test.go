package ring

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// bothWays runs f with what the kernel has, and with a kernel that cannot wait for several words at a time.
func bothWays(t *testing.T, f func(t *testing.T)) {
	t.Run("as it is", f)
	t.Run("one word", func(t *testing.T) {
		waitAny = func([]vm.WaitWord) error { return vm.ErrUnsupported }
		defer func() { waitAny = vm.WaitAny }()
		f(t)
	})
}

// parked waits until a side sleeps.
func parked(t *testing.T, s interface{ Stats() Stats }) {
	for ctx := soon(t); s.Stats().Parks == 0; time.Sleep(100 * time.Microsecond) {
		mustDo(t, ctx.Err())
	}
}

// TestWaitEnds ends waits from outside: by the context, by PeerDied, by Close of the other side.
func TestWaitEnds(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		for name, row := range map[string]struct {
			end             func(cancel func(), p *Producer, c *Consumer)
			sends, receives error
		}{
			"context":  {func(cancel func(), _ *Producer, _ *Consumer) { cancel() }, context.Canceled, context.Canceled},
			"PeerDied": {func(_ func(), p *Producer, c *Consumer) { p.PeerDied(); c.PeerDied() }, ErrPeerDied, ErrPeerDied},
		} {
			p, c := mustCreate(t, Config{Size: 4096})
			ctx, cancel := context.WithCancel(soon(t))
			got := make(chan error)
			go func() {
				_, err := c.Recv(ctx, nil)
				got <- err
			}()
			parked(t, c)
			row.end(cancel, p, c)
			if err := <-got; !errors.Is(err, row.receives) {
				t.Errorf("%s: a wait for a message ends with %v", name, err)
			}
			cancel()

			p, c = mustCreate(t, Config{Size: 4096})
			ctx, cancel = context.WithCancel(soon(t))
			go func() {
				for {
					if err := p.Send(ctx, make([]byte, 1000)); err != nil {
						got <- err
						return
					}
				}
			}()
			parked(t, p)
			row.end(cancel, p, c)
			if err := <-got; !errors.Is(err, row.sends) {
				t.Errorf("%s: a wait for room ends with %v", name, err)
			}
			cancel()
		}
	})
}

// TestClose closes one side while the other waits.
func TestClose(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		ctx := soon(t)
		p, c := mustCreate(t, Config{Size: 4096})
		got := make(chan error)
		go func() {
			b, err := c.Recv(ctx, nil)
			if string(b) != "last" {
				err = errors.Join(err, errors.New("the last message is not there"))
			}
			got <- err
			_, err = c.Recv(ctx, nil)
			got <- err
		}()
		parked(t, c)
		mustDo(t, p.Send(ctx, []byte("last")), p.Close())
		if err := <-got; err != nil {
			t.Error(err)
		}
		if err := <-got; err != io.EOF {
			t.Errorf("after Close of the producer: %v", err)
		}
		for what, err := range map[string]error{"Close": p.Close(), "Send": p.Send(ctx, nil), "Flush": p.Flush()} {
			if !errors.Is(err, guard.ErrClosed) {
				t.Errorf("%s after Close: %v", what, err)
			}
		}

		p, c = mustCreate(t, Config{Size: 4096})
		go func() {
			var err error
			for err == nil {
				err = p.Send(ctx, make([]byte, 1000))
			}
			got <- err
		}()
		parked(t, p)
		mustDo(t, c.Close())
		if err := <-got; !errors.Is(err, ErrPeerClosed) {
			t.Errorf("after Close of the consumer: %v", err)
		}
		if _, err := c.Recv(ctx, nil); !errors.Is(err, guard.ErrClosed) {
			t.Errorf("Recv after Close: %v", err)
		}
		r := p.ring
		mustDo(t, r.Close())
		if err := r.Close(); !errors.Is(err, guard.ErrClosed) {
			t.Errorf("second Close of the ring: %v", err)
		}
		if _, err := r.Producer(); !errors.Is(err, guard.ErrClosed) {
			t.Errorf("Producer after Close: %v", err)
		}
	})
}

// TestTaken takes sides twice, and one that was closed.
func TestTaken(t *testing.T) {
	p, _ := mustCreate(t, Config{})
	for range 2 {
		_, err1 := p.ring.Producer()
		_, err2 := p.ring.Consumer()
		if !errors.Is(err1, ErrTaken) || !errors.Is(err2, ErrTaken) {
			t.Error(err1, err2)
		}
		if err := p.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	}
}

// TestHandOver hands memory of the Go heap over with messages: the race detector must see that the ring orders what the two
// goroutines do.
func TestHandOver(t *testing.T) {
	p, c := mustCreate(t, Config{Size: 4096})
	ctx := soon(t)
	things := make([]int, 20000)
	beside(t, func() {
		defer p.Close()
		for i := range things {
			things[i] = i
			if p.Send(ctx, []byte{1}) != nil || i%10 == 0 && p.Flush() != nil {
				return
			}
		}
	})
	i := 0
	for _, err := range c.All(ctx) {
		mustDo(t, err)
		if things[i] != i {
			t.Fatal(i)
		}
		i++
	}
	if i != len(things) {
		t.Fatalf("%d messages", i)
	}
}

// TestNoAllocations counts what messages allocate on the Go heap, with and without waiting.
func TestNoAllocations(t *testing.T) {
	if race.Enabled || invariant.Enabled {
		t.Skip("the race detector and the checks allocate")
	}
	there, hither := Config{}, Config{}
	p, c := mustCreate(t, there)
	back, home := mustCreate(t, hither)
	ctx := soon(t)
	buffer, message := make([]byte, 0, 100), make([]byte, 64)
	if n := testing.AllocsPerRun(1000, func() {
		mustDo(t, p.Send(ctx, message), p.Flush())
		if _, err := c.Recv(ctx, buffer); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
	beside(t, func() {
		for m, err := range c.All(ctx) {
			if err != nil || back.Send(ctx, m) != nil || back.Flush() != nil {
				return
			}
		}
	})
	if n := testing.AllocsPerRun(1000, func() {
		mustDo(t, p.Send(ctx, message), p.Flush())
		if _, err := home.Recv(ctx, buffer); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a message there and back", n)
	}
	mustDo(t, p.Close())
}

// TestPolicies fills rings of each policy.
func TestPolicies(t *testing.T) {
	ctx := soon(t)
	p, c := mustCreate(t, Config{Size: 4096, Full: Fail})
	sent := 0
	var err error
	for ; err == nil; sent++ {
		err = p.Send(ctx, make([]byte, 120))
	}
	if sent--; !errors.Is(err, ErrFull) || sent != 32 {
		t.Fatalf("%d messages, %v", sent, err)
	}
	for range 4 {
		_, err := c.Recv(ctx, nil)
		mustDo(t, err)
	}
	c.Flush()
	for range 4 {
		mustDo(t, p.Send(ctx, make([]byte, 120)))
	}
	if err := p.Send(ctx, make([]byte, 120)); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}

	p, c = mustCreate(t, Config{Size: 4096, Full: DropOldest})
	for i := range uint64(1000) {
		b := make([]byte, sizeOf(i)%500+12)
		b[0] = byte(i)
		mustDo(t, p.Send(ctx, b))
	}
	mustDo(t, p.Flush())
	if _, err := c.Peek(ctx); !errors.Is(err, ErrDrops) {
		t.Errorf("Peek: %v", err)
	}
	left := 0
	var last byte
	for depth := c.Stats().Depth; depth > 0; depth = c.Stats().Depth {
		b, err := c.Recv(ctx, nil)
		mustDo(t, err)
		last = b[0]
		left++
	}
	if dropped := p.Stats().Dropped; dropped+uint64(left) != 1000 || last != 999%256 || left < 5 {
		t.Errorf("%d dropped, %d left, the last is %d", dropped, left, last)
	}
	for _, n := range []int{-1, p.MaxMessage() + 1, math.MaxInt} {
		if _, err := p.Claim(ctx, n); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Claim of %d bytes: %v", n, err)
		}
	}
}

// TestHammerDropOldest has a producer that never waits: what arrives is whole and in order, and the last message arrives.
func TestHammerDropOldest(t *testing.T) {
	count := uint64(200_000)
	if testing.Short() {
		count = 20_000
	}
	p, c := mustCreate(t, Config{Size: 16 << 10, Full: DropOldest})
	ctx := soon(t)
	beside(t, func() {
		defer p.Close()
		for i := range count {
			b, err := p.Claim(ctx, sizeOf(i))
			if err != nil {
				t.Error(err)
				return
			}
			fill(b, i)
			p.Publish(len(b))
		}
	})
	next, got := uint64(0), 0
	for b, err := range c.All(ctx) {
		mustDo(t, err)
		n := uint64(0)
		for i := range 8 {
			n |= uint64(b[i]) << (8 * i)
		}
		if n < next {
			t.Fatalf("message %d after %d", n, next)
		}
		mustDo(t, verify(b, n))
		next = n + 1
		got++
	}
	if next != count {
		t.Errorf("the last message is %d of %d", next, count)
	}
	t.Logf("%d of %d messages received", got, count)
}
