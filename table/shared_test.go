package table_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/shm"
	"github.com/seed-9a6c551e/offheap/table"
)

// catalog is the root of the shared memory: from it the child finds all the rest.
type catalog struct{ prices, names table.Ref }

// build makes two tables in shared memory, and publishes them.
func build(m *shm.Memory) error {
	a, err := arena.OpenIn(m.Region(), arena.Config{})
	if err != nil {
		return err
	}
	prices, err := table.TryNewMap[uint64, int64](a, 0)
	if err != nil {
		return err
	}
	names, err := table.TryNewStrings[uint64](a, 0)
	if err != nil {
		return err
	}
	for i := range uint64(10_000) {
		if err := errors.Join(prices.TryPut(i, int64(i*i)), names.TryPut(fmt.Sprint("item ", i), i)); err != nil {
			return err
		}
	}
	root := arena.New[catalog](a)
	root.prices, root.names = prices.Ref(), names.Ref()
	arena.Publish(a, arena.RefOf(a, root))
	return a.Close() // the memory is the Memory's
}

// look opens the tables that another process has built, and looks one item up.
func look(m *shm.Memory, item string) (price int64, entries int, err error) {
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
	names, err := table.AttachStrings[uint64](a, root.names)
	if err != nil {
		return 0, 0, err
	}
	number, _ := names.Get(item)
	price, found := prices.Get(number)
	if !found {
		return 0, 0, fmt.Errorf("no price of %q", item)
	}
	for k, v := range prices.All() {
		if v != int64(k*k) {
			return 0, 0, fmt.Errorf("the price of %d is %d", k, v)
		}
		entries++
	}
	return price, entries, nil
}

// TestSharedTable has a parent build tables in shared memory, which a child that may only read opens at other addresses.
func TestSharedTable(t *testing.T) {
	const mark = "TABLE_TEST_SHARED"
	if number := os.Getenv(mark); number != "" {
		fd, _ := strconv.Atoi(number)
		m, err := shm.Inherited(fd, shm.ReceiveConfig{Name: "catalog"})
		if err != nil {
			t.Fatal(err)
		}
		price, entries, err := look(m, "item 77")
		fmt.Printf("price %d, %d entries, read-only %v, %v\n", price, entries, m.ReadOnly(), err)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	m, err := shm.Create(shm.Config{Name: "catalog", Size: 4 << 20, PeersReadOnly: true})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := build(m); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSharedTable$")
	files, fd := m.AppendFile(nil)
	cmd.ExtraFiles, cmd.Env = files, append(os.Environ(), fmt.Sprintf("%s=%d", mark, fd))
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the test runs under an emulator and cannot start itself")
	}
	const want = "price 5929, 10000 entries, read-only true, <nil>\n"
	if got := string(out); err != nil || len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("%v, the child says\n%s", err, out)
	}
}
