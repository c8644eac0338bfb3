package region

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// kernelMappings returns the ends of the kernel's mappings of a region's reservation, in OS pages from its base.
func kernelMappings(t *testing.T, r *Region) (ends []int) {
	t.Helper()
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	lo, hi := r.rec.addr(), r.rec.addr()+r.rec.size
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		if from < hi && to > lo {
			ends = append(ends, (int(to)-int(uintptr(r.base)))/PageSize())
		}
	}
	return ends
}

// holdsCount checks that the books have at least as many mappings as the kernel, or hardly fewer: memory of Protect(None), or
// with other attributes for a while, may stay apart without the books knowing.
func holdsCount(t *testing.T, r *Region, after string) {
	t.Helper()
	if kernel, books := kernelMappings(t, r), r.rec.mappings; len(kernel) > books+2 {
		fixed := r.rec.boundariesIn(0, r.rec.data, nil)
		for i := range fixed {
			fixed[i] /= uintptr(PageSize())
		}
		t.Fatalf("after\n%s\nthe kernel has %d mappings, the books %d; ends %v, fixed %v", after, len(kernel), books, kernel, fixed)
	}
	if n := 1 + r.rec.countBoundaries(0, r.rec.data); n != r.rec.mappings {
		t.Fatalf("after %s there are %d mappings, %d were counted", after, n, r.rec.mappings)
	}
}

// TestOutsideMappingsAreCounted makes random calls on a region, and compares the count with the kernel's mappings.
func TestOutsideMappingsAreCounted(t *testing.T) {
	if testing.Short() {
		t.Skip("reads /proc/self/maps ten thousand times")
	}
	for _, c := range []Config{{}, {Secret: true, MaySwap: true}, {HugePages: true}} {
		for _, light := range []bool{LightGuards(), false} {
			t.Run(fmt.Sprintf("%+v light %v", c, light), func(t *testing.T) { countMappings(t, c, light) })
		}
	}
}

func countMappings(t *testing.T, c Config, light bool) {
	defer func(old bool) { lightGuards = old }(lightGuards)
	lightGuards = light
	const pages = 40
	page := PageSize()
	file := tempFile(t, pages*page)
	rng := rand.New(rand.NewPCG(1, 2))
	c.Size = pages * page
	for range 20 {
		flushQuarantine()
		before := mappings.Load()
		r := mustReserve(t, c)
		var log []string
		for range 80 {
			off := rng.IntN(pages)
			n := 1 + rng.IntN(min(pages-off, 8))
			at, size := off*page, n*page
			op, err := "", error(nil)
			switch rng.IntN(12) {
			case 0, 1, 2:
				op, err = "commit", r.Commit(at, size)
			case 3:
				op, err = "decommit", r.Decommit(at, size)
			case 4:
				prot := vm.Prot(rng.IntN(4))
				op, err = "protect "+prot.String(), r.Protect(at, size, prot)
			case 5:
				op, err = "guard", r.Guard(at, size)
			case 6:
				op, err = "unguard", r.Unguard(at, size)
			case 7:
				op, err = "lock", r.Lock(at, size)
			case 8:
				op, err = "unlock", r.Unlock(at, size)
			case 9:
				op, err = "map file", r.MapFile(at, size, file, int64(rng.IntN(4)*page), vm.Prot(rng.IntN(4)))
			case 10:
				op, err = "advise", r.Advise(at, size, []vm.Advice{vm.Sequential, vm.Random, vm.Normal}[rng.IntN(3)])
			case 11:
				op = "touch"
				for i := at; i < at+size; i += page {
					_ = poke(r, i)
				}
			}
			log = append(log, fmt.Sprintf("%s %d+%d: %v", op, off, n, err))
			holdsCount(t, r, strings.Join(log, "\n"))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		flushQuarantine()
		if now := mappings.Load(); now != before {
			t.Fatalf("%d mappings were counted before, %d after\n%s", before, now, strings.Join(log, "\n"))
		}
	}
}

// TestOutsideMappingsOfParts splits committed memory before it is touched, and makes it whole again. The kernel must join it:
// else a process that does so often has more mappings than are counted.
func TestOutsideMappingsOfParts(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 20,000 system calls, and an emulator has other mappings")
	}
	defer func(old bool) { lightGuards = old }(lightGuards)
	page := PageSize()
	for _, light := range []bool{lightGuards, false} {
		lightGuards = light
		const n = 2000
		r := mustReserve(t, Config{Size: (2*n + 1) * page})
		whole := func() error { return r.Commit(0, r.Size()) }
		if err := whole(); err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			for i := range n {
				if err := r.Decommit((2*i+1)*page, page); err != nil {
					t.Fatal(err)
				}
			}
			for i := range n + 1 {
				r.Bytes()[2*i*page] = 1
			}
			if err := whole(); err != nil {
				t.Fatal(err)
			}
			if kernel := len(kernelMappings(t, r)); kernel > r.rec.mappings || kernel > 10 {
				t.Errorf("light %v, round %d: the kernel has %d mappings, the books %d", light, round, kernel, r.rec.mappings)
			}
		}
		if err := r.Decommit(0, r.Size()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOutsideProtectAndBack protects every second OS page from every access, and makes it usable again.
func TestOutsideProtectAndBack(t *testing.T) {
	page := PageSize()
	const n = 1000
	r := mustReserve(t, Config{Size: 2 * n * page})
	if err := r.Commit(0, r.Size()); err != nil {
		t.Fatal(err)
	}
	had := r.rec.mappings
	for i := range n {
		if err := errors.Join(r.Protect(2*i*page, page, vm.None), r.Protect(2*i*page, page, vm.ReadWrite)); err != nil {
			t.Fatal(err)
		}
	}
	if r.rec.mappings > had+2 {
		t.Errorf("%d mappings are counted, %d were", r.rec.mappings, had)
	}
}

// TestOutsideRefusedRelease makes the kernel refuse the release of a region in quarantine. It must not count as released, or
// Commit would try for ever.
func TestOutsideRefusedRelease(t *testing.T) {
	setQuarantine(t, 1<<30)
	if err := mustReserve(t, Config{Size: 1}).Close(); err != nil {
		t.Fatal(err)
	}
	stop := vm.Inject(vm.Munmap, 1, vm.OutOfMemory)
	released := releaseOldest()
	if stop(); released {
		t.Error("what the kernel refuses to release counts as released")
	}
}

// tempFile makes a file of some bytes.
func tempFile(t *testing.T, size int) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err == nil {
		err = f.Truncate(int64(size))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// bounded allows all regions together some more mappings than they have now.
func bounded(t *testing.T, more int) {
	t.Helper()
	flushQuarantine()
	old := mostMappings
	t.Cleanup(func() { mostMappings = old })
	mostMappings = mappings.Load() + int64(more)
}

// isRefused tells whether an error is the one for too many mappings.
func isRefused(err error) bool {
	return errors.Is(err, ErrNoMemory) && strings.Contains(err.Error(), "vm.max_map_count")
}

// TestOutsideMappingsAreBounded makes every call that takes mappings when none are left: it is refused, nothing has changed,
// and calls that take none work.
func TestOutsideMappingsAreBounded(t *testing.T) {
	page := PageSize()
	file := tempFile(t, 8*page)
	r := mustReserve(t, Config{Size: 64 * page})
	if err := r.Commit(8*page, 8*page); err != nil {
		t.Fatal(err)
	}
	clear(r.Bytes()[8*page : 16*page])
	fallback := func(f func() error) func() error {
		return func() error {
			r.rec.light = false
			defer func() { r.rec.light = lightGuards }()
			return f()
		}
	}
	bounded(t, 0)
	had := r.rec.mappings
	for name, f := range map[string]func() error{
		"Reserve":      func() error { _, err := Reserve(Config{Size: page}); return err },
		"Commit":       func() error { return r.Commit(32*page, page) },
		"Commit twice": func() error { return r.Commit(4*page, 16*page) }, // one gap takes none, but there may not be half of it
		"Decommit":     func() error { return r.Decommit(10*page, page) },
		"Protect":      func() error { return r.Protect(10*page, page, vm.Read) },
		"Guard":        fallback(func() error { return r.Guard(10*page, page) }),
		"GuardRow":     fallback(func() error { return r.GuardRow(9*page, page, 2*page, 3) }),
		"MapFile":      func() error { return r.MapFile(32*page, page, file, 0, vm.Read) },
		"Lock":         func() error { return r.Lock(10*page, page) },
		"Advise":       func() error { return r.Advise(10*page, page, vm.Random) },
	} {
		err := f()
		if name == "Commit twice" {
			if err != nil || r.Decommit(4*page, 4*page) != nil || r.Decommit(16*page, 4*page) != nil {
				t.Errorf("what makes a stretch longer takes no mapping: %v", err)
			}
			continue
		}
		if !isRefused(err) {
			t.Errorf("%s is not refused: %v", name, err)
		}
		if r.Committed() != int64(8*page) || r.rec.mappings != had || len(r.rec.committed) != 1 {
			t.Fatalf("%s has changed something: %d bytes, %d mappings, %v", name, r.Committed(), r.rec.mappings, r.rec.committed)
		}
		holdsCount(t, r, name)
	}
	r.Bytes()[10*page] = 1
	if err := r.Discard(10*page, page); err != nil || r.Bytes()[10*page] != 0 {
		t.Errorf("Discard: %v, and the byte is %d", err, r.Bytes()[10*page])
	}
	if err := errors.Join(r.Decommit(8*page, page), r.Decommit(15*page, page), r.Commit(8*page, 8*page)); err != nil {
		t.Errorf("what takes no mapping: %v", err)
	}
	if err := r.Decommit(8*page, 8*page); err != nil {
		t.Errorf("what gives mappings back: %v", err)
	}
	if err := r.Commit(40*page, page); err != nil {
		t.Errorf("with mappings given back: %v", err)
	}
}

// TestOutsideQuarantineGivesWay opens regions when closed ones in quarantine have all mappings.
func TestOutsideQuarantineGivesWay(t *testing.T) {
	setQuarantine(t, 1<<30)
	bounded(t, 10)
	for range 100 {
		r, err := Reserve(Config{Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Commit(0, r.Size()), r.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if n := mappings.Load(); n > mostMappings {
		t.Errorf("%d mappings, bound %d", n, mostMappings)
	}
}

// TestOutsideCommitRetries makes the kernel refuse memory: the quarantine gives way, and Commit works.
func TestOutsideCommitRetries(t *testing.T) {
	setQuarantine(t, 1<<30)
	old := mustReserve(t, Config{Size: 1})
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	r := mustReserve(t, Config{Size: 1})
	stop := vm.Inject(vm.Mprotect, 1, vm.OutOfMemory)
	err := r.Commit(0, r.Size())
	stop()
	if err != nil {
		t.Errorf("with something in quarantine: %v", err)
	}
	SetQuarantine(0)
	if err := r.Decommit(0, r.Size()); err != nil {
		t.Fatal(err)
	}
	stop = vm.Inject(vm.Mprotect, 1, vm.OutOfMemory)
	err = r.Commit(0, r.Size())
	stop()
	if !errors.Is(err, ErrNoMemory) {
		t.Errorf("with nothing in quarantine: %v", err)
	}
}
