package guardtest

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// CheckLeaks lets a test fail that leaves something open or allocated: at its end all regions must be
// closed that it opened, and with them arenas, heaps, pools and stacks; and what was open before must
// not have more in use than it had then, in objects or in bytes. The test's log has the stack of
// whoever opened what is left, from the first function on that is not of this module; once for all
// that have the same. A pool that was opened before may keep what it opened meanwhile, as long as
// that is idle.
//
//	func TestParser(t *testing.T) {
//		guardtest.CheckLeaks(t)
//		…
//	}
//
// Call it first: Cleanup functions run last in, first out, so those that close something must be
// registered later. It looks at the whole process: what other tests open and allocate meanwhile
// counts, so it is not for parallel tests. Of an arena it knows the bytes, not the objects; of what
// a Local or a processor keeps free it says nothing.
func CheckLeaks(t testing.TB) {
	t.Helper()
	reports := region.WatchLeaks()
	t.Cleanup(func() {
		t.Helper()
		for _, report := range reports() {
			t.Errorf("guard: %s", report)
		}
	})
}
