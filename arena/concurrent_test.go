package arena

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

func concurrent(t testing.TB, c Config) *Concurrent {
	t.Helper()
	nothingLeft(t)
	k, err := OpenConcurrent(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	})
	return k
}

// TestConcurrentForms checks each function on one goroutine, over several resets: alignment, zeroes, no overlap.
func TestConcurrentForms(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		k := concurrent(t, Config{})
		var high int64
		for range 4 {
			var all [][]byte
			add := func(p unsafe.Pointer, n, align int) {
				t.Helper()
				if uintptr(p)%uintptr(align) != 0 {
					t.Fatalf("%p is not aligned to %d", p, align)
				}
				b := unsafe.Slice((*byte)(p), n)
				mustBeZero(t, "fresh", b)
				for i := range b {
					b[i] = byte(len(all)) | 1
				}
				all = append(all, b)
			}
			for range 3000 {
				add(unsafe.Pointer(NewIn[[3]byte](k)), 3, granule)
				s := MakeSliceIn[uint32](k, 1, 3)
				if len(s) != 1 || cap(s) != 3 {
					t.Fatal(len(s), cap(s))
				}
				add(unsafe.Pointer(&s[0]), 12, granule)
				b := k.Alloc(10, 128)
				if len(b) != 10 || cap(b) != 10 {
					t.Fatal(len(b), cap(b))
				}
				add(unsafe.Pointer(&b[0]), 10, 128)
			}
			for align := 1; align <= maxAlign; align *= 2 {
				b := k.Alloc(align, align)
				add(unsafe.Pointer(&b[0]), align, align)
			}
			for _, n := range []int{chunkSize / 8, chunkSize/8 + 1, chunkSize - 1, chunkSize, chunkSize + 1, 5 << 20} {
				s := MakeSliceIn[byte](k, n, n)
				add(unsafe.Pointer(&s[0]), n, granule)
			}
			if s := StringIn(k, "text"); s != "text" {
				t.Fatal(s)
			}
			for _, n := range []int{1, 5, chunkSize / 8, chunkSize + 1} {
				want := make([]byte, n)
				smear(want)
				for form, make := range map[string]func() ([]byte, error){
					"CloneIn":    func() ([]byte, error) { return CloneIn(k, want), nil },
					"TryCloneIn": func() ([]byte, error) { return TryCloneIn(k, want) },
					"TryStringIn": func() ([]byte, error) {
						s, err := TryStringIn(k, string(want))
						return unsafe.Slice(unsafe.StringData(s), len(s)), err
					},
				} {
					got, err := make()
					if err != nil || !bytes.Equal(got, want) || cap(got) != n {
						t.Fatalf("%s of %d bytes: length %d, capacity %d, error %v", form, n, len(got), cap(got), err)
					}
					clear(got)
					add(unsafe.Pointer(&got[0]), n, granule)
				}
			}
			for i, b := range all {
				for _, x := range b {
					if x != byte(i)|1 {
						t.Fatalf("object %d was written over", i)
					}
				}
			}
			high = max(high, k.Stats().Live)
			k.Reset()
			if s := k.Stats(); s.Live != 0 || s.HighWater != high {
				t.Fatalf("%+v after Reset of %d", s, high)
			}
		}
	})
}

// TestConcurrentStrings: a copy does not change with its source, and the next object is zero.
func TestConcurrentStrings(t *testing.T) {
	k := concurrent(t, Config{})
	for n := range 50 {
		b := []byte(strings.Repeat("x", n))
		s := StringIn(k, unsafe.String(unsafe.SliceData(b), len(b)))
		smear(b)
		if s != strings.Repeat("x", n) {
			t.Fatal(s)
		}
		mustBeZero(t, "next", k.Alloc(16, 1))
	}
}

func TestConcurrentZeroSizes(t *testing.T) {
	k := concurrent(t, Config{})
	for range 2 {
		p := NewIn[struct{}](k)
		r := RefIn(k, p)
		if p == nil || r.IsNil() || r.DerefIn(k) != p {
			t.Fatal("the Ref of an object without a size should lead back to it")
		}
		if s := MakeSliceIn[struct{}](k, 3, 5); len(s) != 3 {
			t.Fatal(len(s))
		}
		if b := k.Alloc(0, 64); len(b) != 0 || StringIn(k, "") != "" {
			t.Fatal(b)
		}
		NewIn[uint64](k)
	}
}

func TestConcurrentLimit(t *testing.T) {
	for _, limit := range []int{8, 4096, 100_000, 4 << 20} {
		k := concurrent(t, Config{Name: "small", Limit: limit})
		for range 2 {
			n := 0
			var err error
			for ; err == nil; n++ {
				var p *uint64
				if p, err = TryNewIn[uint64](k); err == nil {
					if *p != 0 {
						t.Fatal("not zero")
					}
					*p = 1
				}
			}
			if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), `"small"`) || !strings.Contains(err.Error(), "its Limit of") {
				t.Fatal(err)
			}
			if s := k.Stats(); (n-1)*8 > limit || (n-1)*8 < limit/2 || s.Live > int64(limit) {
				t.Fatalf("limit %d: %d objects of 8 bytes; %+v", limit, n-1, s)
			}
			for name, f := range map[string]func(){
				"MakeSliceIn": func() { MakeSliceIn[byte](k, limit, limit) }, "Alloc": func() { k.Alloc(limit, 8) },
				"StringIn": func() { StringIn(k, string(make([]byte, limit))) }, "NewIn": func() { NewIn[[1 << 23]byte](k) },
			} {
				if err := panicOf(f); !errors.Is(err, guard.ErrNoMemory) {
					t.Errorf("%s: %v", name, err)
				}
			}
			k.Reset()
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConcurrentRefs(t *testing.T) {
	k := concurrent(t, Config{})
	p := NewIn[[2]uint64](k)
	r := RefIn(k, p)
	if r.DerefIn(k) != p || (Ref[uint64]{}).DerefIn(k) != nil || !RefIn[uint64](k, nil).IsNil() {
		t.Fatal("a Ref should lead back")
	}
	top := uint64(k.next.Load())
	for name, f := range map[string]func(){
		"RefIn heap":      func() { RefIn(k, new(uint64)) },
		"RefIn above top": func() { RefIn(k, (*uint64)(unsafe.Add(k.base, top-4))) },
		"DerefIn 1":       func() { Ref[uint64]{1}.DerefIn(k) },
		"DerefIn top":     func() { Ref[uint64]{top}.DerefIn(k) },
		"DerefIn top-7":   func() { Ref[uint64]{top - 7}.DerefIn(k) },
		"DerefIn huge":    func() { Ref[uint64]{1 << 63}.DerefIn(k) },
		"DerefIn wraps":   func() { Ref[uint64]{^uint64(0) - 3}.DerefIn(k) },
		"DerefIn too big": func() { Ref[[1 << 22]uint64]{first}.DerefIn(k) },
	} {
		var v *guard.Violation
		if err := panicOf(f); !errors.As(err, &v) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConcurrentOnMoreProcessors: those that were added after OpenConcurrent get chunks, too.
func TestConcurrentOnMoreProcessors(t *testing.T) {
	k := concurrent(t, Config{})
	moreProcessors(t)
	for range 2 {
		onAllProcessors(func(g int) {
			mine := make([]*[3]uint64, 500)
			for i := range mine {
				mine[i] = NewIn[[3]uint64](k)
				if *mine[i] != [3]uint64{} {
					t.Error("not zero")
				}
				mine[i][0], mine[i][2] = uint64(g), uint64(i)
			}
			for i, p := range mine {
				if *p != [3]uint64{uint64(g), 0, uint64(i)} {
					t.Errorf("object %d of goroutine %d is %v", i, g, *p)
				}
			}
		})
		k.Reset()
	}
}

// TestConcurrentWithoutChunks allocates on a processor that can have no chunk, as those from percpu.Max
// on: every object is carved off by itself.
func TestConcurrentWithoutChunks(t *testing.T) {
	k := concurrent(t, Config{})
	percpu.Close((*chunk).drain, &k.chunks)
	for range 100 {
		*NewIn[[3]uint64](k) = [3]uint64{1, 2, 3}
	}
	if live := k.Stats().Live; live != 100*24 {
		t.Fatalf("%d bytes live for 100 objects of 24", live)
	}
}

// TestConcurrentFails: addresses that could not be committed are not lost.
func TestConcurrentFails(t *testing.T) {
	alloctest.SetQuarantine(t, 0) // or it gives way
	k := concurrent(t, Config{})
	NewIn[uint64](k)
	live := k.Stats().Live
	stop := vm.Inject(vm.Mprotect, 1, vm.OutOfMemory)
	_, err := k.TryAlloc(5<<20, 8)
	stop()
	if !errors.Is(err, guard.ErrNoMemory) || k.Stats().Live != live {
		t.Fatalf("%v; %d bytes live before, %d after", err, live, k.Stats().Live)
	}
}

// TestConcurrentHugePages: commits are multiples of 2 MiB, inside of the region.
func TestConcurrentHugePages(t *testing.T) {
	k := concurrent(t, Config{HugePages: true, Limit: 3 << 20})
	*NewIn[uint64](k) = 1
	if c := k.Stats().Committed; c != maxAlign {
		t.Fatalf("%d bytes committed", c)
	}
	smear(k.Alloc(2<<20, 8))
	if c := k.Stats().Committed; c != 2*maxAlign {
		t.Fatalf("%d bytes committed", c)
	}
}

// TestConcurrentAppend compares AppendIn with the built-in, on several goroutines.
func TestConcurrentAppend(t *testing.T) {
	k := concurrent(t, Config{})
	type odd [3]uint32
	var wg sync.WaitGroup
	for g := range uint32(4) {
		wg.Go(func() {
			var got, want []odd
			for i := range uint32(rounds(2000)) {
				values := make([]odd, rand.IntN(4))
				for j := range values {
					values[j] = odd{g, i, uint32(j)}
				}
				before := cap(got)
				var err error
				if i%2 == 0 {
					got = AppendIn(k, got, values...)
				} else if got, err = TryAppendIn(k, got, values...); err != nil {
					t.Error(err)
					return
				}
				want = append(want, values...)
				if !slices.Equal(got, want) {
					t.Errorf("goroutine %d, step %d: not what append gives", g, i)
					return
				}
				if cap(got) != before && slices.ContainsFunc(got[len(got):cap(got)], func(o odd) bool { return o != odd{} }) {
					t.Error("what lies above the length is not zero")
				}
				if len(got) > 0 && &RefIn(k, &got[0]).SliceIn(k, len(got))[len(got)-1] != &got[len(got)-1] {
					t.Error("SliceIn leads elsewhere")
				}
			}
		})
	}
	wg.Wait()
	if s := AppendIn(k, []int(nil)); s != nil {
		t.Error("appending nothing to nil should give nil, as append does")
	}
	if s := CloneIn[int](k, nil); s != nil {
		t.Error("a copy of nil should be nil")
	}
	if s := CloneIn(k, []int{}); s == nil || len(s) != 0 || cap(s) != 0 {
		t.Error("a copy of an empty slice should be empty and not nil")
	}
}

// TestConcurrentTryForms: a call that finds no memory returns an error, and takes nothing. AppendIn takes less
// capacity if there is no room for more.
func TestConcurrentTryForms(t *testing.T) {
	k := concurrent(t, Config{Limit: 100_000})
	large := make([]byte, 200_000)
	for name, try := range map[string]func() (int, error){
		"TryStringIn": func() (int, error) { s, err := TryStringIn(k, string(large)); return len(s), err },
		"TryCloneIn":  func() (int, error) { s, err := TryCloneIn(k, large); return cap(s), err },
		"TryAppendIn": func() (int, error) { s, err := TryAppendIn(k, []byte("x"), large...); return cap(s), err },
		"StringIn":    func() (int, error) { return 0, panicOf(func() { StringIn(k, string(large)) }) },
		"CloneIn":     func() (int, error) { return 0, panicOf(func() { CloneIn(k, large) }) },
		"AppendIn":    func() (int, error) { return 0, panicOf(func() { AppendIn(k, large[:0:0], large...) }) },
	} {
		if n, err := try(); n != 0 || !errors.Is(err, guard.ErrNoMemory) || k.Stats().Live != 0 {
			t.Errorf("%s: %d, %v, %d bytes live", name, n, err, k.Stats().Live)
		}
	}
	if s, err := TryAppendIn(k, large[:60_000:60_000], 1); len(s) != 60_001 || err != nil { // not with double the capacity
		t.Errorf("length %d, %v", len(s), err)
	}
}
