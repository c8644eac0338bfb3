package region

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
)

// WatchLeaks notes the open regions and parts, and their use. The function that it returns reports leaks since then: regions and parts opened since, and more objects or bytes in older ones. See guardtest.CheckLeaks.
func WatchLeaks() (reports func() []string) {
	parts, before, last := partsNow(), openNow(), owners.Load()
	return func() []string { return append(compare(before, openNow(), last), partReports(parts, last)...) }
}

// holding is the open regions of an owner, and the use of all of them.
type holding struct {
	owner   *owner
	regions []string // their names
	use     use
}

// openNow returns the open regions by owner, except those that stay as long as the program (Explain).
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

// isOpen tells whether the region is open.
func (r *record) isOpen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == stateOpen
}

// compare reports regions and use in now that were not in before, in the order in which their owners came. last is the
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

// list quotes each name once, and says how often it occurs if that is more than once.
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
