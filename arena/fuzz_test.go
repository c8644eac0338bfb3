package arena

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// FuzzArena reads its input as operations: one byte for the Config, then three bytes for each. It does them to an
// arena and to a model, which has a copy of every object, the marks, and the callbacks that are to be called.
func FuzzArena(f *testing.F) {
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 || len(input) > 3000 {
			return
		}
		m := newModel(t, input[0])
		for step := input[1:]; len(step) >= 3; step = step[3:] {
			m.do(step[0], step[1], step[2])
			m.a.check()
			if m.steps++; m.steps%16 == 0 {
				m.verify()
			}
		}
		m.verify()
		if err := m.a.Close(); err != nil {
			t.Fatal(err)
		}
		m.called(0)
		if got := guard.Usage(); got.Regions != m.before.Regions || got.Committed != m.before.Committed {
			t.Fatalf("something is left behind: before %+v, after %+v", m.before, got)
		}
	})
}

type model struct {
	t       *testing.T
	a       *Arena
	before  guard.Totals
	steps   int
	fill    byte
	objects []shadow
	marks   []marked
	rewinds int // since the last reset; the arena remembers as many as matter, up to 16

	// Callbacks that are registered, the oldest first; and those that were called since the last check.
	waiting, ran []int
	next         int
}

// shadow is an object and the bytes that it must contain.
type shadow struct {
	live []byte
	want []byte
}

type marked struct {
	mark    Mark
	waiting int // callbacks that were to be called
	// registered is how many callbacks there ever were, cancelled ones included.
	registered int
	stale      bool
}

func newModel(t *testing.T, config byte) *model {
	m := &model{t: t, before: guard.Usage()}
	c := Config{Reserve: 16 << 20, Retain: 4 << 10, HugePages: config&1 != 0, Prefault: config&2 != 0}
	c.Limit = []int{0, 1 << 20, 100_001, 4096}[config>>2&3]
	var err error
	if m.a, err = Open(c); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *model) do(op, lo, hi byte) {
	n := int(lo) | int(hi)<<8
	switch op % 17 {
	case 0:
		m.add("New", 8, func() []byte { return New[[8]byte](m.a)[:] })
	case 1:
		m.add("New", 5, func() []byte { return New[[5]byte](m.a)[:] })
	case 2:
		m.add("New", 64, func() []byte { return New[[64]byte](m.a)[:] })
	case 3:
		m.add("MakeSlice", n, func() []byte { return MakeSlice[byte](m.a, n/2, n)[:n] })
	case 4:
		align := 1 << (n % 13)
		b := m.add("Alloc", n/13, func() []byte { return m.a.Alloc(n/13, align) })
		if b != nil && uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(align) != 0 {
			m.t.Fatalf("%d bytes at %p are not aligned to %d", len(b), b, align)
		}
	case 5, 6:
		text := bytes.Repeat([]byte{lo | 1}, n>>4)
		m.copied("String or Clone", text, func() []byte {
			if op%17 == 6 {
				return Clone(m.a, text)
			}
			s := String(m.a, string(text))
			return unsafe.Slice(unsafe.StringData(s), len(s))
		})
	case 7, 8:
		m.append(int(lo), int(hi), op%17 == 8)
	case 9:
		m.marks = append(m.marks, marked{mark: m.a.Mark(), waiting: len(m.waiting), registered: m.next})
	case 10:
		if len(m.marks) > 0 {
			m.rewind(&m.marks[n%len(m.marks)])
		}
	case 11:
		m.verify()
		m.a.Reset()
		m.called(0)
		m.objects, m.rewinds = nil, 0
		for i := range m.marks {
			m.marks[i].stale = true
		}
	case 12:
		id := m.next
		m.next++
		cancel := m.a.OnReset(func() { m.ran = append(m.ran, id); m.verify() })
		if lo%4 == 3 {
			cancel()
			break
		}
		m.waiting = append(m.waiting, id)
	case 13:
		m.add("Alloc", n*16, func() []byte { return m.a.Alloc(n*16, 8) })
	case 14:
		m.bad(n)
	case 15:
		if len(m.objects) > 0 {
			o := &m.objects[n%len(m.objects)]
			m.overwrite(o)
		}
	case 16:
		if len(m.objects) > 0 {
			m.ref(&m.objects[n%len(m.objects)])
		}
	}
}

// attempt calls f, which allocates. f may fail only if there is no memory of that size, and must change nothing
// then.
func (m *model) attempt(op string, size int, f func() []byte) (b []byte) {
	top, callbacks := m.a.top, len(m.a.onReset)
	if err := panicOf(func() { b = f() }); err != nil {
		if !errors.Is(err, guard.ErrNoMemory) {
			m.t.Fatalf("%s of %d bytes: %v", op, size, err)
		}
		if m.a.top != top || len(m.a.onReset) != callbacks {
			m.t.Fatalf("%s of %d bytes failed and moved the arena", op, size)
		}
		if m.a.top+uintptr(size)+2*4096 < m.a.ceiling && 3*uintptr(size) < m.a.ceiling-m.a.top {
			m.t.Fatalf("%s of %d bytes was refused at %d of %d: %v", op, size, m.a.top, m.a.ceiling, err)
		}
		return nil
	}
	if m.a.top > m.a.ceiling {
		m.t.Fatalf("%s of %d bytes: %d are in use, the limit is %d", op, size, m.a.top, m.a.ceiling)
	}
	return b
}

// add allocates memory that must read as zero.
func (m *model) add(op string, size int, f func() []byte) []byte {
	b := m.attempt(op, size, f)
	if b == nil {
		return nil
	}
	if len(b) != size || cap(b) != size && op != "New" {
		m.t.Fatalf("%s of %d bytes gave %d, capacity %d", op, size, len(b), cap(b))
	}
	mustBeZero(m.t, op, b)
	m.objects = append(m.objects, shadow{live: b})
	m.overwrite(&m.objects[len(m.objects)-1])
	return b
}

// copied allocates memory that must read as want.
func (m *model) copied(op string, want []byte, f func() []byte) {
	if b := m.attempt(op, len(want), f); b != nil {
		if !bytes.Equal(b, want) {
			m.t.Fatalf("%s of %d bytes differs from its original", op, len(want))
		}
		m.objects = append(m.objects, shadow{live: b, want: bytes.Clone(want)})
	}
}

func (m *model) append(which, more int, cut bool) {
	if len(m.objects) == 0 {
		m.objects = append(m.objects, shadow{})
	}
	i := len(m.objects) - 1 - which%len(m.objects)
	o := m.objects[i]
	s := o.live
	if cut {
		s = s[: len(s)/2 : len(s)/2]
	}
	added := bytes.Repeat([]byte{byte(more) | 1}, more)
	want := append(bytes.Clone(o.want[:len(s)]), added...)
	grown := m.attempt("Append", len(want)+cap(s), func() []byte { return Append(m.a, s, added...) })
	if grown == nil {
		return
	}
	if !bytes.Equal(grown, want) {
		m.t.Fatalf("Append of %d to %d bytes: contents differ", more, len(s))
	}
	mustBeZero(m.t, "spare capacity", spare(grown))
	if len(grown) > 0 && unsafe.SliceData(grown) == unsafe.SliceData(s) {
		if cut && more > 0 && len(s) < len(o.live) {
			m.t.Fatalf("Append to the first %d of %d bytes grew in place", len(s), len(o.live))
		}
		if !cut { // the old slice is a part of the new one
			m.objects[i] = shadow{live: grown, want: want}
		}
		return
	}
	m.objects = append(m.objects, shadow{live: grown, want: want})
}

func (m *model) overwrite(o *shadow) {
	m.fill += 2
	for i := range o.live {
		o.live[i] = m.fill + byte(i) | 1
	}
	o.want = bytes.Clone(o.live)
}

func (m *model) verify() {
	for i, o := range m.objects {
		if !bytes.Equal(o.live, o.want) {
			m.t.Fatalf("object %d of %d, %d bytes, was written over", i, len(m.objects), len(o.live))
		}
	}
}

// end returns the offset of the end of an object.
func (m *model) end(o shadow) uintptr {
	if len(o.live) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(o.live))) - uintptr(m.a.base) + uintptr(len(o.live))
}

func (m *model) rewind(to *marked) {
	top := m.a.top
	err := panicOf(func() { m.a.Rewind(to.mark) })
	if to.stale {
		var v *guard.Violation
		if err == nil && m.rewinds > 16 {
			m.t.Skip("a stale mark passed behind more than 16 rewinds, as documented")
		}
		if !errors.As(err, &v) || m.a.top != top {
			m.t.Fatalf("Rewind to a stale mark: %v", err)
		}
		return
	}
	if err != nil || m.a.top != to.mark.off {
		m.t.Fatalf("Rewind to %d led to %d: %v", to.mark.off, m.a.top, err)
	}
	m.rewinds++
	m.called(to.waiting)
	kept := m.objects[:0]
	for _, o := range m.objects {
		if m.end(o) <= to.mark.off {
			kept = append(kept, o)
		}
	}
	m.objects = kept
	m.verify()
	for i := range m.marks {
		o := &m.marks[i]
		o.stale = o.stale || o.mark.off > to.mark.off || o.registered > to.registered
	}
}

// called checks that all callbacks but the first keep were called, the last registered first, each once.
func (m *model) called(keep int) {
	for i := len(m.waiting) - 1; i >= keep; i-- {
		if len(m.ran) == 0 || m.ran[0] != m.waiting[i] {
			m.t.Fatalf("callback %d is to be called, those that were are %v", m.waiting[i], m.ran)
		}
		m.ran = m.ran[1:]
	}
	if len(m.ran) > 0 {
		m.t.Fatalf("callbacks %v were called, and were not to be", m.ran)
	}
	m.waiting = m.waiting[:min(keep, len(m.waiting))]
}

// bad allocates with an invalid size or alignment.
func (m *model) bad(n int) {
	top := m.a.top
	_, e1 := m.a.TryAlloc(-n-1, 8)
	_, e2 := m.a.TryAlloc(n, n&^1|3)
	_, e3 := m.a.TryAlloc(math.MaxInt-n, 1<<(n%22))
	_, e4 := TryMakeSlice[uint64](m.a, n, math.MaxInt/8+1+n)
	_, e5 := TryMakeSlice[uint64](m.a, n+1, n)
	_, e6 := TryMakeSlice[byte](m.a, 0, math.MaxInt-n)
	for i, err := range []error{e1, e2, e3, e4, e5, e6} {
		if err == nil || m.a.top != top {
			m.t.Fatalf("call %d with %d: error %v, top %d then %d", i, n, err, top, m.a.top)
		}
	}
}

func (m *model) ref(o *shadow) {
	if len(o.live) == 0 {
		return
	}
	r := RefOf(m.a, &o.live[0])
	if r.Deref(m.a) != &o.live[0] || !bytes.Equal(r.Slice(m.a, len(o.live)), o.want) {
		m.t.Fatal("a Ref does not lead back")
	}
}
