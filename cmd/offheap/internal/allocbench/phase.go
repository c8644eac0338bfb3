package allocbench

import (
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Phase has the figures of the benchmark of a change of phase. Memory is in millions of bytes.
type Phase struct {
	MB       [5]float64 `json:"mb"`      // resident after each phase, above the value before the first
	Live     [3]float64 `json:"live_mb"` // live after each of the first three
	Ratio    float64    `json:"ratio3"`  // resident over live after the third
	AllocNs  float64    `json:"ns_p1"`
	FreeNs   float64    `json:"ns_p2"`
	LargerNs float64    `json:"ns_p3"`
}

const (
	phaseSmall = 1_000_000 // of 64 bytes
	phaseLarge = 200_000   // of 512 bytes
)

// MeasurePhase goes through five phases: it allocates a million objects of 64 bytes; frees seven of
// eight, at random or in clusters; allocates 200,000 of 512 bytes; frees everything; and waits for a
// second.
func MeasurePhase(kind allocators.Kind, clustered bool) (ph Phase, err error) {
	source, done, err := allocators.Open(kind)
	if err != nil {
		return ph, err
	}
	defer done()
	from := source()
	small, large := allocators.Objects(phaseSmall), allocators.Objects(phaseLarge)
	perm := shuffled(phaseSmall, 4000)
	before := workload.Resident()
	var ones [512]byte
	for i := range ones {
		ones[i] = 1
	}
	live, phase := 0, 0
	timed := func(what func()) float64 {
		start := time.Now()
		what()
		took := time.Since(start).Nanoseconds()
		ph.MB[phase] = float64(workload.Resident()-before) / 1e6
		if phase < len(ph.Live) {
			ph.Live[phase] = float64(live) / 1e6
		}
		phase++
		return float64(took)
	}
	alloc := func(into []allocators.Object, size int) {
		for i := range into {
			b := from.AllocDirty(size, allocators.Align)
			copy(b, ones[:])
			into[i] = unsafe.SliceData(b)
		}
		live += len(into) * size
	}
	free := func(p *allocators.Object, size int) {
		if *p != nil {
			from.Free(allocators.Bytes(*p, 1))
			*p = nil
			live -= size
		}
	}
	ph.AllocNs = timed(func() { alloc(small, 64) }) / phaseSmall
	ph.FreeNs = timed(func() {
		for i := range small {
			if clustered && i>>12&7 != 0 {
				free(&small[i], 64)
			} else if !clustered && i < phaseSmall/8*7 {
				free(&small[perm[i]], 64)
			}
		}
	}) / phaseSmall
	ph.LargerNs = timed(func() { alloc(large, 512) }) / phaseLarge
	ph.Ratio = ph.MB[2] / ph.Live[2]
	timed(func() {
		for i := range small {
			free(&small[i], 64)
		}
		for i := range large {
			free(&large[i], 512)
		}
	})
	timed(func() {
		time.Sleep(time.Second)
		from.Free(from.AllocDirty(100_000, allocators.Align)) // memory goes back to the system on slow paths only: take one
	})
	return ph, nil
}
