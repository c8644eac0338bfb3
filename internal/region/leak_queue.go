package region

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
)

// Part stands for a thing that was opened, must be closed, and has no region of its own, such as a slab.Local. Its owner
// calls Close or Leak, once.
type Part struct{ site *partSite }

// partSite counts the parts of one name and one region that were opened by one stack of calls. So a single part takes
// no memory.
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

// parts holds the sites that have open parts.
var parts struct {
	mu    sync.Mutex
	sites map[partKey]*partSite
	sweep int // sweepParts drops sites when there are so many
}

// OpenPart notes that the caller's caller opened something that must be closed, as a part of the region: it counts as
// closed when the region is. WatchLeaks reports it as long as it is open.
//
// Cost: a stack trace.
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

// sweepParts drops the sites of closed regions, if there are twice as many sites as after the last sweep. Caller holds
// parts.mu.
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

// Leak notes that the part became unreachable without Close, and reports it to the function of SetOnLeak with an Info that has
// Name, Leaked and Opened, and no Size. WatchLeaks counts the part as open. Caller holds no lock.
func (p Part) Leak() {
	parts.mu.Lock()
	p.site.open--
	p.site.leaked++
	parts.mu.Unlock()
	tellLeak(Info{Name: p.site.key.name, Leaked: true, Opened: stacktrace.Text(p.site.stack)})
}

// leaks holds the reports that wait for the function of SetOnLeak.
var leaks struct {
	mu    sync.Mutex
	queue []Info
	told  bool // a goroutine is making the reports
}

// tellLeak queues a report for the function of SetOnLeak. One goroutine makes all reports, because finalizers and cleanups
// must not wait.
func tellLeak(in Info) {
	leaks.mu.Lock()
	defer leaks.mu.Unlock()
	leaks.queue = append(leaks.queue, in)
	if !leaks.told {
		leaks.told = true
		go tellLeaks()
	}
}

// tellLeaks calls the function of SetOnLeak for the reports in the queue. If the function ends the goroutine
// (runtime.Goexit, FailNow of testing), another one goes on.
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

// nextLeak takes the oldest report out of the queue.
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

// writeLeak writes a report to standard error.
func writeLeak(in Info) {
	what := fmt.Sprintf("region %q (%d bytes committed)", in.Name, in.Committed)
	if in.Size == 0 {
		what = fmt.Sprintf("%q", in.Name)
	}
	fmt.Fprintf(os.Stderr, "offheap: %s was never closed; opened at\n%s", what, in.Opened)
}

// partsNow returns the number of parts that are not closed, by site.
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

// partReports reports the parts that are open now and were not before, if their region was open before: if its owner is not
// later than last. Of a region that was opened since, WatchLeaks reports the region alone: closing that is enough.
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
