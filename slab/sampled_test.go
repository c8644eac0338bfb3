package slab

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// sampleOneIn samples until the test ends. What is there for all heaps is opened first.
func sampleOneIn(t testing.TB, n int) {
	old, _ := SetSampling(Sampling{Every: 1})
	t.Cleanup(func() { SetSampling(Sampling{Every: old.Every}) })
	h, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	h.Free(h.Alloc(1, 8))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	SetSampling(Sampling{Every: n, Seed: 1})
}

// openPlain and openPlainPool are open for several of them.
func openPlain(t *testing.T, c Config) *Heap {
	h, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func openPlainPool(t *testing.T, c Config) *Pool[order] {
	p, err := OpenPool[order](c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func isSampled(b []byte) bool { return sampled.Holds(unsafe.Pointer(unsafe.SliceData(b))) }

// allocSampled and freeSampled are who is named in stacks.
//
//go:noinline
func allocSampled(h *Heap, n int) []byte { return h.Alloc(n, 8) }

//go:noinline
func freeSampled(h *Heap, b []byte) { h.Free(b) }

// faultAt touches the byte at an offset from an object.
func faultAt(b []byte, off int) *guard.Fault {
	p := (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off))
	var f *guard.Fault
	errors.As(guard.Catch(func() { touched = *p }), &f)
	return f
}

var touched byte

func names(stack string, functions ...string) bool {
	for _, f := range functions {
		at := strings.Index(stack, f+"\n\t")
		if at < 0 {
			return false
		}
		stack = stack[at:]
	}
	return true
}

func TestSampledObjectsFault(t *testing.T) {
	sampleOneIn(t, 1)
	for _, hardened := range []bool{false, true} {
		h := open(t, Config{Name: "orders", Hardened: hardened})
		lefts, rights := 0, 0
		for n := range 700 {
			if n > 300 {
				n *= 1498
			}
			b := allocSampled(h, n)
			if n > sizeclass.Largest {
				if isSampled(b) {
					t.Fatalf("%d bytes are in a slot", n)
				}
				h.Free(b)
				continue
			}
			if !isSampled(b) || len(b) != n || cap(b) != n || zero(b) != nil || address(b)%sizeclass.Granule != 0 {
				t.Fatalf("%d bytes: sampled %v, len %d, cap %d, at %#x, %v", n, isSampled(b), len(b), cap(b), address(b), zero(b))
			}
			fill(b, byte(n))
			gap := -n & (sizeclass.Granule - 1)
			right := (address(b)+uintptr(n+gap))%uintptr(guard.PageSize()) == 0
			left := address(b)%uintptr(guard.PageSize()) == 0
			if !left && !right {
				t.Fatalf("%d bytes at %#x touch no guard", n, address(b))
			}
			check := func(off int, kind guard.Kind) {
				t.Helper()
				f := faultAt(b, off)
				if f == nil || f.Kind != kind || f.Region != "orders" || f.Offset != off || f.Size != n || f.Addr != address(b)+uintptr(off) {
					t.Fatalf("touch at %d of %d: %+v", off, n, f)
				}
				if freed := kind == guard.UseAfterFree; !names(f.Allocated, "slab.(*Heap).Alloc", "slab.allocSampled", "slab.TestSampledObjectsFault") ||
					names(f.Freed, "slab.(*Heap).Free", "slab.freeSampled", "slab.TestSampledObjectsFault") != freed || strings.Contains(f.Allocated, "sampled.") {
					t.Fatalf("touch at %d of %d: allocated\n%sfreed\n%s", off, n, f.Allocated, f.Freed)
				}
			}
			if right {
				rights++
				check(n+gap, guard.Overflow)
				check(n+gap+4000, guard.Overflow)
			}
			if left {
				lefts++
				check(-1, guard.Underflow)
				check(-4000, guard.Underflow)
			}
			freeSampled(h, b)
			check(0, guard.UseAfterFree)
			check(n/2, guard.UseAfterFree)
			check(n+100, guard.UseAfterFree)
		}
		if lefts < 100 || rights < 100 {
			t.Errorf("%d lie at the start of a slot, %d at its end", lefts, rights)
		}
	}
}

func TestSampledMisuse(t *testing.T) {
	sampleOneIn(t, 1)
	const (
		twice    = "slab.Free: double free: freed already, or never allocated"
		interior = "slab.Free: invalid pointer: not the start of an object"
		behind   = "slab.Free: overrun: object was written to behind its end"
		before   = "slab.Free: overrun: object was written to before its start"
		foreign  = "slab.Free: invalid pointer: into other memory"
	)
	for name, c := range map[string]struct {
		want string
		do   func(h, other *Heap, b []byte)
	}{
		"double free":             {twice, func(h, _ *Heap, b []byte) { freeSampled(h, b); h.Free(b) }},
		"double free by FreeN":    {twice, func(h, _ *Heap, b []byte) { freeSampled(h, b); h.FreeN([][]byte{b}) }},
		"double free, Local":      {twice, func(h, _ *Heap, b []byte) { l := h.Local(); defer l.Close(); freeSampled(h, b); l.Free(b) }},
		"interior free":           {interior, func(h, _ *Heap, b []byte) { h.Free(b[8:]) }},
		"free of another heap's":  {foreign, func(_, other *Heap, b []byte) { other.Free(b) }},
		"realloc after free":      {strings.Replace(twice, "Free: double free", "Realloc: use after free", 1), func(h, _ *Heap, b []byte) { freeSampled(h, b); h.Realloc(b, 10) }},
		"size after free":         {strings.Replace(twice, "Free: double free", "Size: use after free", 1), func(h, _ *Heap, b []byte) { freeSampled(h, b); h.Size(b) }},
		"write just behind":       {behind, func(h, _ *Heap, b []byte) { write(b, len(b)); h.Free(b) }},
		"write before, at an end": {before, func(h, _ *Heap, b []byte) { write(b, -1); h.Free(b) }},
	} {
		h, other := openPlain(t, Config{Name: "one"}), openPlain(t, Config{Name: "other"})
		b := allocSampled(h, 41)
		for name == "write before, at an end" && address(b)%4096 == 0 {
			b = allocSampled(h, 41)
		}
		err, _ := panicOf(func() { c.do(h, other, b) }).(error)
		var v *guard.Violation
		if !errors.As(err, &v) || v.Op+": "+said(v) != c.want || v.Region != "one" {
			t.Errorf("%s: %v, want %s", name, err, c.want)
			continue
		}
		if !names(v.Allocated, "slab.allocSampled") || names(v.Freed, "slab.freeSampled") != strings.Contains(c.want, "freed already") {
			t.Errorf("%s: allocated\n%sfreed\n%s", name, v.Allocated, v.Freed)
		}
	}
}

func write(b []byte, off int) { *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off)) ^= 1 }

// TestSampledPool uses a Pool whose objects are sampled.
func TestSampledPool(t *testing.T) {
	sampleOneIn(t, 1)
	p, other := openPlainPool(t, Config{Name: "pool"}), openPlainPool(t, Config{Name: "other"})
	seen := map[Handle[order]]bool{}
	for range 1000 { // more than there are slots
		x := p.Get()
		h := HandleOf(p, x)
		if at, ok := h.Deref(p); !ok || at != x || seen[h] || h.IsNil() || *x != (order{}) {
			t.Fatalf("handle %v, seen %v: %p, %v, want %p", h, seen[h], at, ok, x)
		}
		if at, ok := h.Deref(other); ok {
			t.Fatalf("another pool has %p for %v", at, h)
		}
		seen[h] = true
		x.id = 5
		p.Put(x)
		if at, ok := h.Deref(p); ok {
			t.Fatalf("stale, but names %p", at)
		}
	}
	x, y := p.Get(), p.Get()
	all := map[*order]bool{}
	for z := range p.All() {
		all[z] = true
	}
	if n := p.Len(); n != 2 || len(all) != 2 || !all[x] || !all[y] {
		t.Errorf("%d objects, met %v, want %p and %p", n, all, x, y)
	}
	if s := p.Stats(); s.Live != 2*int64(unsafe.Sizeof(*x)) || s.Committed < s.Live || s.Reserved < s.Committed {
		t.Errorf("%+v", s)
	}
	p.Put(x)
	for _, f := range []func(){func() { p.Put(x) }, func() { HandleOf(p, x) }, func() { other.Put(y) }} {
		var v *guard.Violation
		if err, _ := panicOf(f).(error); !errors.As(err, &v) || v.Allocated == "" {
			t.Errorf("%v", err)
		}
	}
	h := HandleOf(p, y)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if v := violationOf(t, func() { h.Deref(p) }); v == nil || v.Kind != guard.UseAfterClose {
		t.Errorf("a handle of a closed pool: %v", v)
	}
	var f *guard.Fault
	if err := guard.Catch(func() { y.id = 1 }); !errors.As(err, &f) || f.Kind != guard.UseAfterFree || f.Region != "pool" || !names(f.Freed, "slab.(*Pool[...]).Close") {
		t.Errorf("touch after Close: %v", err)
	}
}

// TestSampledHandlesAreTheirOwn checks that the last object of the largest pool has no handle of a sampled one.
func TestSampledHandlesAreTheirOwn(t *testing.T) {
	p := openPlainPool(t, Config{Reserve: maxReserve})
	if last := uint32((p.heap.config.Reserve - 1) / sizeclass.Granule); last >= sampledHandles {
		t.Errorf("an object at sizeclass.Granule %#x has a handle of sampled objects, which begin with %#x", last, sampledHandles)
	}
}

// TestSampledSlotsRunOut takes more objects than there are slots, and sees that the slot which was
// freed first is used again first.
func TestSampledSlotsRunOut(t *testing.T) {
	sampleOneIn(t, 1)
	h := open(t, Config{})
	var live [][]byte
	slots := sampled.Slots()
	for i := range slots + 100 {
		b := h.Alloc(100, 8)
		if isSampled(b) != (i < slots) {
			t.Fatalf("object %d is sampled: %v", i, isSampled(b))
		}
		fill(b, 7)
		live = append(live, b)
	}
	for _, b := range live {
		h.Free(b)
	}
	h.check()
	slot := func(b []byte) uint32 {
		i, _, ok := sampled.Name(h.id(), unsafe.Pointer(unsafe.SliceData(b)))
		if !ok {
			t.Fatal("no slot")
		}
		return i
	}
	first := h.Alloc(100, 8)
	at := slot(first)
	h.Free(first)
	for i := range slots {
		b := h.Alloc(100, 8)
		if again := slot(b) == at; again != (i == slots-1) {
			t.Fatalf("after %d of %d others the slot is used again: %v", i, slots, again)
		}
		h.Free(b)
	}
}

// TestSetSampling replaces the sampling: SetSampling returns what was in force, CurrentSampling what is, and a setting
// that cannot be changes nothing.
func TestSetSampling(t *testing.T) {
	sampleOneIn(t, 0) // the number of slots does not change any more
	before := CurrentSampling()
	if before.Every != 0 || before.Seed != 1 || before.Slots <= 0 {
		t.Errorf("the sampling in force is %+v", before)
	}
	old, err := SetSampling(Sampling{Every: 20, Seed: 7})
	want := Sampling{Every: 20, Slots: before.Slots, Seed: 7}
	if err != nil || old != before || CurrentSampling() != want {
		t.Errorf("%+v replaces %+v, %v; want %+v for %+v", CurrentSampling(), old, err, want, before)
	}
	for _, s := range []Sampling{{Every: -1}, {Slots: -1}, {Slots: 65537}, {Every: 3, Slots: before.Slots + 1}} {
		if old, err := SetSampling(s); err == nil || old != want || CurrentSampling() != want {
			t.Errorf("%+v: %v, %+v; now %+v", s, err, old, CurrentSampling())
		}
	}
	if old, err := SetSampling(before); err != nil || old != want || CurrentSampling() != before {
		t.Errorf("what SetSampling returned puts back %+v for %+v, %v", CurrentSampling(), old, err)
	}
}

// TestSampledRate counts the sampled objects of each way to allocate.
func TestSampledRate(t *testing.T) {
	const every = 50
	n := rounds(100_000)
	check := func(t *testing.T, sampled int) {
		t.Helper()
		want := float64(n) / every
		if off := math.Abs(float64(sampled) - want); off > 6*math.Sqrt(want) { // the deviation is sqrt(want)
			t.Errorf("%d of %d were sampled, want about %.0f", sampled, n, want)
		}
	}
	for name, get := range map[string]func(h *Heap, l *Local, p *Pool[order]) (b []byte, free func()){
		"Heap.Alloc": func(h *Heap, l *Local, p *Pool[order]) ([]byte, func()) {
			b := h.Alloc(40, 8)
			return b, func() { h.Free(b) }
		},
		"Heap.AllocDirty": func(h *Heap, l *Local, p *Pool[order]) ([]byte, func()) {
			b := h.AllocDirty(40, 8)
			return b, func() { h.Free(b) }
		},
		"Heap.AllocAligned": func(h *Heap, l *Local, p *Pool[order]) ([]byte, func()) {
			b := h.Alloc(40, 128)
			return b, func() { h.Free(b) }
		},
		"Local.Alloc": func(h *Heap, l *Local, p *Pool[order]) ([]byte, func()) {
			b := l.Alloc(40, 8)
			return b, func() { l.Free(b) }
		},
		"Local.AllocDirty": func(h *Heap, l *Local, p *Pool[order]) ([]byte, func()) {
			b := l.AllocDirty(40, 8)
			return b, func() { l.Free(b) }
		},
		"Pool.Get": func(h *Heap, l *Local, p *Pool[order]) ([]byte, func()) {
			x := p.Get()
			return unsafe.Slice((*byte)(unsafe.Pointer(x)), unsafe.Sizeof(*x)), func() { p.Put(x) }
		},
	} {
		for _, hardened := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, hardened), func(t *testing.T) {
				sampleOneIn(t, every)
				c := Config{Hardened: hardened}
				h, p := openPlain(t, c), openPlainPool(t, c)
				l := h.Local()
				sampled := 0
				for range n {
					b, free := get(h, l, p)
					if isSampled(b) {
						sampled++
					}
					free()
				}
				check(t, sampled)
			})
		}
	}
	t.Run("AllocN", func(t *testing.T) {
		sampleOneIn(t, every)
		h := open(t, Config{})
		sampled := 0
		for range n / 100 {
			var many [100][]byte
			h.AllocN(many[:], 100, 8)
			for _, b := range many {
				if isSampled(b) {
					sampled++
				}
			}
			h.FreeN(many[:])
		}
		check(t, sampled)
	})
}

// TestSamplingIsNoticed switches it on and off under a heap that is in use.
func TestSamplingIsNoticed(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // each processor notices by itself
	sampleOneIn(t, 0)
	h := open(t, Config{})
	count := func(n int) (sampled int) {
		for range n {
			b := h.AllocDirty(64, 8)
			if isSampled(b) {
				sampled++
			}
			h.Free(b)
		}
		return sampled
	}
	if n := count(10000); n > 0 {
		t.Errorf("%d sampled, but it is off", n)
	}
	SetSampling(Sampling{Every: 1})
	count(sampled.MaxPass)
	if n := count(1000); n != 1000 {
		t.Errorf("%d of 1000 are sampled", n)
	}
	SetSampling(Sampling{Every: 0})
	count(2)
	if n := count(1000); n > 2 {
		t.Errorf("%d are sampled, but it is off again", n)
	}
}

// TestSampledModel plays random histories that are sampled.
func TestSampledModel(t *testing.T) {
	for seed := range uint64(4) {
		sampleOneIn(t, 1+int(seed)*2)
		r := rand.New(rand.NewPCG(seed, 5))
		data := make([]byte, rounds(10000))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		run(t, data, seed%2 == 1)
	}
}

func TestHammerSampled(t *testing.T) {
	sampleOneIn(t, 5)
	hammer(t, Config{}, 10000)
	hammer(t, Config{Hardened: true}, 3000)
}

// TestHammerSampledDoubleFree has two goroutines free one object: one of them gets the violation.
func TestHammerSampledDoubleFree(t *testing.T) {
	sampleOneIn(t, 1)
	h := open(t, Config{})
	for range rounds(3000) {
		b := h.Alloc(50, 8)
		var wg sync.WaitGroup
		var caught [2]any
		for i := range caught {
			wg.Go(func() { caught[i] = panicOf(func() { h.Free(b) }) })
		}
		wg.Wait()
		if (caught[0] == nil) == (caught[1] == nil) {
			t.Fatalf("freed by two: %v, %v", caught[0], caught[1])
		}
	}
}

// TestSampledFails lets the system calls of sampled objects fail: then they are not sampled, or the
// slot is emptied later.
func TestSampledFails(t *testing.T) {
	sampleOneIn(t, 1)
	h := open(t, Config{})
	SetSampling(Sampling{Every: 0})
	h.FreeN([][]byte{h.Alloc(3000, 8), h.Alloc(9000, 8)}) // commits metadata for slabs, which stay committed
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	SetSampling(Sampling{Every: 1})
	use := func(size int) (sampled bool) {
		b := h.Alloc(size, 8)
		if err := zero(b); err != nil {
			t.Fatal(err)
		}
		fill(b, 3)
		if err := (held{b: b, seed: 3}).verify(); err != nil {
			t.Fatal(err)
		}
		h.Free(b)
		return isSampled(b)
	}
	left := 0
	for _, kind := range []vm.Kind{vm.Mprotect, vm.Madvise} {
		for nth := 1; nth < 8; nth++ {
			for _, sizes := range [][2]int{{3000, 3000}, {9000, 9000}, {3000, 9000}, {9000, 3000}} {
				before := ours()
				for range sampled.Slots() + 1 { // each slot is used once
					use(sizes[0])
				}
				stop := vm.Inject(kind, nth, vm.OutOfMemory)
				for range 3 {
					if !use(sizes[1]) {
						left++
					}
				}
				stop()
				for range sampled.Slots() + 1 {
					if !use(sizes[1]) {
						t.Fatalf("%v %d: %d bytes after %d are not sampled any more", kind, nth, sizes[1], sizes[0])
					}
				}
				if err := h.Purge(); err != nil {
					t.Fatal(err)
				}
				if after := ours(); after != before {
					t.Errorf("%v %d: before %+v, after %+v", kind, nth, before, after)
				}
				for r := range guard.Regions() {
					if most := int64(2 * sampled.Slots() * guard.PageSize()); r.Name == "sampled" && r.Committed > most {
						t.Errorf("%v %d: %d bytes of slots are committed, want at most %d", kind, nth, r.Committed, most)
					}
				}
			}
		}
	}
	if left == 0 {
		t.Error("no failure of the kernel left an object out")
	}
}

// TestSampledReport shows what a program says that ends by a touch of a sampled object.
func TestSampledReport(t *testing.T) {
	if os.Getenv("SLAB_TEST_REPORT") != "" {
		SetSampling(Sampling{Every: 1})
		h, err := Open(Config{Name: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		b := allocSampled(h, 48)
		freeSampled(h, b)
		touched = b[7]
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSampledReport$")
	cmd.Env = append(os.Environ(), "SLAB_TEST_REPORT=1")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the test runs under an emulator and cannot start itself")
	}
	said := regexp.MustCompile(`0x[0-9a-f]+`).ReplaceAllString(string(out), "0xADDR")
	said = regexp.MustCompile(`\t[^\n]*/(\w+\.go):\d+\n`).ReplaceAllString(said, "\t$1\n")
	const (
		pkg  = "github.com/seed-9a6c551e/offheap/slab."
		rest = pkg + "TestSampledReport\n\tsampled_test.go\ntesting.tRunner\n\ttesting.go\nruntime.goexit\n"
		want = `guard: use after free in region "orders": address 0xADDR, offset 7 of 48` + "\nallocated at\n" +
			pkg + "(*Heap).Alloc\n\talloc.go\n" + pkg + "allocSampled\n\tsampled_test.go\n" + rest
		then = "\nfreed at\n" + pkg + "(*Heap).Free\n\talloc.go\n" + pkg + "freeSampled\n\tsampled_test.go\n" + rest
		dies = "unexpected fault address 0xADDR\nfatal error: fault\n"
	)
	at := strings.Index(said, then)
	if err == nil || !strings.HasPrefix(said, want) || at < len(want) || !strings.Contains(said[at:], dies) {
		t.Errorf("%v\n%s", err, said)
	}
}

func BenchmarkSampled(b *testing.B) {
	sampleOneIn(b, 1)
	h := open(b, Config{})
	var live [100][]byte
	for i := 0; b.Loop(); i++ {
		h.Free(live[i%len(live)])
		live[i%len(live)] = h.AllocDirty(100, 8)
	}
}
