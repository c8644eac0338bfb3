package offheap_test

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab"
)

var suites = []suite{
	{"hardened_malloc", hardenedMalloc},
	{"OpenBSD malloc_errs", openBSD},
	{"isoalloc", isoalloc},
	{"snmalloc corruption_detection", snmalloc},
	{"slab", slabMisuse},
	{"slab.Pool", poolMisuse},
	{"arena", arenaMisuse},
	{"arena.Map", mapMisuse},
	{"stack", stackMisuse},
	{"guard", regionMisuse},
}

const (
	largeSize = 2 << 20 // bytes of an object that is a region of its own

	freedAlready = "freed already, or never allocated"
	interior     = "pointer that is not the start of an object"
	otherMemory  = "pointer into other memory"
	otherSize    = "object was asked for with another size"
	behindEnd    = "object was written to behind its end"
	afterFree    = "memory was written to after it was freed"

	largeRegion = "heap: large object"

	// nothingTouched is the fault of who touches an object of no bytes.
	nothingTouched = `fault: guard: touch of a guard in region "heap": address 0xADDR, offset # of #`
)

// pointers is the panic for a type with pointers.
func pointers(pkg, typ, what string) string {
	return fmt.Sprintf("panic: %s: %s cannot live outside the Go heap: %s, and the garbage collector does not see pointers there", pkg, typ, what)
}

// heap opens a heap of the mode. Whatever happens, it works afterwards.
func (w *world) heap() *slab.Heap {
	h, err := slab.Open(w.config)
	w.must(err)
	w.then(func() error { return works(h) })
	return h
}

// works uses a heap, unless it is closed, and closes it.
func works(h *slab.Heap) (err error) {
	if h.Stats().Reserved == 0 {
		return nil
	}
	var all [][]byte
	for i := range 300 {
		b := h.Alloc(i * 7 % 200)
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

// at is the byte at some offset from the start of b, inside or not.
func at(b []byte, off int) *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off))
}

// from is nothing that starts at some offset from the start of b: what to give to Free.
func from(b []byte, off int) []byte { return unsafe.Slice(at(b, off), 1) }

// poke changes a byte.
func poke(b []byte, off int) { *at(b, off) ^= 0x20 }

// peek reads a byte.
func peek(b []byte, off int) { read += *at(b, off) }

var read byte

// far is an address in another slot of a slab of one unit.
func far(b []byte) []byte { return from(b, 1<<14-int(2*(address(b)&(1<<14)))) }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// amid returns an object that is neither the first nor the last of a slab.
func amid(h *slab.Heap, size int) []byte {
	for {
		b := h.Alloc(size)
		if off := address(b) % (64 << 10); off > 4<<10 && off < 60<<10 {
			return b
		}
	}
}

// churn allocates and frees objects, so that slots which were freed before are handed out again.
func churn(h *slab.Heap, size int) {
	for range 20_000 {
		h.Free(h.Alloc(size))
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

// holds ends the case if something that should be so is not.
func (w *world) holds(ok bool, what string) {
	if !ok {
		w.must(errors.New("this is not so: " + what))
	}
}

// elsewhere runs f on another goroutine, and panics as it does.
func elsewhere(f func()) {
	done := make(chan any)
	go func() {
		var p any
		defer func() { done <- p }()
		defer func() { p = recover() }()
		if err := guard.Catch(f); err != nil {
			panic(err)
		}
	}()
	if p := <-done; p != nil {
		panic(p)
	}
}

// region maps a region and commits all of it.
func (w *world) region(size int) *guard.Region {
	r, err := guard.Map(guard.Config{Name: "region", Size: size})
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
