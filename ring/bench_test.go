package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"
)

// BenchmarkOneWay sends messages to another goroutine, by Claim and Publish, Peek and Release.
func BenchmarkOneWay(b *testing.B) {
	for _, size := range []int{64, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p, c := mustCreate(b, Config{})
			ctx := context.Background()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			go func() {
				message := make([]byte, size)
				for range b.N {
					if p.Send(ctx, message) != nil {
						return
					}
				}
				p.Close()
			}()
			for {
				if _, err := c.Peek(ctx); err == io.EOF {
					break
				}
				c.Release()
			}
		})
	}
}

// BenchmarkPingPong sends a message of 64 bytes to another process, and waits for it to come back.
func BenchmarkPingPong(b *testing.B) {
	p, c, _ := pair(b, "echo")
	ctx := context.Background()
	message := make([]byte, 64)
	for b.Loop() {
		if p.Send(ctx, message) != nil || p.Flush() != nil {
			b.Fatal("no send")
		}
		if _, err := c.Peek(ctx); err != nil {
			b.Fatal(err)
		}
		c.Release()
	}
}

// BenchmarkReaders broadcasts messages of 64 bytes to readers on other goroutines that keep up with it: the time is the producer's.
func BenchmarkReaders(b *testing.B) {
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			// The ring holds all messages of a round, so that the producer never waits for a processor that the readers have.
			const round = 8 << 10
			cast := mustBroadcast(b, Config{})
			all := readers(b, cast, n)
			ctx := context.Background()
			message := make([]byte, 64)
			sent, spent := 0, time.Duration(0)
			for b.Loop() {
				start := time.Now()
				for range round {
					if cast.Send(ctx, message) != nil {
						b.Fatal("no send")
					}
				}
				cast.Flush()
				spent += time.Since(start)
				sent += round
				for _, c := range all {
					for range round {
						if _, err := c.Peek(ctx); err != nil {
							b.Fatal(err)
						}
						c.Release()
					}
					c.Flush()
				}
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(sent), "producer-ns/message")
		})
	}
}

// BenchmarkDeath kills a process that a Recv waits for, and takes the time until the error.
func BenchmarkDeath(b *testing.B) {
	for _, what := range []string{"echo", "large"} {
		b.Run(what, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				p, c, cmd := pair(b, what)
				ctx := context.Background()
				if err := errors.Join(p.Send(ctx, []byte{1}), p.Flush()); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Recv(ctx, nil); err != nil {
					b.Fatal(err)
				}
				killed := make(chan time.Time, 1)
				go func() {
					time.Sleep(5 * time.Millisecond)
					killed <- time.Now()
					cmd.Process.Kill()
				}()
				if _, err := c.Recv(ctx, nil); !errors.Is(err, ErrPeerDied) {
					b.Fatal(err)
				}
				took = append(took, time.Since(<-killed))
				cmd.Wait()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
			b.ReportMetric(float64(took[0].Microseconds()), "least-µs")
		})
	}
}
