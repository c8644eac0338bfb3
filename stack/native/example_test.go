package native_test

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/native"
)

// A function returns its result; a function that faults returns an error.
func ExampleCall() {
	var add, crash []byte
	switch runtime.GOARCH {
	case "amd64":
		add = []byte{0x48, 0x8d, 0x04, 0x37, 0xc3} // lea (%rdi,%rsi), %rax; ret
		crash = []byte{0x48, 0x8b, 0x07, 0xc3}     // mov (%rdi), %rax; ret
	case "arm64":
		add = []byte{0x00, 0x00, 0x01, 0x8b, 0xc0, 0x03, 0x5f, 0xd6}   // add x0, x0, x1; ret
		crash = []byte{0x00, 0x00, 0x40, 0xf9, 0xc0, 0x03, 0x5f, 0xd6} // ldr x0, [x0]; ret
	}
	load := func(code []byte) native.Func {
		loaded, err := native.LoadCode(code) // native.LoadObject takes what a C compiler makes
		if err != nil {
			panic(err)
		}
		return loaded.Func(0)
	}

	pool, err := stack.OpenPool(stack.Config{})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	s := pool.Get()
	defer pool.Put(s)

	fmt.Println(native.Call(s, load(add), 40, 2))

	_, err = native.Call(s, load(crash), 8)
	var fault *guard.Fault
	fmt.Println(errors.As(err, &fault), fault.Kind, fault.Addr)
	// Output:
	// 42 <nil>
	// true touch of a bad address 8
}
