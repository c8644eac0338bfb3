package arena

import (
	"fmt"
	"sync"
	"testing"
	"unsafe"
)

type (
	obj16 struct{ a [2]uint64 }
	obj32 struct{ a [4]uint64 }
	obj64 struct{ a [8]uint64 }
)

// BenchmarkNew allocates objects from 1 MiB that is in the cache, and writes eight bytes to each.
func BenchmarkNew(b *testing.B) {
	b.Run("size=16", benchNew[obj16])
	b.Run("size=32", benchNew[obj32])
	b.Run("size=64", benchNew[obj64])
}

func benchNew[T any](b *testing.B) {
	a, err := Open(Config{Retain: 4 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	fill := fillers[unsafe.Sizeof(*new(T))]
	per := (1 << 20) / int(unsafe.Sizeof(*new(T)))
	fill(a, per)
	for n := 0; n < b.N; n += per {
		a.Reset()
		fill(a, min(per, b.N-n))
	}
}

// fillers has one function for each size: in a generic function New would be called through a dictionary, and not
// be inlined for its type.
var fillers = map[uintptr]func(a *Arena, n int){
	16: func(a *Arena, n int) {
		for i := range n {
			New[obj16](a).a[0] = uint64(i)
		}
	},
	32: func(a *Arena, n int) {
		for i := range n {
			New[obj32](a).a[0] = uint64(i)
		}
	},
	64: func(a *Arena, n int) {
		for i := range n {
			New[obj64](a).a[0] = uint64(i)
		}
	},
}

func BenchmarkGoNew(b *testing.B) {
	b.Run("size=16", func(b *testing.B) {
		for i := range b.N {
			sink16 = new(obj16)
			sink16.a[0] = uint64(i)
		}
	})
	b.Run("size=64", func(b *testing.B) {
		for i := range b.N {
			sink64 = new(obj64)
			sink64.a[0] = uint64(i)
		}
	})
}

var (
	sink16 *obj16
	sink64 *obj64
)

// BenchmarkPool gets an arena, allocates an object and puts the arena back.
func BenchmarkPool(b *testing.B) {
	p, err := OpenPool(Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	for i := range b.N {
		a := p.Get()
		New[obj64](a).a[0] = uint64(i)
		p.Put(a)
	}
}

// BenchmarkConcurrent shares rounds of 64-byte objects among goroutines, in memory that was touched before. The
// time is for one object, whichever goroutine allocates it.
func BenchmarkConcurrent(b *testing.B) {
	for _, goroutines := range []int{1, 2} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			k, err := OpenConcurrent(Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer k.Close()
			const round = 1 << 19
			share := func(n int) {
				k.Reset()
				var wg sync.WaitGroup
				for range goroutines {
					wg.Go(func() {
						for i := range n / goroutines {
							NewIn[obj64](k).a[0] = uint64(i)
						}
					})
				}
				wg.Wait()
			}
			share(round)
			b.ResetTimer()
			for n := 0; n < b.N; n += round {
				share(round)
			}
		})
	}
}

func BenchmarkMark(b *testing.B) {
	a, err := Open(Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	for i := range b.N {
		m := a.Mark()
		New[obj32](a).a[0] = uint64(i)
		a.Rewind(m)
	}
}
