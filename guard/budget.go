package guard

import "github.com/seed-9a6c551e/offheap/internal/region"

// Budget bounds the bytes that all regions of the process together have committed.
// The zero Budget bounds nothing.
type Budget struct {
	// Soft is the level in bytes at which OnSoft is called; 0 for none. It is
	// called again after the total fell a sixteenth below Soft and rose again. If the total is above
	// Soft already when the budget is set, it must fall so far first, too.
	Soft int64

	// Hard is the most in bytes that may be committed; 0 for no bound. What would exceed it
	// fails with ErrNoMemory, after OnSoft had one chance to give memory back.
	Hard int64

	// OnSoft is told how many bytes are committed. It runs on the goroutine that commits, and no lock
	// is held: it may decommit, close and commit, and free into and purge any heap, pool and
	// stack pool, the one that commits too. An arena that is allocating must not be reset, rewound,
	// purged or closed. While OnSoft runs it is not called again: another goroutine that exceeds
	// Hard meanwhile gets its error at once.
	OnSoft func(committed int64)

	// ShareGoLimit takes the Go memory limit (GOMEMLIMIT) in force as the total for both: as
	// committed memory grows the Go limit is lowered, down to a sixteenth of the total, and raised
	// again as it shrinks. It moves in steps of a sixty-fourth, because each change stops the world
	// for some microseconds.
	//
	// A limit that the program sets meanwhile (debug.SetMemoryLimit) becomes the new total. It is
	// noticed at the next Commit, Decommit, Close, SetBudget or Usage, unless it is the very value
	// that was set here last.
	ShareGoLimit bool
}

// Committed returns the bytes that all regions together have committed. It costs one load.
func Committed() int64 { return region.Committed() }

// CurrentBudget returns the budget in force.
func CurrentBudget() Budget { return Budget(region.CurrentBudget()) }

// SetBudget replaces the budget, and returns the one that it replaces. What is committed beyond a new Hard
// stays; new commits fail until enough is given back. The error says what of the budget cannot be; then nothing
// has changed. Safe for concurrent use.
func SetBudget(b Budget) (old Budget, err error) {
	was, err := region.SetBudget(region.Budget(b))
	return Budget(was), err
}
