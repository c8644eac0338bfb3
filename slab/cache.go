package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// cache holds free slots, so that its owner allocates and frees without a lock. The owner is a processor
// (see percpu), or a Local.
//
//	magazines  ┌──────────────┬──────────────┬──────────────┬─ ─      64 bytes a class: a cache line
//	           │ n, items, …  │ n, items, …  │ n, items, …  │
//	           └──────┬───────┴──────┬───────┴──────────────┴─ ─
//	                  ▼              ▼
//	items      ┌───┬────┬────┬ ─ ┬───┬────┬────┬ ─ ┐                  8 bytes a slot
//	           │ 0 │slot│slot│   │ 0 │slot│    │   │
//	           └───┴────┴────┴ ─ ┴───┴────┴────┴ ─ ┘
//
// The item below each magazine is 0, whose state is never cached: so the fast path, which looks at the state of
// what it pops, need not ask whether the magazine is empty.
//
// A processor's cache has room for full magazines from the start, because nothing may be allocated while
// the goroutine is pinned. A Local's cache has room for nothing at first: see grow.
type cache struct {
	percpu.Mutex
	_         [percpu.Alone]byte             // other goroutines write to the neighbours on the Go heap
	magazines [sizeclass.Cached + 1]magazine // the last is of classes that are not cached
	_         [percpu.Alone]byte
}

// magazine is a stack of cached slots of one class.
//
// An allocation is due when the sampling countdown has run out: then it is sampled (see Sampling), or only starts
// the next countdown. Slots and countdown share a word, so that a pop counts both down with one subtraction.
// A countdown is drawn for each class, whose slots are of one size: so bytes can be counted as well as
// allocations, by the length that is drawn.
type magazine struct {
	n       uint64         // the number of slots, and onePass for each allocation until one is due
	items   unsafe.Pointer // an array of room items, with an item of 0 before
	size    uint32         // of a slot, in bytes
	room    uint32
	sampled bool                                      // the allocation that is due next is sampled
	_       [64 - 17 - unsafe.Sizeof(uintptr(0))]byte // at counts on 64 bytes
}

const onePass = 1 << 32

var _ [64]byte = [unsafe.Sizeof(magazine{})]byte{}

// firstRoom is the room of a Local's magazine when the Local first uses the class.
const firstRoom = 8

// gap is the number of unused items between the magazines of a processor, one of which is the 0 of the next. It
// keeps their distance from being a multiple of 4096 bytes, so that the tops of several magazines lie in
// different sets of the CPU cache.
const gap = 9

// noItems is below and in magazines without room.
var noItems [2]slots.Item

// open prepares a cache that has room for nothing.
func (pc *cache) open() *cache {
	for c := range pc.magazines {
		m := &pc.magazines[c]
		m.items, m.size = unsafe.Pointer(&noItems[1]), sizeclass.Table[c].Size
		m.draw()
	}
	return pc
}

// newCache makes a cache with room for full magazines, for a processor.
func newCache() *cache {
	n := gap
	for c := range sizeclass.Cached {
		n += int(sizeclass.Table[c].MaxCached) + gap
	}
	items := make([]slots.Item, n)
	pc := new(cache).open()
	n = gap
	for c := range sizeclass.Cached {
		m, most := &pc.magazines[c], int(sizeclass.Table[c].MaxCached)
		m.items, m.room = unsafe.Pointer(&items[n]), uint32(most)
		n += most + gap
	}
	return pc
}

// magazine returns the magazine of a class.
func (pc *cache) magazine(c uint8) *magazine { return &pc.magazines[min(c, sizeclass.Cached)] }

// at returns the magazine of a class, which is given as slots.Entry.Cached and sizeclass.Tabled give it.
//
//go:nosplit
func (pc *cache) at(cached uintptr) *magazine {
	return (*magazine)(unsafe.Add(unsafe.Pointer(&pc.magazines), cached))
}

// len returns the number of slots.
func (m *magazine) len() uint32 { return uint32(m.n) }

func (m *magazine) isFull() bool { return m.len() >= m.room }

// at returns where item n lies. n is below room, or -1.
//
//go:nosplit
func (m *magazine) at(n int32) *slots.Item {
	return (*slots.Item)(unsafe.Add(m.items, uintptr(n)*unsafe.Sizeof(slots.Item(0))))
}

// slots returns the slots, the oldest first.
func (m *magazine) slots() []slots.Item { return unsafe.Slice((*slots.Item)(m.items), m.len()) }

// rest returns the value of n without the slot that pop would take, which is at(int32(rest)): an item of 0 if the
// magazine is empty. As a signed number it is negative if an allocation is due.
//
//go:nosplit
func (m *magazine) rest() uint64 { return m.n - onePass - 1 }

// pop takes the slot that was pushed last, and counts the allocation. ok is false if the magazine is
// empty, or an allocation is due.
func (m *magazine) pop() (it slots.Item, ok bool) {
	rest := m.rest()
	if int64(rest) < 0 || m.len() == 0 {
		return 0, false
	}
	m.n = rest
	return *m.at(int32(rest)), true
}

// popUncounted pops a slot without counting it for sampling: due has counted this allocation already.
func (m *magazine) popUncounted() (it slots.Item, ok bool) {
	if m.len() == 0 {
		return 0, false
	}
	m.n--
	return *m.at(int32(m.len())), true
}

// due counts an allocation for which pop had no slot, and tells whether it is to be sampled. Where the
// countdown has run out it starts the next.
func (m *magazine) due() bool {
	if m.n >= onePass {
		m.n -= onePass
		return false
	}
	sample := m.sampled
	m.draw()
	return sample
}

// draw starts a sampling countdown of a random length.
func (m *magazine) draw() {
	pass, sample := sampled.Draw()
	m.n = uint64(m.len()) + uint64(pass)*onePass
	m.sampled = sample
}

// push puts a slot on top; false if the magazine is full.
func (m *magazine) push(it slots.Item) bool {
	n := m.n
	if uint32(n) >= m.room {
		return false
	}
	m.add(n, it)
	return true
}

// add pushes a slot without a check. n is m.n, and there is room.
//
//go:nosplit
func (m *magazine) add(n uint64, it slots.Item) {
	*m.at(int32(n)) = it
	m.n = n + 1
}

// exchange pushes a slot. If the magazine is full, it moves the older half to out first, and returns the
// number of slots there. The magazine has room for class.MaxCached slots.
func (m *magazine) exchange(it slots.Item, out []slots.Item) (n int) {
	if m.push(it) {
		return 0
	}
	all := m.slots()
	n = copy(out, all[:len(all)/2])
	copy(all, all[n:])
	m.n -= uint64(n)
	m.push(it)
	return n
}

// fill pushes slots until the magazine is full, and returns how many it took.
func (m *magazine) fill(items []slots.Item) (n int) {
	n = copy(unsafe.Slice((*slots.Item)(m.items), m.room)[m.len():], items)
	m.n += uint64(n)
	return n
}

// grow makes room for four times as many slots, up to most; false if there is room for these already. So a Local
// that uses many classes a little takes little memory.
func (m *magazine) grow(most uint32) bool {
	room := min(max(4*m.room, firstRoom), most)
	if room <= m.room {
		return false
	}
	items := make([]slots.Item, 1+room)
	copy(items[1:], m.slots())
	// In this order: two goroutines that use one Local, which is misuse, do not write beyond the items.
	m.items = unsafe.Pointer(&items[1])
	m.room = room
	return true
}

// holdsAny tells whether the cache holds slots.
func (pc *cache) holdsAny() bool {
	for c := range pc.magazines {
		if pc.magazines[c].len() > 0 {
			return true
		}
	}
	return false
}
