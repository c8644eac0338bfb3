package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
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

// TestHostileLag has a Broadcast that stores how many messages a reader has missed: as many as fit into the bytes that it has missed,
// or more.
func TestHostileLag(t *testing.T) {
	for _, row := range []struct {
		sent    uint64
		corrupt bool
	}{{0, false}, {100, false}, {101, true}, {1<<64 - 1, true}} {
		c := readers(t, mustBroadcast(t, Config{Size: 4096, Full: DropOldest}), 1)[0]
		lag := &c.ring.head.lag
		lag.before.Store(row.sent)
		lag.after.Store(row.sent)
		lag.dirty.Store(c.pos + 4096 + 8)
		c.theirs.index.Add(100 * frame)
		_, err := c.Recv(soon(t), nil)
		var l *ErrLagged
		if row.corrupt != errors.Is(err, ErrCorrupt) || !row.corrupt && (!errors.As(err, &l) || l.Missed != row.sent) {
			t.Errorf("%d messages in %d bytes: %v", row.sent, 100*frame, err)
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

// TestHostileCrowd has peers that store anything to the words by which sides sleep and are woken, while many sides sleep, so that
// most share threads. Each wait ends with its context at the latest, and the sides whose peers do nothing wrong receive all messages.
func TestHostileCrowd(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		const good, bad = 30, 40
		rounds := 400
		if testing.Short() {
			rounds = 100
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		var all, received sync.WaitGroup
		var crowded, waits atomic.Int64

		victims := make([]victim, bad)
		for i := range victims {
			all.Go(func() {
				for ctx.Err() == nil {
					n, err := victims[i].sleep(ctx, i%2 == 0)
					waits.Add(int64(n))
					if err != nil {
						t.Errorf("victim %d: %v", i, err)
						return
					}
				}
			})
		}
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, 2))
			for ctx.Err() == nil {
				victims[random.IntN(bad)].scribble(random)
				if random.IntN(4) == 0 {
					time.Sleep(10 * time.Microsecond)
				}
			}
		})

		var producers, consumers = make([]*Producer, good), make([]*Consumer, good)
		for i := range good {
			producers[i], consumers[i] = mustCreate(t, Config{Size: 1})
			received.Go(func() {
				var b []byte
				var err error
				for round := range rounds {
					if b, err = consumers[i].Recv(ctx, b[:0]); err != nil || len(b) != round {
						t.Errorf("ring %d, round %d: %d bytes, %v", i, round, len(b), err)
						return
					}
				}
				if consumers[i].woken != nil {
					crowded.Add(1)
				}
			})
		}
		for round := 0; round < rounds && ctx.Err() == nil; round++ {
			for _, c := range consumers {
				for c.Stats().Stalls != uint64(round+1) && ctx.Err() == nil { // it does not wait for this message yet
					time.Sleep(10 * time.Microsecond)
				}
			}
			for _, p := range producers {
				if err := errors.Join(p.Send(ctx, make([]byte, round)), p.Flush()); err != nil {
					t.Error(err)
				}
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			received.Wait()
			cancel()
			all.Wait()
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			panic("a call goes on after its context")
		}
		if crowded.Load() < good/2 || waits.Load() < bad {
			t.Errorf("%d of %d sides were in a crowd, and the victims have waited %d times", crowded.Load(), good, waits.Load())
		}
	})
}

// victim has a ring of which one side waits, and the other is hostile.
type victim struct {
	mu   sync.Mutex // held by whoever stores to the header, or unmaps it
	head *header    // nil if there is none
}

// scribble stores something to a word of the header, and may wake those who wait at it.
func (v *victim) scribble(random *rand.Rand) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.head == nil {
		return
	}
	half := []*half{&v.head.producer, &v.head.consumer}[random.IntN(2)]
	if random.IntN(20) == 0 { // a wrong index ends the side for good
		half.index.Add(random.Uint64() >> random.IntN(64) &^ 7)
		return
	}
	word := []*atomic.Uint32{&half.asleep, &half.life, &half.processor}[random.IntN(3)]
	word.Store([]uint32{0, 1, 2, math.MaxUint32, vm.WordWatched, vm.WordDied, word.Load() + 1, random.Uint32()}[random.IntN(8)])
	if random.IntN(2) == 0 {
		vm.Wake(word, 1+random.IntN(2), false)
	}
}

// sleep waits with one side of a new ring, again and again, until a wait ends for another reason than its context. It returns how
// often it has waited.
func (v *victim) sleep(ctx context.Context, sends bool) (waits int, err error) {
	r, err := Create(Config{Size: 1})
	if err != nil {
		return 0, err
	}
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.head = nil
		err = errors.Join(err, r.Close())
	}()
	p, err := r.Producer()
	if err != nil {
		return 0, err
	}
	c, err := r.Consumer()
	if err != nil {
		return 0, err
	}
	v.mu.Lock()
	v.head = r.head
	v.mu.Unlock()
	for err == nil || errors.Is(err, context.DeadlineExceeded) {
		if ctx.Err() != nil {
			return waits, nil
		}
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		if sends {
			err = p.Send(short, make([]byte, 1000))
		} else {
			_, err = c.Recv(short, nil)
		}
		cancel()
		waits++
	}
	if !expected(err) {
		return waits, err
	}
	return waits, nil
}
