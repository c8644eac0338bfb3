package guard

import (
	"iter"
	"sync"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Info describes a region at one moment. The figures are bytes.
type Info struct {
	Name      string  // Config.Name, or the name of the allocator
	Base      uintptr // address of the first byte
	Size      int     // of data; 0 for a slab.Local, which the function of SetOnLeak alone is told of
	Reserved  int64   // addresses claimed, guards included
	Committed int64   // charged to the budget
	Resident  int64   // in RAM; -1 where the system does not tell
	Live      int64   // handed out by the allocator, all its regions together; the last known figure if it is unreachable
	Leaked    bool    // unreachable and not closed
	Opened    string  // stack of the call that opened it, as the runtime prints stacks
}

// Regions iterates over the open regions, those of arenas, heaps and pools included, in order of address. Closed
// regions in quarantine are not among them.
//
// Cost: a step takes the time to count resident pages (Region.Resident), and the time that the allocator takes to
// count its live bytes: some nanoseconds for each stack of a pool.
func Regions() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for in := range region.Regions() {
			if !yield(Info(in)) {
				return
			}
		}
	}
}

// Totals are the figures of the process. All but Regions and Mappings are bytes.
type Totals struct {
	Regions     int   // open
	Reserved    int64 // addresses of open regions, guards included
	Committed   int64 // charged to the budget
	Resident    int64 // in RAM; -1 where the system does not tell
	Live        int64 // handed out by the allocators
	Quarantined int64 // addresses of closed regions that are still reserved
	Mappings    int   // of all regions, in quarantine too, as offheap counts them; at most half of vm.max_map_count
}

// Usage returns the sum of all open regions. It takes the time of an iteration over Regions.
func Usage() Totals { return Totals(region.Usage()) }

// SetQuarantine bounds the quarantine, in bytes of addresses, and returns the bound that it replaces. Closed
// regions in quarantine keep their addresses, as far as they were ever committed, so that stale pointers fault. The
// default is 1 TiB (256 MiB on 32-bit systems, and at most an eighth of RLIMIT_AS); 0 keeps none. At most 4096
// regions are kept, whatever their size. A negative bound is an error, and changes nothing.
func SetQuarantine(bytes int64) (old int64, err error) { return region.SetQuarantine(bytes) }

// CurrentQuarantine returns the bound of the quarantine in bytes.
func CurrentQuarantine() int64 { return region.CurrentQuarantine() }

// onLeak keeps the function that SetOnLeak set last, as it was given.
var onLeak struct {
	mu sync.Mutex
	f  func(Info)
}

// SetOnLeak sets the function that is called for a region, or a slab.Local, that became unreachable without
// Close, and returns the function that it replaces. A leaked region stays mapped. For a Local, which is no region, only
// Name, Leaked and Opened are set. The calls come one after the other, on a goroutine of their own, which f may
// end. By default, and with nil, a line is written to standard error. err is always nil.
func SetOnLeak(f func(Info)) (old func(Info), err error) {
	onLeak.mu.Lock()
	defer onLeak.mu.Unlock()
	old, onLeak.f = onLeak.f, f
	if f == nil {
		region.SetOnLeak(nil)
	} else {
		region.SetOnLeak(func(in region.Info) { f(Info(in)) })
	}
	return old, nil
}

// CurrentOnLeak returns the function that SetOnLeak set; nil where leaks are written to standard error.
func CurrentOnLeak() func(Info) {
	onLeak.mu.Lock()
	defer onLeak.mu.Unlock()
	return onLeak.f
}
