package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/internal/race"
)

func init() {
	children["flood"] = flood
	children["drain"] = drain
}

// fill writes a number, pseudo-random bytes and their checksum.
func fill(b []byte, number uint64) {
	binary.LittleEndian.PutUint64(b, number)
	x := number*0x9e3779b97f4a7c15 + 1
	for i := 8; i < len(b)-4; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4]))
}

// sizeOf returns the length of a message.
func sizeOf(number uint64) int { return 12 + int(number*0x9e3779b97f4a7c15>>52) }

// verify returns an error if b is not the message of that number.
func verify(b []byte, number uint64) error {
	switch {
	case len(b) != sizeOf(number):
		return fmt.Errorf("message %d has %d bytes, not %d", number, len(b), sizeOf(number))
	case binary.LittleEndian.Uint64(b) != number:
		return fmt.Errorf("message %d comes in the place of %d", binary.LittleEndian.Uint64(b), number)
	case binary.LittleEndian.Uint32(b[len(b)-4:]) != crc32.ChecksumIEEE(b[:len(b)-4]):
		return fmt.Errorf("message %d is torn", number)
	}
	return nil
}

// flood sends messages by the first ring until it is killed.
func flood(rings []*Ring) error {
	p, err := rings[0].Producer()
	if err != nil {
		return err
	}
	for i := uint64(0); ; i++ {
		b, err := p.Claim(context.Background(), sizeOf(i))
		if err != nil {
			return err
		}
		fill(b, i)
		p.Publish(len(b))
		if i%7 == 0 {
			if err := p.Flush(); err != nil {
				return err
			}
		}
	}
}

// drain receives the messages of the first ring until it is killed.
func drain(rings []*Ring) error {
	c, err := rings[0].Consumer()
	if err != nil {
		return err
	}
	var i uint64
	for b, err := range c.All(context.Background()) {
		if err := errors.Join(err, verify(b, i)); err != nil {
			return err
		}
		i++
	}
	return nil
}

// kills returns how many processes a test kills. OFFHEAP_KILLS sets it.
func kills(t testing.TB) int {
	if n, err := strconv.Atoi(os.Getenv("OFFHEAP_KILLS")); err == nil {
		return n
	}
	if testing.Short() || race.Enabled {
		return 20
	}
	return 250
}

// TestKillProducers kills processes that send, each at another moment, half of them after a stop: what they have shown is
// received to the last message, in order and whole, and then there is an error.
func TestKillProducers(t *testing.T) {
	received := uint64(0)
	for round := range kills(t) {
		r, err := Create(Config{Size: 16 << 10})
		mustDo(t, err)
		c, err := r.Consumer()
		mustDo(t, err)
		cmd := start(t, "flood", r)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		until, killed := uint64(1+rand.IntN(2000)), make(chan error, 1)
		kill := func() {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			var err error
			if round%2 == 0 {
				err = cmd.Process.Signal(syscall.SIGSTOP)
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			}
			killed <- errors.Join(err, cmd.Process.Kill())
		}
		var b []byte
		for i := uint64(0); ; i++ {
			if i == until {
				go kill()
			}
			if b, err = c.Recv(ctx, b[:0]); err != nil {
				break
			}
			mustDo(t, verify(b, i))
			received++
		}
		if !errors.Is(err, ErrPeerDied) {
			t.Fatalf("round %d: %v", round, err)
		}
		if s := c.Stats(); s.Depth != 0 {
			t.Fatalf("round %d: %d bytes that were shown are not received", round, s.Depth)
		}
		mustDo(t, <-killed)
		cmd.Wait()
		cancel()
		mustDo(t, r.Close())
	}
	t.Logf("%d messages were received", received)
}

// TestKillConsumers kills processes that receive.
func TestKillConsumers(t *testing.T) {
	for range kills(t) {
		r, err := Create(Config{Size: 16 << 10})
		mustDo(t, err)
		p, err := r.Producer()
		mustDo(t, err)
		cmd := start(t, "drain", r)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		until := uint64(rand.IntN(2000))
		for i := uint64(0); ; i++ {
			if i == until+20 { // more than the ring holds have been received
				go func() {
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
					cmd.Process.Kill()
				}()
			}
			b, err := p.Claim(ctx, sizeOf(i))
			if err != nil {
				if !errors.Is(err, ErrPeerDied) {
					t.Fatal(err)
				}
				break
			}
			fill(b, i)
			p.Publish(len(b))
		}
		if s := cmd.Wait(); s == nil || cmd.ProcessState.ExitCode() == 1 {
			t.Fatalf("it has ended by itself: %v", s)
		}
		cancel()
		mustDo(t, r.Close())
	}
}
