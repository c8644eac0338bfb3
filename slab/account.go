package slab

import (
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/guard"
)

// account counts the bytes of slabs and large objects, and refuses more than the limit.
type account struct {
	mu         sync.Mutex
	used, peak int // bytes
	limit      int // 0 for none
	name       string
}

// limitError is the error of a request that the Limit refuses. A heap at its Limit may make one all
// the time, so it is formatted when somebody reads it.
type limitError struct {
	name              string
	more, used, limit int // bytes
}

func (e *limitError) Error() string {
	return fmt.Sprintf("slab: %q: %d bytes on top of the %d in slabs and large objects exceed its Limit of %d: %v",
		e.name, e.more, e.used, e.limit, guard.ErrNoMemory)
}

func (e *limitError) Unwrap() error { return guard.ErrNoMemory }

// prefixed puts the package's name in front of an error that a user will see.
func prefixed(err error) error {
	switch err.(type) {
	case *limitError, *reserveError: // their text has it already
		return err
	}
	return fmt.Errorf("slab: %w", err)
}

// charge counts n bytes as used, or returns the error of a full account.
func (a *account) charge(n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refusal(n); err != nil {
		return err
	}
	a.used += n
	return nil
}

// reach raises the high-water mark to the bytes in use. Call it when charged memory is committed.
func (a *account) reach() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peak = max(a.peak, a.used)
}

// fits returns the error that charge would return for n bytes now.
func (a *account) fits(n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusal(n)
}

// refusal returns the error for n bytes that exceed the limit. Caller holds a.mu.
func (a *account) refusal(n int) error {
	if a.limit > 0 && n > a.limit-a.used {
		return &limitError{a.name, n, a.used, a.limit}
	}
	return nil
}

// refund takes n charged bytes back.
func (a *account) refund(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used -= n
}

func (a *account) bytes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used
}

func (a *account) highWater() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.peak)
}
