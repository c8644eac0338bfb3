//go:build cgo && linux

package stackbench

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>
#include <unistd.h>

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int started, end;

static void *parked(void *unused) {
	pthread_mutex_lock(&mu);
	started++;
	pthread_cond_broadcast(&changed);
	while (!end) pthread_cond_wait(&changed, &mu);
	pthread_mutex_unlock(&mu);
	return unused;
}

// hold starts threads until there are n. It returns the number of threads, all of them waiting.
static int hold(pthread_t *threads, int k, int n, size_t size, int *err) {
	pthread_attr_t a;
	long least = sysconf(_SC_THREAD_STACK_MIN);
	pthread_attr_init(&a);
	if ((*err = pthread_attr_setstacksize(&a, least > (long)size ? (size_t)least : size))) return k;
	while (k < n && !(*err = pthread_create(&threads[k], &a, parked, 0))) k++;
	pthread_mutex_lock(&mu);
	while (started < k) pthread_cond_wait(&changed, &mu);
	pthread_mutex_unlock(&mu);
	return k;
}

static void release(pthread_t *threads, int n) {
	pthread_mutex_lock(&mu);
	end = 1;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mu);
	for (int i = 0; i < n; i++) pthread_join(threads[i], 0);
}

static void nothing(void) {}
*/
import "C"

import (
	"fmt"
	"syscall"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// Cgo tells whether the command was built with cgo, so that there are threads of C and calls to it.
const Cgo = true

// Pthreads starts n threads of C that wait, or as many as the system allows, and holds them. Their
// stacks have size bytes, or the least that the system allows. Only if Cgo.
func Pthreads(n, size int, progress measure.Progress) (*Figures, error) {
	const step = 256 // threads between two calls of progress
	threads := make([]C.pthread_t, n)
	before := readFootprint()
	start := time.Now()
	var held, failed C.int
	for int(held) < n && failed == 0 {
		progress("pthreads", int(held), n)
		held = C.hold(&threads[0], held, min(held+step, C.int(n)), C.size_t(size), &failed)
	}
	f := before.held(int(held), time.Since(start))
	C.release(&threads[0], held)
	if failed != 0 {
		f.Limit = syscall.Errno(failed).Error()
		if held == 0 {
			return nil, fmt.Errorf("no thread with a stack of %d bytes: %s", size, f.Limit)
		}
	}
	return &f, nil
}

// cgoCalls calls an empty function of C n times.
func cgoCalls(n int) {
	for range n {
		C.nothing()
	}
}
