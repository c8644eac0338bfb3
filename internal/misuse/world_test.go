package misuse

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab"
)

var suites = []suite{
	{"hardened_malloc", true, hardenedMalloc},
	{"OpenBSD malloc_errs", true, openBSD},
	{"isoalloc", true, isoalloc},
	{"snmalloc corruption_detection", true, snmalloc},
	{"slab", true, slabMisuse},
	{"slab.Pool", true, poolMisuse},
	{"arena", false, arenaMisuse},
	{"table", false, tableMisuse},
	{"cache", false, cacheMisuse},
	{"table.Concurrent", false, concurrentMisuse()},
	{"two goroutines", false, goroutinesMisuse},
	{"stack", false, stackMisuse},
	{"stack/native", false, nativeMisuse},
	{"guard", false, regionMisuse},
	{"files", false, fileMisuse},
	{"shm", false, shmMisuse},
	{"ring", false, ringMisuse},
}

const (
	largeSize = 2 << 20 // bytes of an object that has a region of its own

	freedAlready = "double free: freed already, or never allocated"
	interior     = "invalid pointer: not the start of an object"
	otherMemory  = "invalid pointer: into other memory"
	otherSize    = "wrong size: object was asked for with another size"
	behindEnd    = "overrun: object was written to behind its end"
	beforeStart  = "overrun: object was written to before its start"
	afterFree    = "write to free memory: written to after it was freed"

	largeRegion = "heap: large object"

	// nothingTouched is the fault for a touch of an object of no bytes.
	nothingTouched = `fault: guard: touch of a guard in region "heap": address 0xADDR, offset # of #`
)

// pointers returns the panic for a type with pointers.
func pointers(pkg, typ, what string) string {
	return fmt.Sprintf("panic: %s: %s cannot live outside the Go heap: %s, and the garbage collector does not see pointers there", pkg, typ, what)
}

// refused returns the panic for an impossible size or alignment. The three allocators have the same rule and
// the same words.
func refused(pkg string, size, align, most int) string {
	return fmt.Sprintf("panic: %s: %d bytes aligned to %d: the size must not be negative, the alignment a power of two up to %d", pkg, size, align, most)
}

// Errors about a sampled object have the stack of its allocation, and the stack of its free if it is freed.
const (
	allocated = " +allocated"
	freed     = " +freed"
)

// ofSampled returns the violation for a sampled object, at an offset from its start.
func ofSampled(op, what, owner, offset string) string {
	s := violates(op, what, owner, offset) + allocated
	if what == freedAlready {
		s += freed
	}
	return s
}

// overflow returns the fault for a touch at a distance behind the end of a sampled object of this size.
func overflow(owner, beyond, size string) string {
	return fmt.Sprintf("fault: guard: overflow in region %q: address 0xADDR, %s bytes beyond the last of %s", owner, beyond, size) + allocated
}

// underflow returns the fault for a touch at a distance before the start of a sampled object.
func underflow(owner, before, size string) string {
	return fmt.Sprintf("fault: guard: underflow in region %q: address 0xADDR, %s bytes before the first of %s", owner, before, size) + allocated
}

// usedAfterFree returns the fault for a touch of a freed sampled object, at an offset from its start.
func usedAfterFree(owner, offset, size string) string {
	return fmt.Sprintf("fault: guard: use after free in region %q: address 0xADDR, offset %s of %s", owner, offset, size) + allocated + freed
}

// caught expects a violation that heaps notice in all modes. In a hardened heap the offset is random.
func caught(op, what, owner, offset string) outcomes {
	return apart(violates(op, what, owner, offset), violates(op, what, owner, "#"), ofSampled(op, what, owner, offset))
}

// inHeap expects a violation at an offset from the first object of a heap; first expects one of this object.
func inHeap(op, what, offset string) outcomes { return caught(op, what, "heap", offset) }
func first(op, what string) outcomes          { return inHeap(op, what, "0") }

// overrun expects a write beside an object. A plain heap does not notice it; a hardened heap has a canary there.
func overrun(sampled string) outcomes {
	return apart(notCaught, violates("slab.Free", behindEnd, "heap", "#"), sampled)
}

// foundBehind and foundBefore return the violation for a free of a sampled object after a write behind or before
// it.
func foundBehind(offset string) string { return ofSampled("slab.Free", behindEnd, "heap", offset) }
func foundBefore(offset string) string { return ofSampled("slab.Free", beforeStart, "heap", offset) }

// writtenAfterFree expects a write to a freed object. A plain heap does not notice it; a hardened heap does
// when it hands the slot out again.
func writtenAfterFree(offset, size string) outcomes {
	return apart(notCaught, violates("slab.Alloc", afterFree, "heap", "#"), usedAfterFree("heap", offset, size))
}

// missized expects a free with a size that the object does not have. Only a hardened heap notices it.
func missized(region string) outcomes {
	return apart(notCaught, violates("slab.Free", otherSize, region, "#"), notCaught)
}

// heap opens a heap in the mode of the case. After the case it must still work.
func (w *world) heap() *slab.Heap {
	h, err := slab.Open(w.config)
	w.must(err)
	w.then(func() error { return works(h) })
	return h
}

// works uses a heap and closes it, unless it is closed.
func works(h *slab.Heap) (err error) {
	if h.Stats().Reserved == 0 {
		return nil
	}
	var all [][]byte
	for i := range 300 {
		b := h.Alloc(i*7%200, 8)
		for j := range b {
			if b[j] != 0 {
				return fmt.Errorf("byte %d of %d fresh ones is %#x", j, len(b), b[j])
			}
			b[j] = byte(i)
		}
		all = append(all, b)
	}
	for i, b := range all {
		for j := range b {
			if b[j] != byte(i) {
				return fmt.Errorf("byte %d of object %d was changed", j, i)
			}
		}
		h.Free(b)
	}
	return errors.Join(h.Purge(), h.Close())
}

var goMemory [64]byte // memory of no heap

// at returns the address of the byte at an offset from the start of b, inside b or not.
func at(b []byte, off int) *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off))
}

// from returns a slice that starts at an offset from the start of b, as an argument for Free.
func from(b []byte, off int) []byte { return unsafe.Slice(at(b, off), 1) }

// poke changes a byte.
func poke(b []byte, off int) { *at(b, off) ^= 0x20 }

// peek reads a byte.
func peek(b []byte, off int) { read += *at(b, off) }

var read byte

// far returns an address in another slot of a slab of one unit.
func far(b []byte) []byte { return from(b, 1<<14-int(2*(address(b)&(1<<14)))) }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// amid returns an object that is neither the first nor the last of a slab.
func amid(h *slab.Heap, size int) []byte {
	for {
		b := h.Alloc(size, 8)
		if off := address(b) % (64 << 10); off > 4<<10 && off < 60<<10 {
			return b
		}
	}
}

// churn allocates and frees objects, so that slots which were freed before are handed out again. First the
// slots leave quarantine. Then churn holds as many objects at a time as a slab has slots, because a slab
// picks its free slots at random.
func churn(h *slab.Heap, size int) {
	for range 20_000 {
		h.Free(h.Alloc(size, 8))
	}
	var held [2000][]byte
	for i := range held {
		held[i] = h.Alloc(size, 8)
	}
	for _, b := range held {
		h.Free(b)
	}
}

// churnPool is churn for a pool.
func churnPool(p *slab.Pool[order]) {
	for range 20_000 {
		p.Put(p.Get())
	}
	var held [4000]*order
	for i := range held {
		held[i] = p.Get()
	}
	for _, x := range held {
		p.Put(x)
	}
}

// zero ends the case if some bytes are not zero.
func (w *world) zero(b []byte) {
	for i, x := range b {
		if x != 0 {
			w.must(fmt.Errorf("byte %d of %d is %#x", i, len(b), x))
		}
	}
}

// holds ends the case unless ok.
func (w *world) holds(ok bool, what string) {
	if !ok {
		w.must(errors.New("this is not so: " + what))
	}
}

// elsewhere runs f on another goroutine, and panics with the panic of f.
func elsewhere(f func()) {
	done := make(chan any)
	go func() {
		var p any
		defer func() { done <- p }()
		if uncaught {
			f()
			return
		}
		defer func() { p = recover() }()
		if err := guard.Catch(f); err != nil {
			panic(err)
		}
	}()
	if p := <-done; p != nil {
		panic(p)
	}
}

// region reserves a region and commits all of it.
func (w *world) region(size int) *guard.Region {
	r, err := guard.Reserve(guard.Config{Name: "region", Size: size})
	w.must(err)
	w.must(r.Commit(0, r.Size()))
	w.then(func() error {
		if err := r.Close(); !errors.Is(err, guard.ErrClosed) {
			return err
		}
		return nil
	})
	return r
}
