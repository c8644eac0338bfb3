package guard

import "github.com/seed-9a6c551e/offheap/internal/region"

// Budget bounds the bytes that all regions of the process together have committed. The zero Budget, which is the
// default, bounds nothing.
type Budget struct {
	// Soft is the level in bytes at which OnSoft is called; 0 for none. Soft without OnSoft is an error. OnSoft
	// is called again after the total fell a sixteenth below Soft and rose again. If the total is above Soft
	// when the budget is set, it must fall so far first.
	Soft int64

	// Hard is the most bytes that may be committed; 0 for no bound. A Commit beyond it fails with
	// ErrNoMemory, after OnSoft had one chance to give memory back.
	Hard int64

	// OnSoft gets the number of bytes committed. It runs on the goroutine that commits, without any lock held.
	// It may decommit, close and commit, and free into and purge every heap, pool and stack pool, also the
	// one that commits. It must not reset, rewind, purge or close an arena that is allocating. A heap keeps what is
	// freed for its own requests: Purge gives it back to all.
	//
	// While OnSoft runs it is not called again: another goroutine that exceeds Hard meanwhile gets its
	// error at once.
	OnSoft func(committed int64)

	// ShareGoLimit takes the Go memory limit (GOMEMLIMIT) as the total for the Go heap and for committed
	// memory. As committed memory grows, the Go limit is lowered, down to a sixteenth of the total; as it
	// shrinks, the Go limit is raised again. It moves in steps of a sixty-fourth, because each change stops the
	// world for some microseconds.
	//
	// A limit that the program sets meanwhile (debug.SetMemoryLimit) becomes the new total at the next
	// Commit, Decommit, Close, SetBudget or Usage. The very value that was set here last is not noticed.
	ShareGoLimit bool
}

// Committed returns the bytes that all regions together have committed. It costs one load.
func Committed() int64 { return region.Committed() }

// CurrentBudget returns the budget in force.
func CurrentBudget() Budget { return Budget(region.CurrentBudget()) }

// SetBudget replaces the budget, and returns the budget that it replaces. Memory that is committed beyond a new Hard
// stays; new commits fail until enough is given back. An error says which fields contradict each other, or that
// ShareGoLimit finds no Go memory limit; then nothing has changed. Any goroutine may call it.
func SetBudget(b Budget) (old Budget, err error) {
	was, err := region.SetBudget(region.Budget(b))
	return Budget(was), err
}
