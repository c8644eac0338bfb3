package guard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// TestParameters has a row for each parameter and flag of mmap that the package comment lists, and tells them apart by what
// the memory does.
func TestParameters(t *testing.T) {
	page := PageSize()
	rows := map[string]func(t *testing.T){
		"addr": func(t *testing.T) {
			// Addresses that were free a moment ago, of two regions.
			hole := mustReserve(t, Config{Size: 1 << 20})
			near := uintptr(hole.Base())
			bound := CurrentQuarantine()
			mustDo(t, second(SetQuarantine(0)), hole.Close())
			defer SetQuarantine(bound)
			hinted := mustReserve(t, Config{Size: page, Near: near})
			mustDo(t, hinted.Commit(0, page))
			if f := poke(hinted, 0); f != nil {
				t.Error(f)
			}
			if runtime.GOOS == "linux" && unsafe.Sizeof(near) == 8 && uintptr(hinted.Base()) != near {
				t.Logf("asked for %#x, got %#x: something has come there meanwhile", near, hinted.Base())
			}
			// What is taken is not replaced.
			hinted.Bytes()[0] = 7
			other := mustReserve(t, Config{Size: page, Near: uintptr(hinted.Base())})
			mustDo(t, other.Commit(0, page))
			if other.Base() == hinted.Base() || hinted.Bytes()[0] != 7 || other.Bytes()[0] != 0 {
				t.Error("a hint was forced")
			}
			file := mustMap(t, letters(t, page), FileConfig{Near: near})
			odd := mustMap(t, letters(t, page), FileConfig{Near: near + 12345})
			if file.Bytes()[1] != letter(1) || odd.Bytes()[1] != letter(1) {
				t.Error("a hint changed the mapping")
			}
			if r, err := Reserve(Config{Size: page, Near: ^uintptr(0)}); err != nil {
				t.Errorf("a hint that cannot be: %v", err)
			} else {
				mustDo(t, r.Close())
			}
		},
		"length": func(t *testing.T) {
			if r := mustReserve(t, Config{Size: page + 1}); r.Size() != 2*page {
				t.Errorf("%d bytes", r.Size())
			}
			if _, err := Reserve(Config{}); err == nil {
				t.Error("no bytes: no error")
			}
			f := letters(t, page+1)
			if all, some := mustMap(t, f, FileConfig{}), mustMap(t, f, FileConfig{Length: 3}); all.Size() != page+1 || some.Size() != 3 {
				t.Errorf("%d and %d bytes", all.Size(), some.Size())
			}
		},
		"PROT_READ": func(t *testing.T) {
			r := mustReserve(t, Config{Size: page})
			mustDo(t, r.Commit(0, page), r.Protect(0, page, Read))
			expect(t, "store", poke(r, 0), Protected, 0)
			expect(t, "store to a file", poke(mustMap(t, letters(t, 9), FileConfig{}), 0), ReadOnly, 0)
		},
		"PROT_WRITE": func(t *testing.T) {
			r := mustReserve(t, Config{Size: page})
			mustDo(t, r.Commit(0, page), r.Protect(0, page, Read), r.Protect(0, page, ReadWrite))
			for _, r := range []*Region{r, mustMap(t, letters(t, 9), FileConfig{Mode: FileShared}), mustMap(t, letters(t, 9), FileConfig{Mode: FilePrivate})} {
				if f := poke(r, 0); f != nil {
					t.Error(f)
				}
			}
		},
		"PROT_EXEC": func(t *testing.T) {
			r := mustReserve(t, Config{Size: page})
			mustDo(t, r.Commit(0, page), r.Protect(0, page, ReadExecute))
			expect(t, "store to machine code", poke(r, 0), Protected, 0)
			for prot := range Prot(10) { // there is no write+execute
				if s := prot.String(); strings.Contains(s, "write") && strings.Contains(s, "execute") {
					t.Error(s)
				}
			}
			if err := r.Protect(0, page, ReadExecute+1); err == nil {
				t.Error("another protection: no error")
			}
		},
		"PROT_NONE": func(t *testing.T) {
			r := mustReserve(t, Config{Size: page})
			expect(t, "reserved", touch(r, 0), Decommitted, 0)
			mustDo(t, r.Commit(0, page), r.Protect(0, page, None))
			expect(t, "no access", touch(r, 0), Protected, 0)
		},
		"MAP_SHARED": func(t *testing.T) {
			f := letters(t, page)
			a, b := mustMap(t, f, FileConfig{Mode: FileShared}), mustMap(t, f, FileConfig{Mode: FileShared})
			a.Bytes()[5] = 'S'
			if b.Bytes()[5] != 'S' {
				t.Error("a store does not reach the other mapping")
			}
		},
		"MAP_PRIVATE": func(t *testing.T) {
			f := letters(t, page)
			a, b := mustMap(t, f, FileConfig{Mode: FilePrivate}), mustMap(t, f, FileConfig{})
			a.Bytes()[5] = 'P'
			if b.Bytes()[5] != letter(5) || a.Bytes()[5] != 'P' {
				t.Error("a private store is not where it should be")
			}
		},
		"MAP_ANONYMOUS": func(t *testing.T) {
			r := mustReserve(t, Config{Size: page})
			mustDo(t, r.Commit(0, page))
			if r.Bytes()[0] != 0 || r.Bytes()[page-1] != 0 {
				t.Error("memory of no file is not zero")
			}
			if maps, err := os.ReadFile("/proc/self/maps"); err == nil && strings.Contains(string(maps), "letters") {
				t.Error("a file stays mapped")
			}
		},
		"fd": func(t *testing.T) {
			if _, err := MapFile(nil, FileConfig{}); err == nil {
				t.Error("no file: no error")
			}
			f := letters(t, 5)
			r := mustMap(t, f, FileConfig{})
			mustDo(t, f.Close())
			if r.Bytes()[4] != letter(4) {
				t.Error("the mapping went with the descriptor")
			}
		},
		"offset": func(t *testing.T) {
			f := letters(t, 2*page)
			for _, off := range []int{0, 1, page - 1, page, page + 1} {
				if b := mustMap(t, f, FileConfig{Offset: int64(off)}).Bytes(); b[0] != letter(off) || len(b) != 2*page-off {
					t.Errorf("offset %d: %d bytes", off, len(b))
				}
			}
		},
		"MAP_POPULATE": func(t *testing.T) {
			r := mustReserve(t, Config{Size: 4 * page, Prefault: true})
			mustDo(t, r.Commit(0, 4*page))
			resident(t, r, 4*page)
			resident(t, mustMap(t, letters(t, 4*page), FileConfig{Populate: true}), 4*page)
		},
		"MAP_LOCKED": func(t *testing.T) {
			r := mustReserve(t, Config{Size: page})
			mustDo(t, r.Commit(0, page))
			if err := r.Lock(0, page); err != nil && !errors.Is(err, ErrNoMemory) {
				t.Error(err)
			} else if err == nil {
				resident(t, r, page)
			}
		},
		"MAP_NORESERVE": func(t *testing.T) {
			// Addresses are no memory, neither for the budget nor for the kernel.
			was := Committed()
			r := mustReserve(t, Config{Size: 64 << 20, Name: "addresses"})
			if Committed() != was {
				t.Error("addresses are charged")
			}
			if flags := mappingFlags(t, r); flags != "" && !strings.Contains(flags, " nr") {
				t.Errorf("the kernel accounts the addresses: %s", flags)
			}
			mustDo(t, r.Commit(0, 1<<20))
			if flags := mappingFlags(t, r); flags != "" && !strings.Contains(flags, " nr") {
				t.Errorf("the kernel accounts committed memory before it is touched: %s", flags)
			}
		},
		"MAP_HUGETLB": func(t *testing.T) {
			// The pool of huge pages that the administrator sets aside, which is empty as a rule, is not used.
			r := mustReserve(t, Config{Size: 4 << 20, HugePages: true})
			mustDo(t, r.Commit(0, 4<<20))
			r.Bytes()[4<<20-1] = 1
			if flags := mappingFlags(t, r); strings.Contains(flags, " ht") {
				t.Errorf("huge pages of the pool: %s", flags)
			}
			mustDo(t, r.Decommit(0, PageSize())) // a part of a huge page, which those of the pool refuse
			expect(t, "decommitted", touch(r, 0), Decommitted, 0)
		},
		"MAP_GROWSDOWN": func(t *testing.T) {
			// A touch below faults, and nothing grows.
			r := mustReserve(t, Config{Size: page})
			mustDo(t, r.Commit(0, page))
			base := r.Base()
			for range 3 {
				expect(t, "below", poke(r, -1), Underflow, -1)
			}
			if r.Base() != base || r.Size() != page {
				t.Error("the region grew")
			}
			if flags := mappingFlags(t, r); strings.Contains(flags, " gd") {
				t.Errorf("a mapping that grows downwards: %s", flags)
			}
		},
		"MAP_FIXED": func(t *testing.T) {
			// No hint replaces memory of others: of Go's heap, of a region, of a file, of code.
			goes := make([]byte, 1<<20)
			taken, file := mustReserve(t, Config{Size: 1 << 20}), mustMap(t, letters(t, page), FileConfig{})
			mustDo(t, taken.Commit(0, 1<<20))
			for i := range goes {
				goes[i], taken.Bytes()[i] = 'g', 't'
			}
			code := reflect.ValueOf(TestParameters).Pointer()
			for what, near := range map[string]uintptr{
				"the Go heap": uintptr(unsafe.Pointer(&goes[len(goes)/2])), "a region": uintptr(taken.Base()), "a file": uintptr(file.Base()), "code": code,
			} {
				r := mustReserve(t, Config{Size: page, Near: near})
				mustDo(t, r.Commit(0, page))
				shown := mustMap(t, letters(t, page), FileConfig{Near: near, Mode: FilePrivate})
				for i := range page {
					r.Bytes()[i], shown.Bytes()[i] = 'r', 's'
				}
				for name, at := range map[string]uintptr{"memory": uintptr(r.Base()), "a file": uintptr(shown.Base())} {
					if near >= at && near-at < uintptr(page) {
						t.Errorf("%s lies over %s", name, what)
					}
				}
			}
			if bytes.Count(goes, []byte("g")) != len(goes) || bytes.Count(taken.Bytes(), []byte("t")) != 1<<20 || file.Bytes()[page-1] != letter(page-1) {
				t.Error("memory of others was replaced")
			}
		},
		"mremap": func(t *testing.T) {
			r := mustReserve(t, Config{Reserve: 2 * page})
			was := r.Base()
			b, err := r.Grow(page)
			mustDo(t, err)
			b[0] = 1
			if b, err = r.Grow(page); err != nil || len(b) != 2*page || b[0] != 1 || r.Base() != was {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		},
		"msync": func(t *testing.T) {
			r := mustMap(t, letters(t, page), FileConfig{Mode: FileShared})
			r.Bytes()[0] = 1
			mustDo(t, r.Sync(0, 1, false), r.Sync(0, page, true))
		},
		"madvise": func(t *testing.T) {
			r := mustReserve(t, Config{Size: page})
			mustDo(t, r.Commit(0, page))
			r.Bytes()[0] = 1
			for a := Normal; a <= DontNeed; a++ {
				if err := r.Advise(0, page, a); err != nil && !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("advice %d: %v", a, err)
				}
			}
			if err := r.Advise(0, page, DontNeed+1); err == nil || r.Bytes()[0] != 1 {
				t.Errorf("an advice that is none, or one that lost memory: %v", err)
			}
			mustDo(t, r.Discard(0, page))
			if r.Bytes()[0] != 0 {
				t.Error("what was discarded does not read zero")
			}
		},
	}
	for name, row := range rows {
		t.Run(name, row)
	}

	// The package comment has the same rows.
	source, err := os.ReadFile("guard.go")
	mustDo(t, err)
	_, table, _ := strings.Cut(string(source), "parameter            served by\n")
	table, _, _ = strings.Cut(table, "//\n")
	for line := range strings.Lines(table) {
		name := strings.Fields(strings.TrimPrefix(line, "//"))[0]
		if rows[name] == nil {
			t.Errorf("%s has no test", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("the package comment does not list %s", name)
	}
}

// mappingFlags returns what the kernel says of the mapping in which a region begins (VmFlags in /proc/self/smaps), with a
// space before each flag; "" where it says nothing.
func mappingFlags(t *testing.T, r *Region) string {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil || !vm.Probe().Populate { // an emulator says nothing of flags
		return ""
	}
	inside := false
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= uintptr(r.Base()) && uintptr(r.Base()) < to
		} else if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return strings.TrimSuffix(flags, "\n")
		}
	}
	t.Error("the region is not in /proc/self/smaps")
	return ""
}

// resident expects so many bytes of the region in RAM, at least, where the system tells.
func resident(t *testing.T, r *Region, want int) {
	t.Helper()
	if n, err := r.Resident(); err == nil && n < int64(want) {
		t.Errorf("%d bytes are in RAM, want %d", n, want)
	}
}
