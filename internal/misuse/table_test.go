package misuse

import (
	"math"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/table"
)

// ofTable expects a violation that a table notices, in an arena of this name.
func ofTable(op, what, name string) outcomes {
	return plainly("violation: table." + op + ": " + what + inParentheses(name))
}

const goneTable = "use after Reset or Rewind: the arena freed memory of the table"

// afterReset calls a map whose arena was reset.
func afterReset(do func(m *table.Map[int, int])) func(w *world) {
	return func(w *world) {
		a := w.arena("a")
		m := table.NewMap[int, int](a, 0)
		m.Put(1, 1)
		a.Reset()
		do(m)
	}
}

func afterResetStrings(do func(m *table.Strings[int])) func(w *world) {
	return func(w *world) {
		a := w.arena("a")
		m := table.NewStrings[int](a, 0)
		m.Put("1", 1)
		a.Reset()
		do(m)
	}
}

var tableMisuse = []misuse{
	{"Get after Reset", afterReset(func(m *table.Map[int, int]) { m.Get(1) }), ofTable("Map", goneTable, "a")},
	{"Lookup after Reset", afterReset(func(m *table.Map[int, int]) { m.Lookup(1) }), ofTable("Map", goneTable, "a")},
	{"Put after Reset", afterReset(func(m *table.Map[int, int]) { m.Put(1, 1) }), ofTable("Map", goneTable, "a")},
	{"Entry after Reset", afterReset(func(m *table.Map[int, int]) { m.Entry(1) }), ofTable("Map", goneTable, "a")},
	{"TryEntry after Reset", afterReset(func(m *table.Map[int, int]) { m.TryEntry(1) }), ofTable("Map", goneTable, "a")},
	{"Delete after Reset", afterReset(func(m *table.Map[int, int]) { m.Delete(1) }), ofTable("Map", goneTable, "a")},
	{"Len after Reset", afterReset(func(m *table.Map[int, int]) { m.Len() }), ofTable("Map", goneTable, "a")},
	{"All after Reset", afterReset(func(m *table.Map[int, int]) {
		for range m.All() {
		}
	}), ofTable("Map", goneTable, "a")},
	{"strings: Get after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Get("") }), ofTable("Strings", goneTable, "a")},
	{"strings: Lookup after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Lookup("") }), ofTable("Strings", goneTable, "a")},
	{"strings: Put after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Put("", 1) }), ofTable("Strings", goneTable, "a")},
	{"strings: Entry after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Entry("") }), ofTable("Strings", goneTable, "a")},
	{"strings: GetBytes after Reset", afterResetStrings(func(m *table.Strings[int]) { m.GetBytes(nil) }), ofTable("Strings", goneTable, "a")},
	{"strings: LookupBytes after Reset", afterResetStrings(func(m *table.Strings[int]) { m.LookupBytes(nil) }), ofTable("Strings", goneTable, "a")},
	{"strings: EntryBytes after Reset", afterResetStrings(func(m *table.Strings[int]) { m.EntryBytes(nil) }), ofTable("Strings", goneTable, "a")},
	{"strings: TryEntry after Reset", afterResetStrings(func(m *table.Strings[int]) { m.TryEntry("") }), ofTable("Strings", goneTable, "a")},
	{"strings: DeleteBytes after Reset", afterResetStrings(func(m *table.Strings[int]) { m.DeleteBytes(nil) }), ofTable("Strings", goneTable, "a")},
	{"strings: Delete after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Delete("") }), ofTable("Strings", goneTable, "a")},
	{"strings: Len after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Len() }), ofTable("Strings", goneTable, "a")},
	{"strings: All after Reset", afterResetStrings(func(m *table.Strings[int]) {
		for range m.All() {
		}
	}), ofTable("Strings", goneTable, "a")},
	{"Get after Rewind below", func(w *world) {
		a := w.arena("a")
		early := a.Mark()
		m := table.NewMap[int, int](a, 0)
		a.Rewind(early)
		m.Get(1)
	}, ofTable("Map", goneTable, "a")},
	{"strings: Get after Rewind below", func(w *world) {
		a := w.arena("a")
		early := a.Mark()
		m := table.NewStrings[int](a, 0)
		a.Rewind(early)
		m.Get("x")
	}, ofTable("Strings", goneTable, "a")},
	{"Get after Close", func(w *world) { a := w.arena("a"); m := table.NewMap[int, int](a, 0); w.must(a.Close()); m.Get(1) }, ofTable("Map", afterClose, "a")},
	{"Get after Put of the arena", func(w *world) {
		p := w.arenas()
		a := p.Get()
		m := table.NewMap[int, int](a, 0)
		p.Put(a)
		m.Get(1)
	}, ofTable("Map", afterPut, "pool")},
	{"zero Map", func(w *world) { new(table.Map[int, int]).Get(1) }, ofTable("Map", "use of a zero value: table.NewMap makes a Map", "")},
	{"zero Strings", func(w *world) { new(table.Strings[int]).Get("") }, ofTable("Strings", "use of a zero value: table.NewStrings makes a Strings", "")},
	{"Get after growth in a callback of Rewind", func(w *world) {
		a := w.arena("a")
		m := table.NewMap[int, int](a, 0)
		mark := a.Mark()
		a.OnReset(func() {
			for i := range 1000 {
				m.Put(i, i)
			}
		})
		a.Rewind(mark)
		m.Get(1)
	}, ofTable("Map", goneTable, "a")},
	{"NewMap after Close", func(w *world) { a, _ := w.closed(); table.NewMap[int, int](a, 0) }, ofTable("NewMap", afterClose, "shut")},
	{"TryNewMap after Close", func(w *world) { a, _ := w.closed(); table.TryNewMap[int, int](a, 0) }, ofTable("NewMap", afterClose, "shut")},
	{"TryNewStrings after Close", func(w *world) { a, _ := w.closed(); table.TryNewStrings[int](a, 0) }, ofTable("NewStrings", afterClose, "shut")},
	{"TryNewMap of too much", func(w *world) { _, err := table.TryNewMap[int, int](w.arena("a"), math.MaxInt); w.must(err) },
		plainly(`error: table: arena: "a": # bytes more than the # in use exceed its Reserve of #: no memory`)},
	{"strings as keys", func(w *world) { table.NewMap[string, int](w.arena("a"), 0) },
		plainly(pointers("table", "string", "it is a string"))},
	{"pointers as values", func(w *world) { table.NewMap[int, *int](w.arena("a"), 0) },
		plainly(pointers("table", "*int", "it is a pointer"))},
	{"strings: slices as values", func(w *world) { table.NewStrings[[]byte](w.arena("a"), 0) },
		plainly(pointers("table", "[]uint8", "it is a slice"))},
	{"negative hint", func(w *world) { table.NewMap[int, int](w.arena("a"), -1) }, plainly("panic: table: NewMap: the hint -1 is negative")},
	{"huge hint", func(w *world) { table.NewMap[int, int](w.arena("a"), math.MaxInt) }, plainly(`panic: table: arena: "a": # bytes more than the # in use exceed its Reserve of #: no memory`)},
	{"Rewind above", func(w *world) {
		a := w.arena("a")
		m := table.NewMap[int, int](a, 0)
		late := a.Mark()
		m.Put(1, 1)
		arena.New[[100]uint64](a)
		a.Rewind(late)
		v, ok := m.Get(1)
		w.holds(ok && v == 1, "the map has what it had")
	}, plainly(fine)},
	{"changes during All", func(w *world) {
		m := table.NewMap[int, int](w.arena("a"), 0)
		for i := range 1000 {
			m.Put(i, i)
		}
		for k := range m.All() {
			m.Delete(k)
			if k < 1000 {
				m.Put(k+1000, k)
			}
		}
	}, plainly(fine)},
}
