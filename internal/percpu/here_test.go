//go:build gc && !race && !msan && !asan && !offheap_pin && !go1.28 && (linux || darwin || freebsd || netbsd || openbsd) && (386 || amd64 || arm64)

package percpu

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// here is a leaf that returns its cache, which only tests may do: the pin holds longer.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func here(t *Table[counter]) *counter { return Here(t) }

// count is a leaf that counts once on the processor, and reports whether there was a cache. It takes long, so
// that whoever interrupts it does so between the load and the store.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func count(t *Table[counter], steps int) bool {
	c := Here(t)
	if c == nil {
		return false
	}
	n := c.n
	for ; steps > 0; steps-- {
		n ^= steps
		n ^= steps
	}
	c.n = n + 1
	return true
}

// TestVerified finds that the runtime is the one that mHead describes.
func TestVerified(t *testing.T) {
	if fuzzing(os.Args) {
		t.Skip("fuzzing, Here is not trusted")
	}
	if offset == 0 || limit != Max {
		t.Fatalf("the p is not where it should be in an m: offset %d, limit %d", offset, limit)
	}
	asked := 0
	for good := range 5 {
		asked = 0
		offset, limit := verified(40, func(offset uintptr) bool {
			asked++
			return offset == 40 && asked <= good
		})
		if want := good >= 3; (offset == 40) != want || (offset == 0) == want || (limit == Max) != want || (limit == 0) == want {
			t.Errorf("after %d good answers the offset is %d and the limit %d", good, offset, limit)
		}
	}
	asked = 0
	if offset, limit := verified(mOffset("plan9"), func(uintptr) bool { asked++; return true }); offset != 0 || limit != 0 || asked != 0 {
		t.Errorf("on an unknown system the offset is %d and the limit %d", offset, limit)
	}
}

// TestIsP shows words to isP that are not the pointer to the p.
func TestIsP(t *testing.T) {
	m, other := new(mHead[uint32]), new(mHead[uint32])
	p := &pHead{id: 7, m: uintptr(unsafe.Pointer(m))}
	small, odd := uintptr(8), uintptr(unsafe.Pointer(p))+1
	for _, c := range []struct {
		name      string
		word      unsafe.Pointer
		processor int
		m         *mHead[uint32]
		want      bool
	}{
		{"the p", unsafe.Pointer(&p), 7, m, true},
		{"another processor", unsafe.Pointer(&p), 8, m, false},
		{"another m", unsafe.Pointer(&p), 7, other, false},
		{"nil", unsafe.Pointer(new(uintptr)), 7, m, false},
		{"a small number", unsafe.Pointer(&small), 7, m, false},
		{"an odd number", unsafe.Pointer(&odd), 7, m, false},
	} {
		if got := isP(c.word, c.processor, unsafe.Pointer(c.m)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if leadsToP(0) {
		t.Error("the first word of m leads to a p")
	}
}

// TestNotTrusted has Here mistrust the runtime: no processor has a cache.
func TestNotTrusted(t *testing.T) {
	defer func(o uintptr, l uint32) { offset, limit = o, l }(offset, limit)
	var table Table[counter]
	for processor := range Max {
		table.Set(processor, newCounter())
	}
	offset, limit = verified(offset, func(uintptr) bool { return false })
	for range 1000 {
		if here(&table) != nil {
			t.Fatal("there is a cache")
		}
		runtime.Gosched()
	}
}

// TestFuzzing reads the arguments of test programs.
func TestFuzzing(t *testing.T) {
	for _, c := range []struct {
		want bool
		args []string
	}{
		{false, nil},
		{false, []string{"slab.test", "-test.fuzztime=10s", "-test.run=^$", "test"}},
		{true, []string{"slab.test", "-test.run=^$", "-test.fuzz=FuzzHeap"}},
		{true, []string{"slab.test", "--test.fuzz", "FuzzHeap"}},
		{true, []string{"slab.test", "-test.fuzzworker"}},
	} {
		if fuzzing(c.args) != c.want {
			t.Errorf("%q: %v", c.args, !c.want)
		}
	}
}

// TestHereIsPin compares the caches that Here and Pin lead to, on all processors, while their number changes,
// in goroutines that have threads of their own, which end with them.
func TestHereIsPin(t *testing.T) {
	const most = 12
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(most))
	var table Table[counter]
	var seen [most]atomic.Int64
	end := time.Now().Add(300 * time.Millisecond)
	var all sync.WaitGroup
	for i := range 3 * most {
		all.Go(func() {
			for time.Now().Before(end) {
				var one sync.WaitGroup
				one.Go(func() {
					if i%2 == 0 {
						runtime.LockOSThread() // and never unlocks it: the thread ends
					}
					for range 100 {
						processor := procPin()
						a, b := here(&table), table.of(processor).Load()
						procUnpin()
						if a != b {
							t.Errorf("processor %d has the cache %p, and Here returns %p", processor, b, a)
							return
						}
						if a != nil {
							seen[processor].Add(1)
						}
						use(&table)
					}
				})
				one.Wait()
			}
		})
	}
	for n := 1; time.Now().Before(end); n = n%most + 1 {
		time.Sleep(5 * time.Millisecond)
		runtime.GOMAXPROCS(n)
	}
	all.Wait()
	processors := 0
	for i := range seen {
		if seen[i].Load() > 0 {
			processors++
		}
	}
	t.Logf("%d processors were compared", processors)
	if processors < 2 {
		t.Skip("one processor did it all")
	}
}

// TestHammerHere counts in leaves on 64 goroutines, some with threads that end, while the garbage is
// collected, the number of processors changes, and two goroutines drain the table: every use is seen once.
//
// Without go:nosplit at count it fails: of 400,000 uses in two seconds 50 to 100 are lost, or a goroutine
// that was interrupted finds its thread without a processor and reads through nil. (Tried by hand; in half a
// second some three of four runs fail.)
func TestHammerHere(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	var table Table[counter]
	var used, drained atomic.Int64
	length := 2 * time.Second
	if testing.Short() {
		length = 500 * time.Millisecond
	}
	end := time.Now().Add(length)
	var users, others sync.WaitGroup
	round := func() {
		n := 0
		for range 50 {
			if count(&table, 5000) {
				n++
			} else if use(&table) {
				n++
			}
		}
		used.Add(int64(n))
	}
	for i := range 64 {
		users.Go(func() {
			for time.Now().Before(end) {
				if i%4 != 0 {
					round()
					continue
				}
				var one sync.WaitGroup
				one.Go(func() {
					runtime.LockOSThread() // and never unlocks it: the thread ends
					round()
				})
				one.Wait()
			}
		})
	}
	drain := func() {
		Drain(func(c *counter) {
			drained.Add(int64(c.n))
			c.n = -1 << 30 // whoever counts here yet is found out
		}, &table)
	}
	until := func(f func()) {
		others.Go(func() {
			for time.Now().Before(end) {
				f()
			}
		})
	}
	until(func() { runtime.GC(); time.Sleep(100 * time.Microsecond) })
	until(func() { drain(); time.Sleep(time.Millisecond) })
	until(func() { drain(); time.Sleep(3 * time.Millisecond) })
	n := 1
	until(func() { runtime.GOMAXPROCS(n%12 + 1); n += 5; time.Sleep(time.Millisecond) })
	users.Wait()
	others.Wait()
	drain()
	t.Logf("%d uses", used.Load())
	if used.Load() != drained.Load() || used.Load() == 0 {
		t.Errorf("%d uses, %d of them drained", used.Load(), drained.Load())
	}
}

func BenchmarkHere(b *testing.B) {
	var table Table[counter]
	use(&table)
	for b.Loop() {
		if !count(&table, 0) {
			use(&table)
		}
	}
}
