package table_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strconv"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/shm"
	"github.com/seed-9a6c551e/offheap/table"
)

// catalog is the root of the shared memory: from it the child finds all the rest.
type catalog struct{ prices, numbers table.Ref }

// build makes two tables in shared memory, and publishes them.
func build(m *shm.Memory) error {
	a, err := arena.OpenIn(m.Region(), arena.Config{})
	if err != nil {
		return err
	}
	defer a.Close() // the memory stays: it is the Memory's
	prices, err := table.TryNewMap[uint64, int64](a, 0)
	if err != nil {
		return err
	}
	numbers, err := table.TryNewStrings[uint64](a, 0)
	if err != nil {
		return err
	}
	for i := range uint64(10_000) {
		if err := errors.Join(prices.TryPut(i, int64(i*i)), numbers.TryPut(fmt.Sprint("item ", i), i)); err != nil {
			return err
		}
	}
	root, err := arena.TryNew[catalog](a)
	if err != nil {
		return err
	}
	root.prices, root.numbers = prices.Ref(), numbers.Ref()
	arena.Publish(a, arena.RefOf(a, root))
	return nil
}

// look opens the tables that another process has built, looks one item up, and adds all prices.
func look(m *shm.Memory, item string) (price, sum int64, err error) {
	a, err := arena.OpenIn(m.Region(), arena.Config{})
	if err != nil {
		return 0, 0, err
	}
	defer a.Close()
	root := arena.Published[catalog](a).Deref(a)
	if root == nil {
		return 0, 0, errors.New("nothing is published")
	}
	prices, err := table.Attach[uint64, int64](a, root.prices)
	if err != nil {
		return 0, 0, err
	}
	numbers, err := table.AttachStrings[uint64](a, root.numbers)
	if err != nil {
		return 0, 0, err
	}
	number, _ := numbers.Get(item)
	price, found := prices.Get(number)
	if !found {
		return 0, 0, fmt.Errorf("no price of %q", item)
	}
	for _, p := range prices.All() {
		sum += p
	}
	return price, sum, nil
}

// child is the program that the parent starts. The memory is at another address there, and for reading alone.
func child(fd int) error {
	m, err := shm.Inherited(fd, shm.ReceiveConfig{Name: "catalog"})
	if err != nil {
		return err
	}
	defer m.Close()
	price, sum, err := look(m, "item 77")
	fmt.Fprintf(os.Stderr, "item 77 costs %d, all cost %d; read-only: %v", price, sum, m.ReadOnly())
	return err
}

// parent builds the tables, starts the child, and returns what it says.
func parent() (said []byte, err error) {
	m, err := shm.Create(shm.Config{Name: "catalog", Size: 4 << 20, PeersReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if err := build(m); err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0], "-test.run=^Example_sharedMemory$") // the same program, here
	files, fd := m.AppendFile(nil)
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), "CATALOG="+strconv.Itoa(fd))
	return cmd.CombinedOutput()
}

// A parent builds tables in shared memory. A child, a process of its own, reads them where they lie: nothing is copied or
// encoded.
func Example_sharedMemory() {
	if fd, err := strconv.Atoi(os.Getenv("CATALOG")); err == nil {
		if err := child(fd); err != nil {
			log.Fatal(err)
		}
		os.Exit(0)
	}
	said, err := parent()
	fmt.Printf("%s, %v\n", said, err)
	// Output: item 77 costs 5929, all cost 333283335000; read-only: true, <nil>
}
