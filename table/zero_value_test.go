package table

import (
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// TestOutsideCopies: go vet reports copies of tables. A copy would stay valid when the arena frees its
// memory.
func TestOutsideCopies(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to ask")
	}
	out, err := exec.Command("go", "vet", "-copylocks", "./testdata/copied").CombinedOutput()
	if err == nil {
		t.Errorf("go vet is silent")
	}
	for _, name := range []string{"Map", "Strings", "Concurrent"} {
		if !regexp.MustCompile(`assignment copies lock value to copied` + name + `: \S*/table\.` + name + `\b`).Match(out) {
			t.Errorf("a copied %s is not reported:\n%s", name, out)
		}
	}
}

// TestOutsideZeroValues: the violation of using a zero or nil table names the function that makes one.
func TestOutsideZeroValues(t *testing.T) {
	maps := func(m *Map[int, int]) map[string]func() {
		return map[string]func(){
			"Len": func() { m.Len() }, "Get": func() { m.Get(1) }, "Lookup": func() { m.Lookup(1) }, "Put": func() { m.Put(1, 1) },
			"TryPut": func() { m.TryPut(1, 1) }, "Entry": func() { m.Entry(1) }, "TryEntry": func() { m.TryEntry(1) }, "Delete": func() { m.Delete(1) },
			"All": func() { m.All()(func(int, int) bool { return true }) },
		}
	}
	stringMaps := func(m *Strings[int]) map[string]func() {
		return map[string]func(){
			"Len": func() { m.Len() }, "Get": func() { m.Get("") }, "Lookup": func() { m.Lookup("") }, "Put": func() { m.Put("", 1) },
			"TryPut": func() { m.TryPut("", 1) }, "Entry": func() { m.Entry("") }, "TryEntry": func() { m.TryEntry("") }, "Delete": func() { m.Delete("") },
			"GetBytes": func() { m.GetBytes(nil) }, "LookupBytes": func() { m.LookupBytes(nil) }, "EntryBytes": func() { m.EntryBytes(nil) },
			"TryEntryBytes": func() { m.TryEntryBytes(nil) }, "DeleteBytes": func() { m.DeleteBytes(nil) },
			"All": func() { m.All()(func(string, int) bool { return true }) },
		}
	}
	check := func(typ string, zero, null map[string]func()) {
		for what, calls := range map[string]map[string]func(){"zero ": zero, "nil ": null} {
			for name, call := range calls {
				var v *guard.Violation
				want := "table.New" + typ + " makes a " + typ
				if err := panicOf(call); !errors.As(err, &v) || v.Kind != guard.ZeroValue || v.Detail != want || v.Op != "table."+typ+"."+name {
					t.Errorf("%s of a %s%s: %v, want %s", name, what, typ, err, want)
				}
			}
		}
	}
	null := maps(nil)
	delete(null, "Get") // Go's own panic: it is inlined
	delete(null, "Lookup")
	check("Map", maps(new(Map[int, int])), null)
	check("Strings", stringMaps(new(Strings[int])), stringMaps(nil))
	for _, a := range []*arena.Arena{new(arena.Arena), nil} {
		for name, call := range map[string]func(){
			"NewMap": func() { NewMap[int, int](a, 0) }, "NewStrings": func() { NewStrings[int](a, 0) },
			"TryNewMap": func() { TryNewMap[int, int](a, 0) }, "TryNewStrings": func() { TryNewStrings[int](a, 0) },
		} {
			var v *guard.Violation
			if err := panicOf(call); !errors.As(err, &v) || v.Kind != guard.ZeroValue || v.Detail != "arena.Open makes an Arena" || v.Op != "table."+strings.TrimPrefix(name, "Try") {
				t.Errorf("%s in a zero Arena: %v", name, err)
			}
		}
	}
}
