package sampled

import (
	"bytes"
	"slices"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// The owners of the tests; nobody else uses the package here.
const (
	alice = uintptr(iota + 1)
	bob
)

// alloc makes an object that must be.
func alloc(t *testing.T, owner uintptr, size, align int) unsafe.Pointer {
	t.Helper()
	p, ok := Alloc(owner, "owner", size, align)
	if !ok {
		t.Fatalf("%d bytes aligned to %d: no slot", size, align)
	}
	return p
}

// free frees an object that must be one, and whole.
func free(t *testing.T, owner uintptr, p unsafe.Pointer) {
	t.Helper()
	if at, overrun, ok := Free(owner, p); !ok || overrun {
		t.Fatalf("free of an object: overrun %v at %d, ok %v", overrun, at, ok)
	}
}

// expectLive wants an owner to have so many objects and bytes.
func expectLive(t *testing.T, owner uintptr, objects, size int) {
	t.Helper()
	n, b, committed := Live(owner)
	if n != objects || b != size || committed < b || committed%region.PageSize() != 0 {
		t.Errorf("owner %d has %d objects, %d bytes, %d committed; want %d and %d", owner, n, b, committed, objects, size)
	}
}

// refused wants all calls to find no object at p.
func refused(t *testing.T, why string, owner uintptr, p unsafe.Pointer) {
	t.Helper()
	if _, ok := Size(owner, p); ok {
		t.Errorf("%s has a size", why)
	}
	if _, _, ok := Name(owner, p); ok {
		t.Errorf("%s has a name", why)
	}
	if _, _, ok := Free(owner, p); ok {
		t.Errorf("%s is freed", why)
	}
}

func bytesAt(p unsafe.Pointer, size int) []byte { return unsafe.Slice((*byte)(p), size) }

// TestObjects follows an object through its life; calls of another owner, and with other addresses, are refused.
func TestObjects(t *testing.T) {
	local := new(byte)
	refused(t, "an object of Go's", alice, unsafe.Pointer(local))
	for _, size := range []int{0, 1, 16, 100, 4096, 5000, MostSize} {
		p := alloc(t, alice, size, 16)
		b := bytesAt(p, size)
		if !bytes.Equal(b, make([]byte, size)) {
			t.Errorf("%d bytes are not zero", size)
		}
		for i := range b {
			b[i] = 7
		}
		if n, ok := Size(alice, p); !ok || n != size {
			t.Errorf("Size is %d, %v; want %d", n, ok, size)
		}
		if !Holds(p) || Holds(unsafe.Pointer(local)) {
			t.Errorf("Holds: %v for an object, %v for Go memory", Holds(p), Holds(unsafe.Pointer(local)))
		}
		if mine, other := Owner(p), Owner(unsafe.Pointer(local)); mine != alice || other != 0 {
			t.Errorf("Owner: %d for an object, %d for Go memory", mine, other)
		}
		expectLive(t, alice, 1, size)
		expectLive(t, bob, 0, 0)
		refused(t, "the object of another owner", bob, p)
		refused(t, "what is no start", alice, unsafe.Add(p, 1))
		free(t, alice, p)
		refused(t, "what was freed", alice, p)
		if Owner(p) != alice || !Holds(p) {
			t.Errorf("what was freed is owned by %d, held: %v", Owner(p), Holds(p))
		}
		expectLive(t, alice, 0, 0)
	}
}

// TestNames names objects: no two objects have the same name, also in the same slot.
func TestNames(t *testing.T) {
	type name struct{ slot, generation uint32 }
	seen := map[name]bool{}
	for range 3 * Slots() {
		p := alloc(t, alice, 24, 16)
		slot, generation, ok := Name(alice, p)
		if !ok || seen[name{slot, generation}] || generation == 0 {
			t.Fatalf("slot %d, generation %d, %v; seen %v", slot, generation, ok, seen[name{slot, generation}])
		}
		seen[name{slot, generation}] = true
		if q, ok := Named(alice, slot, generation); !ok || q != p {
			t.Fatalf("the name is that of %p, %v; want %p", q, ok, p)
		}
		for _, other := range []name{{slot, generation - 1}, {slot, generation + 1}, {slot + 1, generation}, {uint32(Slots()), generation}} {
			if q, ok := Named(alice, other.slot, other.generation); ok {
				t.Fatalf("%v names %p, the object is %v", other, q, name{slot, generation})
			}
		}
		if _, ok := Named(bob, slot, generation); ok {
			t.Fatal("the name is good for another owner")
		}
		free(t, alice, p)
		if _, ok := Named(alice, slot, generation); ok {
			t.Fatal("the name of what was freed is good")
		}
	}
	if want := 3 * Slots(); len(seen) != want {
		t.Errorf("%d names for %d objects", len(seen), want)
	}
}

// TestOwners fills the slots with objects of two owners, iterates over the objects of one, and closes it.
func TestOwners(t *testing.T) {
	objects := map[uintptr][]unsafe.Pointer{}
	sizes := map[uintptr]int{}
	for i := range Slots() {
		owner := alice
		if i%3 == 0 {
			owner = bob
		}
		objects[owner] = append(objects[owner], alloc(t, owner, i, 16))
		sizes[owner] += i
	}
	if _, ok := Alloc(alice, "owner", 1, 16); ok {
		t.Error("there are more slots than there should be")
	}
	for owner, want := range objects {
		expectLive(t, owner, len(want), sizes[owner])
		if got := slices.Collect(Objects(owner)); !sameSet(got, want) {
			t.Errorf("%d objects, want %d", len(got), len(want))
		}
	}
	met := 0
	for p := range Objects(alice) { // free some while they are met
		free(t, alice, p)
		if met++; met == 10 {
			break
		}
	}
	if n, _, _ := Live(alice); n != len(objects[alice])-met || met != 10 {
		t.Errorf("%d objects after %d of %d were freed", n, met, len(objects[alice]))
	}
	p := objects[alice][20]
	size, ok := Size(alice, p)
	off := beside(p, size)
	*(*byte)(unsafe.Add(p, off)) ^= 1
	if at, overrun, _ := Free(alice, p); !ok || !overrun || at != off {
		t.Errorf("free after a write at %d of %d: overrun %v at %d", off, size, overrun, at)
	}
	Close(alice) // overrun or not
	expectLive(t, alice, 0, 0)
	expectLive(t, bob, len(objects[bob]), sizes[bob])
	Close(bob)
	expectLive(t, bob, 0, 0)
	Close(bob)
}

func sameSet(a, b []unsafe.Pointer) bool {
	in := map[unsafe.Pointer]bool{}
	for _, p := range a {
		in[p] = true
	}
	for _, p := range b {
		if !in[p] {
			return false
		}
	}
	return len(a) == len(b) && len(in) == len(a)
}

// beside is where a canary is that touches an object, from its start.
func beside(p unsafe.Pointer, size int) int {
	if uintptr(p)%uintptr(region.PageSize()) == 0 {
		return size
	}
	return -1
}

// TestOverruns writes to each byte that is beside an object on its OS pages. Free says which, and the
// object stays.
func TestOverruns(t *testing.T) {
	page := region.PageSize()
	for _, size := range []int{1, 17, page - 1, page, page + 100} {
		for range 4 { // at the start of a slot or at its end
			p := alloc(t, alice, size, 16)
			start := -int(uintptr(p) % uintptr(page))
			end := start + (size-start+page-1)/page*page
			for off := start; off < end; off++ {
				if off == 0 {
					off = size
				}
				if off == end {
					break
				}
				*(*byte)(unsafe.Add(p, off)) ^= 0x10
				if at, overrun, ok := Free(alice, p); !ok || !overrun || at != off {
					t.Fatalf("free after a write at %d of %d: overrun %v at %d, ok %v", off, size, overrun, at, ok)
				}
				*(*byte)(unsafe.Add(p, off)) ^= 0x10
			}
			if n, ok := Size(alice, p); !ok || n != size {
				t.Fatalf("the object has %d bytes, %v; want %d", n, ok, size)
			}
			free(t, alice, p)
		}
	}
}

// TestPlace checks that no place lies outside its slot, or is misaligned.
func TestPlace(t *testing.T) {
	mustSet(t, Sampling{Seed: 1})
	base := uintptr(region.PageSize()) * 1001
	page := uintptr(region.PageSize()) - 1
	sides := map[bool]int{}
	for i := range uintptr(32) {
		start := base + i*stride
		for align := 1; align <= 64<<10; align *= 2 {
			sizes := []int{0, 1, 15, 16, 17, 4095, 4096, 4097, 64 << 10, 64<<10 + 1, MostSize - 64<<10, MostSize - align, MostSize - 16, MostSize - 1, MostSize}
			for _, size := range sizes {
				at, ok := place(start, size, align)
				if !ok {
					if size+align-1 <= MostSize {
						t.Errorf("%d bytes aligned to %d do not fit", size, align)
					}
					continue
				}
				lo, hi := start+aside, start+aside+MostSize
				if at < lo || at+uintptr(size) > hi || at%uintptr(align) != 0 {
					t.Fatalf("%d bytes aligned to %d lie at %d of a slot", size, align, int(at-start))
				}
				if from, to := at&^page, (at+uintptr(size)+page)&^page; from < start&^page || to > (start+stride+page)&^page {
					t.Fatalf("%d bytes aligned to %d at %d lie on OS pages of another slot", size, align, int(at-start))
				}
				sides[hi-at-uintptr(size) < uintptr(align)]++
			}
		}
	}
	if sides[true] < 1000 || sides[false] < 1000 {
		t.Errorf("%d lie at the end, %d at the start", sides[true], sides[false])
	}
}

// TestAligned allocates objects of every alignment.
func TestAligned(t *testing.T) {
	for align := 16; align <= 64<<10; align *= 2 {
		for range 8 {
			p := alloc(t, alice, 100, align)
			if uintptr(p)%uintptr(align) != 0 {
				t.Errorf("%p is not aligned to %d", p, align)
			}
			free(t, alice, p)
		}
	}
}

// TestSitesAreBounded allocates and frees on more stacks than are kept.
func TestSitesAreBounded(t *testing.T) {
	const owner, deep = 2, 13
	var by func(path, calls int)
	by = func(path, calls int) {
		switch {
		case calls == 0:
			if p, ok := Alloc(owner, "test", 1, 1); !ok {
				t.Error("no object")
			} else if _, _, ok := Free(owner, p); !ok {
				t.Error("not freed")
			}
		case path&1 == 0:
			by(path>>1, calls-1)
		default:
			by(path>>1, calls-1)
		}
	}
	most := 0
	for path := range mostSites + 10 {
		by(path, deep)
		most = max(most, len(opened.Load().sites))
	}
	if most != mostSites {
		t.Errorf("%d stacks were kept, want %d", most, mostSites)
	}
}
