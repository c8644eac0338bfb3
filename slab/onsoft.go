package slab

import "github.com/seed-9a6c551e/offheap/guard"

// Budget.OnSoft is the user's, and may use the heap whose commit it is called for. So the heap's
// regions defer it (guard.Config.DeferOnSoft), and it is called where no lock is held and nothing is
// half done: before the heap gives up for want of memory, and when a slow path has what it came for.

// reclaimOr calls OnSoft if it is due. If it panics, undo gives back what the caller has by then and
// nobody will get.
func reclaimOr(undo func()) {
	done := false
	defer func() {
		if !done {
			undo()
		}
	}()
	guard.Reclaim()
	done = true
}
