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
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// record is what the process knows of a region, from Reserve until its addresses
// are released. The user's Region points to it and not the other way round, so
// that a Region nobody can reach any more is noticed.
type record struct {
	name  string
	stack []uintptr // of Reserve's caller
	owner *owner

	reservation unsafe.Pointer // its start
	size        uintptr        // of it, or what is left of it in quarantine

	base    unsafe.Pointer // of the data
	data    uintptr        // bytes of data
	light   bool           // guards inside are markers
	secret  bool           // see secret.go
	swap    bool           // what is secret may be swapped out
	charge  atomic.Int64   // bytes committed
	leaked  atomic.Bool
	explain atomic.Pointer[func(*Fault)] // nil unless it is there as long as the program: see Explain

	mu        sync.Mutex
	state     state
	committed spans     // by the protection asked for
	guards    guards    // over committed and uncommitted memory alike
	used      uintptr   // where the highest ever committed ends
	locked    spans     // what is locked into RAM
	files     spans     // what of committed MapFile mapped
	unmarked  spans     // where guards have no markers yet: they get them by Commit
	unlocked  spans     // what is guarded, and was locked by the process: see mark
	hints     spans     // that were given, see advise
	kin       uint32    // numbered so far, see kinFor
	seams     []uintptr // where mappings end whatever is beside them: moved ones, files; sorted
	mappings  int       // what it takes of those of all regions
	count     weak.Pointer[counter]
	told      use // by count, last
}

type state uint8

const (
	open state = iota
	closed
)

func (r *record) addr() uintptr { return uintptr(r.reservation) }

// registry holds every record, open and quarantined, sorted by address.
var registry struct {
	mu      sync.RWMutex
	records []*record
	waiting []*record // quarantined, oldest first
	held    uintptr   // bytes of addresses in waiting
	limit   int64     // the most that held may be
	onLeak  func(Info)
}

// maxWaiting bounds the quarantine in regions, for each may take a mapping of
// those that the process may hold.
const maxWaiting = 4096

func init() { registry.limit = defaultQuarantine() }

// defaultQuarantine is 1 TiB, or less where addresses are scarce.
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

// SetQuarantine bounds the addresses, in bytes, that closed regions keep reserved so that stale
// pointers fault: of each, what was ever committed. The default is 1 TiB (256 MiB on 32-bit
// systems, and at most an eighth of RLIMIT_AS); 0 keeps none. At most 4096 regions are kept
// whatever their size. It returns the bound that it replaces. A negative bound is an error, and changes nothing.
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

// lookup finds the record whose reservation, guards included, holds addr.
func lookup(addr uintptr) *record {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	i, exact := slices.BinarySearchFunc(registry.records, addr, compareAddr)
	if !exact {
		if i == 0 {
			return nil
		}
		i--
	}
	if r := registry.records[i]; addr-r.addr() < r.size {
		return r
	}
	return nil
}

// quarantine takes a closed record in and lets the oldest go that are too many. Only the
// first keep bytes stay reserved, because no pointer beyond was ever good: so the
// quarantine has room for many large reservations of which little was used.
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

// expire takes the oldest records out of the quarantine until it is within its
// bounds. registry.mu is held.
func expire() []*record {
	n := 0
	for n < len(registry.waiting) && (int64(registry.held) > registry.limit || len(registry.waiting)-n > maxWaiting) {
		registry.held -= registry.waiting[n].size
		n++
	}
	return takeOldest(n)
}

func takeOldest(n int) []*record {
	out := slices.Clone(registry.waiting[:n])
	registry.waiting = slices.Delete(registry.waiting, 0, n)
	for _, r := range out {
		removeRecord(r)
	}
	return out
}

// removeRecord needs registry.mu.
func removeRecord(r *record) {
	if i, found := slices.BinarySearchFunc(registry.records, r.addr(), compareAddr); found {
		registry.records = slices.Delete(registry.records, i, i+1)
	}
}

func unregister(r *record) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	removeRecord(r)
}

// releaseOldest gives the addresses of the oldest quarantined region back; false where there is
// none, or the kernel refuses.
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

// release unmaps, and returns how many. A record that the kernel would not unmap goes back to the
// end of the queue: its addresses are still ours.
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

// Regions iterates over what is mapped now, in order of address. Closed regions in
// quarantine are not among them. Each step takes the time to count resident pages, and for its owner
// to count what is live: some nanoseconds for each stack of a pool.
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

func (r *record) info() (Info, bool) {
	live := r.use().bytes
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != open {
		return Info{}, false
	}
	resident, err := r.resident()
	if err != nil {
		resident = -1
	}
	return Info{
		Name: r.name, Base: uintptr(r.base), Size: int(r.data),
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

// Usage adds up the open regions. It takes the time to count resident pages.
func Usage() Totals {
	moveGoLimit() // the program may have set another
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

// SetOnLeak sets what is called for a region, or a slab.Local, that became unreachable without Close. A
// region stays mapped. The calls come one after the other, on a goroutine of their own, which f may end.
// By default a line is written to standard error; nil brings that back.
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
