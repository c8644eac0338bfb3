// Command pthread runs a thread of C on a stack of a pool. With "overflow" the thread recurses until
// it touches the guard, and the process dies there; with "overflow-after-call" this package's own
// handler of signals is in place by then.
package main

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// died is there before Go starts: Go's handler, and the one that stack puts before it, leave to it
// what happens to threads of C.
static void died(int sig, siginfo_t *info, void *context) {
	char line[64];
	snprintf(line, sizeof line, "SIGSEGV at %p\n", info->si_addr);
	write(2, line, strlen(line));
	signal(sig, SIG_DFL); // the same again ends the process
}

__attribute__((constructor)) static void before_go(void) {
	struct sigaction a = { .sa_sigaction = died, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigaction(SIGSEGV, &a, 0);
}

static long depth(volatile long n) {
	volatile char frame[256];
	frame[0] = (char)n;
	return n == 0 ? frame[0] : 1 + depth(n - 1) + frame[0] * 0;
}

// The signal of an overflow needs a stack that has room: Go gives one to its own threads only.
static char alternate[64 << 10];

static void *run(void *n) {
	stack_t alt = { .ss_sp = alternate, .ss_size = sizeof alternate };
	sigaltstack(&alt, 0);
	return (void *)depth((long)n);
}

static int on_stack(void *low, unsigned long size, long n, long *result) {
	pthread_attr_t a;
	pthread_t t;
	void *out;
	int err;
	if ((err = pthread_attr_init(&a)) || (err = pthread_attr_setstack(&a, low, size)) || (err = pthread_create(&t, &a, run, (void *)n))) return err;
	if ((err = pthread_join(t, &out))) return err;
	*result = (long)out;
	return 0;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/native"
)

func main() {
	p, err := stack.OpenPool(stack.Config{Size: 256 << 10, Max: 10})
	must(err)
	s := p.Get()
	memory := s.Alloc(s.Size(), 8) // all of it, from the guard up
	low := unsafe.Pointer(&memory[0])
	fmt.Printf("guard %#x %#x\n", uintptr(low)-uintptr(guard.PageSize()), uintptr(low))

	rounds := C.long(100)
	if len(os.Args) > 1 {
		rounds = 1 << 40
		if os.Args[1] == "overflow-after-call" {
			other := p.Get()
			var fault *guard.Fault
			if _, err := native.Call(other, 0); !errors.As(err, &fault) {
				must(fmt.Errorf("a call of nothing gave %v", err))
			}
		}
	}
	var result C.long
	if err := C.on_stack(low, C.ulong(len(memory)), rounds, &result); err != 0 {
		must(syscall.Errno(err))
	}
	fmt.Println("result", result)
	p.Put(s)
	must(p.Close())
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
