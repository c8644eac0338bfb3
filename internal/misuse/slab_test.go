package misuse

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab"
)

const (
	closedHeap  = `: use after close ("heap")`
	zeroHeap    = `use of a zero value: slab.Open makes a Heap`
	closedLocal = `: use after close: the Local is closed ("heap")`
)

// afterClosing expects a touch of an object whose heap is closed.
func afterClosing(owner, sampled string) outcomes {
	fault := fmt.Sprintf("fault: guard: use after close in region %q: address 0xADDR, offset # of #", owner)
	return apart(fault, fault, sampled)
}

// behindSlabs expects a touch of the memory behind a slab, which is inaccessible in a hardened heap.
func behindSlabs() string {
	if guard.LightGuards() {
		return "touch of a guard"
	}
	return "touch of decommitted memory"
}

// staleRef expects Bytes of a reference that names no object, at an offset in the heap's region if it is of a slot.
func staleRef(offset string) string {
	what := "use after free: the object of the reference was freed, or is of another heap"
	if offset == "" {
		return "violation: slab.Bytes: " + what + inParentheses("heap")
	}
	return violates("slab.Bytes", what, "heap", offset)
}

var slabMisuse = []misuse{
	{"free by a Local of what was freed", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Free(b)
		h.Local().Free(b)
	}, first("slab.Free", freedAlready)},
	{"double free after a purge", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Free(b)
		w.must(h.Purge())
		h.Free(b)
	}, first("slab.Free", freedAlready)},
	{"double free in a batch", func(w *world) {
		h := w.heap()
		many := make([][]byte, 100)
		h.AllocN(many, 64, 8)
		many[70] = many[30]
		h.FreeN(many)
	}, inHeap("slab.Free", freedAlready, "#")},
	{"double free of no bytes", func(w *world) {
		h := w.heap()
		b := h.Alloc(0, 8)
		h.Free(b)
		h.Free(b)
	}, first("slab.Free", freedAlready)},
	{"late free of a slot handed out again", func(w *world) {
		h := w.heap()
		l := h.Local()
		b := l.Alloc(100, 8)
		l.Free(b)
		l.Alloc(100, 8)
		l.Free(b)
	}, apart(notCaught, violates("slab.Free", freedAlready, "heap", "#"), ofSampled("slab.Free", freedAlready, "heap", "0"))},
	{"free of a slice from the middle", func(w *world) { h := w.heap(); h.Free(h.Alloc(100, 8)[16:]) },
		inHeap("slab.Free", interior, "16")},
	{"free by a Local from the middle", func(w *world) { h := w.heap(); h.Local().Free(h.Alloc(100, 8)[1:]) },
		inHeap("slab.Free", interior, "1")},
	{"free from the middle of a large object", func(w *world) { h := w.heap(); h.Free(h.Alloc(largeSize, 8)[4096:]) },
		everywhere(violates("slab.Free", interior, largeRegion, "4096"))},
	{"free of a slot never allocated", func(w *world) { h := w.heap(); h.Free(from(amid(h, 64), 64)) },
		apart(violates("slab.Free", freedAlready, "heap", "#"), violates("slab.Free", interior, "heap", "#"), ofSampled("slab.Free", interior, "heap", "64"))},
	{"free to another heap", func(w *world) { h, other := w.heap(), w.heap(); h.Free(other.Alloc(100, 8)) }, first("slab.Free", otherMemory)},
	{"free of a large object to another heap", func(w *world) { h, other := w.heap(), w.heap(); h.Free(other.Alloc(largeSize, 8)) },
		everywhere(violates("slab.Free", otherMemory, largeRegion, "0"))},
	{"free of what is behind a large object", func(w *world) { h := w.heap(); h.Free(from(h.Alloc(largeSize, 8), largeSize)) },
		everywhere(violates("slab.Free", interior, largeRegion, "2097152"))},
	{"free of Go memory", func(w *world) { w.heap().Free(goMemory[:]) }, everywhere(violates("slab.Free", otherMemory, "heap", "0"))},
	{"size of what was freed", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Free(b)
		h.Size(b)
	}, first("slab.Size", freedAlready)},
	{"Ref of what was freed", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Free(b)
		h.Ref(b)
	}, first("slab.Ref", freedAlready)},
	{"Ref of a slice from the middle", func(w *world) { h := w.heap(); h.Ref(h.Alloc(100, 8)[16:]) }, inHeap("slab.Ref", interior, "16")},
	{"Ref of another heap's object", func(w *world) { h, other := w.heap(), w.heap(); h.Ref(other.Alloc(100, 8)) }, first("slab.Ref", otherMemory)},
	{"Ref of nil", func(w *world) { w.heap().Ref(nil) }, everywhere("violation: slab.Ref: " + otherMemory + inParentheses("heap"))},
	{"free of an object with references twice", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Ref(b)
		h.Free(b)
		h.Free(b)
	}, first("slab.Free", freedAlready)},
	{"Bytes after Free", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		r := h.Ref(b)
		h.Free(b)
		h.Bytes(r)
	}, apart(staleRef("#"), staleRef("#"), staleRef(""))},
	{"Bytes after Free, and another has the place", func(w *world) {
		h := w.heap()
		l := h.Local()
		b := l.Alloc(100, 8)
		r := h.Ref(b)
		l.Free(b)
		h.Ref(l.Alloc(100, 8))
		h.Bytes(r)
	}, apart(staleRef("#"), staleRef("#"), staleRef(""))},
	{"Bytes after Free of a large object", func(w *world) {
		h := w.heap()
		b := h.Alloc(largeSize, 8)
		r := h.Ref(b)
		h.Free(b)
		h.Bytes(r)
	}, everywhere(staleRef(""))},
	{"Bytes after Realloc has moved the object", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		r := h.Ref(b)
		h.Realloc(b, 10_000)
		h.Bytes(r)
	}, apart(staleRef("#"), staleRef("#"), staleRef(""))},
	{"Bytes of another heap's reference", func(w *world) {
		h, other := w.heap(), w.heap()
		h.Ref(h.Alloc(100, 8))
		h.Bytes(other.Ref(other.Alloc(100, 8)))
	}, apart(staleRef("#"), staleRef("#"), staleRef(""))},
	{"Bytes of the zero Ref", func(w *world) { w.heap().Bytes(slab.Ref{}) },
		everywhere(`violation: slab.Bytes: invalid argument: the zero Ref names no object ("heap")`)},
	{"Bytes after Close", func(w *world) { h := w.heap(); r := h.Ref(h.Alloc(1, 8)); w.must(h.Close()); h.Bytes(r) }, everywhere("violation: slab.Bytes" + closedHeap)},
	{"Ref after Close", func(w *world) { h := w.heap(); b := h.Alloc(1, 8); w.must(h.Close()); h.Ref(b) }, everywhere("violation: slab.Ref" + closedHeap)},
	{"Ref of a zero Heap", func(w *world) { b := w.heap().Alloc(1, 8); new(slab.Heap).Ref(b) }, everywhere("violation: slab.Ref: " + zeroHeap)},
	{"Reset after Close", func(w *world) { h := w.heap(); w.must(h.Close()); h.Reset() }, everywhere("violation: slab.Reset" + closedHeap)},
	{"Reset of a zero Heap", func(w *world) { new(slab.Heap).Reset() }, everywhere("violation: slab.Reset: " + zeroHeap)},
	{"Free after Reset", func(w *world) { h := w.heap(); b := h.Alloc(100, 8); h.Reset(); h.Free(b) }, first("slab.Free", freedAlready)},
	{"Local.Free after Reset", func(w *world) {
		h := w.heap()
		l := h.Local()
		b := l.Alloc(100, 8)
		h.Reset()
		l.Free(b)
	}, first("slab.Free", freedAlready)},
	{"Bytes after Reset", func(w *world) {
		h := w.heap()
		r := h.Ref(h.Alloc(100, 8))
		h.Reset()
		h.Bytes(r)
	}, apart(staleRef("#"), staleRef("#"), staleRef(""))},
	{"touch after Reset", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Reset()
		peek(b, 0)
	}, apart(notCaught, `fault: guard: touch of decommitted memory in region "heap": address 0xADDR, offset # of #`, usedAfterFree("heap", "0", "100"))},
	{"Reset with an object that was overrun", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		poke(b, 100)
		h.Reset()
	}, apart(notCaught, violates("slab.Reset", behindEnd, "heap", "#"), notCaught)},
	{"references that are good, and some that need not be", func(w *world) {
		h := w.heap()
		l := h.Local()
		for _, size := range []int{0, 100, largeSize} {
			b := l.Alloc(size, 8)
			r := h.Ref(b)
			got, ok := h.TryBytes(r)
			w.holds(ok && len(got) == h.Size(b) && unsafe.SliceData(got) == unsafe.SliceData(b) && r == h.Ref(got), "a reference leads to its object")
			l.Free(h.Bytes(r))
			_, ok = h.TryBytes(r)
			w.holds(!ok, "TryBytes tells that a reference is stale")
		}
		_, ok := h.TryBytes(slab.Ref{})
		w.holds(!ok && slab.Ref{}.IsNil(), "the zero Ref names no object")
		h.Reset()
		l.Free(l.Alloc(100, 8))
	}, everywhere(fine)},
	{"realloc of what was freed", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		h.Free(b)
		h.Realloc(b, 200)
	}, first("slab.Realloc", freedAlready)},
	{"realloc of an object that was overrun", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		poke(b, 100)
		h.Realloc(b, 200)
	}, overrun(foundBehind("100"))},
	{"ReallocAligned of another heap's large object", func(w *world) { h, other := w.heap(), w.heap(); h.ReallocAligned(other.Alloc(largeSize, 8), 100, 64) },
		everywhere(violates("slab.Realloc", otherMemory, largeRegion, "0"))},
	{"ReallocAligned of a large object after Free", func(w *world) { h := w.heap(); b := h.Alloc(largeSize, 8); h.Free(b); h.ReallocAligned(b, 100, 64) },
		everywhere(violates("slab.Realloc", freedAlready, largeRegion, "0"))},
	{"write behind a large object", func(w *world) { writeBehind(w, largeSize+1, largeSize+1) }, apart(notCaught, violates("slab.Free", behindEnd, largeRegion, "#"), notCaught)},
	{"write before a large object", func(w *world) { writeBehind(w, largeSize+1, -1) }, apart(
		`fault: guard: underflow in region "heap: large object": address 0xADDR, 1 bytes before the first of #`,
		violates("slab.Free", beforeStart, largeRegion, "#"),
		`fault: guard: underflow in region "heap: large object": address 0xADDR, 1 bytes before the first of #`)},
	{"write before the second object", func(w *world) { writeBefore(w, 64, 1) }, overrun(underflow("heap", "1", "64"))},
	{"write on and on behind an object", func(w *world) {
		h := w.heap()
		b := h.Alloc(40, 8)
		w.ruined()
		for i := 0; ; i++ {
			poke(b, i)
		}
	}, apart(
		`fault: guard: touch of decommitted memory in region "heap": address 0xADDR, offset # of #`,
		`fault: guard: `+behindSlabs()+` in region "heap": address 0xADDR, offset # of #`,
		overflow("heap", "9", "40"))}, // behind the 8 bytes of alignment
	{"touch after Close", func(w *world) { h := w.heap(); b := h.Alloc(40, 8); w.must(h.Close()); peek(b, 0) },
		afterClosing("heap", usedAfterFree("heap", "0", "40"))},
	{"touch of a large object after Free and Purge", func(w *world) { h := w.heap(); b := h.Alloc(largeSize, 8); h.Free(b); w.must(h.Purge()); peek(b, 0) },
		everywhere(`fault: guard: use after close in region "heap: large object": address 0xADDR, offset 0 of 2097152`)},
	{"touch of a large object after Close", func(w *world) { h := w.heap(); b := h.Alloc(largeSize, 8); w.must(h.Close()); peek(b, 0) },
		everywhere(`fault: guard: use after close in region "heap: large object": address 0xADDR, offset 0 of 2097152`)},
	{"Alloc after Close", func(w *world) { h := w.heap(); w.must(h.Close()); h.Alloc(1, 8) }, everywhere("violation: slab.Alloc" + closedHeap)},
	{"AllocDirty after Close", func(w *world) { h := w.heap(); w.must(h.Close()); h.AllocDirty(1, 8) }, everywhere("violation: slab.Alloc" + closedHeap)},
	{"AllocN after Close", func(w *world) { h := w.heap(); w.must(h.Close()); h.AllocN(make([][]byte, 2), 1, 8) }, everywhere("violation: slab.Alloc" + closedHeap)},
	{"Alloc of a large object after Close", func(w *world) { h := w.heap(); w.must(h.Close()); h.Alloc(largeSize, 8) }, everywhere("violation: slab.Alloc" + closedHeap)},
	{"Local.Alloc after Close", func(w *world) { h := w.heap(); l := h.Local(); w.must(h.Close()); l.Alloc(1, 8) }, everywhere("violation: slab.Alloc" + closedHeap)},
	{"Free after Close", func(w *world) { h := w.heap(); b := h.Alloc(1, 8); w.must(h.Close()); h.Free(b) }, everywhere("violation: slab.Free" + closedHeap)},
	{"Local.Free after Close", func(w *world) {
		h := w.heap()
		l, b := h.Local(), h.Alloc(1, 8)
		w.must(h.Close())
		l.Free(b)
	}, everywhere("violation: slab.Free" + closedHeap)},
	{"Size after Close", func(w *world) { h := w.heap(); b := h.Alloc(1, 8); w.must(h.Close()); h.Size(b) }, everywhere("violation: slab.Size" + closedHeap)},
	{"Realloc after Close", func(w *world) { h := w.heap(); b := h.Alloc(1, 8); w.must(h.Close()); h.Realloc(b, 100) }, everywhere("violation: slab.Realloc" + closedHeap)},
	{"Purge after Close", func(w *world) { h := w.heap(); w.must(h.Close()); w.must(h.Purge()) }, everywhere("violation: slab.Purge" + closedHeap)},
	{"Local after Close", func(w *world) { h := w.heap(); w.must(h.Close()); h.Local() }, everywhere("violation: slab.Local" + closedHeap)},
	{"Local.Alloc after its Close", func(w *world) { l := w.heap().Local(); w.must(l.Close()); l.Alloc(1, 8) }, everywhere("violation: slab.Alloc" + closedLocal)},
	{"Local.Free after its Close", func(w *world) { h := w.heap(); l := h.Local(); w.must(l.Close()); l.Free(h.Alloc(1, 8)) }, everywhere("violation: slab.Free" + closedLocal)},
	{"Close twice", func(w *world) { h := w.heap(); w.must(h.Close()); w.must(h.Close()) }, everywhere(`error: slab: close "heap": closed`)},
	{"Local.Close twice", func(w *world) { l := w.heap().Local(); w.must(l.Close()); w.must(l.Close()) }, everywhere(`error: slab: close a Local of "heap": closed`)},
	{"Alloc of a zero Heap", func(w *world) { new(slab.Heap).Alloc(1, 8) }, everywhere("violation: slab.Alloc: " + zeroHeap)},
	{"Free to a zero Heap", func(w *world) { b := w.heap().Alloc(1, 8); new(slab.Heap).Free(b) }, everywhere("violation: slab.Free: " + zeroHeap)},
	{"Alloc of a nil Heap", func(w *world) { (*slab.Heap)(nil).AllocDirty(1, 8) }, everywhere("violation: slab.Alloc: " + zeroHeap)},
	{"negative size", func(w *world) { w.heap().Alloc(-1, 8) }, everywhere(refused("slab", -1, 8, 1<<20))},
	{"negative size, aligned", func(w *world) { w.heap().AllocDirty(-1, 64) }, everywhere(refused("slab", -1, 64, 1<<20))},
	{"negative size, Local", func(w *world) { w.heap().Local().AllocDirty(-1, 8) }, everywhere(refused("slab", -1, 8, 1<<20))},
	{"negative size, batch", func(w *world) { w.heap().AllocN(make([][]byte, 2), -1, 8) }, everywhere(refused("slab", -1, 8, 1<<20))},
	{"alignment of 3, ReallocAligned", func(w *world) { h := w.heap(); h.ReallocAligned(h.Alloc(10, 8), 20, 3) }, everywhere(refused("slab", 20, 3, 1<<20))},
	{"alignment of 0, ReallocAligned", func(w *world) { h := w.heap(); h.ReallocAligned(h.Alloc(10, 8), 20, 0) }, everywhere(refused("slab", 20, 0, 1<<20))},
	{"alignment above the limit, ReallocAligned", func(w *world) { h := w.heap(); h.ReallocAligned(h.Alloc(10, 8), 20, 2<<20) }, everywhere(refused("slab", 20, 2<<20, 1<<20))},
	{"negative size, Realloc", func(w *world) { h := w.heap(); h.Realloc(h.Alloc(10, 8), -1) }, everywhere(refused("slab", -1, 16, 1<<20))},
	{"alignment of 3", func(w *world) { w.heap().Alloc(8, 3) }, everywhere(refused("slab", 8, 3, 1<<20))},
	{"alignment of 48", func(w *world) { w.heap().AllocDirty(8, 48) }, everywhere(refused("slab", 8, 48, 1<<20))},
	{"alignment of 0", func(w *world) { w.heap().AllocDirty(8, 0) }, everywhere(refused("slab", 8, 0, 1<<20))},
	{"negative alignment", func(w *world) { w.heap().Alloc(8, -8) }, everywhere(refused("slab", 8, -8, 1<<20))},
	{"the least alignment", func(w *world) { w.heap().AllocDirty(8, math.MinInt) }, everywhere(refused("slab", 8, math.MinInt, 1<<20))},
	{"alignment above the limit", func(w *world) { w.heap().Alloc(8, 2<<20) }, everywhere(refused("slab", 8, 2<<20, 1<<20))},
	{"alignment, Local", func(w *world) { w.heap().Local().Alloc(8, 3) }, everywhere(refused("slab", 8, 3, 1<<20))},
	{"alignment, Local dirty", func(w *world) { w.heap().Local().AllocDirty(8, 0) }, everywhere(refused("slab", 8, 0, 1<<20))},
	{"alignment, batch", func(w *world) { w.heap().AllocN(make([][]byte, 2), 8, 3) }, everywhere(refused("slab", 8, 3, 1<<20))},
	{"alignment, empty batch", func(w *world) { w.heap().AllocN(nil, 8, 3) }, everywhere(refused("slab", 8, 3, 1<<20))},
	{"alignment, Try forms", func(w *world) {
		h := w.heap()
		l := h.Local()
		for _, try := range []func(size, align int) ([]byte, error){h.TryAlloc, h.TryAllocDirty, l.TryAlloc, l.TryAllocDirty} {
			b, err := try(8, 24)
			w.holds(b == nil && err != nil && "panic: "+err.Error() == refused("slab", 8, 24, 1<<20), "each returns the error")
		}
		n, err := h.TryAllocN(make([][]byte, 2), 8, 24)
		w.holds(n == 0 && err != nil && "panic: "+err.Error() == refused("slab", 8, 24, 1<<20), "so does the batch")
	}, everywhere(fine)},
	{"alignment after Close", func(w *world) { h := w.heap(); w.must(h.Close()); h.Alloc(1, 3) }, everywhere("violation: slab.Alloc" + closedHeap)},
	{"Alloc of 64-byte alignment after Close", func(w *world) { h := w.heap(); w.must(h.Close()); h.AllocDirty(1, 64) }, everywhere("violation: slab.Alloc" + closedHeap)},
	{"alignment, zero Heap", func(w *world) { new(slab.Heap).AllocDirty(1, 3) }, everywhere("violation: slab.Alloc: " + zeroHeap)},
	{"free of an aligned object twice", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 64)
		h.Free(b)
		h.Free(b)
	}, first("slab.Free", freedAlready)},
	{"free by a Local of an aligned object twice", func(w *world) {
		l := w.heap().Local()
		b := l.AllocDirty(100, 64)
		l.Free(b)
		l.Free(b)
	}, first("slab.Free", freedAlready)},
	{"type with pointers", func(w *world) { slab.New[struct{ Name string }](w.heap()) },
		everywhere(pointers("slab", "struct { Name string }", "struct { Name string }.Name is a string"))},
	{"slice of pointers", func(w *world) { slab.MakeSlice[*int](w.heap(), 1, 1) },
		everywhere(pointers("slab", "*int", "it is a pointer"))},
	{"slice length", func(w *world) { slab.MakeSlice[int](w.heap(), 2, 1) }, everywhere("panic: slab: a slice of length 2 and capacity 1 cannot be")},
	{"slice overflow", func(w *world) { slab.MakeSlice[int](w.heap(), 0, math.MaxInt) },
		everywhere("panic: slab: 9223372036854775807 elements of 8 bytes are more than addresses can hold: no memory")},
	{"free of nil", func(w *world) {
		h := w.heap()
		h.Free(nil)
		h.Local().Free(nil)
		h.FreeN([][]byte{nil, nil})
		slab.Free[int](h, nil)
		slab.FreeSlice[int](h, nil)
	}, everywhere(fine)},
	{"free of a part from the start", func(w *world) {
		h := w.heap()
		h.Free(h.Alloc(100, 8)[:0])
		slab.FreeSlice(h, slab.MakeSlice[int](h, 9, 9)[:3:4])
	}, everywhere(fine)},
	{"append within the capacity", func(w *world) {
		h := w.heap()
		b := h.Alloc(100, 8)
		for cap(b) > len(b) {
			b = append(b, 1)
		}
		h.Free(b)
	}, everywhere(fine)},
}

type order struct {
	id    uint64
	price [5]uint32
}

// pool opens a pool in the mode of the case. After the case it must still work.
func (w *world) pool() *slab.Pool[order] {
	config := w.config
	config.Name = "pool"
	p, err := slab.OpenPool[order](config)
	w.must(err)
	w.then(func() error {
		if p.Stats().Reserved == 0 {
			return nil
		}
		before := p.Len()
		x, y := p.Get(), p.Get()
		if x == y || *x != (order{}) || p.Len() != before+2 {
			return errors.New("the pool does not work")
		}
		p.Put(x)
		p.Put(y)
		return errors.Join(p.Purge(), p.Close())
	})
	return p
}

const stale = "error: the handle is refused"

// named ends the case if a handle names no object.
func (w *world) named(x *order, ok bool) {
	if !ok {
		w.must(errors.New("the handle is refused"))
	}
	w.holds(x != nil, "a handle that is taken names an object")
}

func inPool(op, what string) outcomes { return caught(op, what, "pool", "0") }

var poolMisuse = []misuse{
	{"Put twice", func(w *world) { p := w.pool(); x := p.Get(); p.Put(x); p.Put(x) }, inPool("slab.Put", freedAlready)},
	{"Put of another pool's", func(w *world) { p, q := w.pool(), w.pool(); p.Put(q.Get()) }, inPool("slab.Put", otherMemory)},
	{"Put of Go memory", func(w *world) { w.pool().Put(new(order)) }, everywhere(violates("slab.Put", otherMemory, "pool", "0"))},
	{"Put of a part", func(w *world) { p := w.pool(); p.Put((*order)(unsafe.Add(unsafe.Pointer(p.Get()), 8))) },
		caught("slab.Put", interior, "pool", "8")},
	{"Put of an object that was overrun", func(w *world) {
		p := w.pool()
		x := p.Get()
		*(*byte)(unsafe.Add(unsafe.Pointer(x), unsafe.Sizeof(*x))) ^= 1
		p.Put(x)
	}, apart(notCaught, violates("slab.Free", behindEnd, "pool", "#"), overflow("pool", "1", "32"))},
	{"write after Put", func(w *world) {
		p := w.pool()
		x := p.Get()
		p.Put(x)
		x.id++
		churnPool(p)
	}, apart(notCaught, violates("slab.Alloc", afterFree, "pool", "#"), usedAfterFree("pool", "0", "32"))},
	{"HandleOf what was put", func(w *world) { p := w.pool(); x := p.Get(); p.Put(x); slab.HandleOf(p, x) }, inPool("slab.HandleOf", freedAlready)},
	{"HandleOf another pool's object", func(w *world) { p, q := w.pool(), w.pool(); slab.HandleOf(p, q.Get()) }, inPool("slab.HandleOf", otherMemory)},
	{"Deref after Put", func(w *world) {
		p := w.pool()
		x := p.Get()
		h := slab.HandleOf(p, x)
		p.Put(x)
		w.named(h.Deref(p))
	}, everywhere(stale)},
	{"Deref after Put, and another has the place", func(w *world) {
		p := w.pool()
		x := p.Get()
		h := slab.HandleOf(p, x)
		p.Put(x)
		for y := p.Get(); y != x; y = p.Get() {
			p.Put(y)
		}
		w.named(h.Deref(p))
	}, everywhere(stale)},
	{"Deref of another pool's handle", func(w *world) {
		p, q := w.pool(), w.pool()
		for range 10 {
			q.Get()
		}
		w.named(slab.HandleOf(q, q.Get()).Deref(p))
	}, everywhere(stale)},
	{"Deref of no handle", func(w *world) { w.named(slab.Handle[order]{}.Deref(w.pool())) }, everywhere(stale)},
	{"Deref in a zero Pool", func(w *world) { w.named(slab.HandleOf(w.pool(), nil).Deref(new(slab.Pool[order]))) },
		everywhere("violation: slab.Deref: use of a zero value: slab.OpenPool makes a Pool")},
	{"HandleOf in a nil Pool", func(w *world) { slab.HandleOf(nil, w.pool().Get()) },
		everywhere("violation: slab.HandleOf: use of a zero value: slab.OpenPool makes a Pool")},
	{"Deref after Close", func(w *world) { p := w.pool(); h := slab.HandleOf(p, p.Get()); w.must(p.Close()); w.named(h.Deref(p)) },
		everywhere(`violation: slab.Deref: use after close ("pool")`)},
	{"Len after Close", func(w *world) { p := w.pool(); p.Get(); w.must(p.Close()); p.Len() }, everywhere(`violation: slab.Len: use after close ("pool")`)},
	{"Get after Close", func(w *world) { p := w.pool(); w.must(p.Close()); p.Get() }, everywhere(`violation: slab.Alloc: use after close ("pool")`)},
	{"Put after Close", func(w *world) { p := w.pool(); x := p.Get(); w.must(p.Close()); p.Put(x) }, everywhere(`violation: slab.Put: use after close ("pool")`)},
	{"HandleOf after Close", func(w *world) { p := w.pool(); x := p.Get(); w.must(p.Close()); slab.HandleOf(p, x) }, everywhere(`violation: slab.HandleOf: use after close ("pool")`)},
	{"All after Close", func(w *world) {
		p := w.pool()
		w.must(p.Close())
		for range p.All() {
		}
	}, everywhere(`violation: slab.All: use after close ("pool")`)},
	{"Close inside a loop over All", func(w *world) {
		p := w.pool()
		p.Get()
		p.Get()
		for range p.All() {
			w.must(p.Close())
		}
	}, everywhere(`violation: slab.All: use after close ("pool")`)},
	{"Close twice", func(w *world) { p := w.pool(); w.must(p.Close()); w.must(p.Close()) }, everywhere(`error: slab: close "pool": closed`)},
	{"touch after Close", func(w *world) { p := w.pool(); x := p.Get(); w.must(p.Close()); x.id++ },
		afterClosing("pool", usedAfterFree("pool", "0", "32"))},
	{"pool of pointers", func(w *world) {
		_, err := slab.OpenPool[*int](w.config)
		w.must(err)
	}, everywhere(`error: slab: open pool "heap": *int cannot live outside the Go heap: it is a pointer, and the garbage collector does not see pointers there`)},
	{"pool of objects that are too large", func(w *world) {
		_, err := slab.OpenPool[[2 << 20]byte](w.config)
		w.must(err)
	}, everywhere(`error: slab: open pool "heap": objects of 2097152 bytes do not fit into slots of 1048576`)},
	{"Put and HandleOf nil", func(w *world) {
		p := w.pool()
		p.Put(nil)
		w.holds(slab.HandleOf(p, nil).IsNil(), "the handle of nil is nil")
	}, everywhere(fine)},
	{"Put during All", func(w *world) {
		p := w.pool()
		for range 100 {
			p.Get()
		}
		for x := range p.All() {
			p.Put(x)
			if p.Len()%2 == 0 {
				p.Put(p.Get())
			}
		}
	}, everywhere(fine)},
}
