package guardtest

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// CheckLeaks fails a test that leaves something open or allocated. At the end of the test (t.Cleanup):
//
//  1. Every region that the test opened must be closed, and with it every arena, heap, pool and slab.Local.
//
//  2. What was open before must not have more objects or bytes in use than it had then. A pool that was open
//     before may keep regions that it opened meanwhile, if they are idle.
//
// So a test begins:
//
//	func TestParser(t *testing.T) {
//		guardtest.CheckLeaks(t)
//		…
//	}
//
// The test's log has the stack of each call that opened something that is left, from the first function on that
// is not of this module; equal stacks are reported once.
//
// Call it first: Cleanup functions run last in, first out, so a Cleanup that closes something must be registered
// later. CheckLeaks looks at the whole process, and counts regions and objects of other tests that run meanwhile: it
// is not for parallel tests. For an arena it knows bytes, not objects. Free memory that a slab.Local or a
// per-processor cache keeps is no leak.
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
