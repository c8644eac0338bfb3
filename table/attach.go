package table

import (
	"errors"
	"fmt"
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
//   - that wraps ErrLayout, and names the first field of K or V that differs, if the map was made with other types: the names of fields, their order, kinds, sizes and places
//     must be the same, the names of types need not;
//   - that wraps ErrLayout if ref names a Strings;
//   - if ref is the zero Ref, or names no table.
//
// It panics with a *guard.Violation if ref lies outside of what a has handed out, and as NewMap does if K or V
// contains Go pointers.
//
// A Map that Attach returned becomes invalid when the arena is reset, closed, or rewound to a Mark older than the
// Attach or than the growth that this Map did last. If a Rewind frees memory of the table, do not use the others that
// are attached to it either.
//
// Cost: some microseconds, whatever the size of the map. Each Attach takes some hundred bytes on the Go heap until
// the arena is reset: so keep the Map for the next use.
func Attach[K comparable, V any](a *arena.Arena, ref Ref) (*Map[K, V], error) {
	m := new(Map[K, V])
	if err := m.attach(a, "Attach", ref); err != nil {
		return nil, err
	}
	return m, nil
}

// AttachStrings is Attach for a table whose keys are strings.
func AttachStrings[V any](a *arena.Arena, ref Ref) (*Strings[V], error) {
	m := new(Strings[V])
	if err := m.attach(a, "AttachStrings", ref); err != nil {
		return nil, err
	}
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
	t.watchArena()
	return nil
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
