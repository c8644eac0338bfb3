// Package measure has what the command's measurements share: progress, medians, the time of short
// operations, the collector's work, and a look whether there is memory enough.
package measure

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Progress is called now and then during a long measurement: what names the step, done of total parts
// of it are done.
type Progress func(what string, done, total int)

// Median sorts v and returns its middle element; of an even number, the upper of the two. v must not be
// empty.
func Median[T cmp.Ordered](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// Nanoseconds times f, which repeats an operation n times, and returns the nanoseconds of one
// operation: the median of five runs of at least 10 ms each.
func Nanoseconds(f func(n int)) float64 {
	const enough = 10 * time.Millisecond
	n := 1
	timed := func() time.Duration {
		start := time.Now()
		f(n)
		return time.Since(start)
	}
	for timed() < enough {
		n *= 2
	}
	var each [5]float64
	for i := range each {
		each[i] = float64(timed().Nanoseconds()) / float64(n)
	}
	return Median(each[:])
}

// RoomFor returns an error that wraps guard.ErrNoMemory if the machine, or the control group of the
// process, has less memory than bytes.
func RoomFor(bytes uint64) error {
	v := vm.Probe()
	if ram := min(v.CgroupLimit, v.PhysicalSize); ram < bytes {
		return fmt.Errorf("the benchmark takes %d bytes of memory, and there are %d: %w", bytes, ram, guard.ErrNoMemory)
	}
	return nil
}
