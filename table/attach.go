package table

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/internal/typelayout"
)

// Ref names a table in an arena, in 8 bytes without a pointer: it may be kept in the arena, or in a value of another
// table. It is valid as long as the table. The zero Ref names no table.
type Ref struct{ root arena.Ref[root] }

// IsNil tells whether r is the zero Ref.
func (r Ref) IsNil() bool { return r.root.IsNil() }

// ErrLayout is wrapped by the errors of Attach and AttachStrings if the table has other types.
var ErrLayout = errors.New("the table has another layout")

// Ref returns the name of the map, for Attach. It takes no memory.
func (m *Map[K, V]) Ref() Ref {
	m.mustBeMade()
	m.usable()
	return Ref{arena.RefOf(m.arena, m.root)}
}

// Ref returns the name of the table, for AttachStrings. It takes no memory.
func (m *Strings[V]) Ref() Ref {
	m.mustBeMade()
	m.usable()
	return Ref{arena.RefOf(m.arena, m.root)}
}

// Attach returns the map in a that ref names, which must have been made with the same K and V. Nothing is copied. The
// new Map is another name of the same map: what one changes, the other has. All Maps that are attached to one map are
// for one goroutine at a time together.
//
// Attach returns an error
//
//   - that wraps ErrLayout, and names the first field of K or V that differs, if the map was made with other types. The
//     names of fields, their order, kinds, sizes and places must be the same; the names of types need not.
//   - that wraps ErrLayout if ref names a Strings.
//   - if ref is the zero Ref, names no table, or names one that was damaged. Attach checks that all memory that the table
//     names is the arena's. It does not look at entries: of memory that others may store to, they may be any, and the keys
//     of a Strings may seem to lie anywhere.
//
// Calls that change a table in memory for reading (shm.Config.PeersReadOnly, guard.FileRead) fault (guard.ReadOnly).
//
// It panics with a *guard.Violation if ref lies outside the memory that a has handed out, and as NewMap does if K or V
// contains Go pointers.
//
// A Map that Attach returned becomes invalid when the arena is reset, closed, or rewound to a Mark older than the
// Attach or than the growth that this Map did last. If a Rewind frees memory of the table, do not use the others that
// are attached to it either.
//
// Cost: some microseconds, and 30 more for each million entries. Each Attach takes some 200 bytes on the Go heap
// until the arena is reset: so attach once, and keep the Map.
func Attach[K comparable, V any](a *arena.Arena, ref Ref) (*Map[K, V], error) {
	m := new(Map[K, V])
	if err := m.attach(a, "Attach", ref); err != nil {
		return nil, err
	}
	m.watch(true)
	return m, nil
}

// AttachStrings is Attach for a table whose keys are strings.
func AttachStrings[V any](a *arena.Arena, ref Ref) (*Strings[V], error) {
	m := new(Strings[V])
	if err := m.attach(a, "AttachStrings", ref); err != nil {
		return nil, err
	}
	m.watch(true)
	return m, nil
}

// rootMark begins every root: so Attach knows one.
const rootMark = 0x656c62617468666f // "ofhtable"

// attach makes t a table at ref. op is named in errors.
func (t *typed[K, V]) attach(a *arena.Arena, op string, ref Ref) error {
	mustBeOpen(a, op)
	if ref.IsNil() {
		return fmt.Errorf("table: %s: the Ref is nil", op)
	}
	if err := t.prepare(a, op); err != nil {
		return err
	}
	r := ref.root.Deref(a)
	if r.mark != rootMark || r.layout.IsNil() || r.layoutSize > typelayout.MaxLen {
		return fmt.Errorf("table: %s: the Ref does not name a table", op)
	}
	if kind := t.hasher.typ(); r.kind != t.hasher.kind && (r.kind == byStoredHash || t.hasher.kind == byStoredHash) {
		return fmt.Errorf("table: %s: the Ref does not name a %s: %w", op, kind, ErrLayout)
	}
	stored := r.layout.Slice(a, int(r.layoutSize))
	if err := typelayout.Compare(string(stored), typelayout.Describe(reflect.TypeFor[slot[K, V]]())); err != nil {
		return fmt.Errorf("table: %s: %w: %w", op, ErrLayout, err)
	}
	t.root = r
	if err := t.validate(); err != nil {
		return fmt.Errorf("table: %s: the table is damaged: %w", op, err)
	}
	t.watchArena()
	return nil
}

// validate checks that all memory that the root and the leaves name lies in what the arena has handed out, so that no
// search or insertion touches other memory, whatever the bytes of the table are. It does not look at entries: those
// of a damaged table may be any, and the keys of a Strings must be as it wrote them.
func (t *typed[K, V]) validate() error {
	r := t.root
	if r.shift > lastShift(t.slotSize) || r.inBlock != 1<<r.shift-1 || r.nothing != [2]uint64{} {
		return errors.New("its blocks have no possible size")
	}
	if r.leaves == 0 || r.leaves > maxLeaves || r.mask != 1<<bits.Len32(r.leaves-1)-1 || r.half != (r.mask+1)/2 || uint64(r.leaves) > r.dirCap {
		return fmt.Errorf("%d leaves, mask %#x, half %#x, room for %d", r.leaves, r.mask, r.half, r.dirCap)
	}
	size, rootSize, known := uint64(t.blockSize()), uint64(t.hasher.rootSize()), uint64(0) // all up to known is handed out
	inside := func(off, n, size uint64) bool {
		if off%blockUnit != 0 || off < rootSize || n > maxOffset/size || off > maxOffset-n*size {
			return false
		}
		end := off + n*size
		if end > known && t.handedOut(end) {
			known = end
		}
		return end <= known
	}
	if !inside(r.dir, r.dirCap, uint64(leafSize)) {
		return fmt.Errorf("%d leaves at offset %d", r.dirCap, r.dir)
	}
	if r.fresh > r.freshEnd || (r.freshEnd-r.fresh)%size != 0 || r.freshEnd != 0 && !inside(r.fresh, (r.freshEnd-r.fresh)/size, size) {
		return fmt.Errorf("unused blocks from offset %d to %d", r.fresh, r.freshEnd)
	}
	count, blocks := uint64(0), t.freeBlocks()
	for number := range r.leaves {
		l := r.leafAt(number)
		n := l.groups >> r.shift
		if l.groups&r.inBlock != 0 || n > leafBlocks || l.groups > r.lastSize || uint64(l.count) > uint64(l.groups)*groupSlots {
			return fmt.Errorf("leaf %d has %d groups, %d entries", number, l.groups, l.count)
		}
		for i, block := range l.blocks {
			if (block != 0) != (uint32(i) < n) || block != 0 && !inside(uint64(block)*blockUnit, 1, size) {
				return fmt.Errorf("leaf %d of %d groups has the block %d", number, l.groups, block)
			}
		}
		count += uint64(l.count)
		blocks += uint64(n)
	}
	if count != r.count || blocks != r.blocks || r.count > r.assured() || r.expandAt > r.assured() || r.lastSize > maxLeafGroups || r.count > 0 && r.lastSize == 0 {
		return fmt.Errorf("%d entries and %d blocks are there, its counts are %d and %d", count, blocks, r.count, r.blocks)
	}
	free := r.free
	for range r.freeCount {
		if free == 0 || !inside(uint64(free)*blockUnit, 1, size) {
			return fmt.Errorf("a free block %d", free)
		}
		free = *(*uint32)(t.at(uint64(free) * blockUnit))
	}
	if free != 0 {
		return fmt.Errorf("more than %d free blocks", r.freeCount)
	}
	return nil
}

// handedOut tells whether the arena has handed out all memory from the root to an offset.
func (t *typed[K, V]) handedOut(end uint64) (yes bool) {
	if end > math.MaxInt {
		return false
	}
	defer func() { yes = recover() == nil }() // Slice panics otherwise
	arena.RefOf(t.arena, (*byte)(t.base())).Slice(t.arena, int(end))
	return true
}

// describe stores the layout of the entries.
func (t *typed[K, V]) describe(layout string) error {
	b, err := t.arena.TryAlloc(len(layout), 1)
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	copy(b, layout)
	r := t.root
	r.mark, r.kind = rootMark, t.hasher.kind
	r.layout, r.layoutSize = arena.RefOf(t.arena, unsafe.SliceData(b)), uint64(len(b))
	t.watchArena()
	return nil
}
