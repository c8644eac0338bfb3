package region

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Budget bounds the bytes that all regions together have committed. guard.Budget has the same fields, and documents
// them.
type Budget struct {
	Soft         int64
	Hard         int64
	OnSoft       func(committed int64)
	ShareGoLimit bool
}

// ledger is the account of the process. Invariant: committed is the sum over all open regions, and over commits that
// are under way.
var ledger struct {
	committed atomic.Int64
	budget    atomic.Pointer[Budget] // nil bounds nothing
	armed     atomic.Bool            // the next crossing of Soft calls OnSoft
	reclaims  atomic.Bool            // OnSoft is running

	due atomic.Bool // Reclaim must call OnSoft

	set     sync.Mutex  // serialises SetBudget
	sharing atomic.Bool // Budget.ShareGoLimit is in force. Written under set

	goMu    sync.Mutex // guards the two below
	goTotal int64      // for the Go heap and committed memory
	goLimit int64      // the Go memory limit as set here last
}

// Committed returns the bytes that all regions together have committed. It costs one load.
func Committed() int64 { return ledger.committed.Load() }

// CurrentBudget returns the budget in force.
func CurrentBudget() Budget {
	if b := ledger.budget.Load(); b != nil {
		return *b
	}
	return Budget{}
}

// SetBudget is guard.SetBudget.
func SetBudget(b Budget) (old Budget, err error) {
	ledger.set.Lock()
	defer ledger.set.Unlock()
	old = CurrentBudget()
	switch {
	case b.Soft < 0 || b.Hard < 0:
		return old, fmt.Errorf("guard: budget: soft %d and hard %d must not be negative", b.Soft, b.Hard)
	case b.Hard > 0 && b.Soft > b.Hard:
		return old, fmt.Errorf("guard: budget: soft %d is above hard %d", b.Soft, b.Hard)
	case b.Soft > 0 && b.OnSoft == nil:
		return old, errors.New("guard: budget: Soft without OnSoft does nothing")
	}
	if b.ShareGoLimit && !ledger.sharing.Load() {
		total := debug.SetMemoryLimit(-1)
		if total == math.MaxInt64 {
			return old, errors.New("guard: budget: ShareGoLimit needs a Go memory limit (GOMEMLIMIT or debug.SetMemoryLimit)")
		}
		ledger.goMu.Lock()
		ledger.goTotal, ledger.goLimit = total, total
		ledger.goMu.Unlock()
	}
	ledger.budget.Store(&b)
	ledger.armed.Store(ledger.committed.Load() < b.Soft)
	ledger.due.Store(false)
	if was := ledger.sharing.Swap(b.ShareGoLimit); was && !b.ShareGoLimit {
		ledger.goMu.Lock()
		noticeGoLimit()
		debug.SetMemoryLimit(ledger.goTotal)
		ledger.goMu.Unlock()
	}
	moveGoLimit()
	return old, nil
}

// charge adds n bytes to the account, or returns an error that names the limit which forbids it. With later it leaves
// OnSoft to Reclaim; without, it calls OnSoft, and the caller holds no lock.
func charge(n int64, later bool) error {
	reclaimed := false
	for {
		b := ledger.budget.Load()
		was := ledger.committed.Load()
		now := was + n
		if b != nil && b.Hard > 0 && now > b.Hard {
			if later {
				ledger.due.Store(b.OnSoft != nil)
			} else if !reclaimed && reclaim(b, was) {
				reclaimed = true
				continue
			}
			return fmt.Errorf("%d bytes on top of the %d committed would exceed the hard budget of %d: %w", n, was, b.Hard, ErrNoMemory)
		}
		if !ledger.committed.CompareAndSwap(was, now) {
			continue
		}
		if b != nil && b.Soft > 0 && now >= b.Soft && ledger.armed.CompareAndSwap(true, false) {
			if later {
				ledger.due.Store(true)
			} else {
				// If OnSoft panics, the n bytes will not be committed.
				orUndo(func() bool { return reclaim(b, now) }, func() { refund(n) })
			}
		}
		moveGoLimit()
		return nil
	}
}

// orUndo calls f, and undo if f panics or ends the goroutine.
func orUndo(f func() bool, undo func()) {
	done := false
	defer func() {
		if !done {
			undo()
		}
	}()
	f()
	done = true
}

// refund takes n bytes off the account.
func refund(n int64) {
	now := ledger.committed.Add(-n)
	if b := ledger.budget.Load(); b != nil && now < b.Soft-b.Soft/16 {
		ledger.armed.Store(true)
	}
	moveGoLimit()
}

// Reclaim calls Budget.OnSoft, if a Commit in a region with Config.DeferOnSoft has met the soft or the hard limit, and
// tells whether it did. An allocator calls it without a lock, before it gives up because memory is short, and before
// it returns memory. It costs one load if there is nothing to do.
func Reclaim() bool {
	if !ledger.due.Load() || !ledger.due.CompareAndSwap(true, false) {
		return false
	}
	b := ledger.budget.Load()
	return b != nil && reclaim(b, ledger.committed.Load())
}

// ReclaimOr is Reclaim for an allocator that holds memory which it is about to hand out. If OnSoft panics, undo gives back
// that memory, which no caller will get.
func ReclaimOr(undo func()) {
	if ledger.due.Load() {
		orUndo(Reclaim, undo)
	}
}

// WithoutOnSoft calls f, which commits memory of the region that contains p, and leaves OnSoft to Reclaim meanwhile, as
// Config.DeferOnSoft does. It is for callers that hold locks while they call an allocator that holds none. Nobody else may
// commit memory of the region meanwhile.
func WithoutOnSoft(p unsafe.Pointer, f func()) {
	if rec := lookup(uintptr(p)); rec != nil {
		was := rec.deferOnSoft.Swap(true)
		defer rec.deferOnSoft.Store(was)
	}
	f()
}

// reclaim calls OnSoft, unless there is none or it is running already. Caller holds no lock.
func reclaim(b *Budget, committed int64) bool {
	if b.OnSoft == nil || !ledger.reclaims.CompareAndSwap(false, true) {
		return false
	}
	defer ledger.reclaims.Store(false)
	b.OnSoft(committed)
	return true
}

// moveGoLimit adjusts the Go memory limit to the bytes committed, if they share a total. A goroutine that finds another
// one adjusting it returns at once: the other looks again whether more was committed meanwhile.
func moveGoLimit() {
	for ledger.sharing.Load() && ledger.goMu.TryLock() {
		committed := ledger.committed.Load()
		if ledger.sharing.Load() { // SetBudget has not ended it meanwhile
			noticeGoLimit()
			total := ledger.goTotal
			want := max(total-committed, total/16)
			if diff := want - ledger.goLimit; diff != 0 && max(diff, -diff) >= total/64 {
				debug.SetMemoryLimit(want)
				ledger.goLimit = want
			}
		}
		ledger.goMu.Unlock()
		if ledger.committed.Load() == committed {
			return
		}
	}
}

// noticeGoLimit takes a limit that the program has set as the new total. Caller holds ledger.goMu.
func noticeGoLimit() {
	if now := debug.SetMemoryLimit(-1); now != ledger.goLimit {
		ledger.goTotal, ledger.goLimit = now, now
	}
}
