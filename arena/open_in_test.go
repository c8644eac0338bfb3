package arena

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestOpenIn opens arenas one after the other in one memory: each goes on where the last one published, and leaves the memory
// to its owner.
func TestOpenIn(t *testing.T) {
	type node struct {
		next Ref[node]
		n    int
	}
	r, err := guard.Reserve(guard.Config{Name: "memory", Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Commit(0, r.Size()); err != nil {
		t.Fatal(err)
	}
	open := func() *Arena {
		t.Helper()
		a, err := OpenIn(r, Config{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if root := Published[node](open()); !root.IsNil() {
		t.Error("something is published")
	}
	for i := range 20 {
		a := open()
		n := New[node](a)
		if *n != (node{}) || a.Name() != "memory" {
			t.Fatalf("round %d: a new object is not zero", i)
		}
		n.next, n.n = Published[node](a), i
		Publish(a, RefOf(a, n))
		dirty := a.Alloc(50_000, 8) // is not published: the next one hands it out again, zeroed
		for j := range dirty {
			dirty[j] = 0xff
		}
		if err := errors.Join(a.Purge(), a.Close()); err != nil {
			t.Fatal(err)
		}
		if s := a.Stats(); s.Live != 0 || s.Reserved != 0 {
			t.Errorf("after Close: %+v", s)
		}
	}
	a := open()
	length := 0
	for n := Published[node](a).Deref(a); n != nil; n = n.next.Deref(a) {
		length++
	}
	if length != 20 {
		t.Errorf("%d nodes, want 20", length)
	}
	if _, err := a.TryAlloc(1<<20, 8); !errors.Is(err, guard.ErrNoMemory) {
		t.Errorf("more than the memory: %v", err)
	}

	// For reading: objects, and no allocations.
	if err := r.Protect(0, r.Size(), guard.Read); err != nil {
		t.Fatal(err)
	}
	reader := open()
	if n := Published[node](reader).Deref(reader); n == nil || n.n != 19 {
		t.Error("the reader finds nothing")
	}
	if err := r.Protect(0, r.Size(), guard.ReadWrite); err != nil {
		t.Fatal(err)
	}

	a.Reset()
	if s := a.Stats(); s.Live != 0 || s.Committed != 1<<20 {
		t.Errorf("after Reset: %+v", s)
	}

	// Memory that is damaged, or no arena's.
	for _, damage := range []struct {
		at    int
		value uint64
	}{{0, 1}, {8, 5}, {16, 1 << 40}, {16, 65}, {16, 8}, {24, 1 << 30}, {24, 8}, {16, ^uint64(0)}} {
		word := (*uint64)(unsafe.Pointer(&r.Bytes()[damage.at]))
		was := *word
		*word = damage.value
		if _, err := OpenIn(r, Config{}); err == nil {
			t.Errorf("%d at %d: no error", damage.value, damage.at)
		}
		*word = was
	}
	small, err := guard.Reserve(guard.Config{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenIn(small, Config{}); err == nil { // not committed
		t.Error("memory that cannot be touched: no error")
	}
	small.Close()
	if _, err := OpenIn(small, Config{}); !errors.Is(err, guard.ErrClosed) {
		t.Errorf("closed memory: %v", err)
	}
	for what, call := range map[string]func(){
		"nil":     func() { OpenIn(nil, Config{}) },
		"zero":    func() { OpenIn(new(guard.Region), Config{}) },
		"Publish": func() { o, _ := Open(Config{}); defer o.Close(); Publish(o, Ref[node]{}) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(*guard.Violation); !ok {
					t.Errorf("%s: no violation", what)
				}
			}()
			call()
		}()
	}
}

// TestOpenInFile keeps an arena in a file: what was published is there when the file is mapped again, also behind a head of
// the file's own.
func TestOpenInFile(t *testing.T) {
	type node struct {
		next Ref[node]
		n    int
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "arena"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const head, size = 16, 1 << 16
	if err := f.Truncate(head + size); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r, err := guard.MapFile(f, guard.FileConfig{Mode: guard.FileShared, Offset: head})
		if err != nil {
			t.Fatal(err)
		}
		a, err := OpenIn(r, Config{})
		if err != nil {
			t.Fatal(err)
		}
		n := New[node](a)
		n.next, n.n = Published[node](a), i
		if i > 0 && n.next.Deref(a).n != i-1 {
			t.Errorf("round %d: another object", i)
		}
		Publish(a, RefOf(a, n))
		if err := errors.Join(a.Close(), r.Sync(0, r.Size(), true), r.Close()); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := guard.MapFile(f, guard.FileConfig{Offset: head})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	a, err := OpenIn(reader, Config{})
	if err != nil {
		t.Fatal(err)
	}
	length := 0
	for n := Published[node](a).Deref(a); n != nil; n = n.next.Deref(a) {
		length++
	}
	if length != 3 {
		t.Errorf("%d nodes, want 3", length)
	}

	odd, err := guard.MapFile(f, guard.FileConfig{Mode: guard.FileShared, Offset: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer odd.Close()
	if _, err := OpenIn(odd, Config{}); err == nil {
		t.Error("memory at an odd offset: no error")
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	var fault *guard.Fault
	if _, err := OpenIn(reader, Config{}); !errors.As(err, &fault) {
		t.Errorf("a file that became shorter: %v", err)
	}
}
