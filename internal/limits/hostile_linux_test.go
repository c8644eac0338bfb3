//go:build !race

package limits

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/native"
)

// inAlone runs a test in a process of its own, and takes over its failure or skip.
func inAlone(t *testing.T, name, first, what string) {
	t.Helper()
	out, err := aloneNamed(t, name, first, what)
	switch {
	case err != nil:
		t.Errorf("%s: %v\n%.4000s", what, err, out)
	case strings.Contains(out, "--- SKIP"):
		t.Skipf("%.1000s", out)
	default:
		t.Logf("%.1000s", out)
	}
}

// mapped counts the mappings of the process.
func mapped(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	return bytes.Count(maps, []byte("\n"))
}

// takers take mappings until there are none left. They keep the owners reachable: else the collector would
// report them as leaks.
var takers = map[string]func(kept *[]any) error{
	"large objects": func(kept *[]any) error {
		h, err := slab.Open(slab.Config{})
		for err == nil {
			_, err = h.TryAlloc(1_200_000, 8)
		}
		*kept = append(*kept, h)
		return err
	},
	"hardened large objects": func(kept *[]any) error {
		h, err := slab.Open(slab.Config{Hardened: true})
		for err == nil {
			_, err = h.TryAlloc(1_200_000, 8)
		}
		*kept = append(*kept, h)
		return err
	},
	"aligned objects": func(kept *[]any) error {
		h, err := slab.Open(slab.Config{})
		for err == nil {
			_, err = h.TryAlloc(4096, 128<<10)
		}
		*kept = append(*kept, h)
		return err
	},
	"arenas": func(kept *[]any) error {
		for {
			a, err := arena.Open(arena.Config{Reserve: 1 << 20})
			if err == nil {
				_, err = a.TryAlloc(100, 8)
			}
			if *kept = append(*kept, a); err != nil {
				return err
			}
		}
	},
	"pooled arenas": func(kept *[]any) error {
		p, err := arena.OpenPool(arena.Config{Reserve: 1 << 20})
		if *kept = append(*kept, p); err != nil {
			return err
		}
		for {
			a, err := p.TryGet()
			if err == nil {
				_, err = a.TryAlloc(100, 8)
			}
			if *kept = append(*kept, a); err != nil {
				return err
			}
		}
	},
	"regions": func(kept *[]any) error {
		for {
			r, err := guard.Reserve(guard.Config{Size: 1})
			if err == nil {
				err = r.Commit(0, r.Size())
			}
			if *kept = append(*kept, r); err != nil {
				return err
			}
		}
	},
	"secret regions": func(kept *[]any) error {
		for {
			r, err := guard.Reserve(guard.Config{Size: 1, Secret: true, MaySwap: true})
			if err == nil {
				err = r.Commit(0, r.Size())
			}
			if *kept = append(*kept, r); err != nil {
				return err
			}
		}
	},
	"holes": func(kept *[]any) error {
		r, err := guard.Reserve(guard.Config{Size: 1 << 30})
		*kept = append(*kept, r)
		for off := 0; err == nil; off += 2 * guard.PageSize() {
			err = r.Commit(off, guard.PageSize())
		}
		return err
	},
	"heaps": func(kept *[]any) error {
		for {
			h, err := slab.Open(slab.Config{Reserve: 2 << 20})
			if err == nil {
				_, err = h.TryAlloc(100, 8)
			}
			if *kept = append(*kept, h); err != nil {
				return err
			}
		}
	},
	"stack pools": func(kept *[]any) error {
		for {
			p, err := stack.OpenPool(stack.Config{Max: 4})
			if err == nil {
				_, err = p.TryGet()
			}
			if *kept = append(*kept, p); err != nil {
				return err
			}
		}
	},
	"code": func(kept *[]any) error {
		for {
			c, err := native.LoadCode([]byte{0xc3, 0, 0, 0})
			if *kept = append(*kept, c); err != nil {
				return err
			}
		}
	},
}

// TestOutsideMappingsRunOut takes mappings with owners of every kind. Regions get half of the mappings that the
// process may have, the error says so, and Go still gets mappings.
func TestOutsideMappingsRunOut(t *testing.T) {
	most := vm.Probe().MaxMappings
	if most == 0 || most > 1<<17 {
		t.Skipf("the process may hold %d mappings", most)
	}
	what := os.Getenv(exhausted)
	if what == "" {
		for name := range takers {
			if testing.Short() && name != "holes" && name != "large objects" {
				continue
			}
			t.Run(name, func(t *testing.T) { inAlone(t, "TestOutsideMappingsRunOut", "true", name) })
		}
		return
	}
	var kept []any
	err := takers[what](&kept)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "vm.max_map_count") {
		t.Fatalf("the error does not name the limit: %v", err)
	}
	n := mapped(t)
	if n > most/2+2000 || n < most/20 {
		t.Errorf("%d mappings, of %d that the process may hold", n, most)
	}
	t.Logf("%d mappings: %v", n, err)
	var alive [][]byte
	for range 200 { // Go still gets mappings
		alive = append(alive, make([]byte, 1<<20))
	}
	runtime.GC()
	runtime.KeepAlive(alive)
	runtime.KeepAlive(kept)
}

// TestOutsidePurgeWithoutMappings frees every second of many objects, more than the process has mappings for.
// Purge gives the RAM back, and reports the memory that it could not decommit.
func TestOutsidePurgeWithoutMappings(t *testing.T) {
	if os.Getenv(exhausted) == "" {
		for _, mode := range []string{"default", "hardened", "markers off"} {
			first := "true"
			if mode == "markers off" {
				first = "export OFFHEAP_GUARDS=mprotect"
			}
			t.Run(mode, func(t *testing.T) { inAlone(t, "TestOutsidePurgeWithoutMappings", first, mode) })
		}
		return
	}
	page := int64(guard.PageSize())
	h, err := slab.Open(slab.Config{Hardened: os.Getenv(exhausted) == "hardened"})
	if err != nil {
		t.Fatal(err)
	}
	n, size := 45_000, 64<<10
	if os.Getenv(exhausted) == "hardened" {
		if size -= 16; !guard.LightGuards() {
			n = 10_000 // the guards take all mappings
		}
	}
	var all [][]byte
	for range n {
		b, err := h.TryAlloc(size, 8)
		if err != nil {
			t.Fatal(err)
		}
		b[0] = 1
		all = append(all, b)
	}
	inRAM := func() int64 {
		n, err := h.Resident()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	committed, before := h.Stats().Committed, inRAM()
	for i := 0; i < n; i += 2 {
		h.Free(all[i])
	}
	for range 3 {
		if err := h.Purge(); err != nil {
			t.Fatalf("Purge: %v", err)
		}
	}
	s, after := h.Stats(), inRAM()
	t.Logf("before %d resident, %d committed; after %d resident, %d committed, live %d; %d mappings", before, committed, after, s.Committed, s.Live, mapped(t))
	if freed := before - after; freed < int64(n/2)*page*9/10 {
		t.Errorf("%d bytes of %d that were resident went back", freed, before)
	}
	for i := 1; i < n; i += 2 { // live objects are unchanged
		if all[i][0] != 1 {
			t.Fatal("an object has changed")
		}
		h.Free(all[i])
	}
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Committed > committed/10 {
		t.Errorf("with all freed %d of %d bytes stay committed", s.Committed, committed)
	}
}

// TestOutsideLockedMemory makes the calls that need unlocked memory in a program that locks all its memory.
func TestOutsideLockedMemory(t *testing.T) {
	if os.Getenv(exhausted) == "" {
		inAlone(t, t.Name(), "true", "lock before")
		inAlone(t, t.Name(), "true", "lock after")
		return
	}
	lock := func() {
		if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE); err != nil {
			t.Skipf("memory cannot be locked here: %v", err)
		}
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	var rss int64
	shrinks := func(what string, by int, f func()) {
		t.Helper()
		before := resident(t)
		f()
		if rss = resident(t); before-rss < int64(by) {
			t.Errorf("%s: %d bytes in RAM before, %d after: less than %d went back", what, before, rss, by)
		}
	}
	if os.Getenv(exhausted) == "lock before" {
		lock()
	}
	a, err := arena.Open(arena.Config{Reserve: 256 << 20, Retain: 1})
	must("arena", err)
	h, err := slab.Open(slab.Config{Reserve: 256 << 20})
	must("heap", err)
	hard, err := slab.Open(slab.Config{Reserve: 256 << 20, Hardened: true})
	must("hardened heap", err)
	p, err := stack.OpenPool(stack.Config{Max: 100})
	must("stacks", err)
	r, err := guard.Reserve(guard.Config{Name: "locked", Size: 1 << 20})
	must("region", err)
	if t.Failed() {
		return
	}
	if os.Getenv(exhausted) == "lock after" {
		s, err := p.TryGet()
		must("Get before", err)
		must("stack before", touched(s.TryAlloc(100, 8)))
		must("hardened before", touched(hard.TryAlloc(100, 8)))
		must("Commit before", r.Commit(0, 64<<10))
		lock()
	}

	must("Alloc", touched(a.TryAlloc(64<<20, 8)))
	shrinks("Reset", 60<<20, func() {
		for range 200 {
			a.Reset()
			a.Alloc(8, 8)
		}
	})
	var objects [][]byte
	for range 64 {
		b, err := h.TryAlloc(1<<20, 8)
		must("Alloc", touched(b, err))
		objects = append(objects, b)
	}
	shrinks("Purge", 60<<20, func() {
		for _, b := range objects {
			h.Free(b)
		}
		must("Purge", h.Purge())
	})
	for range 10 {
		s, err := p.TryGet()
		must("Get", err)
		if err == nil {
			must("stack", touched(s.TryAlloc(1000, 8)))
			p.Put(s)
		}
		b, err := hard.TryAlloc(1000, 8)
		must("hardened Alloc", err)
		if err == nil {
			must("hardened", touched(b, nil))
			hard.Free(b)
		}
	}
	must("hardened Purge", hard.Purge())
	must("stacks' Purge", p.Purge())
	b, err := h.TryAlloc(8<<20, 8)
	must("large", touched(b, err))
	b, err = h.TryRealloc(b, 3<<20)
	must("Realloc", err)
	h.Free(b)

	must("Commit", r.Commit(0, 128<<10))
	must("Guard", r.Guard(64<<10, 4<<10))
	if f := (*guard.Fault)(nil); !errors.As(guard.Catch(func() { r.Bytes()[64<<10] = 1 }), &f) || f.Kind != guard.Guarded {
		t.Error("a guard does not guard")
	}
	must("Unguard", r.Unguard(64<<10, 4<<10))
	r.Bytes()[64<<10] = 1
	must("Discard", r.Discard(0, 128<<10))
	if r.Bytes()[64<<10] != 0 {
		t.Error("Discard has kept a byte")
	}
	must("Decommit", r.Decommit(0, 64<<10))
	must("Close", r.Close())
	if f := (*guard.Fault)(nil); !errors.As(guard.Catch(func() { r.Bytes()[64<<10] = 1 }), &f) || f.Kind != guard.UseAfterClose {
		t.Error("a stale pointer does not fault")
	}
	old, _ := slab.SetSampling(slab.Sampling{Every: 1}) // open heaps notice it later
	defer slab.SetSampling(old)
	other, err := slab.Open(slab.Config{Reserve: 64 << 20})
	must("another heap", err)
	sampled := other.Alloc(100, 8)
	if f := (*guard.Fault)(nil); !errors.As(guard.Catch(func() { peek(sampled, -1); peek(sampled, 4096) }), &f) {
		t.Error("nothing is sampled")
	}
	other.Free(sampled)
	must("Close", errors.Join(other.Close(), a.Close(), h.Close(), hard.Close(), p.Close()))
}

// peek reads the byte at an offset from the start of b, inside b or not.
func peek(b []byte, off int) { read += *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off)) }

var read byte

// resident returns how many bytes the process has in RAM.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	var size, rss int64
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(text), &size, &rss)
	}
	if err != nil {
		t.Skip(err)
	}
	return rss * int64(os.Getpagesize())
}

// TestOutsideStrictAccounting uses memory again and again where the kernel promises no more memory than it has.
// Memory that was given back is not charged any more.
func TestOutsideStrictAccounting(t *testing.T) {
	if vm.Probe().Overcommit != "never" {
		t.Skip("vm.overcommit_memory is not 2 here")
	}
	charged := func() (kib int64) {
		text, err := os.ReadFile("/proc/meminfo")
		if err != nil {
			t.Skip(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Committed_AS:"); ok {
				fmt.Sscan(rest, &kib)
			}
		}
		return kib
	}
	h, err := slab.Open(slab.Config{Reserve: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	a, err := arena.Open(arena.Config{Reserve: 256 << 20, Retain: 1})
	if err != nil {
		t.Fatal(err)
	}
	r, err := guard.Reserve(guard.Config{Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	before := charged()
	for round := range 300 {
		// Only after a touch does the kernel keep a charge.
		if err := r.Commit(0, 64<<20); err != nil {
			t.Fatalf("region, round %d: %v", round, err)
		}
		r.Bytes()[0] = 1
		if err := r.Decommit(0, 64<<20); err != nil {
			t.Fatal(err)
		}
		b, err := h.TryAllocDirty(64<<20, 8)
		if err != nil {
			t.Fatalf("large object, round %d: %v", round, err)
		}
		b[0] = 1
		h.Free(b)
		var all [][]byte
		for range 64 {
			b, err := h.TryAllocDirty(1<<20, 8)
			if err != nil {
				t.Fatalf("objects, round %d: %v", round, err)
			}
			b[0] = 1
			all = append(all, b)
		}
		for _, b := range all {
			h.Free(b)
		}
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
		if b, err = a.TryAlloc(64<<20, 8); err != nil {
			t.Fatalf("arena, round %d: %v", round, err)
		}
		b[0] = 1
		a.Reset()
	}
	if grown := charged() - before; grown > 1<<20 { // the charge of all processes; 75 GiB were used and given back
		t.Errorf("the kernel has promised %d KiB more than before", grown)
	}
	if err := errors.Join(h.Close(), a.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestOutsideAddressesAreShared opens owners with the default Config under a limit of addresses. Each takes at
// most a quarter of the free addresses, so Go keeps room.
func TestOutsideAddressesAreShared(t *testing.T) {
	if os.Getenv(exhausted) == "" {
		inAlone(t, t.Name(), "ulimit -v 4194304", "addresses")
		return
	}
	alloctest.GrowGoHeap()
	var open []any
	for range 2 {
		for _, o := range []struct {
			name string
			open func() (any, error)
		}{
			{"arena", func() (any, error) { return arena.Open(arena.Config{}) }},
			{"concurrent arena", func() (any, error) { return arena.OpenConcurrent(arena.Config{}) }},
			{"heap", func() (any, error) { return slab.Open(slab.Config{}) }},
			{"hardened heap", func() (any, error) { return slab.Open(slab.Config{Hardened: true}) }},
			{"pool", func() (any, error) { return slab.OpenPool[[64]byte](slab.Config{}) }},
			{"stacks", func() (any, error) { return stack.OpenPool(stack.Config{}) }},
		} {
			free := vm.FreeAddresses()
			it, err := o.open()
			left := vm.FreeAddresses()
			if err != nil {
				if !errors.Is(err, guard.ErrNoMemory) || free/4 > 24<<20 {
					t.Errorf("%s, with %d MiB free: %v", o.name, free>>20, err)
				}
				continue
			}
			open = append(open, it)
			if took := free - min(free, left); took > free/4+(4<<20) {
				t.Errorf("%s takes %d MiB of %d", o.name, took>>20, free>>20)
			}
			t.Logf("%s: %d MiB of addresses were free, %d are", o.name, free>>20, left>>20)
		}
	}
	alive := make([][]byte, 100)
	for i := range alive { // Go has room for 64 MiB of addresses more
		alive[i] = make([]byte, 1<<20)
	}
	runtime.KeepAlive(open)
}

// TestOutsideCoresAreSmall dumps core after memory was given back. The dump has committed memory only.
func TestOutsideCoresAreSmall(t *testing.T) {
	if os.Getenv(exhausted) != "" {
		dieAfterPurge(t)
	}
	for _, what := range []string{"arena", "heap", "hardened", "stacks", "closed"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			out, err := aloneNamed(t, "TestOutsideCoresAreSmall", "ulimit -c unlimited; cd '"+dir+"'; export GOTRACEBACK=crash", what)
			var rss int64
			if _, after, ok := strings.Cut(out, "resident "); ok {
				fmt.Sscan(after, &rss)
			}
			if err == nil || rss == 0 {
				t.Fatalf("it does not die: %v\n%.3000s", err, out)
			}
			cores, _ := filepath.Glob(filepath.Join(dir, "*core*"))
			if len(cores) != 1 {
				pattern, _ := os.ReadFile("/proc/sys/kernel/core_pattern")
				t.Skipf("the system left %d cores (core_pattern is %q)", len(cores), pattern)
			}
			info, err := os.Stat(cores[0])
			if err != nil {
				t.Fatal(err)
			}
			if limit := rss*12/10 + 100<<20; info.Size() > limit {
				t.Errorf("a core of %d bytes where %d were in RAM", info.Size(), rss)
			}
			t.Logf("a core of %d bytes, %d on disk, where %d were in RAM", info.Size(), info.Sys().(*syscall.Stat_t).Blocks*512, rss)
		})
	}
}

func dieAfterPurge(t *testing.T) {
	const most = 64 << 20
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	switch os.Getenv(exhausted) {
	case "arena":
		a, err := arena.Open(arena.Config{})
		must(err)
		must(touched(a.TryAlloc(most, 8)))
		a.Reset()
		must(touched(a.TryAlloc(1<<20, 8)))
	case "heap", "hardened":
		h, err := slab.Open(slab.Config{Hardened: os.Getenv(exhausted) == "hardened"})
		must(err)
		var all [][]byte
		for range most >> 12 {
			b, err := h.TryAlloc(4000, 8)
			must(touched(b, err))
			all = append(all, b)
		}
		for _, b := range all[1:] {
			h.Free(b)
		}
		must(h.Purge())
	case "stacks":
		p, err := stack.OpenPool(stack.Config{})
		must(err)
		for range 100 {
			s, err := p.TryGet()
			must(err)
			must(touched(s.TryAlloc(60000, 8)))
			defer p.Put(s)
		}
	case "closed":
		for range 10 {
			a, err := arena.Open(arena.Config{})
			must(err)
			must(touched(a.TryAlloc(most/8, 8)))
			must(a.Close())
		}
	}
	fmt.Println("resident", resident(t))
	go panic("dies")
	select {}
}
