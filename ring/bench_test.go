package ring

import (
	"context"
	"fmt"
	"io"
	"testing"
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
