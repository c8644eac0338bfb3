// Package account counts the bytes that a heap has in slabs and large objects, and refuses more than its Limit.
//
//	0                used         peak               limit
//	├─────────────────┼────────────┼───────────────────┤
//	  charged bytes      were used     room
//
// The life of a byte:
//
//  1. Charge counts bytes before memory is committed, so that two goroutines cannot both take the last of them.
//  2. Reach raises the high-water mark when the memory is committed: a request that another limit refuses is no
//     high-water mark.
//  3. Refund takes bytes back that were decommitted, or were never committed.
//
// Any number of goroutines may use an Account. Each call takes its mutex, for some instructions.
//
// An Account does not commit memory, and does not know the process's budget: package guard does.
package account

import (
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Account counts the bytes of one heap. Call Open before anything else. It must not be copied.
type Account struct {
	mu         sync.Mutex
	used, peak int // bytes
	limit      int // 0 for none
	name       string
}

// Open gives the account its limit in bytes, 0 for none, and the heap's name, which errors show.
func (a *Account) Open(name string, limit int) { a.name, a.limit = name, limit }

// LimitError is the error of a request that the limit refuses. A heap at its limit may make one all the time, so
// the text is formatted when somebody reads it. It wraps guard.ErrNoMemory.
type LimitError struct {
	Name              string
	More, Used, Limit int // bytes: that were asked for, in use, and allowed
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("slab: %q: %d bytes on top of the %d in slabs and large objects exceed its Limit of %d: %v",
		e.Name, e.More, e.Used, e.Limit, guard.ErrNoMemory)
}

func (e *LimitError) Unwrap() error { return guard.ErrNoMemory }

// Charge counts n bytes as used. If they exceed the limit, it counts nothing and returns a *LimitError.
func (a *Account) Charge(n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refusal(n); err != nil {
		return err
	}
	a.used += n
	return nil
}

// Fits returns the error that Charge would return for n bytes now.
func (a *Account) Fits(n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusal(n)
}

// refusal returns the error for n bytes that exceed the limit. Caller holds a.mu.
func (a *Account) refusal(n int) error {
	if a.limit > 0 && n > a.limit-a.used {
		return &LimitError{a.name, n, a.used, a.limit}
	}
	return nil
}

// Reach raises the high-water mark to the bytes in use. Call it when charged memory is committed.
func (a *Account) Reach() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peak = max(a.peak, a.used)
}

// Refund takes n charged bytes back.
func (a *Account) Refund(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used -= n
}

// Bytes returns the bytes in use.
func (a *Account) Bytes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used
}

// HighWater returns the most bytes that were in use and committed at a time.
func (a *Account) HighWater() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.peak)
}
