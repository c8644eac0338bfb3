package misuse

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab"
)

// inFar expects misuse of the address that far returns: a slot, or the middle of the slot of a sampled object.
func inFar(op string) outcomes {
	return apart(violates(op, freedAlready, "heap", "16384"), violates(op, freedAlready, "heap", "#"), ofSampled(op, interior, "heap", "#"))
}

// tooFar expects a free of an address so far from the object that it lies behind all slabs. Far from a sampled
// object it may lie anywhere.
func tooFar(offset string) outcomes {
	return apart(violates("slab.Free", otherMemory, "heap", offset), violates("slab.Free", otherMemory, "heap", "#"), violates("slab.Free", otherMemory, "*", "#"))
}

// largeIsGone expects a touch of a large object that was freed. A heap that is not hardened keeps the memory for the next.
func largeIsGone(offset int) outcomes {
	return apart(notCaught, fmt.Sprintf(`fault: guard: use after close in region "heap: large object": address 0xADDR, offset %d of 2097152`, offset), notCaught)
}

var hardenedMalloc = []misuse{
	{"overflow_large_1_byte", func(w *world) { poke(w.heap().Alloc(largeSize, 8), largeSize) },
		everywhere(`fault: guard: overflow in region "heap: large object": address 0xADDR, 1 bytes beyond the last of 2097152`)},
	{"overflow_large_8_byte", func(w *world) { poke(w.heap().Alloc(largeSize, 8), largeSize+7) },
		everywhere(`fault: guard: overflow in region "heap: large object": address 0xADDR, 8 bytes beyond the last of 2097152`)},
	{"read_after_free_large", func(w *world) {
		h := w.heap()
		b := h.Alloc(largeSize, 8)
		h.Free(b)
		peek(b, 0)
	}, largeIsGone(0)},
	{"read_zero_size", func(w *world) { peek(w.heap().Alloc(0, 8), 0) }, apart(notCaught, nothingTouched, overflow("heap", "1", "0"))},
	{"write_after_free_large", func(w *world) {
		h := w.heap()
		b := h.Alloc(largeSize, 8)
		h.Free(b)
		poke(b, 65<<10)
	}, largeIsGone(66560)},
	{"write_after_free_large_reuse", func(w *world) {
		h := w.heap()
		b := h.Alloc(largeSize, 8)
		h.Free(b)
		h.Alloc(largeSize, 8)
		poke(b, 65<<10)
	}, largeIsGone(66560)},
	{"write_zero_size", func(w *world) { poke(w.heap().Alloc(0, 8), 5) }, apart(notCaught, nothingTouched, overflow("heap", "6", "0"))},

	{"delete_type_size_mismatch", func(w *world) {
		h := w.heap()
		slab.Free(h, (*[64]byte)(unsafe.Pointer(slab.New[[32]byte](h))))
	}, missized("heap")},
	{"double_free_large", func(w *world) {
		h := w.heap()
		b := h.Alloc(largeSize, 8)
		h.Free(b)
		h.Free(b)
	}, everywhere(violates("slab.Free", freedAlready, largeRegion, "0"))},
	{"double_free_large_delayed", func(w *world) {
		h := w.heap()
		a, b := h.Alloc(largeSize, 8), h.Alloc(largeSize, 8)
		h.Free(a)
		h.Free(b)
		h.Free(a)
	}, everywhere(violates("slab.Free", freedAlready, largeRegion, "0"))},
	{"double_free_small", func(w *world) {
		h := w.heap()
		b := h.Alloc(16, 8)
		h.Free(b)
		h.Free(b)
	}, first("slab.Free", freedAlready)},
	{"double_free_small_delayed", func(w *world) {
		h := w.heap()
		a, b := h.Alloc(16, 8), h.Alloc(16, 8)
		h.Free(a)
		h.Free(b)
		h.Free(a)
	}, first("slab.Free", freedAlready)},
	{"invalid_aligned_sized_delete_large", func(w *world) {
		h := w.heap()
		slab.FreeSlice(h, unsafe.Slice(at(h.Alloc(largeSize, 1<<16), 0), largeSize+1))
	}, missized(largeRegion)},
	{"invalid_aligned_sized_delete_small", func(w *world) {
		h := w.heap()
		slab.FreeSlice(h, unsafe.Slice(at(h.Alloc(128, 128), 0), 129))
	}, missized("heap")},
	{"invalid_free_protected", func(w *world) {
		h, r := w.heap(), w.region(1<<16)
		w.must(r.Protect(0, r.Size(), guard.None))
		h.Free(from(r.Bytes(), 1<<15))
	}, everywhere(violates("slab.Free", otherMemory, "region", "32768"))},
	{"invalid_free_small_region", func(w *world) { h := w.heap(); h.Free(far(h.Alloc(16, 8))) },
		inFar("slab.Free")},
	{"invalid_free_small_region_far", func(w *world) { h := w.heap(); h.Free(from(h.Alloc(16, 8), 1<<30)) },
		tooFar("1073741824")},
	{"invalid_free_unprotected", func(w *world) { h, r := w.heap(), w.region(1<<16); h.Free(from(r.Bytes(), 1<<15)) },
		everywhere(violates("slab.Free", otherMemory, "region", "32768"))},
	{"invalid_malloc_object_size_small", func(w *world) { h := w.heap(); h.Size(far(h.Alloc(16, 8))) },
		inFar("slab.Size")},
	{"invalid_malloc_object_size_small_quarantine", func(w *world) {
		h := w.heap()
		b := h.Alloc(16, 8)
		h.Free(b)
		h.Size(b)
	}, first("slab.Size", freedAlready)},
	{"invalid_malloc_usable_size_small", func(w *world) { h := w.heap(); h.Realloc(far(h.Alloc(16, 8)), 20) },
		inFar("slab.Realloc")},
	{"invalid_malloc_usable_size_small_quarantine", func(w *world) {
		h := w.heap()
		b := h.Alloc(16, 8)
		h.Free(b)
		h.Realloc(b, 20)
	}, first("slab.Realloc", freedAlready)},
	{"overflow_small_1_byte", func(w *world) {
		h := w.heap()
		b := h.Alloc(8, 8)
		poke(b, 8)
		h.Free(b)
	}, overrun(foundBehind("8"))},
	{"overflow_small_8_byte", func(w *world) {
		h := w.heap()
		b := h.Alloc(8, 8)
		poke(b, 15)
		h.Free(b)
	}, overrun(foundBehind("15"))},
	{"unaligned_free_large", func(w *world) { h := w.heap(); h.Free(h.Alloc(largeSize, 8)[1:]) },
		everywhere(violates("slab.Free", interior, largeRegion, "1"))},
	{"unaligned_free_small", func(w *world) { h := w.heap(); h.Free(h.Alloc(16, 8)[1:]) },
		inHeap("slab.Free", interior, "1")},
	{"unaligned_malloc_usable_size_small", func(w *world) { h := w.heap(); h.Size(h.Alloc(16, 8)[1:]) },
		inHeap("slab.Size", interior, "1")},
	{"uninitialized_free", func(w *world) { w.heap().Free(goMemory[:]) }, everywhere(violates("slab.Free", otherMemory, "heap", "0"))},
	{"uninitialized_malloc_usable_size", func(w *world) { w.heap().Size(goMemory[:]) }, everywhere(violates("slab.Size", otherMemory, "heap", "0"))},
	{"uninitialized_realloc", func(w *world) { w.heap().Realloc(goMemory[:], 16) }, everywhere(violates("slab.Realloc", otherMemory, "heap", "0"))},
	{"write_after_free_small", func(w *world) {
		h := w.heap()
		b := h.Alloc(128, 8)
		h.Free(b)
		poke(b, 65)
		churn(h, 128)
	}, writtenAfterFree("65", "128")},
	{"write_after_free_small_reuse", func(w *world) {
		h := w.heap()
		b := h.Alloc(128, 8)
		h.Free(b)
		h.Alloc(128, 8)
		poke(b, 65)
		churn(h, 128)
	}, writtenAfterFree("65", "128")},

	{"aligned_sized_delete_large", func(w *world) {
		h := w.heap()
		slab.FreeSlice(h, h.Alloc(largeSize, 1<<16)[:largeSize:largeSize])
	}, everywhere(fine)},
	{"aligned_sized_delete_small", func(w *world) { h := w.heap(); slab.FreeSlice(h, h.Alloc(100, 64)[:100:100]) }, everywhere(fine)},
	{"aligned_sized_delete_small_min_align", func(w *world) { h := w.heap(); slab.FreeSlice(h, h.Alloc(100, 16)[:100:100]) }, everywhere(fine)},
	{"calloc_overflow", func(w *world) { slab.MakeSlice[uint16](w.heap(), 0, math.MaxInt) },
		everywhere("panic: slab: 9223372036854775807 elements of 2 bytes are more than addresses can hold: no memory")},
	{"calloc_zeroed", func(w *world) {
		h := w.heap()
		for range 100 {
			b := h.Alloc(1<<16, 8)
			w.zero(b)
			poke(b, 777)
			h.Free(b)
		}
	}, everywhere(fine)},
	{"free_sized_large", func(w *world) { h := w.heap(); slab.FreeSlice(h, slab.MakeSlice[byte](h, largeSize, largeSize)) }, everywhere(fine)},
	{"free_sized_small", func(w *world) { h := w.heap(); slab.Free(h, slab.New[[16]byte](h)) }, everywhere(fine)},
	{"impossibly_large_malloc", func(w *world) {
		_, err := w.heap().TryAlloc(math.MaxInt, 8)
		w.must(err)
	}, everywhere(`error: slab: guard: reserve "heap: large object": 9223372036854775807 bytes are more than addresses can hold: no memory`)},
	{"large_array_growth", func(w *world) {
		h := w.heap()
		var b []byte
		for n := 1; n <= 16<<20; n *= 2 {
			b = h.Realloc(b, n)
			b[n-1] = 1
		}
		w.holds(b[0] == 1 && b[1] == 1 && b[1<<20-1] == 1, "it holds what it held")
		h.Free(b)
	}, everywhere(fine)},
	{"malloc_noreuse", func(w *world) {
		h := w.heap()
		b := h.Alloc(16, 8)
		h.Free(b)
		for range 100 {
			c := h.Alloc(16, 8)
			w.holds(address(b) != address(c), "another slot is handed out")
			h.Free(c)
		}
	}, outcomes{hardened: fine, sampled: fine}},
	{"malloc_object_size", func(w *world) { h := w.heap(); w.holds(h.Size(h.Alloc(16, 8)) == 16, "the size is 16") }, everywhere(fine)},
	{"malloc_object_size_offset", func(w *world) { h := w.heap(); h.Size(h.Alloc(16, 8)[5:]) },
		inHeap("slab.Size", interior, "5")},
	{"malloc_object_size_zero", func(w *world) {
		h := w.heap()
		w.holds(h.Size(h.Alloc(0, 8)) <= 16, "the size is no more than a slot's")
	}, everywhere(fine)},
	{"malloc_zero_different", func(w *world) {
		h := w.heap()
		a, b := h.Alloc(0, 8), h.Alloc(0, 8)
		w.holds(address(a) != address(b), "two are at two places")
	}, everywhere(fine)},
	{"read_after_free_small", func(w *world) {
		h := w.heap()
		b := h.Alloc(16, 8)
		copy(b, "0123456789abcdef")
		h.Free(b)
		w.holds(string(b) != "0123456789abcdef" || !w.config.Hardened, "what was freed is not there any more")
	}, apart(notCaught, fine, usedAfterFree("heap", "#", "16"))},
	{"realloc_init", func(w *world) { h := w.heap(); h.Free(h.Realloc(nil, 16)) }, everywhere(fine)},
	{"uninitialized_read_large", func(w *world) { peek(w.heap().AllocDirty(largeSize, 8), 1234) }, everywhere(fine)},
	{"uninitialized_read_small", func(w *world) { peek(w.heap().AllocDirty(16, 8), 12) }, everywhere(fine)},
}
