package guard

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
)

// CheckLeaks lets a test fail that leaves something open or allocated: at its end all regions must be
// closed that it opened, and with them arenas, heaps, pools and stacks; and what was open before must
// not have more in use than it had then, in objects or in bytes. The test's log has the stack of
// whoever opened what is left, from the first function on that is not of this module; once for all
// that have the same. A pool that was opened before may keep what it opened meanwhile, as long as
// that is idle.
//
//	func TestParser(t *testing.T) {
//		guard.CheckLeaks(t)
//		…
//	}
//
// Call it first: Cleanup functions run last in, first out, so those that close something must be
// registered later. It looks at the whole process: what other tests open and allocate meanwhile
// counts, so it is not for parallel tests. Of an arena it knows the bytes, not the objects; of what
// a Local or a processor keeps free it says nothing.
func CheckLeaks(t TB) {
	t.Helper()
	checkParts(t)
	before, last := openNow(), owners.Load()
	t.Cleanup(func() {
		t.Helper()
		for _, report := range compare(before, openNow(), last) {
			t.Errorf("guard: %s", report)
		}
	})
}

// holding is what an owner has open, and in use.
type holding struct {
	owner   *owner
	regions []string // their names
	use     use
}

// openNow is what is open, by owner. What is kept as long as the program is not there.
func openNow() map[*owner]*holding {
	registry.mu.RLock()
	records := slices.Clone(registry.records)
	registry.mu.RUnlock()
	all := map[*owner]*holding{}
	for _, r := range records {
		if r.explain.Load() != nil || !r.isOpen() {
			continue
		}
		h := all[r.owner]
		if h == nil {
			h = &holding{owner: r.owner}
			all[r.owner] = h
		}
		h.regions = append(h.regions, r.name)
		h.use.add(r.use())
	}
	return all
}

func (r *record) isOpen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == open
}

// compare tells what is there now and was not before, in the order in which it was opened: last is the
// number of the last owner before.
func compare(before, now map[*owner]*holding, last uint64) (reports []string) {
	opened := map[string][]string{} // names by stack
	var stacks []string
	for _, h := range slices.SortedFunc(maps.Values(now), func(a, b *holding) int { return cmp.Compare(a.owner.number, b.owner.number) }) {
		at := stacktrace.Text(stacktrace.OfUser(h.owner.stack))
		if h.owner.number > last {
			if opened[at] == nil {
				stacks = append(stacks, at)
			}
			opened[at] = append(opened[at], h.regions...)
			continue
		}
		var was use
		if b := before[h.owner]; b != nil {
			was = b.use
		}
		if h.use.more(was) {
			reports = append(reports, fmt.Sprintf("%q has more in use than when this test began: %d objects, were %d; %d bytes, were %d; opened at\n%s",
				h.owner.name, h.use.objects, was.objects, h.use.bytes, was.bytes, at))
		}
	}
	for _, at := range stacks {
		reports = append(reports, fmt.Sprintf("regions that this test opened are not closed: %s; opened at\n%s", list(opened[at]), at))
	}
	return reports
}

// list quotes each name once, and says how often it is there if it is more than that.
func list(names []string) string {
	times := map[string]int{}
	for _, name := range names {
		times[name]++
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(times)) {
		part := fmt.Sprintf("%q", name)
		if n := times[name]; n > 1 {
			part += fmt.Sprintf(" %d times", n)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
