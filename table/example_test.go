package table_test

import (
	"fmt"
	"math"
	"slices"

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

func ExampleMap_Add() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	seen := table.NewMap[uint64, struct{}](a, 0)
	for _, id := range []uint64{7, 9, 7} {
		if seen.Add(id, struct{}{}) {
			fmt.Println("new:", id)
		}
	}
	// Output:
	// new: 7
	// new: 9
}

// Entries may be deleted while they are iterated over, also while others are inserted.
func ExampleMap_All() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	squares := table.NewMap[int, int](a, 100)
	for i := range 100 {
		squares.Put(i, i*i)
	}
	for k, v := range squares.All() {
		if v%2 == 1 {
			squares.Delete(k)
		}
	}
	fmt.Println(squares.Len())
	fmt.Println(slices.Max(slices.Collect(squares.Keys())))
	// Output:
	// 50
	// 98
}

// An evictor looks at a few random entries, and deletes the one that was used least recently.
func ExampleMap_Sample() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	type object struct{ used, size int64 }
	cache := table.NewMap[uint64, object](a, 1000)
	for now := range int64(5000) {
		if cache.Len() == 1000 {
			worst, oldest := uint64(0), int64(math.MaxInt64)
			for k, o := range cache.Sample(5) {
				if o.used < oldest {
					worst, oldest = k, o.used
				}
			}
			cache.Delete(worst)
		}
		cache.Put(uint64(now), object{used: now, size: 100})
	}
	fmt.Println(cache.Len())
	// Output:
	// 1000
}

// An expiry sweep looks at some entries at a time, and goes on where it was.
func ExampleMap_Scan() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	expires := table.NewMap[uint64, int64](a, 0)
	for id := range uint64(1000) {
		expires.Put(id, int64(id%10))
	}
	var next table.Cursor
	sweep := func(now int64) {
		for id, at := range expires.Scan(&next, 100) {
			if at < now {
				expires.Delete(id)
			}
		}
	}
	sweep(5)
	for next != 0 { // a server would do other things between the sweeps
		sweep(5)
	}
	fmt.Println(expires.Len())
	// Output:
	// 500
}

// Many searches at once take less time than one after the other.
func ExampleMap_GetBatch() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	prices := table.NewMap[uint32, float64](a, 0)
	prices.Put(1, 9.50)
	prices.Put(3, 20)
	order := []uint32{1, 2, 3}
	values, found := make([]float64, len(order)), make([]bool, len(order))
	hits := prices.GetBatch(order, values, found)
	fmt.Println(hits, values, found)
	// Output:
	// 2 [9.5 0 20] [true false true]
}

// A table in an arena leads to others: a Ref contains no pointer, so it may be a value.
func ExampleAttach() {
	a, err := arena.Open(arena.Config{})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	columns := table.NewStrings[table.Ref](a, 0)
	prices := table.NewMap[uint64, float64](a, 0)
	prices.Put(7, 9.50)
	columns.Put("price", prices.Ref())

	ref, _ := columns.Get("price")
	found, err := table.Attach[uint64, float64](a, ref)
	if err != nil {
		panic(err)
	}
	fmt.Println(found.Get(7))
	_, err = table.Attach[uint64, int64](a, ref)
	fmt.Println(err)
	// Output:
	// 9.5 true
	// table: Attach: the table has another layout: field value was stored as a float64 at byte 8, and is an int64 at byte 8 in this program
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
