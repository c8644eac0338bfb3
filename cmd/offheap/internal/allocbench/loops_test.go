package allocbench

import (
	"bytes"
	"flag"
	"go/format"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write loops_others.go")

// TestLoops makes the loops for other allocators out of those for a *slab.Heap, and compares them with
// loops_others.go. To write the file: go test -run TestLoops -update.
func TestLoops(t *testing.T) {
	source, err := os.ReadFile("loops_heap.go")
	if err != nil {
		t.Fatal(err)
	}
	const first = "// heapLoops are"
	head, body, found := strings.Cut(string(source), first)
	if !found {
		t.Fatalf("loops_heap.go has no %q", first)
	}
	made := "// Code generated from loops_heap.go by TestLoops. DO NOT EDIT.\n\n" + head
	for _, to := range [][]string{
		{"heapLoops", "localLoops", "*slab.Heap", "*slab.Local"},
		{"heapLoops", "zeroedLoops", "a *slab.Heap", "a *slab.Heap whose memory is zeroed", "AllocDirty", "Alloc"},
		{"heapLoops", "zeroedLocalLoops", "a *slab.Heap", "a *slab.Local whose memory is zeroed", "*slab.Heap", "*slab.Local", "AllocDirty", "Alloc"},
		{"heapLoops", "sourceLoops", "a *slab.Heap", "any allocator", "*slab.Heap", "allocators.Source", "keep(", "keepTraced("},
	} {
		made += strings.NewReplacer(to...).Replace(first + body)
	}
	want, err := format.Source([]byte(made))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		err = os.WriteFile("loops_others.go", want, 0o644)
	}
	got, err2 := os.ReadFile("loops_others.go")
	if err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Fatalf("loops_others.go is not what loops_heap.go makes: run go test -run TestLoops -update: %v, %v", err, err2)
	}
}
