// Package header has the part of a stack.Stack that package stack and package stack/native share. Users of
// a Stack do not see it.
//
// A Stack begins with its Header, at the same address. So native converts the pointer to a Stack into a
// pointer to its Header, at no cost:
//
//	  Stack, 64 bytes                 memory of the stack
//	┌────────┬─────────────┐       ┌─────────────────────────────────────┐
//	│ Header │ stack's own │       │ dirty    │ zero      │ frames       │
//	└────────┴─────────────┘       └─────────────────────────────────────┘
//	▲                              ▲          ▲           ▲              ▲
//	address of both                floor      Limit       Top            end
//
// Who writes what:
//
//  1. stack moves Top and Limit, and sets State.
//  2. native sets Limit to Top and Native to true before a call, because the code below Top leaves dirty
//     memory. It sets Block while the code runs.
//  3. stack looks at Block in Put only. The goroutine that owns the stack is in the native code meanwhile,
//     so it cannot make other calls.
package header

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/trap"
)

// Header is the beginning of a Stack. It names places in the stack's memory by their distance in bytes from
// the Header itself.
//
// Invariant: the bytes of [Limit, Top) are zero. Limit equals Top while the stack is idle, so that every
// allocation takes its slow path.
type Header struct {
	Top   uintptr    // place of the lowest byte in use
	Limit uintptr    // place of the lowest byte known to be zero
	Block trap.Block // not 0 while native code runs on the stack

	State  uint32 // Put writes it with package atomic, because two goroutines may put the same stack
	Native bool   // native code ran since stack last looked how deep it went
	Rounds uint8  // Puts in a row without deep use; only stack uses it, and it is here to fill the gap
}

// The states of a Stack. A Stack that was never initialised, or whose pool is closed, reads as StateNone.
const (
	StateNone = iota
	StateIdle // in its pool
	StateUsed // handed out by Get and not put yet
)

// Overflowed reports whether addr lies in the guard below the stack. If it does, it records for
// Stack.HighWater that the whole stack was used. Package stack sets the variable when it is initialised.
var Overflowed func(h *Header, addr uintptr) bool

// Addr returns the address of a place in the stack's memory.
func (h *Header) Addr(place uintptr) uintptr { return uintptr(unsafe.Pointer(h)) + place }

// CheckUsable panics with a *guard.Violation unless the stack is in use. h may be nil. op is the call, with its
// package.
func (h *Header) CheckUsable(op string) {
	switch {
	case h == nil:
		panic(h.unusable(op))
	case h.State == StateUsed:
	case h.State == StateIdle:
		panic(h.Violation(op, guard.UseAfterPut, ""))
	default:
		panic(h.unusable(op))
	}
}

// unusable returns the violation for use of a Stack that is nil or reads zero. If it lies in no region, no pool made it,
// or its pool was closed so long ago that the addresses have left quarantine.
func (h *Header) unusable(op string) *guard.Violation {
	if guard.Locate(h.Addr(0)) == nil {
		return h.Violation(op, guard.ZeroValue, "Pool.Get makes a Stack")
	}
	return h.Violation(op, guard.UseAfterClose, "the pool is closed")
}

// Violation returns a violation that names the stack.
func (h *Header) Violation(op string, kind guard.Kind, detail string) *guard.Violation {
	v := &guard.Violation{Op: op, Kind: kind, Detail: detail, Addr: h.Addr(0)}
	if f := guard.Locate(v.Addr); f != nil {
		v.Region, v.Offset = f.Region, f.Offset
	}
	return v
}
