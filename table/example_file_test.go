package table_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/table"
)

// inFile calls use with an arena whose memory is a file: a new one of 1 MiB, or what an earlier run has left.
func inFile(name string, use func(a *arena.Arena) error) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(1 << 20); err != nil { // it takes disk space only for what is used
		return err
	}
	r, err := guard.MapFile(f, guard.FileConfig{Mode: guard.FileShared})
	if err != nil {
		return err
	}
	defer r.Close()
	a, err := arena.OpenIn(r, arena.Config{})
	if err != nil {
		return err
	}
	defer a.Close() // the file keeps the memory
	return use(a)
}

// One run builds a table in a file, and the next one opens it: nothing is read or parsed.
func Example_file() {
	dir, err := os.MkdirTemp("", "prices")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "table")

	err = inFile(name, func(a *arena.Arena) error {
		prices := table.NewMap[uint64, float64](a, 1000)
		for i := range uint64(1000) {
			prices.Put(i, float64(i)/4)
		}
		root := arena.New[table.Ref](a)
		*root = prices.Ref()
		arena.Publish(a, arena.RefOf(a, root)) // from here on others find it
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	err = inFile(name, func(a *arena.Arena) error {
		prices, err := table.Attach[uint64, float64](a, *arena.Published[table.Ref](a).Deref(a))
		if err != nil {
			return err
		}
		fmt.Println(prices.Len())
		fmt.Println(prices.Get(7))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1000
	// 1.75 true
}
