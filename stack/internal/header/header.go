// Package header is what package stack and package stack/native share: the part of a Stack that
// both read and write. A user of a Stack does not see it.
//
// A Stack begins with its Header, at the same address, so native finds the Header of a Stack by a
// conversion of the pointer, which costs nothing:
//
//	         Stack, 64 bytes                         memory of the stack
//	┌───────────────┬────────────────┐      ┌──────────────────┬──────────────┐
//	│ Header        │ stack's own    │      │ unused           │ frames       │
//	└───────────────┴────────────────┘      └──────────────────┴──────────────┘
//	▲                                       ▲        ▲         ▲              ▲
//	address of both                         floor  Limit      Top            end
//
// Only stack allocates, and only native runs code below Top. Stack's calls do not look whether native
// code runs, except for Put: the goroutine that owns the stack is in the code meanwhile.
package header

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/trap"
)

// Header is the part of a Stack that native code changes. Places in the stack's memory are distances
// in bytes from the Header itself.
//
// Invariant: the bytes of [Limit, Top) are zero. Limit is Top while the stack is idle, which sends
// every call of stack to its slow path.
type Header struct {
	Top   uintptr    // the lowest byte in use
	Limit uintptr    // the lowest byte that is known to be zero
	Block trap.Block // not zero while native code runs on the stack

	State  uint32 // written with package atomic where goroutines may compete
	Native bool   // native code ran here since stack last looked how deep it went
	Rounds uint8  // Puts in a row that were not deep; it is here because there is room
}

// The states of a Stack. Memory that was never used, or whose pool is closed, reads as StateNone.
const (
	StateNone = iota
	StateIdle // in its pool
	StateUsed // handed out by Get and not put yet
)

// Overflowed reports whether addr lies in the guard below the stack. If it does, it notes for
// Stack.HighWater that the whole stack was used. Package stack sets it.
var Overflowed func(h *Header, addr uintptr) bool

// Addr returns the address of a place in the stack's memory.
func (h *Header) Addr(place uintptr) uintptr { return uintptr(unsafe.Pointer(h)) + place }

// CheckUsable panics with a *guard.Violation unless the stack is in use. op is the call, with its package.
func (h *Header) CheckUsable(op string) {
	switch h.State {
	case StateUsed:
	case StateIdle:
		panic(h.Violation(op, guard.UseAfterPut, ""))
	default:
		panic(h.none(op))
	}
}

// none returns the violation of using a Stack that reads zero. One in none of our regions is no pool's, or
// its pool was closed so long ago that the addresses have left quarantine.
func (h *Header) none(op string) *guard.Violation {
	if guard.Locate(h.Addr(0)) == nil {
		return h.Violation(op, guard.ZeroValue, "Pool.Get makes a Stack")
	}
	return h.Violation(op, guard.UseAfterClose, "the pool is closed")
}

// Violation returns a violation of the stack.
func (h *Header) Violation(op string, kind guard.Kind, detail string) *guard.Violation {
	v := &guard.Violation{Op: op, Kind: kind, Detail: detail, Addr: h.Addr(0)}
	if f := guard.Locate(v.Addr); f != nil {
		v.Region, v.Offset = f.Region, f.Offset
	}
	return v
}
