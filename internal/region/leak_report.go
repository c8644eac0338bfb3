package region

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
)

// Part notes one thing that was opened, must be closed, and has no region of its own, such as a
// slab.Local. Its owner calls Close or Leak, once.
type Part struct{ site *partSite }

// partSite counts the parts of one name and one region that were opened by one stack of calls. So a
// part takes no memory of its own.
type partSite struct {
	key          partKey
	stack        []uintptr
	open, leaked int
}

type partKey struct {
	rec   *record
	name  string
	stack string // the same stack, comparable
}

// parts holds the sites that have parts which are not closed.
var parts struct {
	mu    sync.Mutex
	sites map[partKey]*partSite
	sweep int // how many sites there may be before those of closed regions are dropped
}

// OpenPart notes that the caller's caller opened something that must be closed: part of the region,
// so it counts as closed when the region is. CheckLeaks reports it as long as it is open.
//
// The cost is that of a stack trace.
func (r *Region) OpenPart(name string) Part {
	rec, stack := r.rec, stacktrace.Callers(2)
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(stack))), len(stack)*int(unsafe.Sizeof(uintptr(0))))
	parts.mu.Lock()
	defer parts.mu.Unlock()
	key := partKey{rec, name, string(bytes)}
	s := parts.sites[key]
	if s == nil {
		sweepParts()
		s = &partSite{key: key, stack: stack}
		parts.sites[key] = s
	}
	s.open++
	return Part{s}
}

// sweepParts drops the sites of closed regions, if there are twice as many sites as after the last
// time. Caller holds parts.mu.
func sweepParts() {
	if parts.sites == nil {
		parts.sites = map[partKey]*partSite{}
	}
	if len(parts.sites) < parts.sweep {
		return
	}
	for key := range parts.sites {
		if !key.rec.isOpen() {
			delete(parts.sites, key)
		}
	}
	parts.sweep = max(2*len(parts.sites), 64)
}

// Close notes that the part was closed.
func (p Part) Close() {
	parts.mu.Lock()
	defer parts.mu.Unlock()
	p.site.open--
	if p.site.open == 0 && p.site.leaked == 0 && parts.sites[p.site.key] == p.site {
		delete(parts.sites, p.site.key)
	}
}

// Leak notes that the part became unreachable without Close, and calls OnLeak's function with an Info
// that has Name, Leaked and Opened, and no Size. CheckLeaks counts it as open. Caller holds no lock.
func (p Part) Leak() {
	parts.mu.Lock()
	p.site.open--
	p.site.leaked++
	parts.mu.Unlock()
	tellLeak(Info{Name: p.site.key.name, Leaked: true, Opened: stacktrace.Text(p.site.stack)})
}

// leaks are the reports that wait for OnLeak's function.
var leaks struct {
	mu    sync.Mutex
	queue []Info
	told  bool // by a goroutine, which runs
}

// tellLeak has OnLeak's function called, on a goroutine for all reports: finalizers and cleanups must not
// wait for it.
func tellLeak(in Info) {
	leaks.mu.Lock()
	defer leaks.mu.Unlock()
	leaks.queue = append(leaks.queue, in)
	if !leaks.told {
		leaks.told = true
		go tellLeaks()
	}
}

// tellLeaks calls OnLeak's function for what waits. If that ends the goroutine (runtime.Goexit, testing's
// FailNow), another goes on.
func tellLeaks() {
	defer func() {
		leaks.mu.Lock()
		defer leaks.mu.Unlock()
		if leaks.told = len(leaks.queue) > 0; leaks.told {
			go tellLeaks()
		}
	}()
	for in, ok := nextLeak(); ok; in, ok = nextLeak() {
		registry.mu.RLock()
		f := registry.onLeak
		registry.mu.RUnlock()
		if f == nil {
			f = writeLeak
		}
		f(in)
	}
}

func nextLeak() (in Info, ok bool) {
	leaks.mu.Lock()
	defer leaks.mu.Unlock()
	if len(leaks.queue) == 0 {
		leaks.queue = nil
		return in, false
	}
	in, leaks.queue[0] = leaks.queue[0], in // so that its text can be collected
	leaks.queue = leaks.queue[1:]
	return in, true
}

func writeLeak(in Info) {
	what := fmt.Sprintf("region %q (%d bytes committed)", in.Name, in.Committed)
	if in.Size == 0 {
		what = fmt.Sprintf("%q", in.Name)
	}
	fmt.Fprintf(os.Stderr, "offheap: %s was never closed; opened at\n%s", what, in.Opened)
}

// partsNow counts the parts that are not closed, by site.
func partsNow() map[*partSite]int {
	parts.mu.Lock()
	defer parts.mu.Unlock()
	now := map[*partSite]int{}
	for key, s := range parts.sites {
		if key.rec.isOpen() {
			now[s] = s.open + s.leaked
		}
	}
	return now
}

// partReports tells which parts are open now and were not before, of regions that were open before: those
// of owners up to the last. Of a region that was opened since, WatchLeaks reports the region alone: to close that
// is enough.
func partReports(before map[*partSite]int, last uint64) (reports []string) {
	for s, n := range partsNow() {
		if s.key.rec.owner.number > last || n <= before[s] {
			continue
		}
		times := ""
		if n -= before[s]; n > 1 {
			times = fmt.Sprintf(" %d times", n)
		}
		reports = append(reports, fmt.Sprintf("this test opened and did not close: %q%s; opened at\n%s", s.key.name, times, stacktrace.Text(stacktrace.OfUser(s.stack))))
	}
	return reports
}
