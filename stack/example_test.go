package stack_test

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
)

// Frames are freed in the opposite order.
func Example() {
	pool, err := stack.Open(stack.Config{Name: "evaluator", Size: 256 << 10})
	if err != nil {
		panic(err)
	}
	defer pool.Close()

	s, err := pool.Get()
	if err != nil {
		panic(err)
	}
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
	pool, err := stack.Open(stack.Config{Name: "small", Size: 8192})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	s, err := pool.Get()
	if err != nil {
		panic(err)
	}
	defer pool.Put(s)
	_, err = stack.TryMakeSlice[byte](s, 10000, 10000)
	fmt.Println(err)
	fmt.Println(errors.Is(err, stack.ErrOverflow), errors.Is(err, guard.ErrNoMemory))
	// Output:
	// stack: "small": 10000 bytes do not fit, 0 of 8192 are in use: stack overflow: no memory
	// true true
}

// Native code runs on the stack, and what it is stopped for comes back as an error.
func ExampleStack_Call() {
	var add, crash []byte
	switch runtime.GOARCH {
	case "amd64":
		add = []byte{0x48, 0x8d, 0x04, 0x37, 0xc3} // lea (%rdi,%rsi), %rax; ret
		crash = []byte{0x48, 0x8b, 0x07, 0xc3}     // mov (%rdi), %rax; ret
	case "arm64":
		add = []byte{0x00, 0x00, 0x01, 0x8b, 0xc0, 0x03, 0x5f, 0xd6}   // add x0, x0, x1; ret
		crash = []byte{0x00, 0x00, 0x40, 0xf9, 0xc0, 0x03, 0x5f, 0xd6} // ldr x0, [x0]; ret
	}
	load := func(code []byte) stack.Func {
		loaded, err := stack.LoadCode(code) // stack.LoadObject takes what a C compiler makes
		if err != nil {
			panic(err)
		}
		return loaded.Func(0)
	}

	pool, err := stack.Open(stack.Config{})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	s, err := pool.Get()
	if err != nil {
		panic(err)
	}
	defer pool.Put(s)

	fmt.Println(s.Call(load(add), 40, 2))

	_, err = s.Call(load(crash), 8)
	var fault *guard.Fault
	fmt.Println(errors.As(err, &fault), fault.Kind, fault.Addr)
	// Output:
	// 42 <nil>
	// true touch of a bad address 8
}
