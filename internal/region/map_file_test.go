package region

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// letters opens a file with an OS page of 'a', one of 'b' and so on.
func letters(t testing.TB, pages int) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "letters")
	var content []byte
	for i := range pages {
		content = append(content, bytes.Repeat([]byte{'a' + byte(i)}, PageSize())...)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestMapFile(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		f := letters(t, 4)
		before := Committed()
		r := mustReserve(t, Config{Size: 8 * page})
		mustDo(t, r.Commit(0, 2*page), r.MapFile(2*page, 2*page, f, int64(page), vm.Read), r.MapFile(4*page, page, f, 0, vm.ReadWrite))
		mustDo(t, f.Close())
		if got := Committed() - before; got != int64(5*page) || r.Committed() != got {
			t.Fatalf("%d and %d bytes are charged, want %d", got, r.Committed(), 5*page)
		}
		if b := r.Bytes(); b[2*page] != 'b' || b[4*page-1] != 'c' || b[4*page] != 'a' || b[2*page-1] != 0 {
			t.Fatal("the file is not where it should be")
		}
		expect(t, "write to read-only", poke(r, 2*page), Protected, 2*page)
		expect(t, "behind the file", touch(r, 5*page), Decommitted, 5*page)
		mustDo(t, r.Protect(3*page, page, vm.ReadWrite))
		r.Bytes()[3*page], r.Bytes()[4*page] = 'X', 'Y'
		mustDo(t, r.Commit(0, 6*page))
		if b := r.Bytes(); b[3*page] != 'X' || b[4*page] != 'Y' || b[2*page] != 'b' {
			t.Fatal("Commit changed what was mapped")
		}
		if content, err := os.ReadFile(f.Name()); err != nil || content[2*page] != 'c' || content[0] != 'a' {
			t.Fatalf("a write reached the file: %v", err)
		}

		mustDo(t, r.Decommit(3*page, page))
		expect(t, "decommitted", touch(r, 3*page), Decommitted, 3*page)
		mustDo(t, r.Commit(3*page, page))
		for i, b := range r.Bytes()[3*page : 4*page] {
			if b != 0 {
				t.Fatalf("after Decommit and Commit byte %d is %#x", i, b)
			}
		}
		mustDo(t, r.Guard(3*page, page), r.Unguard(0, 8*page), r.Decommit(5*page, page))
		if b := r.Bytes(); b[2*page] != 'b' || b[4*page] != 'Y' {
			t.Fatal("Decommit or Unguard touched the neighbours")
		}
		mustDo(t, r.Close())
		expect(t, "closed", touch(r, 2*page), UseAfterClose, 2*page)
		if Committed() != before {
			t.Fatalf("%d bytes stay charged", Committed()-before)
		}
		if maps, err := os.ReadFile("/proc/self/maps"); err == nil && bytes.Contains(maps, []byte(f.Name())) {
			t.Fatal("a closed region holds on to its file")
		}
	})
}

func TestFileEnds(t *testing.T) {
	page := PageSize()
	f := letters(t, 3)
	mustDo(t, f.Truncate(int64(2*page+5)))
	r := mustReserve(t, Config{Size: 16 * page})
	mustDo(t, r.MapFile(0, 4*page, f, 0, vm.ReadWrite), r.MapFile(4*page, 4*page, f, 0, vm.Read))
	for _, base := range []int{0, 4 * page} {
		if b := r.Bytes()[base:]; b[2*page+4] != 'c' || b[2*page+5] != 0 || b[3*page-1] != 0 {
			t.Fatal("the last page is not the file's rest and zeroes")
		}
	}
	expect(t, "write to read-only", poke(r, 4*page), Protected, 4*page)
	if !vm.Probe().Populate {
		t.Skip("this kernel does not tell what lies beyond a file, or is an emulator that gets the address wrong")
	}
	expect(t, "beyond the end", touch(r, 3*page+7), Truncated, 3*page+7)
	expect(t, "write beyond the end", poke(r, 3*page+7), Truncated, 3*page+7)
	expect(t, "beyond the end, read-only", touch(r, 7*page+7), Truncated, 7*page+7)
	mustDo(t, f.Truncate(0))
	expect(t, "file cut short later", touch(r, 4*page), Truncated, 4*page)
	mustDo(t, r.Protect(3*page, page, vm.None))
	expect(t, "protected beyond the end", touch(r, 3*page), Protected, 3*page)
}

func TestMapFileBadInput(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		f, gone := letters(t, 2), letters(t, 1)
		mustDo(t, gone.Close())
		r, other := mustReserve(t, Config{Size: 8 * page}), mustReserve(t, Config{Size: 8 * page})
		mustDo(t, r.Commit(4*page, page), r.Guard(6*page, page))
		before := Committed()
		for what, err := range map[string]error{
			"no file":          r.MapFile(0, page, nil, 0, vm.Read),
			"closed file":      r.MapFile(0, page, gone, 0, vm.Read),
			"odd file offset":  r.MapFile(0, page, f, 1, vm.Read),
			"negative offset":  r.MapFile(0, page, f, -int64(page), vm.Read),
			"offset too large": r.MapFile(0, page, f, (math.MaxInt64-1)&^int64(page-1), vm.Read),
			"odd offset":       r.MapFile(1, page, f, 0, vm.Read),
			"odd length":       r.MapFile(0, 1, f, 0, vm.Read),
			"negative length":  r.MapFile(0, -page, f, 0, vm.Read),
			"outside":          r.MapFile(7*page, 2*page, f, 0, vm.Read),
			"over committed":   r.MapFile(3*page, 2*page, f, 0, vm.Read),
			"over a guard":     r.MapFile(5*page, 2*page, f, 0, vm.Read),
			"no protection":    r.MapFile(0, page, f, 0, 9),
		} {
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if Committed() != before {
			t.Errorf("refused calls charged %d bytes", Committed()-before)
		}
		mustSetBudget(t, Budget{Hard: before + int64(page)})
		err := r.MapFile(0, 2*page, f, 0, vm.Read)
		mustSetBudget(t, Budget{})
		if !errors.Is(err, ErrNoMemory) {
			t.Errorf("beyond the budget: %v", err)
		}
		stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
		err = r.MapFile(0, 2*page, f, 0, vm.Read)
		stop()
		if !errors.Is(err, ErrNoMemory) {
			t.Errorf("refused by the kernel: %v", err)
		}
		mustDo(t, r.MapFile(0, 2*page, f, 0, vm.ReadWrite), r.MapFile(0, 0, f, 0, vm.Read))
		if err := r.MapFile(page, page, f, 0, vm.Read); err == nil {
			t.Error("a file over a file: no error")
		}
		if err := r.Guard(page, 2*page); err == nil {
			t.Error("Guard over a file: no error")
		}
		if err := r.Move(other, 2*page); err == nil {
			t.Error("Move of a file: no error")
		}
		mustDo(t, other.MapFile(page, page, f, 0, vm.Read), other.Commit(0, page))
		if r.Bytes()[0] != 'a' || r.Bytes()[page] != 'b' {
			t.Error("a refused call changed the memory")
		}
		mustDo(t, r.Close())
		if err := r.MapFile(0, page, f, 0, vm.Read); !errors.Is(err, ErrClosed) {
			t.Errorf("on a closed region: %v", err)
		}
	})
}

// TestUnguardAroundFile removes guards on both sides of a file together or, after an error, not at all.
func TestUnguardAroundFile(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		r := mustReserve(t, Config{Size: 3 * page})
		mustDo(t, r.MapFile(page, page, letters(t, 1), 0, vm.Read), r.Commit(0, 3*page), r.Guard(0, page), r.Guard(2*page, page))
		kind := vm.Mprotect
		if lightGuards {
			kind = vm.Madvise
		}
		stop := vm.Inject(kind, 2, vm.OutOfMemory)
		err := r.Unguard(0, 3*page)
		stop()
		if !errors.Is(err, ErrNoMemory) {
			t.Fatal(err)
		}
		expect(t, "before the file", touch(r, 0), Guarded, 0)
		expect(t, "behind the file", touch(r, 2*page), Guarded, 2*page)
		mustDo(t, r.Unguard(0, 3*page))
		for _, off := range []int{0, page, 2 * page} {
			if f := touch(r, off); f != nil {
				t.Error(f)
			}
		}
	})
}
