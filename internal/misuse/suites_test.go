package misuse

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard/guardtest"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/slab"
)

// clearQueue allocates and frees, as OpenBSD's tests do to get an object out of quarantine.
func clearQueue(w *world, h *slab.Heap, size int) {
	for range 400 {
		h.Free(h.Alloc(size, 8))
	}
}

var openBSD = []misuse{
	{"t1", func(w *world) {
		h := w.heap()
		b := h.Alloc(10_000, 8)
		h.Free(b)
		h.Free(b)
	}, first("slab.Free", freedAlready)},
	{"t2", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Free(b)
		clearQueue(w, h, 100)
		h.Free(b)
	}, apart(
		violates("slab.Free", freedAlready, "heap", "0"),
		violates("slab.Free", freedAlready, "heap", "#"),
		ofSampled("slab.Free", freedAlready, "heap", "#"))}, // from the start of the object that has the slot now
	{"t3", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Free(b)
		h.Free(b)
	}, first("slab.Free", freedAlready)},
	{"t4", func(w *world) { w.heap().Free(goMemory[1:]) }, everywhere(violates("slab.Free", otherMemory, "heap", "0"))},
	{"t5", func(w *world) { w.heap().Realloc(goMemory[1:], 10) }, everywhere(violates("slab.Realloc", otherMemory, "heap", "0"))},
	{"t6", func(w *world) { writeAfterFree(w, 32, churn) }, writtenAfterFree("0", "32")},
	{"t7", func(w *world) { writeAfterFree(w, 10_000, churn) }, writtenAfterFree("0", "10000")},
	// OpenBSD's free notices this write. A hardened heap notices it when it hands the slot out again.
	{"t8", func(w *world) { writeAfterFree(w, 32, freeAnother) }, writtenAfterFree("0", "32")},
	{"t9", func(w *world) { writeBehind(w, 100, 100) }, overrun(foundBehind("100"))},
	// OpenBSD runs it with other settings than t9.
	{"t10", func(w *world) { writeBehind(w, 100, 100) }, overrun(foundBehind("100"))},
	{"t11", func(w *world) { h := w.heap(); h.Free(from(h.Alloc(100, 8), 1)) },
		inHeap("slab.Free", interior, "1")},
	{"t12", func(w *world) { h := w.heap(); h.Free(from(h.Alloc(16, 8), 16)) },
		apart(violates("slab.Free", freedAlready, "heap", "16"), violates("slab.Free", interior, "heap", "#"), ofSampled("slab.Free", interior, "heap", "16"))},
	{"t13", func(w *world) { freeSized(w, 16, 17) }, missized("heap")},
	{"t14", func(w *world) { freeSized(w, 15, 16) }, missized("heap")},
	{"t15", func(w *world) { freeSized(w, 4096, 4097) }, missized("heap")},
	{"t16", func(w *world) { reallocSized(w, 16, 32) }, first("slab.Realloc", otherSize)},
	{"t17", func(w *world) { reallocSized(w, 15, 30) }, first("slab.Realloc", otherSize)},
	{"t18", func(w *world) { reallocSized(w, 4096, 8192) }, first("slab.Realloc", otherSize)},
	{"t20", func(w *world) { writeBehind(w, 8192-100, 8192-100) }, overrun(foundBehind("8092"))},
	{"t21", func(w *world) { writeAfterFree(w, 32, freeAnother) }, writtenAfterFree("0", "32")},
	{"t22", func(w *world) { writeBefore(w, 32, 0) }, overrun(foundBefore("-1"))},
	{"t23", func(w *world) { writeBefore(w, 32, 0) }, overrun(foundBefore("-1"))},
}

func writeAfterFree(w *world, size int, then func(*slab.Heap, int)) {
	h := w.heap()
	b := h.Alloc(size, 8)
	h.Free(b)
	poke(b, 0)
	then(h, size)
}

func freeAnother(h *slab.Heap, size int) {
	h.Free(h.Alloc(size, 8))
	churn(h, size)
}

func writeBehind(w *world, size, off int) {
	h := w.heap()
	b := h.Alloc(size, 8)
	poke(b, off)
	h.Free(b)
}

func freeSized(w *world, size, told int) {
	h := w.heap()
	slab.FreeSlice(h, unsafe.Slice(at(h.Alloc(size, 8), 0), told))
}

func reallocSized(w *world, size, told int) {
	h := w.heap()
	h.Realloc(unsafe.Slice(at(h.Alloc(size, 8), 0), told), 3*size)
}

// writeBefore writes before an object and frees all objects. It takes the first object from the i-th on that
// follows directly behind another.
func writeBefore(w *world, size, i int) {
	h := w.heap()
	all := make([][]byte, 3000)
	for i := range all {
		all[i] = h.Alloc(size, 8)
	}
	for address(all[i])%(64<<10) == 0 {
		i++
	}
	poke(all[i], -1)
	for _, b := range all {
		h.Free(b)
	}
}

var isoalloc = []misuse{
	{"double_free", func(w *world) {
		h := w.heap()
		b := h.Alloc(1024, 8)
		h.Free(b)
		h.Free(b)
	}, first("slab.Free", freedAlready)},
	{"big_double_free", func(w *world) {
		h := w.heap()
		b := h.Alloc(8<<20, 8)
		h.Free(b)
		h.Free(b)
	}, everywhere(violates("slab.Free", freedAlready, largeRegion, "0"))},
	{"heap_overflow", func(w *world) {
		h := w.heap()
		b := amid(h, 256)
		w.ruined()
		for i := range 64 {
			poke(b, 256+i)
		}
		h.Free(b)
	}, overrun(overflow("heap", "1", "256"))},
	{"heap_underflow", func(w *world) { writeBefore(w, 256, 0) }, overrun(foundBefore("-1"))},
	{"leaks_test", func(w *world) {
		h, t := w.heap(), &alloctest.LeakTB{TB: new(testing.T)}
		guardtest.CheckLeaks(t)
		for i := range 16 {
			if b := h.Alloc(16, 8); i == 1 {
				h.Free(b)
			}
		}
		for _, leak := range t.End() {
			w.must(errors.New(leak))
		}
	}, everywhere(`error: guard: "heap" has more in use than when this test began: 15 objects, were 0; # bytes, were 0; opened at`)},
	{"wild_free", func(w *world) { h := w.heap(); h.Free(from(h.Alloc(128, 8), 1<<29+12345)) },
		tooFar("536883257")},
	{"unaligned_free", func(w *world) { h := w.heap(); h.Free(h.Alloc(1024, 8)[1:]) },
		inHeap("slab.Free", interior, "1")},
	{"incorrect_chunk_size_multiple", func(w *world) { h := w.heap(); h.Free(h.Alloc(128, 8)[64:]) },
		inHeap("slab.Free", interior, "64")},
	{"big_canary_test", func(w *world) { writeBehind(w, largeSize+100, largeSize+100) }, apart(notCaught, violates("slab.Free", behindEnd, largeRegion, "#"), notCaught)},
	{"zero_alloc", func(w *world) { poke(w.heap().Alloc(0, 8), 0) }, apart(notCaught, nothingTouched, overflow("heap", "1", "0"))},
	{"sized_free", func(w *world) { freeSized(w, 1024, 1025) }, missized("heap")},
	{"uaf", func(w *world) { writeAfterFree(w, 1024, churn) }, writtenAfterFree("0", "1024")},
	{"bad_tag_ptr_test", func(w *world) { w.heap().Size(goMemory[:]) }, everywhere(violates("slab.Size", otherMemory, "heap", "0"))},

	{"tests", func(w *world) {
		h := w.heap()
		for _, size := range []int{16, 17, 100, 1024, 5000, 8192, 65536} {
			var all [][]byte
			for i := range 50 {
				b := h.Alloc(size, 8)
				w.zero(b)
				b[0], b[size-1] = byte(i), byte(i)
				all = append(all, b)
			}
			for i, b := range all {
				w.holds(b[0] == byte(i) && b[size-1] == byte(i), "an object is its owner's")
				h.Free(b)
			}
		}
	}, everywhere(fine)},
	{"big_tests", func(w *world) {
		h := w.heap()
		for size := 1 << 20; size <= 32<<20; size *= 2 {
			b := h.Alloc(size+17, 8)
			b[0], b[size+16] = 1, 1
			h.Free(b)
		}
	}, everywhere(fine)},
	{"interfaces_test", func(w *world) {
		h, l := w.heap(), (*slab.Local)(nil)
		l = h.Local()
		b := h.Realloc(l.Alloc(10, 8), 2000)
		w.holds(address(h.Alloc(10, 4096))%4096 == 0, "it is aligned")
		many := make([][]byte, 100)
		h.AllocN(many, 48, 8)
		h.FreeN(many)
		l.Free(b)
		w.must(l.Close())
	}, everywhere(fine)},
	{"thread_tests", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		elsewhere(func() { h.Free(b); b = h.Alloc(100, 8) })
		h.Free(b)
	}, everywhere(fine)},
	{"tagged_ptr_test", func(w *world) {
		p := w.pool()
		x := p.Get()
		y, ok := slab.HandleOf(p, x).Deref(p)
		w.holds(ok && y == x, "a handle names its object")
		p.Put(x)
	}, everywhere(fine)},
	{"pool_test", func(w *world) {
		p := w.pool()
		for range 100 {
			p.Get()
		}
		w.holds(p.Len() == 100, "there are 100 objects")
		for x := range p.All() {
			p.Put(x)
		}
		w.holds(p.Len() == 0, "all are gone")
	}, everywhere(fine)},
}

// round allocates 64 objects and hands them out; then it allocates and frees 64 more.
func round(h *slab.Heap, size int, do func(all [][]byte)) {
	all := make([][]byte, 64)
	for i := range all {
		all[i] = h.Alloc(size, 8)
	}
	do(all)
	for i := range all {
		all[i] = h.Alloc(size, 8)
	}
	for _, b := range all {
		h.Free(b)
	}
	churn(h, size)
}

var snmalloc = []misuse{
	{"double_free", func(w *world) {
		h := w.heap()
		round(h, 32, func(all [][]byte) { h.Free(all[32]); h.Free(all[32]) })
	}, inHeap("slab.Free", freedAlready, "#")},
	{"uaf_freelist", func(w *world) {
		h := w.heap()
		round(h, 32, func(all [][]byte) {
			for _, b := range all {
				h.Free(b)
			}
			for i := range 16 {
				poke(all[32], i)
			}
		})
	}, writtenAfterFree("0", "32")},
	{"remote_double_free", func(w *world) {
		h := w.heap()
		round(h, 32, func(all [][]byte) { h.Free(all[32]); elsewhere(func() { h.Free(all[32]) }) })
	}, inHeap("slab.Free", freedAlready, "#")},
	{"remote_uaf", func(w *world) {
		h := w.heap()
		round(h, 32, func(all [][]byte) {
			elsewhere(func() {
				for _, b := range all {
					h.Free(b)
				}
			})
			for i := range 16 {
				poke(all[32], i)
			}
		})
	}, writtenAfterFree("0", "32")},
	{"large_double_free", func(w *world) {
		h := w.heap()
		b := h.Alloc(largeSize, 8)
		h.Free(b)
		h.Free(b)
	}, everywhere(violates("slab.Free", freedAlready, largeRegion, "0"))},
	{"oob_into_neighbor", func(w *world) {
		h := w.heap()
		round(h, 16, func(all [][]byte) {
			for i := 0; i < len(all); i += 2 {
				h.Free(all[i])
			}
			all[1] = amid(h, 16)
			w.ruined()
			for i := 16; i < 64; i++ {
				poke(all[1], i)
			}
			for i := 1; i < len(all); i += 2 {
				h.Free(all[i])
			}
		})
	}, overrun(foundBehind("16"))},
}
