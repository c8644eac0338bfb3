package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/shm"
)

// sent sends memory through a socket, and returns it as another process would get it.
func sent(t testing.TB, all ...*shm.Memory) (got []*shm.Memory) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	mustDo(t, err)
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		mustDo(t, err, f.Close())
		ends[i] = c.(*net.UnixConn)
		defer c.Close()
	}
	for _, m := range all {
		mustDo(t, m.Send(ends[0]))
		r, err := shm.Receive(ends[1], shm.ReceiveConfig{})
		mustDo(t, err)
		got = append(got, r)
	}
	return got
}

// TestFanIn has producers that come, send and end; one of them stores nonsense, and ends its own lane only.
func TestFanIn(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		const lanes, count = 7, 2000
		var f FanIn
		ctx := soon(t)
		names := map[*Consumer]int{}
		var mu sync.Mutex
		beside(t, func() {
			for i := range lanes {
				p, c := mustCreate(t, Config{Size: 4096})
				mu.Lock()
				names[c] = i
				mu.Unlock()
				mustDo(t, f.Add(c))
				beside(t, func() {
					for k := range count {
						if err := p.Send(ctx, fmt.Append(nil, k)); err != nil {
							return // the lane of nonsense
						}
					}
					p.Flush()
					switch i {
					case 2:
						c.PeerDied()
					case 3:
						p.mine.index.Add(4)
						c.PeerDied()
					default:
						p.Close()
					}
				})
			}
		})
		next := map[*Consumer]int{}
		var b []byte
		for ended := 0; ended < lanes; {
			c, err := f.Next(ctx)
			mustDo(t, err)
			mu.Lock()
			i := names[c]
			mu.Unlock()
			b, err = c.Recv(ctx, b[:0])
			if err != nil {
				want := map[int]error{2: ErrPeerDied, 3: ErrCorrupt}[i]
				if want == nil {
					want = io.EOF
				}
				if !errors.Is(err, want) || i != 3 && next[c] != count {
					t.Errorf("lane %d ends after %d messages with %v", i, next[c], err)
				}
				ended++
				continue
			}
			if string(b) != fmt.Sprint(next[c]) {
				t.Fatalf("lane %d: %q in the place of %d", i, b, next[c])
			}
			next[c]++
		}
		if f.Len() != 0 {
			t.Errorf("%d lanes are left", f.Len())
		}
		short, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := f.Next(short); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestFanInForgets has lanes that end where the program sees it: one whose message is nonsense, one that the program closes.
func TestFanInForgets(t *testing.T) {
	var f FanIn
	ctx := soon(t)
	p, bad := mustCreate(t, Config{Size: 4096})
	_, closed := mustCreate(t, Config{Size: 4096})
	last, good := mustCreate(t, Config{Size: 4096})
	mustDo(t, f.Add(bad), f.Add(closed), p.Send(ctx, make([]byte, 80)), p.Flush())
	p.lengthAt(0).Store(1 << 40)
	c, err := f.Next(ctx)
	mustDo(t, err)
	if _, err := c.Recv(ctx, nil); c != bad || !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	mustDo(t, closed.ring.Close(), f.Add(good), last.Send(ctx, []byte("last")), last.Flush())
	if c, err = f.Next(ctx); c != good || err != nil || f.Len() != 1 {
		t.Errorf("%d lanes, %v", f.Len(), err)
	}
}

// readers adds readers to a broadcast.
func readers(t testing.TB, b *Broadcast, n int) (all []*Consumer) {
	t.Helper()
	for range n {
		data, cursor, err := b.AddReader()
		mustDo(t, err)
		m := sent(t, data, cursor)
		if !m[0].ReadOnly() {
			t.Error("readers may store")
		}
		r, err := AttachReader(m[0], m[1])
		mustDo(t, err)
		t.Cleanup(func() { r.Close() })
		if _, err := r.Producer(); !errors.Is(err, ErrTaken) {
			t.Errorf("a reader as the producer: %v", err)
		}
		c, err := r.Consumer()
		mustDo(t, err)
		all = append(all, c)
	}
	return all
}

func mustBroadcast(t testing.TB, c Config) *Broadcast {
	t.Helper()
	b, err := CreateBroadcast(c)
	mustDo(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// TestBroadcast sends to readers, of whom each gets all; one leaves early, one stores nonsense.
func TestBroadcast(t *testing.T) {
	ctx := soon(t)
	b := mustBroadcast(t, Config{Size: 8192, start: 1<<64 - 4096})
	all := readers(t, b, 4)
	const count = 20000
	var done sync.WaitGroup
	for i, c := range all {
		done.Go(func() {
			next := uint64(0)
			for m, err := range c.All(ctx) {
				if err == nil {
					err = verify(m, next)
				}
				if err != nil {
					t.Errorf("reader %d: %v", i, err)
					return
				}
				next++
				if i >= 2 && next == 100 {
					break
				}
			}
			switch {
			case i == 2:
				mustDo(t, c.Close())
			case i == 3:
				c.mine.index.Add(1 << 40)
				c.wake()
			case next != count:
				t.Errorf("reader %d gets %d messages", i, next)
			}
		})
	}
	for i := range uint64(count) {
		m, err := b.Claim(ctx, sizeOf(i))
		mustDo(t, err)
		fill(m, i)
		b.Publish(len(m))
	}
	mustDo(t, b.Flush())
	if b.Readers() != 2 {
		t.Errorf("%d readers are left", b.Readers())
	}
	mustDo(t, b.Close())
	done.Wait()
}

// TestHammerLagging has readers of a producer that does not wait: messages are whole and in order, and each is received or counted
// as missed.
func TestHammerLagging(t *testing.T) {
	count := uint64(200_000)
	if testing.Short() {
		count = 20_000
	}
	ctx := soon(t)
	b := mustBroadcast(t, Config{Size: 16 << 10, Full: DropOldest})
	all := readers(t, b, 2)
	var done sync.WaitGroup
	for i, c := range all {
		done.Go(func() {
			next, got := uint64(0), 0
			var m []byte
			if _, err := c.Peek(ctx); i == 0 && !errors.Is(err, ErrDrops) && err != nil {
				t.Error(err)
			}
			for {
				var err error
				m, err = c.Recv(ctx, m[:0])
				var lag *ErrLagged
				switch {
				case errors.As(err, &lag):
					next += lag.Missed
					continue
				case err == io.EOF:
					if next != count {
						t.Errorf("reader %d has received or missed %d messages of %d", i, next, count)
					}
					t.Logf("reader %d has received %d of %d", i, got, count)
					return
				case err == nil:
					err = verify(m, next)
				}
				if err != nil {
					t.Errorf("reader %d: %v", i, err)
					return
				}
				next++
				got++
			}
		})
	}
	for i := range count {
		m, err := b.Claim(ctx, sizeOf(i))
		mustDo(t, err)
		fill(m, i)
		b.Publish(len(m))
	}
	mustDo(t, b.Close())
	done.Wait()
}

// TestConn runs what code does with a net.Conn.
func TestConn(t *testing.T) {
	p, c := mustCreate(t, Config{Size: 8192})
	p2, c2 := mustCreate(t, Config{Size: 8192})
	here, there := Conn(c2, p), Conn(c, p2)
	mustDo(t, here.SetDeadline(time.Now().Add(2*time.Minute)), there.SetDeadline(time.Now().Add(2*time.Minute)))
	var echoes sync.WaitGroup
	defer echoes.Wait()
	echoes.Go(func() {
		_, err := io.Copy(there, there)
		if err != nil && !errors.Is(err, ErrPeerClosed) { // all has arrived there by then
			t.Error(err)
		}
		there.Close()
	})
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(i * i >> 3)
	}
	beside(t, func() {
		_, err := here.Write(want)
		if err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, len(want))
	_, err := io.ReadFull(here, got)
	mustDo(t, err)
	if string(got) != string(want) {
		t.Error("other bytes come back")
	}
	mustDo(t, here.SetReadDeadline(time.Now().Add(-1)))
	if _, err := here.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	mustDo(t, here.SetReadDeadline(time.Time{}))
	waits := make(chan error)
	go func() {
		_, err := here.Read(got)
		waits <- err
	}()
	parked(t, c2)
	mustDo(t, here.SetReadDeadline(time.Now()))
	if err := <-waits; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline that comes while Read waits: %v", err)
	}
	mustDo(t, here.SetReadDeadline(time.Time{}))
	go func() {
		_, err := here.Read(got)
		waits <- err
	}()
	mustDo(t, here.Close())
	if err := <-waits; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close while Read waits: %v", err)
	}
	if err := here.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if err := here.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) || here.LocalAddr().Network() != "ring" || here.RemoteAddr().String() != "ring" {
		t.Error(err)
	}
}
