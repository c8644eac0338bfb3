package slab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// open opens a heap that is closed, and checked, when the test ends.
func open(t testing.TB, c Config) *Heap {
	t.Helper()
	before := ours()
	h, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Helper()
		if err := h.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
		if after := ours(); after != before {
			t.Errorf("something is left behind:\nbefore %+v\nafter  %+v", before, after)
		}
	})
	return h
}

// usage counts regions and their bytes.
type usage struct {
	regions             int
	committed, reserved int64
}

// ours returns the usage of the open heaps, without guarded slots, which stay for good.
func ours() (u usage) {
	for r := range guard.Regions() {
		if r.Name != "sampled" {
			u.regions++
			u.committed += r.Committed
			u.reserved += r.Reserved
		}
	}
	return u
}

// held is an object that a test holds, filled with bytes of its own.
type held struct {
	b    []byte
	seed byte
	ref  Ref // zero if none was made
}

// places are the bytes of an object that a test looks at: all of a small one; of a large one the
// ends, where neighbours write, and some between.
func places(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n; i++ {
			if n > 4<<10 && i > 1<<10 && i < n-1<<10 {
				i = min(i+997, n-1<<10)
			}
			if !yield(i) {
				return
			}
		}
	}
}

func fill(b []byte, seed byte) {
	for i := range places(len(b)) {
		b[i] = seed + byte(i)
	}
}

func (o held) verify() error {
	for i := range places(len(o.b)) {
		if o.b[i] != o.seed+byte(i) {
			return fmt.Errorf("byte %d of %d was changed", i, len(o.b))
		}
	}
	return nil
}

func zero(b []byte) error {
	b = b[:cap(b)]
	for i := range places(len(b)) {
		if b[i] != 0 {
			return fmt.Errorf("byte %d of %d is %#x", i, len(b), b[i])
		}
	}
	return nil
}

// run plays a history against a model: every byte of every object is known.
func run(t testing.TB, data []byte, hardened bool) {
	h := open(t, Config{Reserve: 256 << 20, Limit: 64 << 20, Hardened: hardened})
	locals := []*Local{h.Local()}
	var live []held
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		x := int(data[0])
		data = data[1:]
		return x
	}
	size := func() int {
		n := next() | next()<<8
		switch next() % 64 {
		case 0:
			n *= 53 // up to 3 MiB
		case 1, 2, 3, 4:
			n *= 5
		case 5, 6, 7, 8, 9, 10, 11, 12, 13, 14:
		default:
			n %= 700
		}
		return n
	}
	took := func(b []byte, err error, size int, zeroed bool) {
		t.Helper()
		if err != nil {
			if !errors.Is(err, guard.ErrNoMemory) {
				t.Fatal(err)
			}
			return
		}
		if len(b) != size || zeroed && zero(b) != nil {
			t.Fatalf("%d bytes for %d: %v", len(b), size, zero(b))
		}
		o := held{b: b, seed: byte(len(live)*31 + 7)}
		fill(b, o.seed)
		if next()%3 == 0 {
			o.ref = h.Ref(b)
		}
		live = append(live, o)
	}
	var stale []Ref
	follow := func(o held) {
		t.Helper()
		if b, ok := h.TryBytes(o.ref); ok == o.ref.IsNil() || ok && (addr(b) != addr(o.b) || len(b) != h.Size(o.b) || h.Ref(b) != o.ref) {
			t.Fatalf("the reference %#x of %d bytes at %p leads to %d at %p", o.ref.word, len(o.b), addr(o.b), len(b), addr(b))
		}
	}
	gone := func(o held) {
		if !o.ref.IsNil() {
			stale = append(stale, o.ref)
		}
	}
	refuse := func(refs []Ref) {
		t.Helper()
		for _, r := range refs {
			if _, ok := h.TryBytes(r); ok {
				t.Fatalf("the stale reference %#x is good", r.word)
			}
		}
	}
	take := func() (o held, ok bool) {
		if len(live) == 0 {
			return held{}, false
		}
		i := (next() | next()<<8) % len(live)
		o = live[i]
		if err := o.verify(); err != nil {
			t.Fatal(err)
		}
		follow(o)
		live[i] = live[len(live)-1]
		live = live[:len(live)-1]
		return o, true
	}
	give := func() (b []byte, ok bool) { // to be freed
		o, ok := take()
		gone(o)
		return o.b, ok
	}
	for len(data) > 0 {
		l := locals[next()%len(locals)]
		switch next() % 16 {
		case 0, 1, 2:
			n := size()
			b, err := h.TryAlloc(n, 8)
			took(b, err, n, true)
		case 3, 4:
			n := size()
			b, err := l.TryAlloc(n, 8)
			took(b, err, n, true)
		case 5:
			n := size()
			b, err := l.TryAllocDirty(n, 8)
			took(b, err, n, false)
		case 6:
			n, align := size(), 1<<(next()%21)
			b, err := h.TryAlloc(n, align)
			if err == nil && address(b)%uintptr(align) != 0 {
				t.Fatalf("%d bytes at %#x are not aligned to %d", n, address(b), align)
			}
			took(b, err, n, true)
		case 7:
			if o, ok := take(); ok {
				n := size()
				was, seed := len(o.b), o.seed
				out, err := h.TryRealloc(o.b, n)
				if err != nil {
					follow(o)
					live = append(live, o)
					break
				}
				if addr(out) != addr(o.b) {
					gone(o)
					o.ref = Ref{}
				}
				for i := range places(was) {
					if i < n && out[i] != seed+byte(i) {
						t.Fatalf("byte %d was lost from %d to %d bytes", i, was, n)
					}
				}
				if n > was && zero(out[was:n:n]) != nil {
					t.Fatalf("grown from %d to %d: %v", was, n, zero(out[was:n:n]))
				}
				fill(out, seed)
				o.b = out
				live = append(live, o)
			}
		case 8:
			if len(locals) < 4 {
				locals = append(locals, h.Local())
			} else {
				if err := locals[3].Close(); err != nil {
					t.Fatal(err)
				}
				locals = locals[:3]
			}
		case 9:
			switch next() % 64 {
			case 0, 1, 2, 3, 4, 5, 6:
				if err := h.Purge(); err != nil {
					t.Fatal(err)
				}
				h.check()
			case 7:
				for _, o := range live {
					if err := o.verify(); err != nil {
						t.Fatal(err)
					}
					follow(o)
					gone(o)
				}
				live = live[:0]
				h.Reset()
				h.check()
				refuse(stale)
			}
			refuse(stale[max(0, len(stale)-100):])
		case 10, 11, 12:
			if b, ok := give(); ok {
				h.Free(b)
			}
		case 13, 14:
			if b, ok := give(); ok {
				l.Free(b)
			}
		case 15:
			many := make([][]byte, next()%200)
			if next()%2 == 0 {
				size := size()
				n, err := h.TryAllocN(many, size, 8)
				for _, b := range many[:n] {
					took(b, nil, size, true)
				}
				if err != nil && !errors.Is(err, guard.ErrNoMemory) {
					t.Fatal(err)
				}
				break
			}
			for i := range many {
				many[i], _ = give() // nil when there are no more: freeing it does nothing
			}
			h.FreeN(many)
		}
	}
	sum := int64(0)
	for _, o := range live {
		sum += int64(h.Size(o.b))
	}
	if s := h.Stats(); s.Live < sum || s.Live > sum && !hardened || s.Live > s.Committed || s.Committed > s.Reserved || resident(t, h) > s.Committed {
		t.Fatalf("%d bytes are live: %+v", sum, s)
	}
	for _, o := range live {
		if err := o.verify(); err != nil {
			t.Fatal(err)
		}
		follow(o)
		gone(o)
		h.Free(o.b)
	}
	refuse(stale)
	for _, l := range locals {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	h.check()
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	h.check()
	if s := h.Stats(); s.Live != 0 || s.Cached != 0 || s.Free != 0 || len(s.Classes) != 0 || h.region.Committed() != 0 {
		t.Fatalf("after all were freed and purged: %+v", s)
	}
}

func FuzzHeap(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{10, 11, 100, 101, 500, 501, 1000, 1001} {
		b := make([]byte, n)
		for i := 0; i+8 <= n; i += 8 {
			binary.LittleEndian.PutUint64(b[i:], r.Uint64())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		run(t, data[:min(len(data), 1000)], len(data)%2 == 1)
	})
}

// TestModel plays long random histories.
func TestModel(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 3))
		data := make([]byte, rounds(20000))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		run(t, data, seed%2 == 1)
	}
}
