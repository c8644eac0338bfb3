// Program inlined is built by a test that asks the compiler what it inlines.
package main

import "github.com/seed-9a6c551e/offheap/arena"

type pair struct{ a, b uint64 }

func main() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		panic(err)
	}
	p := arena.New[pair](a)
	p.a = 1
	println(arena.RefOf(a, p).Deref(a).a)
	m := arena.NewMap[uint64, uint64](a, 0)
	println(m.Get(1))
	println(m.Lookup(1))
}
