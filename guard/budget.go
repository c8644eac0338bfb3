package guard

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Budget bounds the bytes that all regions of the process together have committed.
// The zero Budget bounds nothing.
type Budget struct {
	// Soft is the level in bytes at which OnSoft is called; 0 for none. It is
	// called again after the total fell a sixteenth below Soft and rose again, and not at all while
	// the total is above Soft already when the budget is set.
	Soft int64

	// Hard is the most in bytes that may be committed; 0 for no bound. What would exceed it
	// fails with ErrNoMemory, after OnSoft had one chance to give memory back.
	Hard int64

	// OnSoft is told how many bytes are committed. It runs on the goroutine that commits, without
	// locks held, and may decommit, close and commit; but it must leave alone the allocator
	// that is committing, which is in the middle of a call. While it runs it is not called again:
	// another goroutine that exceeds Hard meanwhile gets its error at once.
	OnSoft func(committed int64)

	// ShareGoLimit takes the Go memory limit (GOMEMLIMIT) in force as the total for both: as
	// committed memory grows the Go limit is lowered, down to a sixteenth of the total, and raised
	// again as it shrinks. It moves in steps of a sixty-fourth, because each change stops the world
	// for some microseconds.
	ShareGoLimit bool
}

// ledger is the process's account. Invariant: committed is the sum over all open regions.
var ledger struct {
	committed atomic.Int64
	budget    atomic.Pointer[Budget] // nil bounds nothing
	armed     atomic.Bool            // OnSoft is due at the next crossing
	reclaims  atomic.Bool            // OnSoft is running

	set     sync.Mutex // serialises SetBudget
	goTotal int64      // Go's limit before it was shared; 0 while it is not. Under set

	goMu    sync.Mutex
	goShare atomic.Int64 // goTotal, as the charging side sees it
	goLimit atomic.Int64 // what Go's limit was last set to
}

// Committed returns the bytes that all regions together have committed. It costs one load.
func Committed() int64 { return ledger.committed.Load() }

// SetBudget replaces the budget. What is committed beyond a new Hard stays; new
// commits fail until enough is given back. Safe for concurrent use.
func SetBudget(b Budget) error {
	switch {
	case b.Soft < 0 || b.Hard < 0:
		return fmt.Errorf("guard: budget: soft %d and hard %d must not be negative", b.Soft, b.Hard)
	case b.Hard > 0 && b.Soft > b.Hard:
		return fmt.Errorf("guard: budget: soft %d is above hard %d", b.Soft, b.Hard)
	case b.Soft > 0 && b.OnSoft == nil:
		return errors.New("guard: budget: Soft without OnSoft does nothing")
	}
	ledger.set.Lock()
	defer ledger.set.Unlock()
	if b.ShareGoLimit && ledger.goTotal == 0 {
		total := debug.SetMemoryLimit(-1)
		if total == math.MaxInt64 {
			return errors.New("guard: budget: ShareGoLimit needs a Go memory limit (GOMEMLIMIT or debug.SetMemoryLimit)")
		}
		ledger.goTotal = total
		ledger.goLimit.Store(total)
	}
	ledger.budget.Store(&b)
	ledger.armed.Store(ledger.committed.Load() < b.Soft)
	switch {
	case b.ShareGoLimit:
		ledger.goShare.Store(ledger.goTotal)
		moveGoLimit()
	case ledger.goTotal != 0:
		ledger.goShare.Store(0)
		ledger.goMu.Lock()
		debug.SetMemoryLimit(ledger.goTotal)
		ledger.goMu.Unlock()
		ledger.goTotal = 0
	}
	return nil
}

// charge books n bytes, or says which limit forbids it. No lock may be held: OnSoft may run.
func charge(n int64) error {
	reclaimed := false
	for {
		b := ledger.budget.Load()
		was := ledger.committed.Load()
		now := was + n
		if b != nil && b.Hard > 0 && now > b.Hard {
			if !reclaimed && reclaim(b, was) {
				reclaimed = true
				continue
			}
			return fmt.Errorf("%d bytes on top of the %d committed would exceed the hard budget of %d: %w", n, was, b.Hard, ErrNoMemory)
		}
		if !ledger.committed.CompareAndSwap(was, now) {
			continue
		}
		if b != nil && b.Soft > 0 && now >= b.Soft && ledger.armed.CompareAndSwap(true, false) {
			booked := false
			defer func() {
				if !booked { // OnSoft panicked: nobody will commit what was charged
					refund(n)
				}
			}()
			reclaim(b, now)
			booked = true
		}
		moveGoLimit()
		return nil
	}
}

// refund books n bytes back.
func refund(n int64) {
	now := ledger.committed.Add(-n)
	if b := ledger.budget.Load(); b != nil && now < b.Soft-b.Soft/16 {
		ledger.armed.Store(true)
	}
	moveGoLimit()
}

// reclaim calls OnSoft, unless there is none or it is running already.
func reclaim(b *Budget, committed int64) bool {
	if b.OnSoft == nil || !ledger.reclaims.CompareAndSwap(false, true) {
		return false
	}
	defer ledger.reclaims.Store(false)
	b.OnSoft(committed)
	return true
}

// moveGoLimit brings Go's limit after what is committed. Whoever finds it being moved leaves: the
// mover looks again after it let go of the lock.
func moveGoLimit() {
	for {
		total := ledger.goShare.Load()
		if total == 0 {
			return
		}
		want := max(total-ledger.committed.Load(), total/16)
		diff := want - ledger.goLimit.Load()
		if diff == 0 || max(diff, -diff) < total/64 || !ledger.goMu.TryLock() {
			return
		}
		if ledger.goShare.Load() == total { // SetBudget has not ended it meanwhile
			debug.SetMemoryLimit(want)
			ledger.goLimit.Store(want)
		}
		ledger.goMu.Unlock()
	}
}
