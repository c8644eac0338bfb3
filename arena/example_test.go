package arena_test

import (
	"errors"
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// The objects of a request live as long as the request, and are freed in one step.
func Example() {
	type point struct{ X, Y float64 }
	a, err := arena.Open(arena.Config{Name: "request", Limit: 64 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	for request := range 3 {
		p := arena.New[point](a) // zeroed
		p.X += float64(request)
		path := arena.MakeSlice[point](a, 0, 4)
		path = arena.Append(a, path, *p, point{1, 1})
		fmt.Println(len(path), path[0])
		a.Reset() // p and path must not be used any more
	}
	// Output:
	// 2 {0 0}
	// 2 {1 0}
	// 2 {2 0}
}

// A list whose links are references without pointers, so that it may live outside the Go heap.
func ExampleRef() {
	type node struct {
		Value int
		Next  arena.Ref[node]
	}
	a, err := arena.Open(arena.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	var head arena.Ref[node]
	for i := range 3 {
		n := arena.New[node](a)
		n.Value, n.Next = i, head
		head = arena.RefOf(a, n)
	}
	for n := head.Deref(a); n != nil; n = n.Next.Deref(a) {
		fmt.Println(n.Value)
	}
	// Output:
	// 2
	// 1
	// 0
}

// The last slice of an arena grows in place.
func ExampleAppend() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	squares := arena.MakeSlice[int](a, 0, 2)
	for i := range 10 {
		squares = arena.Append(a, squares, i*i)
	}
	fmt.Println(squares)
	fmt.Println(a.Stats().Live/8, "words are in use")
	// Output:
	// [0 1 4 9 16 25 36 49 64 81]
	// 10 words are in use
}

// Scratch memory inside a longer job is freed by going back to a mark.
func ExampleArena_Rewind() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	total := arena.New[int](a)
	for i := range 3 {
		mark := a.Mark()
		scratch := arena.MakeSlice[int](a, 1000, 1000)
		scratch[999] = i
		*total += scratch[999]
		a.Rewind(mark)
	}
	fmt.Println(*total, a.Stats().Live, a.Stats().HighWater)
	// Output: 3 8 8008
}

// A callback is called before the memory is freed that was allocated after it.
func ExampleArena_OnReset() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	a.OnReset(func() { fmt.Println("handle closed") })
	a.Reset()
	fmt.Println("reset")
	// Output:
	// handle closed
	// reset
}

// A server takes an arena for each request and puts it back.
func ExamplePool() {
	pool, err := arena.OpenPool(arena.Config{Name: "request"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	serve := func(text string) (int, error) {
		a, err := pool.TryGet()
		if err != nil {
			return 0, err
		}
		defer pool.Put(a)
		words := arena.MakeSlice[[2]int](a, 0, 8)
		for i, c := range text {
			if c == ' ' {
				words = arena.Append(a, words, [2]int{i, i + 1})
			}
		}
		return len(words) + 1, nil
	}
	fmt.Println(serve("to be or not to be"))
	// Output: 6 <nil>
}

// Many goroutines fill one arena.
func ExampleConcurrent() {
	k, err := arena.OpenConcurrent(arena.Config{Name: "index"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer k.Close()
	var parts [4][]*int
	var wg sync.WaitGroup
	for g := range parts {
		wg.Go(func() {
			for i := range 1000 {
				n := arena.NewIn[int](k)
				*n = i
				parts[g] = append(parts[g], n)
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, part := range parts {
		for _, n := range part {
			sum += *n
		}
	}
	fmt.Println(sum)
	// Output: 1998000
}

// A touch of a closed arena becomes an error that names the arena.
func ExampleArena_Close() {
	a, err := arena.Open(arena.Config{Name: "session"})
	if err != nil {
		fmt.Println(err)
		return
	}
	n := arena.New[int](a)
	a.Close()
	err = guard.Catch(func() { *n = 1 })
	var fault *guard.Fault
	if errors.As(err, &fault) {
		fmt.Println(fault.Region, fault.Offset, fault.Kind)
	}
	// Output: session 64 use after close
}

// A full arena is an error from the Try forms, and a panic with that error from the others.
func ExampleTryMakeSlice() {
	a, err := arena.Open(arena.Config{Name: "small", Limit: 4096})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	_, err = arena.TryMakeSlice[byte](a, 5000, 5000)
	fmt.Println(errors.Is(err, guard.ErrNoMemory))
	fmt.Println(err)
	// Output:
	// true
	// arena: "small": 5000 bytes more than the 0 in use exceed its Limit of 4096: no memory
}

// A Writer gathers a text in an arena: fmt, encoders and io.Copy write to it.
func ExampleNewWriter() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	text := arena.NewWriter(a)
	for i := range 3 {
		fmt.Fprintf(text, "%d squared is %d\n", i, i*i)
	}
	fmt.Print(text.String())
	fmt.Println(a.Stats().Live, "bytes are in use")
	// Output:
	// 0 squared is 0
	// 1 squared is 1
	// 2 squared is 4
	// 48 bytes are in use
}
