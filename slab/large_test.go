package slab

import (
	"errors"
	"math"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// TestLargeGrows resizes a large object: it holds what it held, what is new reads zero, and the
// kernel moves it now and then.
func TestLargeGrows(t *testing.T) {
	h := open(t, Config{})
	before := h.Stats()
	b := h.Alloc(2<<20+1, 8)
	fill := func(from int) {
		for i := from; i < len(b); i += 1000 {
			b[i] = byte(i/1000) | 1
		}
	}
	fill(0)
	filled, moves := len(b), 0
	count := vm.Inject(vm.Mremap, 0, nil)
	for _, size := range []int{2<<20 + 5, 3 << 20, 5 << 20, 9 << 20, 9<<20 + 4097, 30 << 20, 12 << 20, 31 << 20, 64 << 20, 1<<20 + 1, 2 << 20} {
		was := address(b)
		b = h.Realloc(b, size)
		if address(b) != was {
			moves++
		}
		shrunk := size <= filled && address(b) == was // then the capacity ends with it
		if len(b) != size || cap(b) < size || h.Size(b) != cap(b) && !(shrunk && cap(b) == size) {
			t.Fatalf("%d bytes, room for %d, Size %d; want %d", len(b), cap(b), h.Size(b), size)
		}
		for i := range min(filled, size) {
			if want := byte(i/1000) | 1; i%1000 == 0 && b[i] != want {
				t.Fatalf("%d bytes: byte %d is %d, want %d", size, i, b[i], want)
			}
		}
		for i := filled; i < size; i++ {
			if b[i] != 0 {
				t.Fatalf("%d bytes: byte %d is new and %d", size, i, b[i])
			}
		}
		clear(b[min(filled, size):])
		for i := range b[:cap(b)] {
			if i >= size {
				b[:cap(b)][i] = 0xff // the user may write to all of it; what grows reads zero all the same
			}
		}
		first := min(filled, size)
		for first%1000 != 0 {
			first++
		}
		fill(first)
		filled = size
		if s := h.Stats(); s.Live-before.Live != int64(h.Size(b)) || s.Committed < s.Live {
			t.Fatalf("%d bytes: %+v", size, s)
		}
	}
	if n := count(); moves < 2 || moves > 5 || n < moves {
		t.Errorf("it moved %d times, by the kernel %d mappings", moves, n)
	}
	h.Free(b)
	if s := h.Stats(); s.Live != before.Live {
		t.Errorf("%+v", s)
	}
	h.check()
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	if l := &h.large; len(l.objects) != 0 || l.bytes != 0 || h.account.Bytes() != 0 {
		t.Errorf("%d large objects of %d bytes; %d charged", len(l.objects), l.bytes, h.account.Bytes())
	}
}

// TestLargeGrowsToTheLimit checks that an object that cannot grow is as it was.
func TestLargeGrowsToTheLimit(t *testing.T) {
	h := open(t, Config{Limit: 8 << 20})
	b := h.Alloc(3<<20, 8)
	b[0], b[len(b)-1] = 1, 2
	for _, size := range []int{9 << 20, math.MaxInt} {
		if _, err := h.TryRealloc(b, size); !errors.Is(err, guard.ErrNoMemory) {
			t.Errorf("%d: %v", size, err)
		}
	}
	if h.Size(b) != len(b) || b[0] != 1 || b[len(b)-1] != 2 {
		t.Error("it has changed")
	}
	b = h.Realloc(b, 8<<20)
	if b[0] != 1 || b[3<<20-1] != 2 || b[3<<20] != 0 {
		t.Error("other contents")
	}
	h.Free(b)
}

// TestFreeOfALargeObjectFaults makes the memory around a large object inaccessible: Free, which
// looks at it, holds no lock then, and the object stays.
func TestFreeOfALargeObjectFaults(t *testing.T) {
	h := open(t, Config{Hardened: true})
	b := h.Alloc(2<<20+100, 8)
	r := h.large.objects[address(b)].region
	if err := r.Protect(0, r.Size(), guard.None); err != nil {
		t.Fatal(err)
	}
	var fault *guard.Fault
	if err := guard.Catch(func() { h.Free(b) }); !errors.As(err, &fault) {
		t.Fatal(err)
	}
	if !h.large.mu.TryLock() {
		t.Fatal("the lock is held")
	}
	h.large.mu.Unlock()
	if err := r.Protect(0, r.Size(), guard.ReadWrite); err != nil {
		t.Fatal(err)
	}
	h.Free(b)
	if s := h.Stats(); s.Live != 0 {
		t.Errorf("%+v", s)
	}
}
