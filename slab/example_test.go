package slab_test

import (
	"errors"
	"fmt"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab"
)

func ExampleHeap() {
	h, err := slab.Open(slab.Config{Name: "cache"})
	if err != nil {
		panic(err)
	}
	defer h.Close()

	b := h.Alloc(100, 8) // zeroed; the slot has room for 112
	b = append(b[:0], "hello"...)
	fmt.Println(string(b), cap(b))

	b = h.Realloc(b, 1000)
	fmt.Println(string(b[:5]), len(b))
	h.Free(b)

	// Output:
	// hello 112
	// hello 1000
}

// A table keeps references, which have no pointers, in place of objects. They may be stale when they are followed.
func ExampleHeap_Ref() {
	h, err := slab.Open(slab.Config{})
	if err != nil {
		panic(err)
	}
	defer h.Close()

	type entry struct {
		value  slab.Ref
		length int // Bytes returns all of the room of an object
	}
	put := func(s string) entry {
		b := h.Alloc(len(s), 1)
		copy(b, s)
		return entry{h.Ref(b), len(s)}
	}
	table := map[int]entry{1: put("one"), 2: put("two")}

	h.Free(h.Bytes(table[2].value)) // evicted
	put("three")                    // in the same place, perhaps

	for key := range 4 {
		e := table[key]
		b, ok := h.TryBytes(e.value)
		if !ok {
			fmt.Println(key, "is not there")
			continue
		}
		fmt.Println(key, string(b[:e.length]))
	}

	// Output:
	// 0 is not there
	// 1 one
	// 2 is not there
	// 3 is not there
}

func ExampleHeap_Reset() {
	h, err := slab.Open(slab.Config{})
	if err != nil {
		panic(err)
	}
	defer h.Close()

	var last slab.Ref
	for range 1000 {
		last = h.Ref(h.Alloc(100, 8))
	}
	h.Reset()
	_, ok := h.TryBytes(last)
	fmt.Println(ok, h.Stats().Live)

	// Output:
	// false 0
}

func ExampleNew() {
	h, err := slab.Open(slab.Config{})
	if err != nil {
		panic(err)
	}
	defer h.Close()

	type point struct{ X, Y float64 }
	p := slab.New[point](h)
	p.X = 1
	fmt.Println(*p)
	slab.Free(h, p)

	words := slab.MakeSlice[uint32](h, 3, 10)
	fmt.Println(words, cap(words))
	slab.FreeSlice(h, words)

	// Output:
	// {1 0}
	// [0 0 0] 10
}

func ExampleLocal() {
	h, err := slab.Open(slab.Config{})
	if err != nil {
		panic(err)
	}
	defer h.Close()

	done := make(chan []byte)
	go func() {
		l := h.Local() // for this goroutine
		l.Free(l.Alloc(64, 8))
		b := l.Alloc(64, 8)
		if err := l.Close(); err != nil {
			panic(err)
		}
		done <- b
	}()
	h.Free(<-done) // an object is the heap's, whoever allocated it

	fmt.Println(h.Stats().Live)

	// Output:
	// 0
}

func ExamplePool() {
	type session struct{ User, Expires uint64 }
	p, err := slab.OpenPool[session](slab.Config{})
	if err != nil {
		panic(err)
	}
	defer p.Close()

	x := p.Get()
	x.User = 7
	handle := slab.HandleOf(p, x) // 8 bytes without a pointer: may be stored anywhere

	if s, ok := handle.Deref(p); ok {
		fmt.Println(s.User)
	}
	p.Put(x)
	p.Get() // in the same place, perhaps
	_, ok := handle.Deref(p)
	fmt.Println(ok)

	// Output:
	// 7
	// false
}

// A buffer that is used after it was freed. In production one allocation in some thousands is
// sampled, and most such mistakes are found sooner or later; here it is every one.
func ExampleHeap_sampled() {
	old, _ := slab.SetSampling(slab.Sampling{Every: 1})
	defer slab.SetSampling(old)
	h, err := slab.Open(slab.Config{Name: "buffers"})
	if err != nil {
		panic(err)
	}
	defer h.Close()

	b := h.Alloc(100, 8)
	h.Free(b)
	err = guard.Catch(func() { b[5] = 1 })

	var f *guard.Fault
	if errors.As(err, &f) { // f.Allocated and f.Freed are stacks
		fmt.Println(f.Kind, "in", f.Region, "at", f.Offset, "of", f.Size, f.Allocated != "", f.Freed != "")
	}
	// Output: use after free in buffers at 5 of 100 true true
}
