package leaks

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/guard/guardtest"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/native"
)

type self struct{}

// leaksOf returns the errors of CheckLeaks for a test that calls f.
func leaksOf(t *testing.T, test func()) []string {
	in := &alloctest.LeakTB{TB: t}
	guardtest.CheckLeaks(in)
	test()
	return in.End()
}

// expectLeak expects one error that begins with this text, with a stack that begins in this line of the file.
func expectLeak(t *testing.T, got []string, want string, line int) {
	t.Helper()
	if len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("reports\n%s\nwant one that begins %s", strings.Join(got, "\n"), want)
		return
	}
	_, stack, _ := strings.Cut(got[0], "opened at\n")
	first := strings.SplitN(stack, "\n", 3)
	if !strings.HasPrefix(first[0], reflect.TypeFor[self]().PkgPath()+".") || !strings.HasSuffix(first[1], fmt.Sprintf("leaks_test.go:%d", line)) {
		t.Errorf("the stack does not begin in line %d:\n%s", line, got[0])
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func here() int {
	_, _, line, _ := runtime.Caller(1)
	return line
}

// reserve is small, because emulators are slow with large reservations.
const reserve = 16 << 20

// TestLeftOpen leaves an owner of every kind open.
func TestLeftOpen(t *testing.T) {
	for _, c := range []struct {
		name, regions string
		line          int
		open          func() io.Closer
	}{
		{"guard.Reserve", `"region"`, here(), func() io.Closer { return must(guard.Reserve(guard.Config{Size: 1})) }},
		{"arena.Open", `"arena"`, here(), func() io.Closer { return must(arena.Open(arena.Config{Reserve: reserve})) }},
		{"arena.OpenConcurrent", `"arena"`, here(), func() io.Closer { return must(arena.OpenConcurrent(arena.Config{Reserve: reserve})) }},
		{"arena.OpenPool", `"arena"`, here(), func() io.Closer { return must(arena.OpenPool(arena.Config{Reserve: reserve})) }},
		{"slab.Open", `"heap", "heap: metadata"`, here(), func() io.Closer { return must(slab.Open(slab.Config{Reserve: reserve})) }},
		{"slab.Open, hardened", `"heap", "heap: metadata"`, here(), func() io.Closer { return must(slab.Open(slab.Config{Reserve: reserve, Hardened: true})) }},
		{"slab.OpenPool", `"pool", "pool: metadata"`, here(), func() io.Closer { return must(slab.OpenPool[int](slab.Config{Reserve: reserve})) }},
		{"stack.OpenPool", `"stacks"`, here(), func() io.Closer { return must(stack.OpenPool(stack.Config{Max: 100})) }},
		{"native.LoadCode", `"code"`, here(), func() io.Closer { return must(native.LoadCode(make([]byte, 8))) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := native.LoadCode(nil); c.name == "native.LoadCode" && errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			var opened io.Closer
			got := leaksOf(t, func() { opened = c.open() })
			expectLeak(t, got, "guard: regions that this test opened are not closed: "+c.regions+"; opened at\n", c.line)
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
			if got := leaksOf(t, func() { opened = c.open(); opened.Close() }); len(got) != 0 {
				t.Errorf("what was closed is reported:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// TestLeftAllocated leaves objects of owners that were open before the test.
func TestLeftAllocated(t *testing.T) {
	closeLater := func(c io.Closer) {
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	type pair [2]int64
	heap, heapLine := must(slab.Open(slab.Config{Reserve: reserve})), here()
	closeLater(heap)
	hard, hardLine := must(slab.Open(slab.Config{Reserve: reserve, Name: "hard", Hardened: true})), here()
	closeLater(hard)
	pool, poolLine := must(slab.OpenPool[pair](slab.Config{Reserve: reserve})), here()
	closeLater(pool)
	stacks, stacksLine := must(stack.OpenPool(stack.Config{Max: 100})), here()
	closeLater(stacks)
	a, arenaLine := must(arena.Open(arena.Config{Reserve: reserve})), here()
	closeLater(a)
	shared, sharedLine := must(arena.OpenConcurrent(arena.Config{Reserve: reserve, Name: "shared"})), here()
	closeLater(shared)
	arenas, arenasLine := must(arena.OpenPool(arena.Config{Reserve: reserve, Name: "request"})), here()
	closeLater(arenas)

	local := heap.Local()
	object := func(h *slab.Heap, size int) (take, free func()) {
		var b []byte
		return func() { b = h.Alloc(size, 8) }, func() { h.Free(b) }
	}
	heapTake, heapFree := object(heap, 100)
	largeTake, largeFree := object(heap, 2<<20)
	hardTake, hardFree := object(hard, 100)
	var b []byte
	var x *pair
	var s *stack.Stack
	var frame stack.Frame
	var one, other *arena.Arena
	held := stacks.Get()
	defer stacks.Put(held)
	slot := int64(heap.Size(heap.Alloc(100, 8))) // with these, objects that were there before
	for _, c := range []struct {
		name, more string
		line       int
		take, free func()
	}{
		{"an object", fmt.Sprintf(`"heap" %%s: 2 objects, were 1; %d bytes, were %d`, 2*slot, slot), heapLine, heapTake, heapFree},
		{"an object of a Local", fmt.Sprintf(`"heap" %%s: 2 objects, were 1; %d bytes, were %d`, 2*slot, slot), heapLine,
			func() { b = local.Alloc(100, 8) }, func() { local.Free(b) }},
		{"a large object", fmt.Sprintf(`"heap" %%s: 2 objects, were 1; %d bytes, were %d`, slot+2<<20, slot), heapLine, largeTake, largeFree},
		{"an object of a hardened heap", `"hard" %s: 1 objects, were 0; 112 bytes, were 0`, hardLine, hardTake, hardFree},
		{"an object of a Pool", `"pool" %s: 1 objects, were 0; 16 bytes, were 0`, poolLine,
			func() { x = pool.Get() }, func() { pool.Put(x) }},
		{"a stack", `"stacks" %s: 2 objects, were 1; 0 bytes, were 0`, stacksLine,
			func() { s = stacks.Get() }, func() { stacks.Put(s) }},
		{"a frame", `"stacks" %s: 1 objects, were 1; 16 bytes, were 0`, stacksLine,
			func() { frame = held.Push(); stack.New[pair](held) }, func() { held.Pop(frame) }},
		{"what an arena holds", `"arena" %s: 0 objects, were 0; 16 bytes, were 0`, arenaLine,
			func() { arena.New[pair](a) }, a.Reset},
		{"what an arena for many holds", `"shared" %s: 0 objects, were 0; `, sharedLine,
			func() { arena.NewIn[pair](shared) }, shared.Reset},
		{"arenas of a pool", `"request" %s: 2 objects, were 0; 16 bytes, were 0`, arenasLine,
			func() { one, other = arenas.Get(), arenas.Get(); arena.New[pair](one) },
			func() { arenas.Put(one); arenas.Put(other) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := leaksOf(t, func() { c.take(); c.free() }); len(got) != 0 {
				t.Errorf("what was freed is reported:\n%s", strings.Join(got, "\n"))
			}
			got := leaksOf(t, c.take)
			expectLeak(t, got, "guard: "+fmt.Sprintf(c.more, "has more in use than when this test began"), c.line)
			if got := leaksOf(t, c.free); len(got) != 0 {
				t.Errorf("what is less than before is reported:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// TestLiveWhileLocksAreHeld reads the registry while memory is committed. Heaps and pools hold locks then.
func TestLiveWhileLocksAreHeld(t *testing.T) {
	heap := must(slab.Open(slab.Config{Reserve: reserve}))
	defer heap.Close()
	stacks := must(stack.OpenPool(stack.Config{Max: 100}))
	defer stacks.Close()
	asked := 0
	defer guard.SetBudget(guard.Budget{})
	for i, allocate := range []func(){
		func() { heap.Free(heap.Alloc(100, 8)) },
		func() { heap.Free(heap.Alloc(2<<20, 8)) },
		func() { stacks.Put(stacks.Get()) },
	} {
		if _, err := guard.SetBudget(guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) { guard.Usage(); asked++ }}); err != nil {
			t.Fatal(err)
		}
		before := asked
		allocate()
		if asked == before {
			t.Errorf("allocation %d: OnSoft was not called", i)
		}
	}
}
