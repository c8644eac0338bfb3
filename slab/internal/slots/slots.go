// Package slots keeps, for each slot of a heap, the slab that it lies in, and whether it is free, cached or live.
//
// All of this lies in a region of its own, without pointers: an overrun of an object cannot reach it, and the
// collector does not scan it.
//
//	┌────────────────┬─────────────────┬──────────────────────────────┬─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─
//	│ entry per unit │ record per unit │ blocks of states, one a slab │ sizes │ generations
//	└────────────────┴─────────────────┴──────────────────────────────┴─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─
//
// The parts:
//
//   - An Entry leads from an address to its slot. Free reads nothing else to find it.
//   - A Record counts the free slots of a slab, and links slabs that have any.
//   - A State tells whether a slot is free, cached, live, or live and referenced.
//   - Sizes are what was asked for, in a hardened heap: one for each state.
//   - Generations tell handles of a Pool that are stale: one for each block of the heap's region. They stay
//     when a slab goes. References to the objects of a Heap have generations in another region: see references.go.
//
// # From an address to a slot
//
// A slab is divided into blocks of 2^k bytes in which one slot starts at most (package sizeclass). Each block
// has a State, a byte: where in the block the slot starts, in eighths, and a code.
//
//	 7       3 2   0            rotated by 64-k, an offset falls into the number of its
//	┌─────────┬─────┐           block, below, and the place in the block, on top:
//	│  code   │place│
//	└─────────┴─────┘            63        64-k              0
//	                            ┌───────────┬────────────────┐
//	                            │   place   │ block          │
//	                            └───────────┴────────────────┘
//
// The code of a live slot is 0. So two rotations, one addition and one comparison show that a live object starts
// at an address: the state, rotated so that its place comes to the top of 32 bits, is equal to the place of the
// address. Other codes stay at the bottom of the 32 bits, where the place of an address is 0: k is at most 16.
//
// # Life of a slot
//
//	      Take                Claimed               Freed
//	free ───────▶ cached ───────────────▶ live ───────────▶ cached
//	  ▲             │
//	  └─────────────┘ Return
//
// Step by step:
//
//  1. Add makes a slab of units: all of its slots are free.
//  2. Take hands free slots to a cache as Items. A slot of fresh memory is marked clean as well.
//  3. A cache makes a slot an object, and takes it back: fast paths write the State themselves.
//  4. Refer marks an object that references name. Fast paths do not free it: see references.go.
//  5. Return puts cached slots back into their slab. Remove gives up a slab, whatever its slots are.
//
// # Concurrency
//
//  1. Entries and states may be read at any time, by addresses of any kind: an address of no slot is found to be
//     none. Units below Edge have an entry that leads to a state.
//  2. Who has a cached or live slot writes its state.
//  3. The lock of a class's depot guards the records of its slabs, and the states of its free slots.
//  4. After Shut, and the end of all fast paths that began before, nobody finds a slot. A slow path that still reads
//     entries or states when their memory is released finds zeroes: an entry of no slab, or a state that looks live.
//     So it asks whether the heap is closed before it believes a state.
package slots

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/units"
)

const (
	unitBits = units.Bits
	unit     = units.Size // bytes
)

// MaxStates is the maximum number of states.
const MaxStates = 1 << 31

// Table has the entries, states and records of a heap. Open makes it usable. It must not be copied.
type Table struct {
	base     unsafe.Pointer // of the units
	entries  unsafe.Pointer
	states   unsafe.Pointer
	edge     uint32 // atomic: see Edge
	shift    uint8  // of a Pool's class
	hardened bool

	generations table                      // only of a Pool
	sizes       table                      // only of a hardened heap
	references  atomic.Pointer[references] // nil before the first Refer
	records     table
	entryTable  table
	stateTable  table

	mu     sync.Mutex // guards what follows, and growth of the tables
	ready  int        // units whose entries, records and generations are committed
	next   int        // the number of states that were ever used
	blocks blocks     // of states, that are in no slab
	region *region.Region
}

// Config says what a table is for.
type Config struct {
	Units    int  // of the heap's region
	Hardened bool // with sizes, and slots in random order
	Class    int  // of a Pool's slots; NoClass for a heap without generations

	// Charge is called before memory is committed, if it is not nil, with the bytes; an error refuses them. Refund is
	// called with bytes that were not committed after all.
	Charge func(bytes int) error
	Refund func(bytes int)
}

// NoClass is Config.Class of a heap without generations.
const NoClass = -1

// layout is how many bytes of addresses each part takes.
type layout struct{ entries, records, states, sizes, generations int }

func (l layout) total() int { return l.entries + l.records + l.states + l.sizes + l.generations }

func (c Config) layout() (l layout) {
	page := guard.PageSize()
	l.entries = alignUp(c.Units*int(unsafe.Sizeof(Entry(0))), page)
	l.records = alignUp(c.Units*int(unsafe.Sizeof(Record{})), page)
	l.states = alignUp(int(min((uint64(c.Units)+1)*areaSize, MaxStates)), page)
	if c.Hardened {
		l.sizes = l.states * 4
	}
	if c.Class != NoClass {
		l.generations = alignUp(c.Units<<(unitBits-sizeclass.Table[c.Class].Shift)*4, page)
	}
	return l
}

// Addresses returns how many bytes of addresses the tables take.
func (c Config) Addresses() int { return c.layout().total() }

// Open reserves the tables for the slots of a region.
func (t *Table) Open(of *region.Region, c Config) error {
	l := c.layout()
	r, err := region.Reserve(region.Config{Name: of.Name() + ": metadata", Size: l.total(), PartOf: of, DeferOnSoft: true})
	if err == nil {
		err = r.KeepZeroes(r.Size()) // so that a call after Close finds no object
	}
	if err != nil {
		return err
	}
	t.region, t.base, t.hardened = r, of.Base(), c.Hardened
	off := 0
	for _, part := range []struct {
		table *table
		size  int
	}{{&t.entryTable, l.entries}, {&t.records, l.records}, {&t.stateTable, l.states}, {&t.sizes, l.sizes}, {&t.generations, l.generations}} {
		if part.size > 0 {
			*part.table = table{base: unsafe.Add(r.Base(), off), region: r, off: off, size: part.size, charge: c.Charge, refund: c.Refund}
		}
		off += part.size
	}
	t.entries, t.states = t.entryTable.base, unsafe.Pointer(&noStates)
	if c.Class != NoClass {
		t.shift = sizeclass.Table[c.Class].Shift
	}
	return nil
}

// Region returns the region that the tables lie in.
func (t *Table) Region() *region.Region { return t.region }

// Edge returns a number: units below may be in slabs. It is 0 after Shut.
//
//go:nosplit
func (t *Table) Edge() uint32 { return atomic.LoadUint32(&t.edge) }

// Shut makes all units be in no slab. Nobody adds slabs any more. A goroutine that has called EntryAt before may
// still use the Entry.
func (t *Table) Shut() {
	t.mu.Lock() // so that references are there by now, or never
	defer t.mu.Unlock()
	atomic.StoreUint32(&t.edge, 0)
}

// Base returns the address that offsets count from.
func (t *Table) Base() unsafe.Pointer { return t.base }

// At returns the address of an item's slot.
//
//go:nosplit
func (t *Table) At(it Item) unsafe.Pointer { return unsafe.Add(t.base, it.Offset()) }

// State returns where a state lies.
//
//go:nosplit
func (t *Table) State(i uint32) *State { return (*State)(unsafe.Add(t.states, uintptr(i))) }

// Offset returns the offset of p, of any value, from the base. It wraps below the base.
//
//go:nosplit
func (t *Table) Offset(p unsafe.Pointer) uintptr { return uintptr(p) - uintptr(t.base) }

// Covers tells whether an offset lies below Edge.
//
//go:nosplit
func (t *Table) Covers(off uintptr) bool {
	return off>>unitBits < uintptr(t.Edge())
}

//go:nosplit
func (t *Table) entry(unit uintptr) *Entry {
	return (*Entry)(unsafe.Add(t.entries, unit*unsafe.Sizeof(Entry(0))))
}

// EntryAt returns the entry of the unit at an offset below Edge. Entry.Locate leads on.
//
//go:nosplit
func (t *Table) EntryAt(off uintptr) Entry { return *t.entry(off >> unitBits) }

func (t *Table) record(unit uint32) *Record {
	return (*Record)(unsafe.Add(t.records.base, uintptr(unit)*unsafe.Sizeof(Record{})))
}

// Live returns the live slot that starts at p, and its class; ok is false if there is none. It does not find referenced
// ones: a Pool has none. While the heap is closed, it may take a slot for live.
func (t *Table) Live(p unsafe.Pointer) (c uint8, it Item, ok bool) {
	off := t.Offset(p)
	if !t.Covers(off) {
		return 0, 0, false
	}
	e := t.EntryAt(off)
	if !e.InSlab() {
		return 0, 0, false
	}
	i, place := e.Locate(off)
	return e.Class(), NewItem(off, i), t.State(i).LiveAt(place)
}

// Object is Live that finds referenced slots, too.
func (t *Table) Object(p unsafe.Pointer) (c uint8, it Item, ok bool) {
	c, it, ok = t.Live(p)
	if !ok && it != 0 { // p lies in a slab
		i, place := t.EntryAt(t.Offset(p)).Locate(t.Offset(p))
		ok = t.State(i).IsLiveAt(place)
	}
	return c, it, ok
}

// IsObject tells whether a live slot, referenced or not, starts at p. While the heap is closed, it may take a slot for
// live.
func (t *Table) IsObject(p unsafe.Pointer) bool {
	_, _, ok := t.Object(p)
	return ok
}

// Around returns the slot that contains p, live or not; ok is false if none does.
func (t *Table) Around(p unsafe.Pointer) (it Item, ok bool) {
	off := t.Offset(p)
	if !t.Covers(off) {
		return 0, false
	}
	e := t.EntryAt(off)
	if !e.InSlab() {
		return 0, false
	}
	k := &sizeclass.Table[e.Class()]
	first := uintptr(t.record(uint32(off>>unitBits)).first) << unitBits
	slot := (off - first) / uintptr(k.Pitch)
	if slot >= uintptr(k.Slots) {
		return 0, false
	}
	off = first + slot*uintptr(k.Pitch)
	state, _ := e.Locate(off)
	return NewItem(off, state), true
}

// Holds tells whether an item is a cached slot of a class. An item that was freed twice at the same moment may
// outlive its slab: then another slab, maybe of another class, may have its memory or its state.
func (t *Table) Holds(c uint8, it Item) bool {
	e := t.EntryAt(it.Offset())
	if !e.InSlab() || e.Class() != c {
		return false
	}
	i, place := e.Locate(it.Offset())
	return i == it.State() && t.State(i).cachedAt(place)
}

// Size returns where the size that was asked for is kept, plus 1, in a hardened heap. It is 0 if the slot
// was never handed out.
func (t *Table) Size(state uint32) *uint32 {
	return (*uint32)(unsafe.Add(t.sizes.base, uintptr(state)*4))
}

// Generation returns the generation of the place at an offset, in a Pool.
//
//go:nosplit
func (t *Table) Generation(off uintptr) *uint32 {
	return (*uint32)(unsafe.Add(t.generations.base, off>>(t.shift&63)*4))
}

// EndGeneration makes handles of the object at an offset stale. The generation is even afterwards, even if several
// goroutines free the object at the same moment.
//
//go:nosplit
func (t *Table) EndGeneration(off uintptr) {
	g := t.Generation(off)
	*g = (*g + 1) &^ 1
}

// HasGenerations tells whether the table is for a Pool.
func (t *Table) HasGenerations() bool { return t.generations.base != nil }

// blockSize returns the bytes for the states of a slab: whole CPU cache lines, because any goroutine may
// write them when it frees.
func blockSize(k *sizeclass.Class) int { return alignUp(int(k.Blocks()), 64) }

// firstStates is the number of states at the start that are of no slab: see noSlab. An Item of 0 leads to the
// first of them.
const firstStates = 64

// noStates are the first states. A table whose first state is not committed yet leads here.
var noStates = func() (states [firstStates]State) {
	for i := range states {
		states[i] = none
	}
	for i := range noSlabStates {
		states[i] = elsewhere
	}
	return states
}()

// reach commits what the units below end need. Caller holds t.mu.
func (t *Table) reach(end int) error {
	if end <= t.ready {
		return nil
	}
	if t.next == 0 {
		if err := t.reachStates(areaSize); err != nil {
			return err
		}
		copy(unsafe.Slice((*State)(t.stateTable.base), firstStates), noStates[:])
		t.states, t.next = t.stateTable.base, areaSize
		for size := firstStates; size < areaSize; size *= 2 { // the rest of the first area
			t.blocks.give(uint32(size), size)
		}
	}
	had := t.entryTable.ready / int(unsafe.Sizeof(Entry(0)))
	if err := t.entryTable.reach(end * int(unsafe.Sizeof(Entry(0)))); err != nil {
		return err
	}
	for u := had; u < t.entryTable.ready/int(unsafe.Sizeof(Entry(0))); u++ {
		*t.entry(uintptr(u)) = noSlab(uint32(u))
	}
	if err := t.records.reach(end * int(unsafe.Sizeof(Record{}))); err != nil {
		return err
	}
	if t.HasGenerations() {
		if err := t.generations.reach(end << (unitBits - t.shift) * 4); err != nil {
			return err
		}
	}
	t.ready = end
	return nil
}

// reserve returns a block of states for a slab that ends before a unit, all free.
func (t *Table) reserve(k *sizeclass.Class, end int) (states uint32, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.reach(end); err != nil {
		return 0, err
	}
	size := blockSize(k)
	states, ok := t.blocks.take(size)
	if !ok {
		if err = t.extend(); err != nil {
			t.blocks.join()
		}
		if states, ok = t.blocks.take(size); !ok {
			return 0, err
		}
	}
	return states, nil
}

// extend commits an area of states. Caller holds t.mu.
func (t *Table) extend() error {
	end := t.next + areaSize
	if end > t.stateTable.size {
		return fmt.Errorf("%q: more than %d objects: %w", t.region.Name(), uint32(MaxStates), guard.ErrNoMemory)
	}
	if err := t.reachStates(end); err != nil {
		return err
	}
	t.blocks.give(uint32(t.next), areaSize)
	t.next = end
	return nil
}

// reachStates commits the first n states, and their sizes. Caller holds t.mu.
func (t *Table) reachStates(n int) error {
	err := t.stateTable.reach(n)
	if err == nil && t.hardened {
		err = t.sizes.reach(n * 4)
	}
	return err
}

// Add makes a slab of a class in units that are in none. clean tells whether their memory reads zero. Caller holds the lock of the class's depot.
func (t *Table) Add(c uint8, first int, clean bool) error {
	k := &sizeclass.Table[c]
	states, err := t.reserve(k, first+int(k.Units))
	if err != nil {
		return err
	}
	block := unsafe.Slice(t.State(states), blockSize(k))
	n := copy(block, template(c))
	for i := range block[n:] {
		block[n+i] = none
	}
	e := newEntry(c, uint32(first), states)
	for u := uint32(first); u < uint32(first)+k.Units; u++ {
		r := t.record(u)
		*r = Record{first: uint32(first), referenced: r.referenced}
	}
	r := t.record(uint32(first))
	r.Free, r.clean = k.Slots, clean
	if t.hardened { // slots are handed out in no order
		r.fresh = k.Blocks()
	}
	for u := first; u < first+int(k.Units); u++ {
		*t.entry(uintptr(u)) = e
	}
	for end := uint32(first) + k.Units; ; {
		edge := atomic.LoadUint32(&t.edge)
		if end <= edge || atomic.CompareAndSwapUint32(&t.edge, edge, end) {
			return nil
		}
	}
}

// Remove makes the units of a slab be in none. Its slots are free, or nobody uses the heap. Caller holds the lock of the class's depot.
func (t *Table) Remove(first uint32) {
	e := *t.entry(uintptr(first))
	k := &sizeclass.Table[e.Class()]
	for u := first; u < first+k.Units; u++ {
		*t.entry(uintptr(u)) = noSlab(u)
	}
	states := e.states(first)
	if t.hardened {
		clear(unsafe.Slice(t.Size(states), k.Blocks()))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blocks.give(states, blockSize(k))
}

// templates has the states of a slab of each class whose slots are all free.
var templates [sizeclass.Number]struct {
	once   sync.Once
	states []State
}

func template(c uint8) []State {
	t := &templates[c]
	t.once.Do(func() {
		k := &sizeclass.Table[c]
		t.states = make([]State, k.Blocks())
		for i := range t.states {
			t.states[i] = none
		}
		for i := range k.Slots {
			at := i * k.Pitch
			t.states[at>>k.Shift] = State(at>>(k.Shift-3)&7) | free
		}
	})
	return t.states
}

// Entry tells which slab a unit is in.
//
//	 63                    32 31     24 23   16 15 14 12       6 5        0
//	┌────────────────────────┬─────────┬───────┬──┬────┬────────┬──────────┐
//	│ states minus blocks    │         │ class │1 │    │ cached │ rotation │
//	└────────────────────────┴─────────┴───────┴──┴────┴────────┴──────────┘
//
// The rotation is 64-k for blocks of 2^k bytes. The upper half turns the number of a block into the number of its
// state, modulo 2^32. cached is the class, or sizeclass.Cached if caches keep no slots of it. Bit 15 is set in a
// slab. The zero Entry, which is read after Close, is of no slab either.
type Entry uint64

const inSlab = 1 << 15

func newEntry(c uint8, first, states uint32) Entry {
	k := &sizeclass.Table[c]
	bias := states - first<<(unitBits-k.Shift)
	return Entry(bias)<<32 | Entry(c)<<16 | inSlab | Entry(sizeclass.CachedAt(c)) | Entry(64-k.Shift)
}

// noSlab returns the entry of a unit that is in no slab. It leads to states that no offset in the unit is equal
// to: rotated by 32, the place of an offset is its lower half, and its block, below 16, the upper half.
func noSlab(unit uint32) Entry {
	e := Entry(sizeclass.Cached)<<6 | 32
	if elsewhere.place()>>unitBits == unit&0xffff { // the lower half may be equal to that
		e |= noSlabStates << 32
	}
	return e
}

const noSlabStates = 16

// InSlab tells whether the unit is in a slab.
func (e Entry) InSlab() bool { return e&inSlab != 0 }

// Class returns the class of the slab.
func (e Entry) Class() uint8 { return uint8(e >> 16) }

// Cached returns 64 times the class, or 64 times sizeclass.Cached if caches keep no slots of the class, or the
// unit is in no slab.
//
//go:nosplit
func (e Entry) Cached() uintptr { return uintptr(e & (127 << 6)) }

// Locate returns the number of the state of the block at an offset in the unit, and what LiveAt is to be asked.
//
//go:nosplit
func (e Entry) Locate(off uintptr) (state, place uint32) {
	x := rotate(uint64(off), uint(e))
	return uint32(x) + uint32(e>>32), uint32(x >> 32)
}

// rotate is bits.RotateLeft64. Where words have 32 bits that is a call, which a leaf must not make.
//
//go:nosplit
func rotate(x uint64, n uint) uint64 {
	if bits.UintSize == 64 {
		return bits.RotateLeft64(x, int(n))
	}
	return x<<(n&63) | x>>(-n&63)
}

// states returns the first state of the slab that starts at a unit.
func (e Entry) states(first uint32) uint32 {
	return uint32(e>>32) + first<<(unitBits-sizeclass.Table[e.Class()].Shift)
}

// item returns the item of a state of the slab.
func (e Entry) item(state uint32, s State) Item {
	block := uint64(state - uint32(e>>32))
	off := rotate(block|uint64(s&placeMask)<<61, -uint(e))
	return NewItem(uintptr(off), state)
}

// State tells whether the slot that starts in a block is free, cached or live, and where in the block it starts.
type State uint8

const (
	live   State = 0         // an object
	cached State = 1 << 3    // in a magazine, a batch or quarantine
	free   State = 2 << 3    // in its slab
	clean  State = 4 << 3    // besides cached: the slot reads zero
	none   State = 0x1e << 3 // no slot starts in the block

	// referenced is live, and references may name the object: see Refer.
	referenced State = 8 << 3

	codeMask State = 0x1f << 3

	placeMask State = 7

	elsewhere = none | placeMask // of units that are in no slab
)

// IsCached tells whether a slot is cached. No other code is odd.
//
//go:nosplit
func (s State) IsCached() bool { return s&cached != 0 }

// IsClean tells whether the cached slot reads zero.
//
//go:nosplit
func (s State) IsClean() bool { return s&clean != 0 }

// Claimed returns the state of a cached slot that becomes an object.
//
//go:nosplit
func (s State) Claimed() State { return s & placeMask }

// Freed returns the state of a live slot that becomes cached.
//
//go:nosplit
func (s State) Freed() State { return s | cached }

// IsLiveAt is LiveAt that takes a referenced slot for live, too.
func (s State) IsLiveAt(place uint32) bool { return (s &^ referenced).LiveAt(place) }

// LiveAt tells whether the slot is live, not referenced, and starts at a place that Locate returned.
//
//go:nosplit
func (s State) LiveAt(place uint32) bool { return place == s.place() }

// StartsAt tells whether a slot, live or not, starts at a place that Locate returned.
func (s State) StartsAt(place uint32) bool { return s&codeMask != none && s.Claimed().LiveAt(place) }

// cachedAt tells whether the slot is cached and starts at a place that Locate returned.
func (s State) cachedAt(place uint32) bool { return (s&^clean ^ cached).LiveAt(place) }

// place returns the state with its place in the upper 3 of 32 bits, and its code in the lower ones.
//
//go:nosplit
func (s State) place() uint32 { return uint32(s)<<29 | uint32(s)>>3 }
