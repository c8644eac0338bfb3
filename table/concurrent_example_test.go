package table_test

import (
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/table"
)

func ExampleConcurrent() {
	a, err := arena.Open(arena.Config{Name: "counters"})
	if err != nil {
		panic(err)
	}
	defer a.Close()

	hits := table.NewConcurrent[uint64, int](a, 0)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range uint64(100) {
				hits.Update(i%10, func(old int, _ bool) (int, bool) { return old + 1, true })
			}
		})
	}
	wg.Wait()
	fmt.Println(hits.Get(7))
	fmt.Println(hits.Len())
	// Output:
	// 40 true
	// 10
}
