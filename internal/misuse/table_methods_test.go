package misuse

import (
	"reflect"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/table"
)

type (
	intMap        = table.Map[int, int]
	intStrings    = table.Strings[int]
	intConcurrent = table.Concurrent[int, int]
)

// method is a call of a table's method.
type method[T any] struct {
	name string
	do   func(m *T)
}

var mapMethods = []method[intMap]{
	{"Get", func(m *intMap) { m.Get(1) }},
	{"GetHashed", func(m *intMap) { m.GetHashed(1, 1) }},
	{"GetBatch", func(m *intMap) { m.GetBatch([]int{1}, make([]int, 1), nil) }},
	{"Lookup", func(m *intMap) { m.Lookup(1) }},
	{"HashOf", func(m *intMap) { m.HashOf(1) }},
	{"Len", func(m *intMap) { m.Len() }},
	{"Ref", func(m *intMap) { m.Ref() }},
	{"Put", func(m *intMap) { m.Put(1, 1) }},
	{"TryPut", func(m *intMap) { m.TryPut(1, 1) }},
	{"Add", func(m *intMap) { m.Add(1, 1) }},
	{"TryAdd", func(m *intMap) { m.TryAdd(1, 1) }},
	{"Entry", func(m *intMap) { m.Entry(1) }},
	{"TryEntry", func(m *intMap) { m.TryEntry(1) }},
	{"Delete", func(m *intMap) { m.Delete(1) }},
	{"Clear", func(m *intMap) { m.Clear() }},
	{"Shrink", func(m *intMap) { m.Shrink() }},
	{"All", func(m *intMap) { m.All()(func(int, int) bool { return true }) }},
	{"Keys", func(m *intMap) { m.Keys()(func(int) bool { return true }) }},
	{"Values", func(m *intMap) { m.Values()(func(int) bool { return true }) }},
	{"Scan", func(m *intMap) { m.Scan(new(table.Cursor), 1)(func(int, int) bool { return true }) }},
	{"Sample", func(m *intMap) { m.Sample(1)(func(int, int) bool { return true }) }},
}

var stringsMethods = []method[intStrings]{
	{"Get", func(m *intStrings) { m.Get("") }},
	{"GetBytes", func(m *intStrings) { m.GetBytes(nil) }},
	{"Lookup", func(m *intStrings) { m.Lookup("") }},
	{"LookupBytes", func(m *intStrings) { m.LookupBytes(nil) }},
	{"HashOf", func(m *intStrings) { m.HashOf("") }},
	{"HashOfBytes", func(m *intStrings) { m.HashOfBytes(nil) }},
	{"GetHashed", func(m *intStrings) { m.GetHashed(1, "") }},
	{"GetHashedBytes", func(m *intStrings) { m.GetHashedBytes(1, nil) }},
	{"Len", func(m *intStrings) { m.Len() }},
	{"Ref", func(m *intStrings) { m.Ref() }},
	{"Put", func(m *intStrings) { m.Put("", 1) }},
	{"PutBytes", func(m *intStrings) { m.PutBytes(nil, 1) }},
	{"TryPut", func(m *intStrings) { m.TryPut("", 1) }},
	{"TryPutBytes", func(m *intStrings) { m.TryPutBytes(nil, 1) }},
	{"Add", func(m *intStrings) { m.Add("", 1) }},
	{"AddBytes", func(m *intStrings) { m.AddBytes(nil, 1) }},
	{"TryAdd", func(m *intStrings) { m.TryAdd("", 1) }},
	{"TryAddBytes", func(m *intStrings) { m.TryAddBytes(nil, 1) }},
	{"Entry", func(m *intStrings) { m.Entry("") }},
	{"EntryBytes", func(m *intStrings) { m.EntryBytes(nil) }},
	{"TryEntry", func(m *intStrings) { m.TryEntry("") }},
	{"TryEntryBytes", func(m *intStrings) { m.TryEntryBytes(nil) }},
	{"Delete", func(m *intStrings) { m.Delete("") }},
	{"DeleteBytes", func(m *intStrings) { m.DeleteBytes(nil) }},
	{"Clear", func(m *intStrings) { m.Clear() }},
	{"Shrink", func(m *intStrings) { m.Shrink() }},
	{"All", func(m *intStrings) { m.All()(func(string, int) bool { return true }) }},
	{"Keys", func(m *intStrings) { m.Keys()(func(string) bool { return true }) }},
	{"Values", func(m *intStrings) { m.Values()(func(int) bool { return true }) }},
	{"Scan", func(m *intStrings) { m.Scan(new(table.Cursor), 1)(func(string, int) bool { return true }) }},
	{"Sample", func(m *intStrings) { m.Sample(1)(func(string, int) bool { return true }) }},
}

var concurrentMethods = []method[intConcurrent]{
	{"Get", func(m *intConcurrent) { m.Get(1) }},
	{"GetHashed", func(m *intConcurrent) { m.GetHashed(1, 1) }},
	{"GetBatch", func(m *intConcurrent) { m.GetBatch([]int{1}, make([]int, 1), nil) }},
	{"HashOf", func(m *intConcurrent) { m.HashOf(1) }},
	{"Len", func(m *intConcurrent) { m.Len() }},
	{"Put", func(m *intConcurrent) { m.Put(1, 1) }},
	{"TryPut", func(m *intConcurrent) { m.TryPut(1, 1) }},
	{"Add", func(m *intConcurrent) { m.Add(1, 1) }},
	{"TryAdd", func(m *intConcurrent) { m.TryAdd(1, 1) }},
	{"Update", func(m *intConcurrent) { m.Update(1, increment) }},
	{"TryUpdate", func(m *intConcurrent) { m.TryUpdate(1, increment) }},
	{"Delete", func(m *intConcurrent) { m.Delete(1) }},
	{"Clear", func(m *intConcurrent) { m.Clear() }},
	{"Shrink", func(m *intConcurrent) { m.Shrink() }},
	{"All", func(m *intConcurrent) { m.All()(func(int, int) bool { return true }) }},
	{"Keys", func(m *intConcurrent) { m.Keys()(func(int) bool { return true }) }},
	{"Values", func(m *intConcurrent) { m.Values()(func(int) bool { return true }) }},
	{"Scan", func(m *intConcurrent) { m.Scan(new(table.Cursor), 1)(func(int, int) bool { return true }) }},
	{"Sample", func(m *intConcurrent) { m.Sample(1)(func(int, int) bool { return true }) }},
}

func increment(old int, _ bool) (int, bool) { return old + 1, true }

// TestMisuseTableMethods: the lists have all methods, so each of them has its cases.
func TestMisuseTableMethods(t *testing.T) {
	hasAllMethods(t, mapMethods)
	hasAllMethods(t, stringsMethods)
	hasAllMethods(t, concurrentMethods)
}

func hasAllMethods[T any](t *testing.T, methods []method[T]) {
	listed := map[string]bool{}
	for _, m := range methods {
		listed[m.name] = true
	}
	typ := reflect.TypeFor[*T]()
	for i := range typ.NumMethod() {
		if name := typ.Method(i).Name; !listed[name] {
			t.Errorf("%v.%s is in no case", typ, name)
		}
	}
}

// unusable returns cases of each method: of a table whose memory the arena has freed, of a zero and of a nil one. open makes a table
// with an entry.
func unusable[T any](prefix, typ string, methods []method[T], open func(a *arena.Arena) *T, gone, closed string, goPanics ...string) (all []misuse) {
	for _, m := range methods {
		zero := ofTable(typ+"."+m.name, "use of a zero value: table.New"+typ+" makes a "+typ, "")
		null := zero
		for _, name := range goPanics {
			if m.name == name {
				null = plainly("panic: runtime error: invalid memory address or nil pointer dereference")
			}
		}
		after := func(what string, end func(w *world, a *arena.Arena, early arena.Mark), want string) misuse {
			return misuse{prefix + m.name + " after " + what, func(w *world) {
				a := w.arena("a")
				early := a.Mark()
				t := open(a)
				end(w, a, early)
				m.do(t)
			}, ofTable(typ+"."+m.name, want, "a")}
		}
		all = append(all,
			after("Reset", func(_ *world, a *arena.Arena, _ arena.Mark) { a.Reset() }, gone),
			after("Rewind below", func(_ *world, a *arena.Arena, early arena.Mark) { a.Rewind(early) }, gone),
			after("Close", func(w *world, a *arena.Arena, _ arena.Mark) { w.must(a.Close()) }, closed),
			misuse{prefix + m.name + " of a zero " + typ, func(*world) { m.do(new(T)) }, zero},
			misuse{prefix + m.name + " of a nil " + typ, func(*world) { m.do(nil) }, null})
	}
	return all
}
