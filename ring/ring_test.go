package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"
)

func mustDo(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// beside runs f beside a test, which ends after f: a ring must not be closed while f uses it.
func beside(t testing.TB, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	t.Cleanup(func() { <-done })
}

// mustCreate makes a ring, and both its sides.
func mustCreate(t testing.TB, c Config) (*Producer, *Consumer) {
	t.Helper()
	r, err := Create(c)
	mustDo(t, err)
	t.Cleanup(func() { r.Close() })
	p, err := r.Producer()
	mustDo(t, err)
	k, err := r.Consumer()
	mustDo(t, err)
	return p, k
}

// TestOrder sends messages of many lengths, which must come whole and in order, from start indices that wrap around.
func TestOrder(t *testing.T) {
	for _, start := range []uint64{0, 8, 1 << 32, 1<<64 - 8, 1<<64 - 4096, 1<<64 - 100000&^7} {
		p, c := mustCreate(t, Config{Size: 4096, start: start})
		ctx := soon(t)
		const count = 20000
		beside(t, func() {
			defer p.Close()
			for i := range count {
				b, err := p.Claim(ctx, 8+i%1000)
				if err != nil {
					t.Error(err)
					return
				}
				binary.LittleEndian.PutUint64(b, uint64(i))
				for k := range b[8:] {
					b[8+k] = byte(i)
				}
				p.Publish(len(b))
			}
		})
		var b []byte
		for i := range count {
			var err error
			b, err = c.Recv(ctx, b[:0])
			mustDo(t, err)
			if len(b) != 8+i%1000 || binary.LittleEndian.Uint64(b) != uint64(i) {
				t.Fatalf("message %d: %d bytes, number %d", i, len(b), binary.LittleEndian.Uint64(b))
			}
			for _, x := range b[8:] {
				if x != byte(i) {
					t.Fatalf("message %d is torn", i)
				}
			}
		}
		if _, err := c.Recv(ctx, nil); err != io.EOF {
			t.Fatal(err)
		}
	}
}
