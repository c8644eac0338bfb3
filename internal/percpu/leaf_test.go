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

// at is a leaf that returns its cache, which only tests may do: the pin holds longer.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func at(t *Table[counter]) *counter {
	processor, ok := Processor()
	if !ok {
		return nil
	}
	return t.At(processor)
}

// count is a leaf that counts once on the processor, and reports whether there was a cache. It takes long, so
// that whoever interrupts it does so between the load and the store.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func count(t *Table[counter], steps int) bool {
	processor, ok := Processor()
	if !ok {
		return false
	}
	c := t.At(processor)
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
	if untrusted && !fuzzing(os.Args) && inlines() {
		t.Error("the p is not where it should be in an m")
	}
	if !untrusted && !inlines() {
		t.Error("leaves call their helpers")
	}
	for good := range 5 {
		asked := 0
		if got := verified(func() bool { asked++; return asked <= good }); got != (good >= 3) {
			t.Errorf("verified after %d good answers: %v", good, got)
		}
	}
}

// TestIsP shows words to isP that are not the pointer to the p.
func TestIsP(t *testing.T) {
	m, other := new(mHead), new(mHead)
	p := &pHead{id: 7, m: uintptr(unsafe.Pointer(m))}
	small, odd := uintptr(8), uintptr(unsafe.Pointer(p))+1
	for _, c := range []struct {
		name      string
		word      unsafe.Pointer
		processor int
		m         *mHead
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
}

// TestUntrusted has Processor mistrust the runtime.
func TestUntrusted(t *testing.T) {
	defer func(was bool) { untrusted = was }(untrusted)
	var table Table[counter]
	for processor := range Max {
		table.Set(processor, newCounter())
	}
	untrusted = true
	for range 1000 {
		if at(&table) != nil {
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

// TestLeafIsPin compares the caches that a leaf and Pin find, on all processors, while their number changes, in
// goroutines that have threads of their own, which end with them.
func TestLeafIsPin(t *testing.T) {
	if untrusted {
		t.Skip("leaves do nothing in this program")
	}
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
						a, b := at(&table), table.of(processor).Load()
						procUnpin()
						if a != b {
							t.Errorf("processor %d has the cache %p, and a leaf finds %p", processor, b, a)
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

// TestHammerLeaves counts in leaves on 64 goroutines, some with threads that end, while the garbage is
// collected, the number of processors changes, and two goroutines drain the table: every use is seen once.
//
// Without go:nosplit at count it fails: of 400,000 uses in two seconds 50 to 100 are lost, or a goroutine
// that was interrupted finds its thread without a processor and reads through nil. (Tried by hand; in half a
// second some three of four runs fail.)
func TestHammerLeaves(t *testing.T) {
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

func BenchmarkLeaf(b *testing.B) {
	var table Table[counter]
	use(&table)
	for b.Loop() {
		if !count(&table, 0) {
			use(&table)
		}
	}
}
