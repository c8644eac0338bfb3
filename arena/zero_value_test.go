package arena

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestOutsideCopies: go vet reports copies of types that would hand out the same memory twice. (A type with a mutex
// or an atomic is reported for that.)
func TestOutsideCopies(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to ask")
	}
	out, err := exec.Command("go", "vet", "-copylocks", "./testdata/copied").CombinedOutput()
	if err == nil {
		t.Errorf("go vet is silent")
	}
	for i, name := range []string{"Arena", "Concurrent", "Pool", "Writer"} {
		want := fmt.Sprintf(`assignment copies lock value to copied%d: \S*/arena\.%s\b`, i+1, name)
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("a copied %s is not reported:\n%s", name, out)
		}
	}
}

// TestOutsideZeroValues: the violation of using a zero or nil value names the function that makes one.
func TestOutsideZeroValues(t *testing.T) {
	nothingLeft(t)
	real, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	var x uint64
	arenas := func(a *Arena) map[string]func() {
		return map[string]func(){
			"TryNew": func() { TryNew[int](a) }, "MakeSlice": func() { MakeSlice[int](a, 1, 1) }, "Alloc": func() { a.Alloc(1, 1) },
			"String": func() { String(a, "x") }, "Clone": func() { Clone(a, []int{1}) }, "Append": func() { Append(a, nil, 1) },
			"Mark": func() { a.Mark() }, "Rewind": func() { a.Rewind(Mark{}) }, "Reset": func() { a.Reset() }, "Purge": func() { a.Purge() },
			"TryString": func() { TryString(a, "x") }, "TryClone": func() { TryClone(a, []int{1}) }, "TryAppend": func() { TryAppend(a, nil, 1) },
			"TryMakeSlice": func() { TryMakeSlice[int](a, 1, 1) }, "TryAlloc": func() { a.TryAlloc(1, 1) }, "NewWriter": func() { NewWriter(a) },
			"TryMakeSlice of no length": func() { TryMakeSlice[int](a, -1, 0) }, "TryAlloc of no alignment": func() { a.TryAlloc(1, 3) },
			"OnReset": func() { a.OnReset(func() {}) }, "Close": func() { a.Close() }, "Slice": func() { Ref[int]{first}.Slice(a, 1) },
		}
	}
	concurrents := func(k *Concurrent) map[string]func() {
		return map[string]func(){
			"NewIn": func() { NewIn[int](k) }, "NewIn of nothing": func() { NewIn[struct{}](k) }, "TryNewIn": func() { TryNewIn[int](k) },
			"MakeSliceIn": func() { MakeSliceIn[int](k, 1, 1) }, "Alloc": func() { k.Alloc(1, 1) }, "StringIn": func() { StringIn(k, "x") },
			"TryMakeSliceIn": func() { TryMakeSliceIn[int](k, 1, 1) }, "TryMakeSliceIn of no length": func() { TryMakeSliceIn[int](k, -1, 0) },
			"TryAlloc of no alignment": func() { k.TryAlloc(1, 3) }, "Alloc of no size": func() { k.Alloc(-1, 8) },
			"TryStringIn": func() { TryStringIn(k, "x") }, "CloneIn": func() { CloneIn(k, []int{1}) }, "CloneIn of nil": func() { CloneIn[int](k, nil) },
			"TryCloneIn": func() { TryCloneIn(k, []int{1}) }, "AppendIn": func() { AppendIn(k, nil, 1) }, "TryAppendIn": func() { TryAppendIn(k, nil, 1) },
			"SliceIn":             func() { Ref[int]{first}.SliceIn(k, 1) },
			"StringIn of nothing": func() { StringIn(k, "") }, "DerefIn": func() { Ref[int]{first}.DerefIn(k) },
			"Reset": func() { k.Reset() }, "Purge": func() { k.Purge() }, "Close": func() { k.Close() },
		}
	}
	pools := func(p *Pool) map[string]func() {
		return map[string]func(){
			"Get": func() { p.Get() }, "TryGet": func() { p.TryGet() }, "Put": func() { p.Put(real) }, "Purge": func() { p.Purge() }, "Close": func() { p.Close() },
		}
	}
	writers := func(w *Writer) map[string]func() {
		return map[string]func(){
			"Write": func() { w.Write(nil) }, "WriteString": func() { w.WriteString("") }, "WriteByte": func() { w.WriteByte(0) },
			"Bytes": func() { w.Bytes() }, "String": func() { _ = w.String() }, "Reset": func() { w.Reset() },
		}
	}
	check := func(typ, maker string, zero, null map[string]func()) {
		for what, calls := range map[string]map[string]func(){"zero ": zero, "nil ": null} {
			for name, call := range calls {
				var v *guard.Violation
				want := "arena." + maker + " makes a"
				if err := panicOf(call); !errors.As(err, &v) || v.Kind != guard.ZeroValue || !strings.HasPrefix(v.Detail, want) || !strings.HasSuffix(v.Detail, " "+typ) || !strings.HasPrefix(v.Op, "arena.") {
					t.Errorf("%s of a %s%s: %v, want %s", name, what, typ, err, want)
				}
			}
		}
	}
	check("Arena", "Open", arenas(new(Arena)), arenas(nil))
	check("Concurrent", "OpenConcurrent", concurrents(new(Concurrent)), concurrents(nil))
	check("Pool", "OpenPool", pools(new(Pool)), pools(nil))
	check("Writer", "NewWriter", writers(new(Writer)), writers(nil))
	// These are inlined, and nil is Go's own panic.
	check("Arena", "Open", map[string]func(){
		"New": func() { New[int](new(Arena)) }, "Deref": func() { Ref[int]{first}.Deref(new(Arena)) }, "RefOf": func() { RefOf(new(Arena), &x) },
	}, nil)
	check("Concurrent", "OpenConcurrent", map[string]func(){"RefIn": func() { RefIn(new(Concurrent), &x) }}, nil)

	p := pooled(t, Config{})
	p.Put(nil)
	check("Arena", "Open", map[string]func(){"Put": func() { p.Put(new(Arena)) }}, nil)
	if s := p.Stats(); s != (PoolStats{Open: 1, Idle: 1}) {
		t.Errorf("after Put(nil): %+v", s)
	}
	if new(Arena).Stats() != (Stats{}) || (*Arena)(nil).Stats() != (Stats{}) ||
		new(Concurrent).Stats() != (Stats{}) || (*Concurrent)(nil).Stats() != (Stats{}) ||
		new(Pool).Stats() != (PoolStats{}) || (*Pool)(nil).Stats() != (PoolStats{}) {
		t.Error("Stats of what was not opened should be zero")
	}
}
