package percpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counter is a cache that counts how often it was used.
type counter struct {
	_ [Alone]byte
	Mutex
	n int
	_ [Alone]byte
}

func newCounter() *counter { return new(counter) }

// use counts once on the processor, and reports whether there was a cache.
func use(t *Table[counter]) bool {
	c := PinNew(t, newCounter)
	if c != nil {
		c.n++
	}
	Unpin(c)
	return c != nil
}

// sum drains the table and adds up what the caches counted.
func sum(table *Table[counter]) (n int) {
	Drain(func(c *counter) { n += c.n }, table)
	return n
}

func length(table *Table[counter]) (n int) {
	for range table.All() {
		n++
	}
	return n
}

func TestPin(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var table Table[counter]
	c := Pin(&table)
	Unpin(c)
	if c != nil {
		t.Error("Pin makes a cache")
	}
	for range 10 {
		if !use(&table) {
			t.Error("PinNew makes no cache")
		}
	}
	c = Pin(&table)
	n := c.n
	Unpin(c)
	if n != 10 || length(&table) != 1 {
		t.Errorf("%d uses were counted in %d caches", n, length(&table))
	}
	if n := sum(&table); n != 10 || length(&table) != 0 {
		t.Errorf("Drain saw %d uses and left %d caches", n, length(&table))
	}
	if use(&table); sum(&table) != 1 {
		t.Error("after Drain the processor has no cache")
	}
}

// TestClose uses a table after Close: no processor has a cache.
func TestClose(t *testing.T) {
	var one, other, open Table[counter]
	for range 10 {
		use(&one)
		use(&other)
		use(&open)
	}
	n := 0
	Close(func(c *counter) { n += c.n }, &one, &other)
	if n != 20 {
		t.Errorf("Close saw %d uses of 20", n)
	}
	if use(&one) || use(&other) || one.HereNew(newCounter) != nil {
		t.Error("there is a cache after Close")
	}
	if !use(&open) {
		t.Error("Close of two tables closed a third")
	}
	Close(func(*counter) { t.Error("a second Close sees caches") }, &one)
}

// TestMax looks at processors beyond those that can have a cache.
func TestMax(t *testing.T) {
	var table Table[counter]
	first, last := newCounter(), newCounter()
	if table.Set(0, first) != nil || table.Set(Max-1, last) != nil {
		t.Error("Set returns what was not there")
	}
	for processor, want := range map[int]*counter{0: first, 1: nil, Max - 1: last, Max: nil, Max + 1: nil, 1 << 30: nil} {
		if got := table.of(processor).Load(); got != want {
			t.Errorf("processor %d has %p, want %p", processor, got, want)
		}
	}
	if table.At(0) != first || table.At(1) != nil || table.At(Max-1) != last {
		t.Error("At returns another cache")
	}
	defer func() {
		if recover() == nil {
			t.Error("Set gives the processor Max a cache")
		}
	}()
	table.Set(Max, first)
}

// TestLaterProcessors uses a table on processors that come after its first use: each gets a cache. When they
// have gone, Drain reaches what is in their caches.
func TestLaterProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	var table Table[counter]
	use(&table)
	many := runtime.NumCPU() + 30
	runtime.GOMAXPROCS(many)
	seen, served := make([]atomic.Int64, many), make([]atomic.Int64, many)
	used := atomic.Int64{}
	used.Store(1)
	var all sync.WaitGroup
	begin := time.Now()
	for range many {
		all.Go(func() {
			for time.Since(begin) < 300*time.Millisecond { // long enough that each processor has its turn
				if use(&table) {
					used.Add(1)
				}
				c := Pin(&table)
				Unpin(c)
				processor := procPin()
				procUnpin()
				seen[processor].Add(1)
				if c != nil {
					served[processor].Add(1)
				}
			}
		})
	}
	all.Wait()
	later, caches := 0, 0
	for processor := runtime.NumCPU(); processor < many; processor++ {
		if seen[processor].Load() >= 20 {
			later++
			if served[processor].Load() > 0 {
				caches++
			}
		}
	}
	t.Logf("%d of %d later processors have a cache", caches, later)
	if later == 0 {
		t.Skip("no later processor was used")
	}
	if caches < later {
		t.Errorf("%d of %d later processors never have a cache", later-caches, later)
	}
	runtime.GOMAXPROCS(2)
	if n := sum(&table); n != int(used.Load()) {
		t.Errorf("Drain saw %d uses of %d", n, used.Load())
	}
}

// TestHammerDrain drains two tables while goroutines use them: every use is seen once.
func TestHammerDrain(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	var one, other Table[counter]
	rounds := 200_000
	if testing.Short() {
		rounds = 20_000
	}
	var used, drained atomic.Int64
	var users, drainers sync.WaitGroup
	done := make(chan struct{})
	for range 8 {
		users.Go(func() {
			n := 0
			for range rounds {
				if use(&one) {
					n++
				}
				if use(&other) {
					n++
				}
			}
			used.Add(int64(n))
		})
	}
	drain := func() {
		n := 0
		Drain(func(c *counter) {
			n += c.n
			c.n = 0 // so that a use that comes too late is lost, and a second visit adds nothing
		}, &one, &other)
		drained.Add(int64(n))
	}
	for range 2 {
		drainers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					drain()
					runtime.Gosched()
				}
			}
		})
	}
	users.Wait()
	close(done)
	drainers.Wait()
	drain()
	if used.Load() != drained.Load() || used.Load() == 0 {
		t.Errorf("%d uses, %d of them drained", used.Load(), drained.Load())
	}
}

// TestHammerClose closes tables that are used and drained: when Close returns no pinned section has a
// cache.
func TestHammerClose(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for range rounds {
		var table Table[counter]
		var closed atomic.Bool
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				for range 2000 {
					c := PinNew(&table, newCounter)
					late := c != nil && closed.Load()
					for i := 0; c != nil && i < 50; i++ {
						c.n++
						late = late || closed.Load()
					}
					Unpin(c)
					if late {
						t.Error("a pinned section has a cache after Close")
						return
					}
				}
			})
		}
		all.Go(func() {
			for !closed.Load() {
				Drain(func(*counter) {}, &table)
			}
		})
		time.Sleep(time.Millisecond)
		Close(func(*counter) {}, &table)
		closed.Store(true)
		all.Wait()
	}
}

func BenchmarkPin(b *testing.B) {
	var table Table[counter]
	use(&table)
	for b.Loop() {
		c := Pin(&table)
		if c != nil {
			c.n++
		}
		Unpin(c)
	}
}

// TestBorrow takes the processor's cache out while another goroutine makes a new one, and while the table is closed.
func TestBorrow(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var table Table[counter]
	Borrow(&table, func(*counter) { t.Error("there is no cache") })
	use(&table)
	first := Pin(&table)
	Unpin(first)
	borrowed := 0
	Borrow(&table, func(c *counter) {
		borrowed++
		if c != first {
			t.Error("another cache")
		}
		if now := Pin(&table); now != nil {
			t.Error("the cache is still there")
			Unpin(now)
		} else {
			Unpin(now)
		}
	})
	if c := Pin(&table); c != first {
		t.Error("the cache did not come back")
	} else {
		Unpin(c)
	}
	var second *counter
	Borrow(&table, func(*counter) {
		borrowed++
		use(&table)
		second = Pin(&table)
		Unpin(second)
	})
	if c := Pin(&table); c != second || c == first {
		t.Error("the new cache did not stay")
	} else {
		Unpin(c)
	}
	Borrow(&table, func(*counter) {
		borrowed++
		Close(func(*counter) {}, &table)
	})
	if c := Pin(&table); c != nil {
		t.Error("a closed table has a cache")
	} else {
		Unpin(c)
	}
	if borrowed != 3 {
		t.Errorf("borrowed %d times", borrowed)
	}
}
