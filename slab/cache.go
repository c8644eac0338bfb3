package slab

import (
	"cmp"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
)

// fullMagazine is the most slots that a magazine holds; those of large slots hold fewer, see
// class.most.
const fullMagazine = 128

// mostClasses is a power of two, so that c%mostClasses needs no check.
const mostClasses = 128

// cache is what one processor, or one Local, allocates from and frees to without a lock.
//
//	magazines  ┌──────────────┬──────────────┬──────────────┬─ ─      24 bytes a class
//	           │ n, room, …   │ n, room, …   │ n, room, …   │
//	           └──────┬───────┴──────┬───────┴──────────────┴─ ─
//	                  ▼              ▼
//	items      ┌────┬────┬ ─ ┐ ┌────┬────┬ ─ ┐                        8 bytes a slot
//	           │slot│slot│   │ │slot│    │   │
//	           └────┴────┴ ─ ┘ └────┴────┴ ─ ┘
//
// A processor's has room for full magazines from the start, because nothing may be allocated while
// the goroutine is pinned. A Local's has none at first: see grow.
type cache struct {
	percpu.Mutex
	_         [percpu.Alone]byte // its neighbours on the Go heap are others' to write
	magazines [mostClasses]magazine
	sample    [mostClasses / 64]uint64 // a bit a class: what is due is to be sampled, not only to be drawn anew
	grown     [mostClasses / 64]uint64 // a bit a class: a Local's magazine has room
	_         [percpu.Alone]byte
}

// magazine is a stack of cached slots of one class. The fast path loads n and items at once, from one
// cache line, and then the slot: that items lie apart adds nothing to the time until it has the slot.
type magazine struct {
	n     uint64         // slots in it, and passing for each that may be popped until an allocation is due
	items unsafe.Pointer // room of them
	size  uint32         // of the class
	room  uint32
}

// leastRoom is the slots that a Local's magazine has room for when the Local first uses the class.
const leastRoom = 8

// spread is the items between the magazines of a processor. They keep the distance from being a
// multiple of 4096 bytes: so the tops of several lie in different sets of the cache.
const spread = 9

// passing is what is taken from magazine.n with each slot: the allocations that pass before one is
// due are counted in the same word as the slots, so counting them costs nothing.
const passing = 1 << 32

// open makes a cache ready that has room for nothing.
func (pc *cache) open() *cache {
	for c := range pc.magazines {
		pc.magazines[c].size = classes[c].size
		pc.draw(uint8(c))
	}
	return pc
}

// newCache makes the cache of a processor, with room for full magazines.
func newCache() *cache {
	n := spread
	for c := range mostClasses {
		n += int(classes[c].most) + spread
	}
	items := make([]item, n)
	pc := new(cache).open()
	n = spread
	for c := range pc.magazines {
		m, most := &pc.magazines[c], int(classes[c].most)
		m.items, m.room = unsafe.Pointer(&items[n]), uint32(most)
		n += most + spread
	}
	return pc
}

func (pc *cache) magazine(c uint8) *magazine { return &pc.magazines[c%mostClasses] }

// len is how many slots are in it.
func (m *magazine) len() uint32 { return uint32(m.n) }

// at is where the slot of a number lies, which is below room.
func (m *magazine) at(n uint32) *item {
	return (*item)(unsafe.Add(m.items, uintptr(n)*unsafe.Sizeof(item(0))))
}

// slots are those in it.
func (m *magazine) slots() []item { return unsafe.Slice((*item)(m.items), m.len()) }

// next returns what m.n is without the slot that goes next, which is at(uint32(rest)). ok is false if
// there is none, or an allocation is due. It does not return the slot: with that, the compiler keeps
// ok in a register to look at it again, which is eight instructions more for AllocDirty.
func (m *magazine) next() (rest uint64, ok bool) {
	rest = m.n - passing - 1
	return rest, uint32(rest) < fullMagazine && int64(rest) >= 0
}

// pop takes the slot that goes next. ok is false if there is none, or an allocation is due.
func (m *magazine) pop() (it item, ok bool) {
	rest, ok := m.next()
	if !ok {
		return it, false
	}
	m.n = rest
	return *m.at(uint32(rest)), true
}

// popDue is pop of what is no more due.
func (m *magazine) popDue() (it item, ok bool) {
	if m.len() == 0 {
		return it, false
	}
	m.n--
	return *m.at(m.len()), true
}

// due counts an allocation of a class that top had no slot for, and tells whether it is to be sampled.
func (pc *cache) due(c uint8) bool {
	if m := pc.magazine(c); m.n >= passing {
		m.n -= passing
		return false
	}
	sample := pc.sample[c%mostClasses/64]>>(c%64)&1 != 0
	pc.draw(c)
	return sample
}

// draw says when the next allocation of a class is due.
func (pc *cache) draw(c uint8) {
	pass, sample := sampled.Draw()
	m, word := pc.magazine(c), &pc.sample[c%mostClasses/64]
	m.n = uint64(m.len()) + uint64(pass)*passing
	*word &^= 1 << (c % 64)
	if sample {
		*word |= 1 << (c % 64)
	}
}

// push puts a slot into a magazine, if it is not full.
func (m *magazine) push(it item) bool {
	n := m.n
	if uint32(n) >= m.room {
		return false
	}
	m.add(n, it)
	return true
}

// add is push where n is m.n, and there is room.
func (m *magazine) add(n uint64, it item) {
	*m.at(uint32(n)) = it
	m.n = n + 1
}

// exchange pushes a slot. If the magazine is full it moves the older half out first, and returns
// how many that are. Its room is that of a full magazine.
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

// stock puts as many slots into a magazine as it takes, and returns how many these are.
func (m *magazine) stock(items []item) (n int) {
	n = copy(unsafe.Slice((*item)(m.items), m.room)[m.len():], items)
	m.n += uint64(n)
	return n
}

// grow makes room for four times as many slots of a class, and at the most for those of a full
// magazine; false if there is room for these already. So a Local that uses many classes a little takes
// little.
func (pc *cache) grow(c uint8) bool {
	m := pc.magazine(c)
	room := min(max(4*m.room, leastRoom), classes[c].most)
	if room <= m.room {
		return false
	}
	pc.grown[c%mostClasses/64] |= 1 << (c % 64)
	items := make([]item, room)
	copy(items, m.slots())
	// In this order: who uses a Local while another does, which is misuse, shall not write beyond the items.
	m.items = unsafe.Pointer(unsafe.SliceData(items))
	m.room = room
	return true
}

// keep flushes those of a refill's slots that the magazine did not take, because it was filled
// meanwhile: the user's OnSoft may free, and processors take turns. The last slot is the object to be.
// Should one of the others have been freed twice at the same moment, keep panics, and nobody gets the
// object.
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

// empty brings home all that a cache holds. Nobody uses the cache meanwhile.
func (h *Heap) empty(pc *cache) (bad *guard.Violation) {
	for c := range pc.magazines {
		m := pc.magazine(uint8(c))
		if m.len() == 0 {
			continue
		}
		d := &h.depots[c]
		d.mu.Lock()
		if !h.closed.Load() {
			bad = cmp.Or(bad, h.bringHome(uint8(c), d, m.slots()))
		}
		d.mu.Unlock()
		m.n -= uint64(m.len())
		h.note()
	}
	return bad
}
