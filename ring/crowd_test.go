package ring

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

func threads(t testing.TB) int { return count(t, "/proc/self/task") }

// TestManyRings has a thousand rings of which each has a goroutine that waits: they hold few OS threads, each gets its message, and
// each wait ends by Close, by the context, and by PeerDied.
func TestManyRings(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		rings := 1000
		if testing.Short() {
			rings = 300
		}
		ctx, cancel := context.WithCancel(soon(t))
		producers, consumers := make([]*Producer, rings), make([]*Consumer, rings)
		before := threads(t)
		for i := range rings {
			r, err := Create(Config{Size: 1})
			if errors.Is(err, guard.ErrNoMemory) {
				t.Skip(err)
			}
			mustDo(t, err)
			defer r.Close()
			producers[i], err = r.Producer()
			mustDo(t, err)
			consumers[i], err = r.Consumer()
			mustDo(t, err)
		}
		var all sync.WaitGroup
		defer all.Wait()
		for i, c := range consumers {
			all.Go(func() {
				for round := range 3 {
					b, err := c.Recv(ctx, nil)
					if err != nil || len(b) != round {
						t.Errorf("ring %d, round %d: %d bytes, %v", i, round, len(b), err)
						return
					}
				}
				want := []error{io.EOF, context.Canceled, ErrPeerDied}[i%3]
				if _, err := c.Recv(ctx, nil); !errors.Is(err, want) {
					t.Errorf("ring %d ends with %v", i, err)
				}
			})
		}
		for round := range 4 {
			for _, c := range consumers {
				for c.Stats().Stalls != uint64(round+1) { // it waits
					mustDo(t, ctx.Err())
					time.Sleep(100 * time.Microsecond)
				}
			}
			// The rest are the keepers, and what the runtime has at its own discretion.
			if n := threads(t) - before; n > ownThreads+rings/crowdSize+30 {
				t.Errorf("round %d: %d goroutines that wait hold %d threads", round, rings, n)
			}
			for i, p := range producers {
				switch {
				case round < 3:
					mustDo(t, p.Send(ctx, make([]byte, round)), p.Flush())
				case i%3 == 0:
					mustDo(t, p.Close())
				case i%3 == 2:
					consumers[i].PeerDied()
				}
			}
		}
		cancel()
	})
}

func init() { children["hold"] = hold }

// hold takes the producers of all rings, closes every third, says so by a message in the first, and waits to be killed.
func hold(rings []*Ring) error {
	all := make([]*Producer, len(rings))
	for i, r := range rings {
		p, err := r.Producer()
		if err != nil {
			return err
		}
		all[i] = p
	}
	for i := range all {
		if i%3 == 1 {
			if err := rings[i].Close(); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(all[0].Send(context.Background(), []byte("ready")), all[0].Flush()); err != nil {
		return err
	}
	select {}
}

// TestKilledWithManyRings kills a process that has a side of many rings: each other side is told, also of those that wait.
func TestKilledWithManyRings(t *testing.T) {
	rings, consumers := make([]*Ring, 100), make([]*Consumer, 100)
	for i := range rings {
		r, err := Create(Config{Size: 1})
		mustDo(t, err)
		defer r.Close()
		rings[i] = r
		consumers[i], err = r.Consumer()
		mustDo(t, err)
	}
	cmd := start(t, "hold", rings...)
	ctx := soon(t)
	_, err := consumers[0].Recv(ctx, nil)
	mustDo(t, err)
	var all sync.WaitGroup
	for i, c := range consumers {
		all.Go(func() {
			want := ErrPeerDied
			if i%3 == 1 {
				want = io.EOF
			}
			if _, err := c.Recv(ctx, nil); !errors.Is(err, want) {
				t.Errorf("ring %d: %v", i, err)
			}
		})
	}
	for i, c := range consumers {
		for i%3 != 1 && c.Stats().Parks == 0 {
			mustDo(t, ctx.Err())
			time.Sleep(100 * time.Microsecond)
		}
	}
	mustDo(t, cmd.Process.Kill())
	all.Wait()
}
