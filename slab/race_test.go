package slab

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// planted are races: what one goroutine does comes before what another does, and nothing that the
// detector knows of says so.
var planted = map[string]struct {
	one, other func(x *raced)
	names      [2]string      // of who must be in the report
	before     func(x *raced) // what the other does first of all
}{
	"sizes what another frees": {raceSize, raceFree, [2]string{"raceSize", "raceFree"}, nil},
	"sizes what was freed":     {raceFree, raceSize, [2]string{"raceFree", "raceSize"}, nil},
	"frees what another frees": {raceFree, raceFreeByLocal, [2]string{"raceFree", "raceFreeByLocal"}, nil},
	"frees many of another's":  {raceFreeN, raceSize, [2]string{"raceFreeN", "raceSize"}, nil},
	"writes what another has":  {raceWrite, raceWriteToo, [2]string{"raceWrite", "raceWriteToo"}, nil},
	"writes what it freed":     {raceGetSlot, raceWrite, [2]string{"raceGetSlot", "raceWrite"}, raceFree},
	"frees what it freed":      {raceGetSlot, raceFree, [2]string{"raceGetSlot", "raceFree"}, raceFree},
	"reallocates another's":    {raceSize, raceRealloc, [2]string{"raceSize", "raceRealloc"}, nil},
	"finds what another puts":  {raceDeref, racePut, [2]string{"raceDeref", "racePut"}, nil},
	"names what another puts":  {raceHandleOf, racePut, [2]string{"raceHandleOf", "racePut"}, nil},
	"writes what it put":       {raceGetPlace, raceWriteOrder, [2]string{"raceGetPlace", "raceWriteOrder"}, racePut},
}

// raced is the state that two goroutines share without synchronisation.
type raced struct {
	heap  *Heap
	local *Local // the other's
	b     []byte
	pool  *Pool[order]
	x     *order
	name  Handle[order]
}

func raceSize(x *raced)        { x.heap.Size(x.b) }
func raceFree(x *raced)        { x.heap.Free(x.b) }
func raceFreeByLocal(x *raced) { x.local.Free(x.b) }
func raceFreeN(x *raced)       { x.heap.FreeN([][]byte{x.b}) }
func raceWrite(x *raced)       { x.heap.RaceWrite(x.b[50:]) }
func raceWriteToo(x *raced)    { x.heap.RaceWrite(x.b) }
func raceRealloc(x *raced)     { x.heap.Realloc(x.b, 90) }
func raceDeref(x *raced)       { x.name.Deref(x.pool) }
func raceHandleOf(x *raced)    { HandleOf(x.pool, x.x) }
func racePut(x *raced)         { x.pool.Put(x.x) }
func raceWriteOrder(x *raced)  { x.pool.RaceWrite(x.x) }

// raceGetSlot gets the slot of the object that the other freed, raceGetPlace the place of the object that it
// put.
func raceGetSlot(x *raced) {
	for range sizeclass.MostCached {
		if b := x.heap.Alloc(100, 8); addr(b) == addr(x.b) {
			return
		}
	}
	panic("the slot did not come again")
}

func raceGetPlace(x *raced) {
	for range sizeclass.MostCached {
		if y := x.pool.Get(); y == x.x {
			return
		}
	}
	panic("the slot did not come again")
}

// TestPlantedRaces runs each in a process of its own, which reports it.
func TestPlantedRaces(t *testing.T) {
	const mark = "OFFHEAP_TEST_PLANTED_RACE"
	if name := os.Getenv(mark); name != "" {
		plant(t, name)
		return
	}
	if !race.Enabled {
		t.Skip("this is no build for the race detector (-race)")
	}
	for name, x := range planted {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := exec.Command(os.Args[0], "-test.run=^TestPlantedRaces$")
			c.Env = append(os.Environ(), mark+"="+name)
			out, err := c.CombinedOutput()
			_, report, found := strings.Cut(string(out), "WARNING: DATA RACE\n")
			report, _, _ = strings.Cut(report, "==================")
			// The second goroutine's access comes first in a report, and then the one before.
			latest, former, _ := strings.Cut(report, "Previous ")
			former, _, _ = strings.Cut(former, "created at:")
			if err == nil || !found || !strings.Contains(latest, "slab."+x.names[1]+"()\n") || !strings.Contains(former, "slab."+x.names[0]+"()\n") {
				t.Errorf("no race of %s with %s was reported: %v\n%s", x.names[1], x.names[0], err, out)
			}
		})
	}
}

func openBoth(t *testing.T, c Config) (*Heap, *Pool[order]) {
	h, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := OpenPool[order](c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	})
	return h, p
}

func plant(t *testing.T, name string) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that the slot comes again
	heap, pool := openBoth(t, Config{})
	x := &raced{heap: heap, pool: pool}
	x.local = x.heap.Local()
	x.b = x.heap.Alloc(100, 8)
	x.x = x.pool.Get()
	x.name = HandleOf(x.pool, x.x)
	p := planted[name]
	begun, done := make(chan struct{}), make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		race.Unseen(func() { <-begun })
		p.one(x)
		race.Unseen(func() { close(done) })
	})
	both.Go(func() {
		defer func() { _ = recover() }() // a call that panics is reported all the same
		if p.before != nil {
			p.before(x)
		}
		race.Unseen(func() { close(begun); <-done })
		p.other(x)
	})
	both.Wait()
}

// TestHandOverIsNoRace has goroutines that hand objects on, free objects of others, and write to the objects
// that they get: the race detector must be silent.
func TestHandOverIsNoRace(t *testing.T) {
	for _, c := range []Config{{Name: "heap", Reserve: minReserve}, {Name: "hardened", Reserve: minReserve, Hardened: true}} {
		t.Run(c.Name, func(t *testing.T) {
			h, p := openBoth(t, c)
			const workers = 4
			ways, handles := make(chan []byte, 30), make(chan Handle[order], 30)
			var all sync.WaitGroup
			for range workers {
				all.Go(func() {
					l := h.Local()
					defer l.Close()
					var some [3][]byte
					for i := range rounds(2000) {
						size := 16 << (i % 8)
						b := l.Alloc(size, 8)
						h.RaceWrite(b)
						ways <- h.Realloc(b, size+size/2)
						h.AllocN(some[:], size, 8)
						h.FreeN(some[1:])
						ways <- some[0]
						handles <- HandleOf(p, p.Get())
						for range 2 {
							b := <-ways
							if h.Size(b) < len(b) {
								t.Errorf("%d bytes do not hold %d", h.Size(b), len(b))
							}
							h.RaceWrite(b)
							if i%2 == 0 {
								l.Free(b)
							} else {
								h.Free(b)
							}
						}
						name := <-handles
						x, ok := name.Deref(p)
						if !ok {
							t.Error("a handle is refused")
							continue
						}
						p.RaceWrite(x)
						p.Put(x)
						if _, ok := name.Deref(p); ok {
							t.Error("a stale handle is good")
						}
						if i%500 == 0 {
							if err := h.Purge(); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			all.Wait()
			h.check()
		})
	}
}
