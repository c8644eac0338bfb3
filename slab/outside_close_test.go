package slab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/race"
)

// TestOutsideCloseUnderLoad closes heaps, hardened ones and pools, while 8 goroutines use them and their
// Locals: each of them ends with a violation, or a fault, that names the heap. It runs in a process of
// its own, because what went wrong would end it.
func TestOutsideCloseUnderLoad(t *testing.T) {
	const mark = "OFFHEAP_TEST_CLOSE_UNDER_LOAD"
	if mode := os.Getenv(mark); mode != "" {
		closeUnderLoad(t, mode)
		return
	}
	for _, mode := range []string{"heap", "hardened", "pool", "hardened pool", "sampled heap", "sampled pool"} {
		t.Run(mode, func(t *testing.T) {
			c := exec.Command(os.Args[0], "-test.run=^TestOutsideCloseUnderLoad$", "-test.timeout="+patience.String())
			c.Env = append(os.Environ(), mark+"="+mode)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%.3000s", err, out)
			}
		})
	}
}

type closable [200]byte

func closeUnderLoad(t *testing.T, mode string) {
	rounds := 200
	if race.Enabled || testing.Short() {
		rounds = 40
	}
	kind := guard.UseAfterClose
	if strings.Contains(mode, "sampled") {
		SetSampling(Sampling{Every: 20})
		kind = guard.UseAfterFree // or the object was not sampled
	}
	var violations, faults atomic.Int64
	for round := range rounds {
		c := Config{Name: fmt.Sprintf("%s %d", mode, round), Reserve: 64 << 20, Hardened: strings.Contains(mode, "hardened")}
		var uses []func(i int)
		var closer func() error
		if strings.Contains(mode, "pool") {
			p, err := OpenPool[closable](c)
			if err != nil {
				t.Fatal(err)
			}
			uses, closer = poolUses(p), p.Close
		} else {
			h, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			uses, closer = heapUses(h), h.Close
		}
		const goroutines = 8
		var ended sync.WaitGroup
		var running atomic.Int64
		for g := range goroutines {
			use := uses[(round+g)%len(uses)]
			ended.Go(func() {
				defer func() {
					v := recover()
					var bad *guard.Violation
					if err, _ := v.(error); !errors.As(err, &bad) || bad.Kind != guard.UseAfterClose || bad.Region != c.Name {
						t.Errorf("%s: panic: %v", c.Name, v)
					}
					violations.Add(1)
				}()
				running.Add(1)
				for i := 0; ; i++ {
					if i%4 == 0 {
						runtime.Gosched() // there are more goroutines than processors
					}
					err := guard.Catch(func() { use(i) })
					if err == nil {
						continue
					}
					var fault *guard.Fault
					if !errors.As(err, &fault) || fault.Kind != guard.UseAfterClose && fault.Kind != kind || !strings.HasPrefix(fault.Region, c.Name) || strings.Contains(fault.Region, "metadata") {
						t.Errorf("%s: %v", c.Name, err)
						panic(err)
					}
					faults.Add(1)
				}
			})
		}
		for running.Load() < goroutines {
			runtime.Gosched()
		}
		time.Sleep(time.Duration(round%20) * 50 * time.Microsecond)
		if err := closer(); err != nil {
			t.Error(err)
		}
		ended.Wait()
		if t.Failed() {
			return
		}
	}
	t.Logf("%d goroutines ended with a violation, %d faults came before", violations.Load(), faults.Load())
	if u := guard.Usage(); u.Regions > 2 { // those of sampled objects
		for in := range guard.Regions() {
			t.Log(in.Name)
		}
		t.Errorf("%d regions are left", u.Regions)
	}
}

// keep has a goroutine hold some objects, so that not every Free follows its Alloc.
type keep[T any] struct {
	held []T
	free func(T)
}

func (k *keep[T]) add(x T) {
	if k.held = append(k.held, x); len(k.held) == 300 {
		for _, x := range k.held {
			k.free(x)
		}
		k.held = k.held[:0]
	}
}

func sizeFor(i int) int { return []int{10, 100, 1000, 5000, 60_000}[i*7919%5] }

// heapUses returns what goroutines do with a heap, each something else.
func heapUses(h *Heap) []func(int) {
	plain := keep[[]byte]{free: h.Free}
	dirty := keep[[]byte]{free: h.Free}
	tried := keep[[]byte]{free: h.Free}
	l, m := h.Local(), h.Local()
	local := keep[[]byte]{free: l.Free}
	var grown []byte
	return []func(int){
		func(i int) { plain.add(h.Alloc(sizeFor(i), 8)) },
		func(i int) { dirty.add(h.AllocDirty(64, 8)) },
		func(i int) {
			b, err := h.TryAlloc(sizeFor(i), 8)
			if err != nil {
				panic(err)
			}
			tried.add(b)
		},
		func(i int) {
			many := make([][]byte, 50)
			h.AllocN(many, 100, 8)
			h.FreeN(many)
		},
		func(i int) {
			b := grown
			if i%20 == 0 || b == nil {
				b = h.Alloc(10, 8)
			}
			if n := h.Size(b); n < len(b) {
				panic(n)
			}
			grown = h.Realloc(b, min(len(b)*2, 4<<20))
			if len(grown) == 4<<20 {
				h.Free(grown)
				grown = nil
			}
		},
		func(i int) { local.add(l.Alloc(sizeFor(i), 8)) },
		func(i int) { b := m.AllocDirty(48, 8); m.Free(b) },
		func(i int) {
			b := h.Alloc(1<<20+1, 1<<17)
			b[0] = 1
			h.Free(b)
			if i%10 == 0 {
				if err := h.Purge(); err != nil {
					panic(err)
				}
			}
			h.Stats()
		},
	}
}

func poolUses(p *Pool[closable]) []func(int) {
	got := keep[*closable]{free: p.Put}
	tried := keep[*closable]{free: p.Put}
	mine := p.Get()
	handle := HandleOf(p, mine)
	use := []func(int){
		func(i int) { got.add(p.Get()) },
		func(i int) {
			x, err := p.TryGet()
			if err != nil {
				panic(err)
			}
			tried.add(x)
		},
		func(i int) { p.Put(p.Get()) },
		func(i int) {
			if at, ok := handle.Deref(p); !ok || at != mine {
				panic("a handle is refused that is good")
			}
		},
		func(i int) {
			if HandleOf(p, mine) != handle {
				panic("another handle")
			}
		},
		func(i int) {
			for range p.All() {
			}
		},
		func(i int) { p.Len() },
		func(i int) { x := p.Get(); HandleOf(p, x); p.Put(x) },
	}
	return use
}

// TestOutsideCloseInAll closes a pool inside a loop over its objects.
func TestOutsideCloseInAll(t *testing.T) {
	for _, c := range []Config{{}, {Hardened: true}} {
		p, err := OpenPool[closable](c)
		if err != nil {
			t.Fatal(err)
		}
		p.Get()
		p.Get()
		met := 0
		v := violationOf(t, func() {
			for range p.All() {
				met++
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		if met != 1 || v == nil || v.Kind != guard.UseAfterClose || v.Op != "slab.All" {
			t.Errorf("after %d objects: %v", met, v)
		}
	}
}

// TestOutsideBooksReadZero looks at the metadata of a closed heap, as a call that comes late does.
func TestOutsideBooksReadZero(t *testing.T) {
	for _, c := range []Config{{}, {Hardened: true}} {
		h := open(t, c)
		p := openClosable(t, c)
		b, x := h.Alloc(100, 8), p.Get()
		off := address(b) - address(h.region.Bytes())
		_, it, live := h.slots.Live(addr(b))
		generation := p.heap.slots.Generation(uintptr(unsafe.Pointer(x)) - address(p.heap.region.Bytes()))
		if !live || !h.slots.EntryAt(off).InSlab() || *generation == 0 {
			t.Fatal("the test is wrong")
		}
		if err := errors.Join(h.Close(), p.Close()); err != nil {
			t.Fatal(err)
		}
		err := guard.Catch(func() {
			if h.slots.EntryAt(off) != 0 || *h.slots.State(it.State()) != 0 || *generation != 0 || h.slots.Record(0).Free != 0 || h.slots.IsObject(addr(b)) {
				t.Error("metadata of a closed heap is not zero")
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func openClosable(t *testing.T, c Config) *Pool[closable] {
	t.Helper()
	p, err := OpenPool[closable](c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
