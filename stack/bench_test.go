package stack

import (
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// perFrame is the number of objects after which the benchmarks of New pop their frame: as many as fit into
// 32 KiB.
const perFrame = 1000

func BenchmarkNew(b *testing.B) {
	s := get(b, mustOpen(b, Config{}))
	f := s.Push()
	for i := 0; i < b.N; i++ {
		if i%perFrame == 0 {
			s.Pop(f)
			f = s.Push()
		}
		x := New[[4]uint64](s)
		x[0] = uint64(i)
	}
	s.Pop(f)
}

func BenchmarkPushPop(b *testing.B) {
	s := get(b, mustOpen(b, Config{}))
	for i := 0; i < b.N; i++ {
		s.Pop(s.Push())
	}
}

func BenchmarkPushNewPop(b *testing.B) {
	s := get(b, mustOpen(b, Config{}))
	for i := 0; i < b.N; i++ {
		f := s.Push()
		New[[4]uint64](s)[0] = uint64(i)
		s.Pop(f)
	}
}

func BenchmarkGetPut(b *testing.B) {
	p := mustOpen(b, Config{})
	for i := 0; i < b.N; i++ {
		p.Put(p.Get())
	}
}

func BenchmarkGetPutParallel(b *testing.B) {
	p := mustOpen(b, Config{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Put(p.Get())
		}
	})
}

// BenchmarkFaultOfGo measures a fault of Go code that guard.Catch catches: a lower bound for the cost of a
// fault on this machine.
func BenchmarkFaultOfGo(b *testing.B) {
	s := get(b, mustOpen(b, Config{}))
	floor := &whole(s)[0]
	for i := 0; i < b.N; i++ {
		if err := guard.Catch(func() { *(*byte)(unsafe.Add(unsafe.Pointer(floor), -1)) = 1 }); err == nil {
			b.Fatal("no fault")
		}
	}
}
