package offheap_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/stack"
)

const module = "github.com/seed-9a6c551e/offheap"

// floors are the folders of the house from the roof down: a package imports from lower floors only.
// Packages below a folder live on its floor, and may import each other.
var floors = map[string]int{
	".":                  8, // package offheap, which has no code
	"cmd":                7,
	"internal/workload":  7, // what the command shares with module bench
	"cache":              6,
	"ring":               5,
	"table":              5,
	"arena":              4,
	"shm":                4,
	"slab":               4,
	"stack":              4,
	"internal/fastpath":  6,
	"internal/leaks":     6,
	"internal/limits":    6,
	"internal/misuse":    6,
	"internal/readme":    6,
	"guard":              3,
	"internal/alloctest": 3,
	"internal/region":    2,
	"internal/trap":      1,
	"internal/vm":        0,
}

// leaves import nothing of ours and may be imported from anywhere.
var leaves = []string{"internal/decay", "internal/filler", "internal/invariant", "internal/nocopy", "internal/percpu", "internal/percpu/leaftest", "internal/pointerfree", "internal/race", "internal/stacktrace", "internal/typelayout"}

// parts are the floors inside of cache, of the command, of slab and of table, whose packages import from lower ones only.
var parts = map[string]int{
	"cache":                           2,
	"cache/internal/index":            1,
	"cmd/offheap":                     3,
	"cmd/offheap/internal/allocbench": 2,
	"cmd/offheap/internal/index":      2,
	"cmd/offheap/internal/messages":   2,
	"cmd/offheap/internal/service":    2,
	"cmd/offheap/internal/stackbench": 2,
	"cmd/offheap/internal/trace":      2,
	"cmd/offheap/internal/allocators": 1,
	"cmd/offheap/internal/measure":    1,
	"slab":                            5,
	"slab/internal/slots":             4,
	"slab/internal/sizeclass":         3,
	"slab/internal/account":           2,
	"slab/internal/sampled":           2,
	"slab/internal/units":             2,
	"slab/internal/bitmap":            1,
	"table":                           2,
	"table/internal/keys":             1,
}

// guests are the only packages from outside, each with the folder that may import it; and packages of the
// standard library, and of ours, that must not get into programs which do not need them.
var guests = map[string]string{
	"debug/elf":                     "stack/native",
	"golang.org/x/sys/unix":         "internal/vm",
	"github.com/dustin/go-humanize": "cmd/offheap",
	module + "/internal/vm/ipc":     "cmd/offheap",
}

// within tells whether a package lies in a folder.
func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// room returns the innermost folder that a package lies in, and its floor.
func room(pkg string) (folder string, floor int, found bool) {
	for f, n := range floors {
		if within(pkg, f) && len(f) >= len(folder) {
			folder, floor, found = f, n, true
		}
	}
	return folder, floor, found
}

// forbidden says why a package must not import another; "" if it may.
func forbidden(from, imports string) string {
	home, guest := guests[imports]
	if guest && !within(from, home) {
		return "only " + home + " imports it"
	}
	to, ours := strings.CutPrefix(imports, module+"/")
	if !ours {
		if host, _, _ := strings.Cut(imports, "/"); !guest && strings.Contains(host, ".") {
			return "it is neither of the standard library nor a guest"
		}
		return ""
	}
	leaf := slices.Contains(leaves, from)
	switch {
	case leaf:
		return "a leaf imports nothing of ours"
	case slices.Contains(leaves, to):
		return ""
	case within(to, "internal/alloctest"):
		return "it is for tests"
	}
	here, floor, found := room(from)
	if !found {
		return from + " is on no floor"
	}
	there, below, found := room(to)
	switch {
	case !found:
		return to + " is on no floor"
	case here == there:
		if parts[from] > 0 && parts[to] >= parts[from] {
			return "the parts of " + here + " import downwards, too"
		}
		return ""
	case below < floor, here == "cmd" && there == "internal/workload":
		return ""
	}
	return fmt.Sprintf("floor %d must not import floor %d", floor, below)
}

// TestFloors reads the imports of every file that is not a test.
func TestFloors(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." {
			_, nested := os.Stat(filepath.Join(file, "go.mod"))
			if name := d.Name(); nested == nil || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				return filepath.SkipDir
			}
		}
		if d.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		pkg := path.Dir(filepath.ToSlash(file))
		if _, _, found := room(pkg); !found && !slices.Contains(leaves, pkg) {
			t.Errorf("%s: %s is on no floor", file, pkg)
		}
		for _, im := range parsed.Imports {
			imported, _ := strconv.Unquote(im.Path.Value)
			if why := forbidden(pkg, imported); why != "" {
				t.Errorf("%s imports %s: %s", file, imported, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files were found", files)
	}
	for _, folder := range slices.Concat(slices.Collect(maps.Keys(floors)), slices.Collect(maps.Keys(parts)), leaves) {
		if _, err := os.Stat(folder); err != nil {
			t.Errorf("the floors name a package that does not exist: %v", err)
		}
	}
}

// TestFloorsWouldNotice shows that TestFloors can fail.
func TestFloorsWouldNotice(t *testing.T) {
	for _, c := range []struct {
		from, imports string
		refused       bool
	}{
		{"arena", module + "/guard", false},
		{"cmd/offheap", module + "/arena", false},
		{"cmd/offheap", module + "/cmd/offheap/table", false},
		{"cmd/offheap", module + "/internal/workload", false},
		{"cmd/offheap/internal/messages", module + "/internal/vm/ipc", false},
		{"internal/vm/ipc", module + "/internal/vm", false},
		{"internal/vm/ipc", "golang.org/x/sys/unix", false},
		{"internal/vm", module + "/internal/vm/ipc", true},
		{"shm", module + "/internal/vm/ipc", true},
		{"internal/workload", module + "/internal/vm/ipc", true},
		{"cmd/offheap/internal/index", module + "/cmd/offheap/internal/measure", false},
		{"cmd/offheap/internal/index", module + "/cmd/offheap/internal/trace", true},
		{"cmd/offheap/internal/measure", module + "/cmd/offheap/internal/index", true},
		{"guard", module + "/internal/vm", false},
		{"slab", module + "/slab/internal/sampled", false},
		{"slab/internal/sampled", module + "/internal/region", false},
		{"guard", module + "/slab/internal/sampled", true},
		{"slab/internal/units", module + "/slab/internal/bitmap", false},
		{"slab/internal/units", module + "/slab/internal/account", true},
		{"table", module + "/table/internal/keys", false},
		{"table/internal/keys", module + "/table", true},
		{"guard", module + "/internal/region", false},
		{"guard/guardtest", module + "/guard", false},
		{"internal/region", module + "/guard", true},
		{"internal/region", module + "/internal/trap", false},
		{"internal/trap", module + "/internal/region", true},
		{"internal/alloctest", module + "/guard", true},
		{"internal/vm", "golang.org/x/sys/unix", false},
		{"internal/vm", module + "/internal/invariant", false},
		{"cmd/offheap", "github.com/dustin/go-humanize", false},
		{"arena", "unsafe", false},
		{"guard", module + "/arena", true},
		{"internal/vm", module + "/guard", true},
		{"arena", module + "/slab", true},
		{"internal/trap", module + "/guard", true},
		{"table", module + "/internal/workload", true},
		{"internal/workload", module + "/cmd/offheap", true},
		{"internal/invariant", module + "/internal/vm", true},
		{"arena", module + "/internal/alloctest", true},
		{"arena", module + "/attic", true},
		{"attic", module + "/arena", true},
		{"guard", "golang.org/x/sys/unix", true},
		{"stack", "debug/elf", true},
		{"stack/native", "debug/elf", false},
		{"arena", "github.com/dustin/go-humanize", true},
		{"internal/vm", "golang.org/x/sys/cpu", true},
		{"cmd/offheap", "example.com/x", true},
	} {
		if why := forbidden(c.from, c.imports); (why != "") != c.refused {
			t.Errorf("%s imports %s: refused %v (%s), want %v", c.from, c.imports, why != "", why, c.refused)
		}
	}
}

// TestRequirements holds the root module to the guests' modules.
func TestRequirements(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(mod), "\n") {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") {
			continue
		}
		if fields[0] != "golang.org/x/sys" && fields[0] != "github.com/dustin/go-humanize" {
			t.Errorf("go.mod requires %s", fields[0])
		}
	}
	if bytes.Contains(mod, []byte("replace")) {
		t.Error("go.mod replaces a module: whoever imports us does not get the replacement")
	}
}

// TestStory is one worked story across the floors: a service keeps an index in one arena, answers
// requests from pooled ones, and lives within a budget.
func TestStory(t *testing.T) {
	before := guard.Usage()
	if _, err := guard.SetBudget(guard.Budget{Hard: before.Committed + 32<<20}); err != nil {
		t.Fatal(err)
	}
	defer guard.SetBudget(guard.Budget{})

	// The index: a tree of words whose nodes refer to each other without pointers.
	type node struct {
		left, right arena.Ref[node]
		word        arena.Ref[byte]
		length      int32
		count       int32
	}
	index, err := arena.Open(arena.Config{Name: "index"})
	if err != nil {
		t.Fatal(err)
	}
	var root arena.Ref[node]
	word := func(n *node) string { return string(n.word.Slice(index, int(n.length))) }
	insert := func(w string) {
		at := &root
		for !at.IsNil() {
			n := at.Deref(index)
			switch c := strings.Compare(w, word(n)); {
			case c == 0:
				n.count++
				return
			case c < 0:
				at = &n.left
			default:
				at = &n.right
			}
		}
		n := arena.New[node](index)
		text := arena.Clone(index, []byte(w))
		n.word, n.length, n.count = arena.RefOf(index, &text[0]), int32(len(text)), 1
		*at = arena.RefOf(index, n)
	}
	for i := range 20000 {
		insert(fmt.Sprintf("word%d", i*7919%5000))
	}

	// Requests: each walks the index and builds its answer in an arena of its own.
	pool, err := arena.OpenPool(arena.Config{Name: "request"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		a := pool.Get()
		var words []string
		nodes := arena.MakeSlice[arena.Ref[node]](a, 0, 8)
		for at := root; !at.IsNil() || len(nodes) > 0; {
			if !at.IsNil() {
				nodes = arena.Append(a, nodes, at)
				at = at.Deref(index).left
				continue
			}
			n := nodes[len(nodes)-1].Deref(index)
			nodes = nodes[:len(nodes)-1]
			if n.count != 4 {
				t.Fatalf("%q was counted %d times", word(n), n.count)
			}
			words = append(words, word(n))
			at = n.right
		}
		if len(words) != 5000 || !slices.IsSorted(words) {
			t.Fatalf("%d words, sorted: %v", len(words), slices.IsSorted(words))
		}
		pool.Put(a)
	}

	// The budget turns "too much" into an error, and what is there stays.
	_, err = arena.TryMakeSlice[byte](index, 64<<20, 64<<20)
	if !errors.Is(err, guard.ErrNoMemory) {
		t.Fatalf("64 MiB of a budget of 32: %v", err)
	}
	names := map[string]int64{}
	for r := range guard.Regions() {
		names[r.Name] += r.Committed
	}
	if names["index"] < 5000*24 || names["request"] == 0 {
		t.Fatalf("the registry has %v", names)
	}

	// What outlives its arena is caught where it is touched.
	stale := root.Deref(index)
	if err := errors.Join(pool.Close(), index.Close()); err != nil {
		t.Fatal(err)
	}
	var fault *guard.Fault
	if err := guard.Catch(func() { stale.count++ }); !errors.As(err, &fault) || fault.Kind != guard.UseAfterClose || fault.Region != "index" {
		t.Fatalf("touch of a closed index: %v", err)
	}
	if after := guard.Usage(); after.Regions != before.Regions || after.Committed != before.Committed {
		t.Fatalf("before %+v, after %+v", before, after)
	}
}

// TestConformance runs the suite on every allocator.
func TestConformance(t *testing.T) {
	for _, m := range []alloctest.Maker{
		{Name: "arena.Arena", MaxAlign: 2 << 20, MaxWaste: 1 << 10, Open: func(limit int) (alloctest.Allocator, error) {
			a, err := arena.Open(arena.Config{Limit: limit})
			if err != nil {
				return alloctest.Allocator{}, err
			}
			return alloctest.Allocator{
				Alloc: a.TryAlloc, Reset: a.Reset, Close: a.Close, Resident: a.Resident,
				Stats: func() alloctest.Stats { return alloctest.Stats(a.Stats()) },
			}, nil
		}},
		{Name: "arena.Concurrent", MaxAlign: 2 << 20, MaxWaste: 512 << 10, Open: func(limit int) (alloctest.Allocator, error) {
			k, err := arena.OpenConcurrent(arena.Config{Limit: limit})
			if err != nil {
				return alloctest.Allocator{}, err
			}
			return alloctest.Allocator{
				Alloc: k.TryAlloc, Reset: k.Reset, Close: k.Close, Resident: k.Resident,
				Stats: func() alloctest.Stats { return alloctest.Stats(k.Stats()) },
			}, nil
		}},
		{Name: "slab.Heap", MaxAlign: 1 << 20, MaxWaste: 256 << 10, Open: openHeap(false)},
		{Name: "slab.Heap, hardened", MaxAlign: 1 << 20, MaxWaste: 640 << 10, Open: openHeap(true)},
		{Name: "slab.Local", MaxAlign: 1 << 20, MaxWaste: 128 << 10, Open: func(limit int) (alloctest.Allocator, error) {
			h, err := slab.Open(slab.Config{Limit: limit})
			if err != nil {
				return alloctest.Allocator{}, err
			}
			l := h.Local()
			return alloctest.Allocator{
				Alloc: l.TryAlloc, Free: l.Free, Close: h.Close, Resident: h.Resident,
				Stats: func() alloctest.Stats { return slabStats(h) },
			}, nil
		}},
		{Name: "stack", Open: openStacks, MaxAlign: 4096, MaxWaste: 1 << 10},
	} {
		m.Violation = func(p any) bool { _, ok := p.(*guard.Violation); return ok }
		t.Run(m.Name, func(t *testing.T) { alloctest.Run(t, m) })
	}
}

func openHeap(hardened bool) func(limit int) (alloctest.Allocator, error) {
	return func(limit int) (alloctest.Allocator, error) {
		h, err := slab.Open(slab.Config{Limit: limit, Hardened: hardened})
		if err != nil {
			return alloctest.Allocator{}, err
		}
		return alloctest.Allocator{
			Alloc: h.TryAlloc, Free: h.Free, Close: h.Close, Resident: h.Resident,
			Stats: func() alloctest.Stats { return slabStats(h) },
		}, nil
	}
}

func slabStats(h *slab.Heap) alloctest.Stats {
	s := h.Stats()
	return alloctest.Stats{Reserved: s.Reserved, Committed: s.Committed, Live: s.Live, HighWater: s.HighWater}
}

// openStacks shows a pool as an allocator that takes one stack after the other. With a limit there
// is one stack, of that size.
func openStacks(limit int) (alloctest.Allocator, error) {
	c := stack.Config{Size: limit, Max: min(limit, 1)}
	if limit == 0 {
		c = stack.Config{Size: 3900 << 10, Max: 1000}
	}
	p, err := stack.OpenPool(c)
	if err != nil {
		return alloctest.Allocator{}, err
	}
	first, err := p.TryGet()
	if err != nil {
		return alloctest.Allocator{}, errors.Join(err, p.Close())
	}
	all, peak := []*stack.Stack{first}, int64(0)
	release := func() {
		peak = max(peak, p.Stats().Live)
		for _, s := range all {
			p.Put(s)
		}
	}
	return alloctest.Allocator{
		Alloc: func(size, align int) ([]byte, error) {
			last := all[len(all)-1]
			b, err := last.TryAlloc(size, align)
			if !errors.Is(err, stack.ErrOverflow) || size > last.Size() || limit > 0 {
				return b, err
			}
			s, err := p.TryGet()
			if err != nil {
				return nil, err
			}
			all = append(all, s)
			return s.TryAlloc(size, align)
		},
		Reset: func() {
			release()
			s, err := p.TryGet()
			if err != nil {
				panic(err)
			}
			all = []*stack.Stack{s}
		},
		Resident: p.Resident,
		Stats: func() alloctest.Stats {
			s := p.Stats()
			return alloctest.Stats{Reserved: s.Reserved, Committed: s.Committed, Live: s.Live, HighWater: max(peak, s.Live)}
		},
		Close: func() error {
			if p.Stats().InUse > 0 {
				release()
			}
			return p.Close()
		},
	}, nil
}
