package allocbench

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/guard"
)

// Bump has the figures of the bump benchmark for one object size: nanoseconds for an allocation and an
// eight-byte store to it.
type Bump struct {
	Size  int     `json:"size"`        // bytes of the object
	Hot   float64 `json:"hot_ns"`      // 1 MiB that is in the cache, again and again
	Fresh float64 `json:"fresh_ns"`    // 256 MiB never touched before
	Reset float64 `json:"reset_ns"`    // the same 256 MiB, touched and reset
	Huge  float64 `json:"hugepage_ns"` // 256 MiB never touched before, with huge pages
}

const (
	bumpRounds = 5 // of which the median counts
	bumpHot    = 1 << 20
	bumpAllocs = 100_000_000 // in the hot case
	bumpFresh  = 256 << 20
)

type (
	object16 [2]uint64
	object32 [4]uint64
	object64 [8]uint64
)

// bumps are the loops, one for each size: in a generic function New would not be inlined for its type.
var bumps = []struct {
	size int
	fill func(a *arena.Arena, n int)
}{
	{16, func(a *arena.Arena, n int) {
		for i := range n {
			arena.New[object16](a)[0] = uint64(i)
		}
	}},
	{32, func(a *arena.Arena, n int) {
		for i := range n {
			arena.New[object32](a)[0] = uint64(i)
		}
	}},
	{64, func(a *arena.Arena, n int) {
		for i := range n {
			arena.New[object64](a)[0] = uint64(i)
		}
	}},
}

// MeasureBump allocates objects of 16, 32 and 64 bytes in an arena, all zeroed, and writes to each once.
// It calls report for each size as soon as it is measured.
func MeasureBump(progress measure.Progress, report func(Bump)) (err error) {
	defer func() { // New panics where there is no memory
		if p := recover(); p != nil {
			e, ok := p.(error)
			if !ok || !errors.Is(e, guard.ErrNoMemory) {
				panic(p)
			}
			err = e
		}
	}()
	if err := measure.RoomFor(4 * bumpFresh); err != nil {
		return err
	}
	if err := warmUp(2 * bumpFresh); err != nil {
		return err
	}
	for i, b := range bumps {
		var hot, fresh, reset, huge []float64
		for round := range bumpRounds {
			progress("bump", i*bumpRounds+round, len(bumps)*bumpRounds)
			h, err := bumpHotPass(b.size, b.fill)
			if err != nil {
				return err
			}
			f, r, err := bumpFreshPass(b.size, b.fill, false)
			if err != nil {
				return err
			}
			t, _, err := bumpFreshPass(b.size, b.fill, true)
			if err != nil {
				return err
			}
			hot, fresh, reset, huge = append(hot, h), append(fresh, f), append(reset, r), append(huge, t)
		}
		report(Bump{b.size, measure.Median(hot), measure.Median(fresh), measure.Median(reset), measure.Median(huge)})
	}
	return nil
}

// warmUp touches n bytes and gives them back: on a virtual machine the first touch ever may have to
// fetch memory from the host, and the host is not measured.
func warmUp(n int) error {
	r, err := guard.Reserve(guard.Config{Name: "warm-up", Size: n, Prefault: true})
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Commit(0, n)
}

// bumpHotPass fills the same 1 MiB again and again. It returns nanoseconds for an object.
func bumpHotPass(size int, fill func(*arena.Arena, int)) (perObject float64, err error) {
	a, err := arena.Open(arena.Config{Name: "bump", Retain: 2 * bumpHot})
	if err != nil {
		return 0, err
	}
	defer a.Close()
	fill(a, bumpHot/size)
	start, done := time.Now(), 0
	for done < bumpAllocs {
		n := min(bumpHot/size, bumpAllocs-done)
		a.Reset()
		fill(a, n)
		done += n
	}
	return float64(time.Since(start).Nanoseconds()) / float64(done), nil
}

// bumpFreshPass fills 256 MiB of fresh memory, resets the arena and fills it again. It returns
// nanoseconds for an object of each pass.
func bumpFreshPass(size int, fill func(*arena.Arena, int), hugePages bool) (fresh, reset float64, err error) {
	a, err := arena.Open(arena.Config{Name: "bump", Reserve: 2 * bumpFresh, Retain: bumpFresh, HugePages: hugePages})
	if err != nil {
		return 0, 0, err
	}
	defer a.Close()
	n := bumpFresh / size
	pass := func() float64 {
		start := time.Now()
		fill(a, n)
		return float64(time.Since(start).Nanoseconds()) / float64(n)
	}
	fresh = pass()
	a.Reset()
	reset = pass()
	if live := a.Stats().Live; live != int64(n*size) {
		return 0, 0, fmt.Errorf("bump: %d bytes are live, want %d", live, n*size)
	}
	return fresh, reset, nil
}
