package slots

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// References tell apart the objects that a slot had one after the other. The first Refer of a heap makes them, so heaps
// whose objects nobody refers to pay nothing.
//
//	unit      counter of its referenced objects          one for 64 KiB, in the Record
//	            │ the next number, mixed with the salt
//	            ▼
//	state     generation of the object in the slot       one for each state
//
// Refer makes a live slot a referenced one. The fast path of Free does not take a referenced slot for a live one, so
// the slow path frees it, and the state alone makes references stale. A reference is good if the slot is referenced
// and has the same generation. Counters stay when a slab goes, so no two objects in the same 64 KiB have the same
// generation until these had MostGeneration referenced objects.
type references struct {
	table              // generations, 4 bytes each
	salt  uint32       // random, so that references of another heap are found to be none
	until atomic.Int64 // states below have a generation that is committed
	locks [64]struct { // by unit. One is held while a slot becomes a referenced one
		sync.Mutex
		_ [56]byte
	}
}

const granulesPerUnit = unit / sizeclass.Granule

// MostGeneration is the largest generation. None is 0.
const MostGeneration = 1<<31 - 1

func (r *references) generation(i uint32) *uint32 {
	return (*uint32)(unsafe.Add(r.base, uintptr(i)*4))
}

// ReferencesRegion returns the region that generations of references lie in; nil before the first Refer.
func (t *Table) ReferencesRegion() *region.Region {
	if r := t.references.Load(); r != nil {
		return r.region
	}
	return nil
}

// Refer makes a live slot a referenced one, unless it is one already, and returns the generation of its object. ok is
// false if the slot is not live: it was freed meanwhile. The error wraps guard.ErrNoMemory.
func (t *Table) Refer(it Item) (generation uint32, ok bool, err error) {
	i := it.State()
	if *t.State(i)&codeMask == referenced && t.loads(i, referenced, codeMask) {
		return atomic.LoadUint32(t.references.Load().generation(i)), true, nil
	}
	r, err := t.referencesFor(i)
	if err != nil {
		return 0, false, err
	}
	l := &r.locks[it.Offset()>>unitBits%uintptr(len(r.locks))]
	l.Lock()
	generation, ok = t.refer(r, it)
	l.Unlock()
	return generation, ok, nil
}

// refer is Refer where there is memory for the generation. Caller holds the lock of the unit.
func (t *Table) refer(r *references, it Item) (generation uint32, ok bool) {
	i := it.State()
	if *t.State(i)&codeMask == referenced { // another goroutine came first
		return *r.generation(i), true
	}
	count := &t.record(uint32(it.Offset() >> unitBits)).referenced
	for generation == 0 {
		*count++
		generation = (*count ^ r.salt) & MostGeneration
	}
	*r.generation(i) = generation // before the state: exchange sees to that
	return generation, t.exchange(i, live, referenced)
}

// loads reads a state with an atomic operation, and tells whether its bits in a mask are those of another one. What is
// read afterwards is as new as the state.
func (t *Table) loads(i uint32, s, mask State) bool {
	one := oneState[i%4]
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(t.State(i&^3))))&(uint32(mask)*one) == uint32(s)*one
}

// Referenced returns the referenced slot at a place of any value, in granules, whose object has a generation, and its
// class; ok is false if there is none. After Close there is none.
func (t *Table) Referenced(at, generation uint32) (c uint8, it Item, ok bool) {
	r := t.references.Load()
	if r == nil || at/granulesPerUnit >= t.Edge() { // before it is multiplied, which may wrap
		return 0, 0, false
	}
	off := uintptr(at) * sizeclass.Granule
	e := t.EntryAt(off)
	i, place := e.Locate(off)
	if !e.InSlab() || place<<3 != 0 { // a slot starts at an eighth of its block
		return 0, 0, false
	}
	if !t.loads(i, referenced|State(place>>29), 0xff) || atomic.LoadUint32(r.generation(i)) != generation {
		return 0, 0, false
	}
	return e.Class(), NewItem(off, i), true
}

// referencesFor returns the references, in which a state has a generation that is committed.
func (t *Table) referencesFor(state uint32) (*references, error) {
	r := t.references.Load()
	if r != nil && int64(state) < r.until.Load() {
		return r, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Edge() == 0 {
		return nil, guard.ErrClosed
	}
	if r = t.references.Load(); r == nil {
		var err error
		if r, err = t.openReferences(); err != nil {
			return nil, err
		}
		t.references.Store(r)
	}
	end := (int(state) + 1) * 4
	if end > r.size {
		return nil, fmt.Errorf("%q: more than %d objects: %w", r.region.Name(), r.size/4, guard.ErrNoMemory)
	}
	err := r.reach(end)
	r.until.Store(int64(r.ready / 4))
	return r, err
}

// openReferences reserves addresses for the generations of all states, or at least of as many again as there are now.
// Caller holds t.mu.
func (t *Table) openReferences() (*references, error) {
	size := t.stateTable.size * 4
	g, err := region.Reserve(region.Config{
		Name: t.region.Name() + ": references", Size: size, MinSize: min(alignUp(t.next*8, guard.PageSize()), size), PartOf: t.region, DeferOnSoft: true})
	if err != nil {
		return nil, err
	}
	if err := g.KeepZeroes(g.Size()); err != nil { // as for the region of the states
		return nil, errors.Join(err, g.Close())
	}
	s := &t.stateTable
	return &references{table: table{base: g.Base(), region: g, size: g.Size(), charge: s.charge, refund: s.refund}, salt: rand.Uint32()}, nil
}
