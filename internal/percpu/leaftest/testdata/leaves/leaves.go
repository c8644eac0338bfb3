// Package leaves has leaves, and functions that lack something of a leaf. (Not all have the directives that
// they should.)
package leaves

import (
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

type cache struct {
	percpu.Mutex
	n     int
	total atomic.Uint32
	next  *cache
	many  []int
}

var table percpu.Table[cache]

//go:nosplit
func add(c *cache, n int) { c.n += n }

//go:nosplit
//go:noinline
//go:nocheckptr
func leaf(n int) bool {
	processor, ok := percpu.Processor()
	if !ok {
		return false
	}
	c := table.At(processor)
	if c == nil {
		return false
	}
	add(c, n)
	return true
}

type heap struct{ table percpu.Table[cache] }

//go:nosplit
//go:noinline
//go:nocheckptr
func (h *heap) method() (n int) {
	processor, ok := percpu.Processor()
	if !ok {
		return 0
	}
	if c := h.table.At(processor); c != nil {
		for n = 1; c.n > n; n *= 2 {
		}
	}
	return n
}

//go:noinline
//go:nocheckptr
func split(n int) {
	processor, ok := percpu.Processor()
	if !ok {
		return
	}
	if c := table.At(processor); c != nil {
		c.n += n
	}
}

//go:noinline
func slow(int) {}

//go:nosplit
//go:noinline
//go:nocheckptr
func calls(n int) {
	processor, ok := percpu.Processor()
	if !ok {
		return
	}
	if c := table.At(processor); c != nil {
		slow(n)
		c.n = n
	}
}

//go:nosplit
//go:noinline
//go:nocheckptr
func callsAny(f func()) {
	processor, ok := percpu.Processor()
	if !ok {
		return
	}
	if c := table.At(processor); c != nil {
		f()
	}
}

//go:nosplit
//go:noinline
//go:nocheckptr
func bounds(n int) {
	processor, ok := percpu.Processor()
	if !ok {
		return
	}
	if c := table.At(processor); c != nil {
		c.many[n]++
	}
}

//go:nosplit
//go:noinline
//go:nocheckptr
func barrier(next *cache) {
	processor, ok := percpu.Processor()
	if !ok {
		return
	}
	if c := table.At(processor); c != nil {
		c.next = next
	}
}

//go:nosplit
//go:noinline
//go:nocheckptr
func twice() {
	_, sure := percpu.Processor()
	processor, ok := percpu.Processor()
	if !sure || !ok {
		return
	}
	if c := table.At(processor); c != nil {
		c.n++
	}
}

//go:nosplit
//go:noinline
//go:nocheckptr
func given(c *cache, n int) { c.n = max(c.n, n) }

//go:nosplit
//go:noinline
//go:nocheckptr
func method(n int) {
	processor, ok := percpu.Processor()
	if !ok {
		return
	}
	if c := table.At(processor); c != nil {
		c.n += n + int(c.total.Load()) // a call where nothing is inlined
	}
}

func helper(c *cache, n int) { c.n -= n }

//go:nosplit
//go:noinline
//go:nocheckptr
func helped(n int) {
	processor, ok := percpu.Processor()
	if !ok {
		return
	}
	if c := table.At(processor); c != nil {
		helper(c, n)
	}
}
