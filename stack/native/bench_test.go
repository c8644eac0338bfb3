package native

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/stack"
)

func BenchmarkCall(b *testing.B) {
	s := hold(b, mustOpen(b, stack.Config{}))
	f := returns.load(b)
	for i := 0; i < b.N; i++ {
		if _, err := Call(s, f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCallOf6(b *testing.B) {
	s := hold(b, mustOpen(b, stack.Config{}))
	f := returns.load(b)
	for i := 0; i < b.N; i++ {
		if _, err := Call(s, f, 1, 2, 3, 4, 5, 6); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOverflow(b *testing.B) {
	s := hold(b, mustOpen(b, stack.Config{}))
	f := forever.load(b)
	for i := 0; i < b.N; i++ {
		if _, err := Call(s, f); err == nil {
			b.Fatal("no overflow")
		}
	}
}
