package guard

import (
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// TestHammerFaults makes goroutines touch inaccessible memory while the collector runs again and again. Every touch
// comes back, with the right address and kind, also where faults outside Catch are reported. The environment
// variable OFFHEAP_FAULTS sets their number.
func TestHammerFaults(t *testing.T) {
	hammerFaults(t)
	if err := ReportFaults(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	hammerFaults(t)
}

func hammerFaults(t *testing.T) {
	total := 20_000
	if testing.Short() {
		total = 2_000
	}
	if s := os.Getenv("OFFHEAP_FAULTS"); s != "" {
		var err error
		if total, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	const goroutines = 32
	page := PageSize()
	r := mustReserve(t, Config{Name: "hammered", Size: 64 * page})
	shut := mustReserve(t, Config{Name: "shut", Size: 64 * page})
	err := r.Commit(0, 48*page) // the rest is not committed
	for i := 0; i < 48 && err == nil; i += 3 {
		if err = r.Guard(i*page, page); err == nil {
			err = r.Protect((i+1)*page, page, []Prot{None, Read}[i%2])
		}
	}
	if err == nil {
		err = shut.Commit(0, shut.Size())
	}
	if err == nil {
		err = shut.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	// A touch that must fault, and the fault that must come back.
	draw := func(random *rand.Rand) (in *Region, off int, kind Kind) {
		switch i := 3 * random.IntN(16); random.IntN(6) {
		case 0:
			return r, i*page + random.IntN(page), Guarded
		case 1:
			return r, (i+1)*page + random.IntN(page), Protected
		case 2:
			return r, 48*page + random.IntN(16*page), Decommitted
		case 3:
			return r, 64*page + random.IntN(region.GuardSize), Overflow
		case 4:
			return r, -1 - random.IntN(region.GuardSize), Underflow
		}
		return shut, random.IntN(64 * page), UseAfterClose
	}

	var caught, collections atomic.Int64
	stop := make(chan struct{})
	var collector, all sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
				collections.Add(1)
			}
		}
	})
	start := time.Now()
	for g := range goroutines {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 7))
			for i := g; i < total; i += goroutines {
				in, off, kind := draw(random)
				f := poke(in, off)
				if f == nil || f.Kind != kind || f.Offset != off || f.Addr != uintptr(in.Base())+uintptr(off) || f.Region != in.Name() {
					t.Errorf("touch %d: got %v, want %v in %q at offset %d", i, f, kind, in.Name(), off)
					return
				}
				if f := poke(r, (3*random.IntN(16)+2)*page+g); f != nil {
					t.Errorf("touch %d: what is usable faults: %v", i, f)
					return
				}
				caught.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	close(stop)
	collector.Wait()
	if n := int(caught.Load()); n != total {
		t.Errorf("%d faults were caught of %d", n, total)
	}
	t.Logf("%d faults on %d goroutines beside %d collections in %v: %v each", caught.Load(), goroutines, collections.Load(), took.Round(time.Millisecond), (took / time.Duration(max(total, 1))).Round(10*time.Nanosecond))
}
