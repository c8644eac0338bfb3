package table_test

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/table"
)

func ExampleMap() {
	a, err := arena.Open(arena.Config{Name: "sessions"})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	type point struct{ x, y int32 }
	visits := table.NewMap[point, int](a, 0)
	visits.Put(point{1, 2}, 5)
	n, _ := visits.Entry(point{1, 2}) // inserts if it is not there
	*n++
	fmt.Println(visits.Get(point{1, 2}))
	fmt.Println(visits.Get(point{3, 4}))
	for at, n := range visits.All() {
		fmt.Println(at, n)
	}
	visits.Delete(point{1, 2})
	fmt.Println(visits.Len())
	// Output:
	// 6 true
	// 0 false
	// {1 2} 6
	// 0
}

func ExampleStrings() {
	a, err := arena.Open(arena.Config{Name: "words"})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	counts := table.NewStrings[int](a, 0)
	for _, word := range [][]byte{[]byte("to"), []byte("be"), []byte("or"), []byte("not"), []byte("to"), []byte("be")} {
		n, _ := counts.EntryBytes(word) // the word is copied when it is new
		*n++
	}
	fmt.Println(counts.Len())
	fmt.Println(counts.Get("be"))
	// Output:
	// 4
	// 2 true
}
