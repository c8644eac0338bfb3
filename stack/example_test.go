package stack_test

import (
	"errors"
	"fmt"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
)

// A frame is freed at once, and frames are freed in the opposite order of their Push.
func Example() {
	pool, err := stack.OpenPool(stack.Config{Name: "evaluator", Size: 256 << 10})
	if err != nil {
		panic(err)
	}
	defer pool.Close()

	s := pool.Get()
	defer pool.Put(s)

	var sum func(n int) int
	sum = func(n int) int {
		f := s.Push()
		defer s.Pop(f)
		x := stack.New[int](s) // zeroed
		if n > 0 {
			*x = n + sum(n-1)
		}
		return *x
	}
	fmt.Println(sum(100))
	fmt.Println(s.Used(), s.HighWater())
	// Output:
	// 5050
	// 0 808
}

func ExampleTryMakeSlice() {
	pool, err := stack.OpenPool(stack.Config{Name: "small", Size: 8192})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	s := pool.Get()
	defer pool.Put(s)
	_, err = stack.TryMakeSlice[byte](s, 10000, 10000)
	fmt.Println(err)
	fmt.Println(errors.Is(err, stack.ErrOverflow), errors.Is(err, guard.ErrNoMemory))
	// Output:
	// stack: "small": 10000 bytes do not fit, 0 of 8192 are in use: stack overflow: no memory
	// true true
}

func ExamplePool_TryGet() {
	pool, err := stack.OpenPool(stack.Config{Name: "single", Max: 1})
	if err != nil {
		panic(err)
	}
	defer pool.Close()

	s := pool.Get() // panics where there is none
	_, err = pool.TryGet()
	fmt.Println(err)
	fmt.Println(errors.Is(err, guard.ErrNoMemory))
	pool.Put(s)
	// Output:
	// stack: pool "single": all of Max 1 stacks are in use: no memory
	// true
}
