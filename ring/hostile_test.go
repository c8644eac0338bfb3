package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/shm"
)

// expected tells whether an error is one that a side may return, whatever the other stores.
func expected(err error) bool {
	for _, e := range []error{io.EOF, ErrPeerClosed, ErrPeerDied, ErrFull, ErrCorrupt, ErrDrops, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return err == nil
}

// sum reads all of a message.
func sum(b []byte) (n uint64) {
	for _, x := range b {
		n += uint64(x)
	}
	return n
}

var sink atomic.Uint64

// TestHostileScribble has a peer that stores anything anywhere in the shared memory all the time, while both sides are used:
// there are errors or nothing, and no call lasts longer than its context.
func TestHostileScribble(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	for round := range rounds {
		// The goroutines share no source of random numbers.
		source := func(i uint64) *rand.Rand { return rand.New(rand.NewPCG(uint64(round), i)) }
		full := Full(round % int(policies))
		r, err := Create(Config{Size: 4096, Full: full})
		mustDo(t, err)
		p, err := r.Producer()
		mustDo(t, err)
		c, err := r.Consumer()
		mustDo(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		var all sync.WaitGroup
		all.Go(func() {
			random, memory := source(1), r.Memory().Bytes()
			offsets := []uintptr{unsafe.Offsetof(header{}.producer), unsafe.Offsetof(header{}.consumer)}
			for ctx.Err() == nil {
				var at uintptr
				switch random.IntN(3) {
				case 0: // any word
					at = uintptr(random.IntN(len(memory)/8)) * 8
				case 1: // an index, or a word beside it
					at = offsets[random.IntN(2)] + uintptr(random.IntN(3))*lineSize
				default: // where the message lengths are
					at = uintptr(headerSize() + random.IntN(len(memory)-headerSize())&^7)
				}
				value := random.Uint64() >> (random.IntN(8) * 8)
				if random.IntN(2) == 0 {
					value &^= 7
				}
				(*atomic.Uint64)(unsafe.Pointer(&memory[at])).Store(value)
				if random.IntN(100) == 0 {
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
		all.Go(func() {
			random, message := source(2), make([]byte, 900)
			for err := error(nil); err == nil && ctx.Err() == nil; {
				if err = p.Send(ctx, message[:random.IntN(900)]); err == nil {
					err = p.Flush()
				}
				if !expected(err) {
					t.Errorf("the producer: %v", err)
				}
				if errors.Is(err, ErrFull) {
					err = nil
				}
			}
		})
		all.Go(func() {
			var b []byte
			for err := error(nil); err == nil && ctx.Err() == nil; {
				if full == DropOldest {
					b, err = c.Recv(ctx, b[:0])
				} else if b, err = c.Peek(ctx); err == nil {
					sink.Add(sum(b))
					c.Release()
				}
				if !expected(err) {
					t.Errorf("the consumer: %v", err)
				}
			}
		})
		all.Wait()
		cancel()
		mustDo(t, r.Close())
	}
}

// TestHostileIndices has a peer that stores an impossible index: ErrCorrupt, for all later calls, too.
func TestHostileIndices(t *testing.T) {
	ctx := soon(t)
	for _, by := range []uint64{4, 4096 + 8, 1 << 40, 1 << 63, 1<<64 - 8} {
		p, c := mustCreate(t, Config{Size: 4096})
		p.theirs.index.Add(by)
		var err error
		for i := 0; err == nil && i < 1000; i++ {
			err = p.Send(ctx, make([]byte, 100))
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("the consumer's index moves by %d: %v", by, err)
		}
		if err := p.Flush(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("and later: %v", err)
		}
		c.mine.index.Store(c.pos)

		p, c = mustCreate(t, Config{Size: 4096})
		c.theirs.index.Add(by)
		for range 2 {
			if _, err := c.Peek(ctx); !errors.Is(err, ErrCorrupt) {
				t.Errorf("the producer's index moves by %d: %v", by, err)
			}
		}
		_ = p
	}
	for _, n := range []uint64{4096, 4089, 93, 1 << 40, 1 << 63, 1<<64 - 1, 1<<64 - 8} {
		p, c := mustCreate(t, Config{Size: 4096})
		mustDo(t, p.Send(ctx, make([]byte, 80)), p.Flush())
		p.lengthAt(0).Store(n)
		if _, err := c.Recv(ctx, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a length of %d: %v", n, err)
		}
	}
}

// FuzzAttach attaches to memory with any contents, and uses both sides.
func FuzzAttach(f *testing.F) {
	good := make([]byte, int(unsafe.Sizeof(header{}))+64)
	(*header)(unsafe.Pointer(&good[0])).begin(guard.PageSize(), Block, 0)
	f.Add(good, uint16(0))
	for i, at := range []uintptr{0, 8, 16, unsafe.Offsetof(header{}.producer), unsafe.Offsetof(header{}.consumer), unsafe.Offsetof(header{}.consumer) + 2*lineSize} {
		bad := append([]byte(nil), good...)
		binary.LittleEndian.PutUint64(bad[at:], 0x8000)
		f.Add(bad, uint16(i*100))
	}
	lagging := append([]byte(nil), good...) // a policy that only readers of a Broadcast have
	(*header)(unsafe.Pointer(&lagging[0])).begin(guard.PageSize(), mayLag, 0)
	f.Add(lagging, uint16(216))
	done, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, contents []byte, script uint16) {
		m, err := shm.Create(shm.Config{Size: MemorySize(1)})
		mustDo(t, err)
		head := copy(m.Bytes()[:headerSize()], contents)
		copy(m.Bytes()[headerSize():], contents[min(head, int(unsafe.Sizeof(header{}))):])
		r, err := Attach(m)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			mustDo(t, m.Close())
			return
		}
		p, err := r.Producer()
		if err != nil && !errors.Is(err, ErrTaken) && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		c, err := r.Consumer()
		if err != nil && !errors.Is(err, ErrTaken) && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		for ; script > 0; script >>= 2 {
			var err error
			switch {
			case script&2 == 0 && p != nil:
				if err = p.Send(done, make([]byte, 100*(script&1))); err == nil {
					err = p.Flush()
				}
			case c != nil:
				var b []byte
				b, err = c.Recv(done, nil)
				sink.Add(sum(b))
			}
			if !expected(err) {
				t.Error(err)
			}
		}
		mustDo(t, r.Close())
	})
}
