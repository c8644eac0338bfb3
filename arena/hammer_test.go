package arena

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// rounds returns how many rounds a hammer test makes: a tenth with -short.
func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// collecting runs the garbage collector over and over until the test ends.
func collecting(t *testing.T) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	t.Cleanup(func() {
		stop.Store(true)
		wg.Wait()
	})
}

// pieces fills an arena with objects of odd sizes. It checks that they are zero at first and later contain the bytes
// that were written last.
type pieces struct {
	t    *testing.T
	seed byte
	all  [][]byte
}

func (p *pieces) add(b []byte) {
	for _, x := range b {
		if x != 0 {
			p.t.Error("memory that was handed out is not zero")
			break
		}
	}
	for i := range b {
		b[i] = p.seed + byte(len(p.all)+i) | 1
	}
	p.all = append(p.all, b)
}

func (p *pieces) verify() {
	for n, b := range p.all {
		for i, x := range b {
			if x != p.seed+byte(n+i)|1 {
				p.t.Errorf("byte %d of piece %d was written over", i, n)
				return
			}
		}
	}
}

func TestHammerPool(t *testing.T) {
	p := pooled(t, Config{Retain: 64 << 10})
	collecting(t)
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range rounds(400) {
				a, err := p.TryGet()
				if err != nil {
					t.Error(err)
					return
				}
				w := pieces{t: t, seed: byte(g * 40)}
				called := false
				a.OnReset(func() { w.verify(); called = true })
				for range r.IntN(60) {
					w.add(a.Alloc(r.IntN(1<<r.IntN(13)), 8))
					if r.IntN(10) == 0 {
						runtime.Gosched()
					}
				}
				p.Put(a)
				if !called {
					t.Error("Put did not run the callback")
				}
				if r.IntN(50) == 0 {
					if err := p.Purge(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Open != s.Idle || s.Open > 7 {
		t.Errorf("six goroutines: %+v", s)
	}
}

func TestHammerConcurrent(t *testing.T) {
	k := concurrent(t, Config{})
	collecting(t)
	for range 3 {
		var wg sync.WaitGroup
		var sum atomic.Int64
		for g := range 6 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 2))
				w := pieces{t: t, seed: byte(g * 40)}
				for range rounds(4000) {
					switch r.IntN(20) {
					case 0:
						w.add(MakeSliceIn[byte](k, 40000, 40000))
					case 1:
						w.add(k.Alloc(r.IntN(300), 1<<r.IntN(13)))
					default:
						w.add(NewIn[[24]byte](k)[:])
					}
					sum.Add(int64(len(w.all[len(w.all)-1])))
				}
				w.verify()
			})
		}
		wg.Wait()
		if s := k.Stats(); s.Live < sum.Load() || s.Committed < s.Live {
			t.Errorf("%d bytes in use: %+v", sum.Load(), s)
		}
		k.Reset()
	}
}

// TestHammerConcurrentFull fills an arena from many goroutines. Together they get no more than its limit.
func TestHammerConcurrentFull(t *testing.T) {
	const limit = 8 << 20
	k := concurrent(t, Config{Limit: limit})
	for range 5 {
		var wg sync.WaitGroup
		var sum atomic.Int64
		for range 4 {
			wg.Go(func() {
				w := pieces{t: t}
				for i := 0; ; i++ {
					b, err := k.TryAlloc(100+i%5000, 8)
					if err != nil {
						if !errors.Is(err, guard.ErrNoMemory) {
							t.Error(err)
						}
						break
					}
					w.add(b)
					sum.Add(int64(len(b)))
				}
				w.verify()
			})
		}
		wg.Wait()
		if n := sum.Load(); n > limit || n < limit/2 {
			t.Errorf("%d bytes handed out, the limit is %d", n, limit)
		}
		k.Reset()
	}
}

// TestHammerBudget lets many arenas of all kinds compete for one budget.
func TestHammerBudget(t *testing.T) {
	nothingLeft(t)
	before := guard.Usage().Committed
	const room = 16 << 20
	p, err := OpenPool(Config{Name: "pool"})
	if err != nil {
		t.Fatal(err)
	}
	k, err := OpenConcurrent(Config{Name: "concurrent"})
	if err != nil {
		t.Fatal(err)
	}
	var low atomic.Int64
	if _, err := guard.SetBudget(guard.Budget{Soft: before + room/2, Hard: before + room, OnSoft: func(committed int64) {
		low.Add(1)
		// The account itself: a sum over regions that come and go meanwhile would be of no moment.
		if committed > before+room {
			t.Errorf("%d bytes committed, the hard budget is %d", committed, before+room)
		}
		if err := p.Purge(); err != nil {
			t.Error(err)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	defer guard.SetBudget(guard.Budget{})
	var refused atomic.Int64
	noted := func(err error) {
		refused.Add(1)
		if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "hard budget") {
			t.Errorf("an error that is not about the budget: %v", err)
		}
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 3))
			for range rounds(60) {
				if b, err := k.TryAlloc(r.IntN(10<<10), 8); err != nil {
					noted(err)
				} else {
					w := pieces{t: t}
					w.add(b)
					w.verify()
				}
				a, err := p.TryGet()
				if err != nil {
					t.Error(err)
					return
				}
				w := pieces{t: t, seed: byte(g * 40)}
				for range r.IntN(40) {
					b, err := a.TryAlloc(r.IntN(256<<10), 8)
					if err != nil {
						noted(err)
						continue
					}
					w.add(b)
				}
				w.verify()
				p.Put(a)
			}
		})
	}
	wg.Wait()
	if !testing.Short() && (refused.Load() == 0 || low.Load() == 0) {
		t.Errorf("%d allocations were refused and the soft limit was met %d times: the test is too tame", refused.Load(), low.Load())
	}
	if err := errors.Join(p.Close(), k.Close()); err != nil {
		t.Error(err)
	}
	if c := guard.Usage().Committed; c != before {
		t.Errorf("%d bytes committed before, %d after", before, c)
	}
}
