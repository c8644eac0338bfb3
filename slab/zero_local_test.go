package slab

import (
	"reflect"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
)

// TestOutsideZeroLocal calls the methods of Locals that no heap made.
func TestOutsideZeroLocal(t *testing.T) {
	h := open(t, Config{})
	b := h.Alloc(100, 8)
	for name, l := range map[string]*Local{"zero": {}, "nil": nil} {
		for op, call := range map[string]func(){
			"Alloc 1": func() { l.Alloc(100, 8) },
			"Alloc 2": func() { l.AllocDirty(100, 8) },
			"Alloc 3": func() { l.AllocDirty(2<<20, 8) },
			"Alloc 4": func() { _, _ = l.TryAlloc(0, 8) },
			"Alloc 5": func() { _, _ = l.TryAllocDirty(-1, 8) },
			"Free 1":  func() { l.Free(b) },
			"Free 2":  func() { l.Free(make([]byte, 1)) },
			"Free 3":  func() { l.Free(nil) }, // as that of a Heap
			"Close 1": func() { _ = l.Close() },
		} {
			expectZero(t, name+" Local", op, call, "use of a zero value: Heap.Local makes a Local")
		}
	}
	h.Free(b)
}

// TestOutsideZeroPool calls the methods of Pools that nobody opened.
func TestOutsideZeroPool(t *testing.T) {
	p := poolFor[order](t, Config{})
	x := p.Get()
	handle := HandleOf(p, x)
	for name, q := range map[string]*Pool[order]{"zero": {}, "nil": nil} {
		for op, call := range map[string]func(){
			"Get 1":      func() { q.Get() },
			"Get 2":      func() { _, _ = q.TryGet() },
			"Put 1":      func() { q.Put(x) },
			"Put 2":      func() { q.Put(new(order)) },
			"Put 3":      func() { q.Put(nil) },
			"HandleOf 1": func() { HandleOf(q, x) },
			"Deref 1":    func() { handle.Deref(q) },
			"Deref 2":    func() { Handle[order]{}.Deref(q) },
			"Deref 3":    func() { Handle[order]{at: sampledHandles, generation: 1}.Deref(q) },
			"All 1": func() {
				for range q.All() {
				}
			},
			"Len 1":       func() { q.Len() },
			"Stats 1":     func() { q.Stats() },
			"Purge 1":     func() { _ = q.Purge() },
			"Close 1":     func() { _ = q.Close() },
			"RaceWrite 1": func() { q.RaceWrite(x) },
		} {
			expectZero(t, name+" Pool", op, call, "use of a zero value: slab.OpenPool makes a Pool")
		}
		if !HandleOf(q, nil).IsNil() {
			t.Error("nil has a handle")
		}
	}
	p.Put(x)
}

// expectZero wants a violation of an operation, whose name ends before a space.
func expectZero(t *testing.T, who, op string, call func(), what string) {
	t.Helper()
	want := "slab." + op[:len(op)-2]
	if v := violationOf(t, call); v == nil || v.Op != want || said(v) != what {
		t.Errorf("%s, %s: %v", who, op, v)
	}
}

// TestOutsideCopiesAreReported looks for what vet looks for: a field that must not be copied, for its
// pointer has Lock and Unlock. That there is a mutex besides is not enough: it may go.
func TestOutsideCopiesAreReported(t *testing.T) {
	for _, x := range []reflect.Type{reflect.TypeFor[Local](), reflect.TypeFor[Pool[int]]()} {
		found := false
		for i := range x.NumField() {
			found = found || x.Field(i).Type == reflect.TypeFor[nocopy.NoCopy]()
		}
		if !found {
			t.Errorf("vet reports no copies of %v", x)
		}
	}
}
