package allocbench

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// GC has the figures of forced collections: medians.
type GC struct {
	Objects int     `json:"objects"` // live meanwhile
	Ms      float64 `json:"gc_ms"`
	CPUMs   float64 `json:"gc_cpu_ms"` // see measure.Collection
	RSSMB   float64 `json:"rss_mb"`    // resident memory of the process, in millions of bytes
}

const (
	gcObjects = 20_000_000
	gcRounds  = 11
)

// MeasureGC forces collections, first without objects and then with 20 million of 64 bytes that
// hold no pointers. It calls report for both. If the objects are off the Go heap, so is the list of
// their places.
func MeasureGC(kind allocators.Kind, progress measure.Progress, report func(GC)) error {
	return measureGC(kind, gcObjects, progress, report)
}

func measureGC(kind allocators.Kind, n int, progress measure.Progress, report func(GC)) error {
	if err := measure.RoomFor(uint64(n) * 100); err != nil { // 64 and 8, and room for the allocator
		return err
	}
	source, done, err := allocators.Open(kind)
	if err != nil {
		return err
	}
	defer done()
	report(forcedGC(0))
	step := func(i int) {
		if i%(1<<16) == 0 {
			progress("objects", i, n)
		}
	}
	var sum func() uint64
	if kind == allocators.Go {
		sum = goHerd(n, step)
	} else {
		sum = herd(source(), n, step)
	}
	report(forcedGC(n))
	if got, want := sum(), uint64(n)*uint64(n-1)/2; got != want {
		return fmt.Errorf("gc: the objects add up to %d, want %d", got, want)
	}
	return nil
}

// forcedGC times eleven forced collections.
func forcedGC(objects int) GC {
	cpu := func() float64 { return measure.Metric("/cpu/classes/gc/total:cpu-seconds").Float64() }
	var took, cpuTook [gcRounds]float64
	runtime.GC() // ends a collection that was under way
	for i := range took {
		before, begin := cpu(), time.Now()
		runtime.GC()
		took[i] = float64(time.Since(begin).Nanoseconds()) / 1e6
		cpuTook[i] = (cpu() - before) * 1e3
	}
	return GC{objects, measure.Median(took[:]), measure.Median(cpuTook[:]), float64(workload.Resident()) / 1e6}
}

// goHerd makes n objects on the Go heap that hold their numbers. It returns a function that adds the
// numbers up and so keeps the objects alive.
func goHerd(n int, step func(int)) (sum func() uint64) {
	objects := make([]*object64, n)
	for i := range objects {
		step(i)
		objects[i] = new(object64)
		objects[i][0] = uint64(i)
	}
	return func() (sum uint64) {
		for _, o := range objects {
			sum += o[0]
		}
		return sum
	}
}

// herd does the same off the Go heap. It keeps the places of the objects there, too, as distances from
// the first object: off-heap memory holds no Go pointers.
func herd(from allocators.Source, n int, step func(int)) (sum func() uint64) {
	size := int(unsafe.Sizeof(object64{}))
	base := unsafe.Pointer(unsafe.SliceData(from.AllocDirty(size, allocators.Align)))
	places := unsafe.Slice((*int)(unsafe.Pointer(unsafe.SliceData(from.AllocDirty(8*n, allocators.Align)))), n)
	for i := range places {
		step(i)
		o := (*object64)(unsafe.Pointer(unsafe.SliceData(from.AllocDirty(size, allocators.Align))))
		o[0] = uint64(i)
		places[i] = int(uintptr(unsafe.Pointer(o)) - uintptr(base))
	}
	return func() (sum uint64) {
		for _, place := range places {
			sum += (*object64)(unsafe.Add(base, place))[0]
		}
		return sum
	}
}
