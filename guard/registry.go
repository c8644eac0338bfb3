package guard

import (
	"iter"
	"sync"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Info describes a region at one moment. The figures are bytes.
type Info struct {
	Name      string
	Base      uintptr
	Size      int   // 0 where it is no region but a part of one, which OnLeak alone is told of
	Reserved  int64 // addresses claimed, guards included
	Committed int64 // charged to the budget
	Resident  int64 // in RAM; -1 where the system does not tell
	Live      int64 // handed out by the owner, all its regions together; as it told last if it is unreachable
	Leaked    bool  // unreachable and not closed
	Opened    string
}

// Regions iterates over what is mapped now, in order of address. Closed regions in
// quarantine are not among them. Each step takes the time to count resident pages, and for its owner
// to count what is live: some nanoseconds for each stack of a pool.
func Regions() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for in := range region.Regions() {
			if !yield(Info(in)) {
				return
			}
		}
	}
}

// Totals are the process's figures in bytes.
type Totals struct {
	Regions     int   // open
	Reserved    int64 // addresses of open regions, guards included
	Committed   int64 // charged to the budget
	Resident    int64 // in RAM; -1 where the system does not tell
	Live        int64 // handed out by the owners
	Quarantined int64 // addresses of closed regions that are still reserved
	Mappings    int   // that regions take, in quarantine too, as counted by offheap; at most half of vm.max_map_count
}

// Usage adds up the open regions. It takes the time to count resident pages.
func Usage() Totals { return Totals(region.Usage()) }

// SetQuarantine bounds the addresses, in bytes, that closed regions keep reserved so that stale
// pointers fault: of each, what was ever committed. The default is 1 TiB (256 MiB on 32-bit
// systems, and at most an eighth of RLIMIT_AS); 0 keeps none. At most 4096 regions are kept
// whatever their size. It returns the bound that it
// replaces. A negative bound is an error, and changes nothing.
func SetQuarantine(bytes int64) (old int64, err error) { return region.SetQuarantine(bytes) }

// CurrentQuarantine returns the bound of the quarantine in bytes.
func CurrentQuarantine() int64 { return region.CurrentQuarantine() }

// onLeak is what SetOnLeak set last.
var onLeak struct {
	mu sync.Mutex
	f  func(Info)
}

// SetOnLeak sets the function that is called for a region, or a slab.Local, that became unreachable without
// Close, and returns the one that it replaces. A region stays mapped; of a Local, which is no region, only Name,
// Leaked and Opened are told. The calls come one after the other, on a goroutine of their own, which f may end. By
// default, and with nil, a line is written to standard error. err is always nil.
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
