package region

import (
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// record holds all that the process knows of a region, from Reserve until its addresses are released. The user's Region
// points to it and not the other way round, so that an unreachable Region is noticed.
type record struct {
	name  string
	stack []uintptr // of the caller of Reserve
	owner *owner

	reservation unsafe.Pointer // its start
	size        uintptr        // bytes of the reservation; in quarantine the part that is left

	base        unsafe.Pointer // of the data
	room        uintptr        // bytes from base to the guard behind
	data        uintptr        // bytes of data, at most room. Changes under mu
	backing     *backing       // the file that all data shows; nil for anonymous regions
	light       bool           // guards inside are markers
	secret      bool           // Config.Secret
	swap        bool           // Config.MaySwap
	charge      atomic.Int64   // bytes committed
	leaked      atomic.Bool
	deferOnSoft atomic.Bool                  // Config.DeferOnSoft, or WithoutOnSoft is running
	explain     atomic.Pointer[func(*Fault)] // see Explain; nil for most regions
	report      trap.Report                  // of a fault that ends the program, without its kinds

	mu        bookMutex // guards the state and the books below
	state     state
	committed spans     // with the protection asked for, and the number of the anon_vma
	guards    guards    // over committed and uncommitted memory alike
	used      uintptr   // the end of the highest stretch ever committed
	locked    spans     // by Lock or for secrets
	files     spans     // committed stretches that show a file
	mirrors   bool      // those stretches show shared memory (Mirror)
	unmarked  spans     // guards here get their markers by Commit
	unlocked  spans     // guards here were locked by mlockall: see mark
	hints     spans     // with the set of hints: see advise
	anonVMA   uint32    // the last number given: see anonVMAFor
	fixed     []uintptr // boundaries of mappings whatever the other books say, sorted
	mappings  int       // the region's share of mappings
	count     weak.Pointer[counter]
	told      use // by count, last
}

type state uint8

const (
	stateOpen state = iota
	stateClosed
)

func (r *record) addr() uintptr { return uintptr(r.reservation) }

// registry holds every record, open and in quarantine, sorted by address.
var registry struct {
	mu      sync.RWMutex
	latch   trap.Latch // taken, too, to change records
	records []*record
	waiting []*record // in quarantine, oldest first
	held    uintptr   // bytes of addresses in waiting
	limit   int64     // bound of held
	onLeak  func(Info)
}

// maxWaiting bounds the regions in quarantine, because each takes one of the mappings that the process may hold.
const maxWaiting = 4096

func init() { registry.limit = defaultQuarantine() }

// defaultQuarantine returns 1 TiB, or less where addresses are scarce.
func defaultQuarantine() int64 {
	if unsafe.Sizeof(uintptr(0)) == 4 {
		return 256 << 20
	}
	limit := uint64(1) << 40
	if as := vm.Probe().AddressSpace; as != vm.Unlimited {
		limit = min(limit, as/8)
	}
	return int64(limit)
}

// SetQuarantine is guard.SetQuarantine.
func SetQuarantine(bytes int64) (old int64, err error) {
	if bytes < 0 {
		return CurrentQuarantine(), fmt.Errorf("guard: quarantine: %d bytes must not be negative", bytes)
	}
	registry.mu.Lock()
	old = registry.limit
	registry.limit = bytes
	out := expire()
	registry.mu.Unlock()
	release(out)
	return old, nil
}

// CurrentQuarantine returns the bound of the quarantine in bytes.
func CurrentQuarantine() int64 {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	return registry.limit
}

func register(r *record) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	i, _ := slices.BinarySearchFunc(registry.records, r.addr(), compareAddr)
	registry.latch.Lock()
	defer registry.latch.Unlock()
	registry.records = slices.Insert(registry.records, i, r)
}

func compareAddr(r *record, addr uintptr) int {
	switch {
	case r.addr() < addr:
		return -1
	case r.addr() > addr:
		return 1
	}
	return 0
}

// lookup returns the record whose reservation, guards included, contains addr; nil if there is none.
func lookup(addr uintptr) *record {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	return recordAt(addr)
}

// recordAt is lookup for callers that hold registry.mu, or are a signal handler that has its latch.
//
//go:nosplit
//go:norace
func recordAt(addr uintptr) *record {
	lo, hi := 0, len(registry.records) // records below lo start at addr or before, those from hi on after it
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); uintptr(registry.records[mid].reservation) <= addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return nil
	}
	if r := registry.records[lo-1]; addr-uintptr(r.reservation) < r.size {
		return r
	}
	return nil
}

// quarantine takes a closed record in and releases the oldest ones that are too many. Only the first keep bytes stay reserved,
// because no pointer beyond was ever good: so the quarantine has room for many large reservations of which little
// was used.
func quarantine(r *record, keep uintptr) {
	registry.mu.Lock()
	if keep < r.size && vm.Release(unsafe.Add(r.reservation, keep), r.size-keep) == nil {
		r.size = keep
	}
	registry.waiting = append(registry.waiting, r)
	registry.held += r.size
	out := expire()
	registry.mu.Unlock()
	release(out)
}

// expire takes the oldest records out of the quarantine until it is within its bounds. Caller holds registry.mu.
func expire() []*record {
	n := 0
	for n < len(registry.waiting) && (int64(registry.held) > registry.limit || len(registry.waiting)-n > maxWaiting) {
		registry.held -= registry.waiting[n].size
		n++
	}
	return takeOldest(n)
}

// takeOldest takes the n oldest records out of the quarantine and the registry. Caller holds registry.mu.
func takeOldest(n int) []*record {
	out := slices.Clone(registry.waiting[:n])
	registry.waiting = slices.Delete(registry.waiting, 0, n)
	for _, r := range out {
		removeRecord(r)
	}
	return out
}

// removeRecord takes a record out of the registry. Caller holds registry.mu.
func removeRecord(r *record) {
	if i, found := slices.BinarySearchFunc(registry.records, r.addr(), compareAddr); found {
		registry.latch.Lock()
		defer registry.latch.Unlock()
		registry.records = slices.Delete(registry.records, i, i+1)
	}
}

// releaseOldest releases the addresses of the oldest region in quarantine. It returns false if there is none, or the kernel
// refuses.
func releaseOldest() bool {
	registry.mu.Lock()
	var out []*record
	if len(registry.waiting) > 0 {
		registry.held -= registry.waiting[0].size
		out = takeOldest(1)
	}
	registry.mu.Unlock()
	return release(out) > 0
}

// release unmaps records, and returns how many. A record that the kernel does not unmap goes back to the end of the
// queue: its addresses still belong to us.
func release(out []*record) (released int) {
	for _, r := range out {
		if vm.Release(r.reservation, r.size) != nil {
			register(r)
			registry.mu.Lock()
			registry.waiting = append(registry.waiting, r)
			registry.held += r.size
			registry.mu.Unlock()
			continue
		}
		mappings.Add(-int64(r.mappings))
		released++
	}
	return released
}

// Info describes a region at one moment. guard.Info has the same fields, and documents them.
type Info struct {
	Name      string
	Base      uintptr
	Size      int // 0 where it is no region but a part of one
	Reserved  int64
	Committed int64
	Resident  int64
	Live      int64
	Leaked    bool
	Opened    string
}

// Regions is guard.Regions.
func Regions() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		registry.mu.RLock()
		records := slices.Clone(registry.records)
		registry.mu.RUnlock()
		for _, r := range records {
			if in, ok := r.info(); ok && !yield(in) {
				return
			}
		}
	}
}

// info returns the figures of an open region; ok is false for a closed one.
func (r *record) info() (Info, bool) {
	live := r.use().bytes
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != stateOpen {
		return Info{}, false
	}
	resident, err := r.resident()
	if err != nil {
		resident = -1
	}
	return Info{
		Name: r.name, Base: r.report.Base, Size: int(r.report.Size),
		Reserved: int64(r.size), Committed: r.charge.Load(), Resident: resident, Live: live,
		Leaked: r.leaked.Load(), Opened: stacktrace.Text(r.stack),
	}, true
}

// Totals are the process's figures in bytes. guard.Totals has the same fields, and documents them.
type Totals struct {
	Regions     int
	Reserved    int64
	Committed   int64
	Resident    int64
	Live        int64
	Quarantined int64
	Mappings    int
}

// Usage is guard.Usage.
func Usage() Totals {
	moveGoLimit() // the program may have set another limit
	var t Totals
	for in := range Regions() {
		t.Regions++
		t.Reserved += in.Reserved
		t.Committed += in.Committed
		t.Live += in.Live
		if in.Resident < 0 || t.Resident < 0 {
			t.Resident = -1
		} else {
			t.Resident += in.Resident
		}
	}
	registry.mu.RLock()
	t.Quarantined = int64(registry.held)
	registry.mu.RUnlock()
	t.Mappings = int(mappings.Load())
	return t
}

// SetOnLeak sets the function that leaks are reported to, on a goroutine of its own; with nil, a line is written to
// standard error.
func SetOnLeak(f func(Info)) {
	registry.mu.Lock()
	registry.onLeak = f
	registry.mu.Unlock()
}

// leak is the cleanup of a Region that was not closed.
func leak(r *record) {
	in, ok := r.info()
	if !ok {
		return
	}
	r.leaked.Store(true)
	in.Leaked = true
	tellLeak(in)
}
