package slab

import (
	"cmp"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
)

// fullMagazine is the most slots that any magazine holds. Those of large slots hold fewer: see
// class.maxCached.
const fullMagazine = 128

// maxClasses is a power of two, so that c%maxClasses needs no check.
const maxClasses = 128

// cache holds free slots, so that its owner allocates and frees without a lock. The owner is a processor
// (see percpu), or a Local.
//
//	magazines  ┌──────────────┬──────────────┬──────────────┬─ ─      24 bytes a class
//	           │ n, room, …   │ n, room, …   │ n, room, …   │
//	           └──────┬───────┴──────┬───────┴──────────────┴─ ─
//	                  ▼              ▼
//	items      ┌────┬────┬ ─ ┐ ┌────┬────┬ ─ ┐                        8 bytes a slot
//	           │slot│slot│   │ │slot│    │   │
//	           └────┴────┴ ─ ┘ └────┴────┴ ─ ┘
//
// A processor's cache has room for full magazines from the start, because nothing may be allocated while
// the goroutine is pinned. A Local's cache has room for nothing at first: see grow.
//
// An allocation is due when the sampling countdown of its class has run out: then it is sampled (see
// Sampling), or only starts the next countdown.
type cache struct {
	percpu.Mutex
	_         [percpu.Alone]byte // other goroutines write to the neighbours on the Go heap
	magazines [maxClasses]magazine
	sample    [maxClasses / 64]uint64 // a bit for each class: the allocation that is due next is sampled
	grown     [maxClasses / 64]uint64 // a bit for each class: a Local's magazine has room
	_         [percpu.Alone]byte
}

// magazine is a stack of cached slots of one class. The fast path loads n and items together, from one
// cache line, and then the slot, so keeping the items apart adds no load to wait for.
type magazine struct {
	n     uint64         // the number of slots, and onePass for each allocation until one is due
	items unsafe.Pointer // an array of room items
	size  uint32         // of a slot, in bytes
	room  uint32
}

// firstRoom is the room of a Local's magazine when the Local first uses the class.
const firstRoom = 8

// gap is the number of unused items between the magazines of a processor. It keeps their distance from
// being a multiple of 4096 bytes, so that the tops of several magazines lie in different sets of the CPU
// cache.
const gap = 9

// onePass is one step of the sampling countdown in magazine.n. Slots and countdown share a word, so that
// a pop counts both down with one subtraction.
const onePass = 1 << 32

// open prepares a cache that has room for nothing.
func (pc *cache) open() *cache {
	for c := range pc.magazines {
		pc.magazines[c].size = classes[c].size
		pc.draw(uint8(c))
	}
	return pc
}

// newCache makes a cache with room for full magazines, for a processor.
func newCache() *cache {
	n := gap
	for c := range maxClasses {
		n += int(classes[c].maxCached) + gap
	}
	items := make([]item, n)
	pc := new(cache).open()
	n = gap
	for c := range pc.magazines {
		m, most := &pc.magazines[c], int(classes[c].maxCached)
		m.items, m.room = unsafe.Pointer(&items[n]), uint32(most)
		n += most + gap
	}
	return pc
}

func (pc *cache) magazine(c uint8) *magazine { return &pc.magazines[c%maxClasses] }

// len returns the number of slots.
func (m *magazine) len() uint32 { return uint32(m.n) }

// at returns where item n lies. n is below room.
func (m *magazine) at(n uint32) *item {
	return (*item)(unsafe.Add(m.items, uintptr(n)*unsafe.Sizeof(item(0))))
}

// slots returns the slots, the oldest first.
func (m *magazine) slots() []item { return unsafe.Slice((*item)(m.items), m.len()) }

// next returns the value of m.n without the slot that pop would take, which is at(uint32(rest)). ok is
// false if the magazine is empty, or an allocation is due.
//
// It does not return the slot too: then the compiler would keep ok in a register and look at it again,
// which is eight instructions more in AllocDirty.
func (m *magazine) next() (rest uint64, ok bool) {
	rest = m.n - onePass - 1
	return rest, uint32(rest) < fullMagazine && int64(rest) >= 0
}

// pop takes the slot that was pushed last, and counts the allocation. ok is false if the magazine is
// empty, or an allocation is due.
func (m *magazine) pop() (it item, ok bool) {
	rest, ok := m.next()
	if !ok {
		return it, false
	}
	m.n = rest
	return *m.at(uint32(rest)), true
}

// popUncounted pops a slot without counting it for sampling: due has counted this allocation already.
func (m *magazine) popUncounted() (it item, ok bool) {
	if m.len() == 0 {
		return it, false
	}
	m.n--
	return *m.at(m.len()), true
}

// due counts an allocation for which pop had no slot, and tells whether it is to be sampled. Where the
// countdown has run out it starts the next.
func (pc *cache) due(c uint8) bool {
	if m := pc.magazine(c); m.n >= onePass {
		m.n -= onePass
		return false
	}
	sample := pc.sample[c%maxClasses/64]>>(c%64)&1 != 0
	pc.draw(c)
	return sample
}

// draw starts a sampling countdown for a class, of a random length.
func (pc *cache) draw(c uint8) {
	pass, sample := sampled.Draw()
	m, word := pc.magazine(c), &pc.sample[c%maxClasses/64]
	m.n = uint64(m.len()) + uint64(pass)*onePass
	*word &^= 1 << (c % 64)
	if sample {
		*word |= 1 << (c % 64)
	}
}

// push puts a slot on top; false if the magazine is full.
func (m *magazine) push(it item) bool {
	n := m.n
	if uint32(n) >= m.room {
		return false
	}
	m.add(n, it)
	return true
}

// add pushes a slot without a check. n is m.n, and there is room.
func (m *magazine) add(n uint64, it item) {
	*m.at(uint32(n)) = it
	m.n = n + 1
}

// exchange pushes a slot. If the magazine is full, it moves the older half to out first, and returns the
// number of slots there. The magazine has room for class.maxCached slots.
func (m *magazine) exchange(it item, out []item) (n int) {
	if m.push(it) {
		return 0
	}
	slots := m.slots()
	n = copy(out, slots[:len(slots)/2])
	copy(slots, slots[n:])
	m.n -= uint64(n)
	m.push(it)
	return n
}

// fill pushes slots until the magazine is full, and returns how many it took.
func (m *magazine) fill(items []item) (n int) {
	n = copy(unsafe.Slice((*item)(m.items), m.room)[m.len():], items)
	m.n += uint64(n)
	return n
}

// grow makes room for four times as many slots of a class, up to class.maxCached; false if there is room for
// these already. So a Local that uses many classes a little takes little memory.
func (pc *cache) grow(c uint8) bool {
	m := pc.magazine(c)
	room := min(max(4*m.room, firstRoom), classes[c].maxCached)
	if room <= m.room {
		return false
	}
	pc.grown[c%maxClasses/64] |= 1 << (c % 64)
	items := make([]item, room)
	copy(items, m.slots())
	// In this order: two goroutines that use one Local, which is misuse, do not write beyond the items.
	m.items = unsafe.Pointer(unsafe.SliceData(items))
	m.room = room
	return true
}

// keep takes the last slot of a refill for an object, and gives the depot those that the magazine had no
// room for: others may have filled it meanwhile, or the user's OnSoft. stocked is the number of slots
// that the magazine took. If one of the others was freed twice at the same moment, keep panics, and
// nobody gets the object.
func (h *Heap) keep(c, owner uint8, items []item, stocked int) item {
	last := len(items) - 1
	if stocked < last {
		if bad := h.flush(c, owner, items[stocked:last]); bad != nil {
			h.giveBack(c, items[last:])
			h.usable("Alloc")
			panic(bad)
		}
	}
	return items[last]
}

// drain returns all slots of a cache to their slabs. Nobody uses the cache meanwhile.
func (h *Heap) drain(pc *cache) (bad *guard.Violation) {
	for c := range pc.magazines {
		m := pc.magazine(uint8(c))
		if m.len() == 0 {
			continue
		}
		d := &h.depots[c]
		d.mu.Lock()
		if !h.closed.Load() {
			bad = cmp.Or(bad, h.returnToSlabs(uint8(c), d, m.slots()))
		}
		d.mu.Unlock()
		m.n -= uint64(m.len())
		h.note()
	}
	return bad
}
