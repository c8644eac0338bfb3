package misuse

import (
	"fmt"
	"math"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/table"
)

// ofTable expects a violation that a table notices, in an arena of this name.
func ofTable(op, what, name string) outcomes {
	return plainly("violation: table." + op + ": " + what + inParentheses(name))
}

const (
	goneTable   = "use after Reset or Rewind: the arena freed memory of the table"
	zeroMap     = "use of a zero value: table.NewMap makes a Map"
	zeroStrings = "use of a zero value: table.NewStrings makes a Strings"
)

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
	{"zero Map", func(w *world) { new(table.Map[int, int]).Get(1) }, ofTable("Map", zeroMap, "")},
	{"zero Strings", func(w *world) { new(table.Strings[int]).Get("") }, ofTable("Strings", zeroStrings, "")},
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
	{"TryPut after Reset", afterReset(func(m *table.Map[int, int]) { m.TryPut(1, 1) }), ofTable("Map", goneTable, "a")},
	{"Add after Reset", afterReset(func(m *table.Map[int, int]) { m.Add(1, 1) }), ofTable("Map", goneTable, "a")},
	{"TryAdd after Reset", afterReset(func(m *table.Map[int, int]) { m.TryAdd(1, 1) }), ofTable("Map", goneTable, "a")},
	{"Clear after Reset", afterReset(func(m *table.Map[int, int]) { m.Clear() }), ofTable("Map", goneTable, "a")},
	{"Shrink after Reset", afterReset(func(m *table.Map[int, int]) { m.Shrink() }), ofTable("Map", goneTable, "a")},
	{"Keys after Reset", afterReset(func(m *table.Map[int, int]) {
		for range m.Keys() {
		}
	}), ofTable("Map", goneTable, "a")},
	{"Values after Reset", afterReset(func(m *table.Map[int, int]) {
		for range m.Values() {
		}
	}), ofTable("Map", goneTable, "a")},
	{"Scan after Reset", afterReset(func(m *table.Map[int, int]) {
		var c table.Cursor
		for range m.Scan(&c, 1) {
		}
	}), ofTable("Map", goneTable, "a")},
	{"Sample after Reset", afterReset(func(m *table.Map[int, int]) {
		for range m.Sample(1) {
		}
	}), ofTable("Map", goneTable, "a")},
	{"HashOf after Reset", afterReset(func(m *table.Map[int, int]) { m.HashOf(1) }), ofTable("Map", goneTable, "a")},
	{"GetHashed after Reset", afterReset(func(m *table.Map[int, int]) { m.GetHashed(1, 1) }), ofTable("Map", goneTable, "a")},
	{"GetBatch after Reset", afterReset(func(m *table.Map[int, int]) { m.GetBatch([]int{1}, make([]int, 1), nil) }), ofTable("Map", goneTable, "a")},
	{"Ref after Reset", afterReset(func(m *table.Map[int, int]) { m.Ref() }), ofTable("Map", goneTable, "a")},
	{"strings: TryPut after Reset", afterResetStrings(func(m *table.Strings[int]) { m.TryPut("", 1) }), ofTable("Strings", goneTable, "a")},
	{"strings: PutBytes after Reset", afterResetStrings(func(m *table.Strings[int]) { m.PutBytes(nil, 1) }), ofTable("Strings", goneTable, "a")},
	{"strings: TryPutBytes after Reset", afterResetStrings(func(m *table.Strings[int]) { m.TryPutBytes(nil, 1) }), ofTable("Strings", goneTable, "a")},
	{"strings: Add after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Add("", 1) }), ofTable("Strings", goneTable, "a")},
	{"strings: TryAdd after Reset", afterResetStrings(func(m *table.Strings[int]) { m.TryAdd("", 1) }), ofTable("Strings", goneTable, "a")},
	{"strings: AddBytes after Reset", afterResetStrings(func(m *table.Strings[int]) { m.AddBytes(nil, 1) }), ofTable("Strings", goneTable, "a")},
	{"strings: TryEntryBytes after Reset", afterResetStrings(func(m *table.Strings[int]) { m.TryEntryBytes(nil) }), ofTable("Strings", goneTable, "a")},
	{"strings: Clear after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Clear() }), ofTable("Strings", goneTable, "a")},
	{"strings: Shrink after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Shrink() }), ofTable("Strings", goneTable, "a")},
	{"strings: Keys after Reset", afterResetStrings(func(m *table.Strings[int]) {
		for range m.Keys() {
		}
	}), ofTable("Strings", goneTable, "a")},
	{"strings: Values after Reset", afterResetStrings(func(m *table.Strings[int]) {
		for range m.Values() {
		}
	}), ofTable("Strings", goneTable, "a")},
	{"strings: Scan after Reset", afterResetStrings(func(m *table.Strings[int]) {
		var c table.Cursor
		for range m.Scan(&c, 1) {
		}
	}), ofTable("Strings", goneTable, "a")},
	{"strings: Sample after Reset", afterResetStrings(func(m *table.Strings[int]) {
		for range m.Sample(1) {
		}
	}), ofTable("Strings", goneTable, "a")},
	{"strings: Ref after Reset", afterResetStrings(func(m *table.Strings[int]) { m.Ref() }), ofTable("Strings", goneTable, "a")},
	{"TryPut of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.TryPut(1, 1)
	}, ofTable("Map", zeroMap, "")},
	{"Add of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.Add(1, 1)
	}, ofTable("Map", zeroMap, "")},
	{"TryAdd of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.TryAdd(1, 1)
	}, ofTable("Map", zeroMap, "")},
	{"Clear of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.Clear()
	}, ofTable("Map", zeroMap, "")},
	{"Shrink of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.Shrink()
	}, ofTable("Map", zeroMap, "")},
	{"Keys of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		for range m.Keys() {
		}
	}, ofTable("Map", zeroMap, "")},
	{"Values of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		for range m.Values() {
		}
	}, ofTable("Map", zeroMap, "")},
	{"Scan of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		var c table.Cursor
		for range m.Scan(&c, 1) {
		}
	}, ofTable("Map", zeroMap, "")},
	{"Sample of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		for range m.Sample(1) {
		}
	}, ofTable("Map", zeroMap, "")},
	{"HashOf of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.HashOf(1)
	}, ofTable("Map", zeroMap, "")},
	{"GetHashed of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.GetHashed(1, 1)
	}, ofTable("Map", zeroMap, "")},
	{"GetBatch of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.GetBatch([]int{1}, make([]int, 1), nil)
	}, ofTable("Map", zeroMap, "")},
	{"Ref of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.Ref()
	}, ofTable("Map", zeroMap, "")},
	{"Put of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.Put(1, 1)
	}, ofTable("Map", zeroMap, "")},
	{"Entry of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.Entry(1)
	}, ofTable("Map", zeroMap, "")},
	{"Delete of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		m.Delete(1)
	}, ofTable("Map", zeroMap, "")},
	{"All of a zero Map", func(w *world) {
		m := new(table.Map[int, int])
		for range m.All() {
		}
	}, ofTable("Map", zeroMap, "")},
	{"TryPut of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.TryPut("", 1)
	}, ofTable("Strings", zeroStrings, "")},
	{"PutBytes of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.PutBytes(nil, 1)
	}, ofTable("Strings", zeroStrings, "")},
	{"TryPutBytes of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.TryPutBytes(nil, 1)
	}, ofTable("Strings", zeroStrings, "")},
	{"Add of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.Add("", 1)
	}, ofTable("Strings", zeroStrings, "")},
	{"TryAdd of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.TryAdd("", 1)
	}, ofTable("Strings", zeroStrings, "")},
	{"AddBytes of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.AddBytes(nil, 1)
	}, ofTable("Strings", zeroStrings, "")},
	{"TryEntryBytes of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.TryEntryBytes(nil)
	}, ofTable("Strings", zeroStrings, "")},
	{"Clear of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.Clear()
	}, ofTable("Strings", zeroStrings, "")},
	{"Shrink of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.Shrink()
	}, ofTable("Strings", zeroStrings, "")},
	{"Keys of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		for range m.Keys() {
		}
	}, ofTable("Strings", zeroStrings, "")},
	{"Values of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		for range m.Values() {
		}
	}, ofTable("Strings", zeroStrings, "")},
	{"Scan of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		var c table.Cursor
		for range m.Scan(&c, 1) {
		}
	}, ofTable("Strings", zeroStrings, "")},
	{"Sample of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		for range m.Sample(1) {
		}
	}, ofTable("Strings", zeroStrings, "")},
	{"Ref of a zero Strings", func(w *world) {
		m := new(table.Strings[int])
		m.Ref()
	}, ofTable("Strings", zeroStrings, "")},
	{"Attach after Reset", func(w *world) {
		a := w.arena("a")
		ref := table.NewMap[int, int](a, 0).Ref()
		a.Reset()
		_, err := table.Attach[int, int](a, ref)
		w.must(err)
	}, plainly(`violation: arena.Deref: invalid pointer: reference to memory that is not handed out ("a", offset #)`)},
	{"Attach to memory that was used again", func(w *world) {
		a := w.arena("a")
		ref := table.NewMap[int, int](a, 0).Ref()
		a.Reset()
		b := arena.New[[1000]uint64](a)
		for i := range b {
			b[i] = uint64(i)
		}
		_, err := table.Attach[int, int](a, ref)
		w.must(err)
	}, plainly("error: table: Attach: the Ref does not name a table")},
	{"Attach with the Ref of another arena", func(w *world) {
		other := w.arena("other")
		arena.New[[100]uint64](other)
		ref := table.NewMap[int, int](other, 0).Ref()
		a := w.arena("a")
		arena.New[[1000]uint64](a)
		_, err := table.Attach[int, int](a, ref)
		w.must(err)
	}, plainly("error: table: Attach: the Ref does not name a table")},
	{"Attach with the zero Ref", func(w *world) {
		_, err := table.Attach[int, int](w.arena("a"), table.Ref{})
		w.must(err)
	}, plainly("error: table: Attach: the Ref is nil")},
	{"AttachStrings with the zero Ref", func(w *world) {
		_, err := table.AttachStrings[int](w.arena("a"), table.Ref{})
		w.must(err)
	}, plainly("error: table: AttachStrings: the Ref is nil")},
	{"Attach with another value", func(w *world) {
		type price struct{ Cents int64 }
		type changed struct{ Cents float64 }
		a := w.arena("a")
		_, err := table.Attach[int64, changed](a, table.NewMap[int64, price](a, 0).Ref())
		w.must(err)
	}, plainly("error: table: Attach: the table has another layout: field value.Cents was stored as an int64 at byte #, and is a float64 at byte # in this program")},
	{"Attach with another key", func(w *world) {
		a := w.arena("a")
		_, err := table.Attach[uint64, int64](a, table.NewMap[int64, int64](a, 0).Ref())
		w.must(err)
	}, plainly("error: table: Attach: the table has another layout: field key was stored as an int64 at byte #, and is a uint64 at byte # in this program")},
	{"Attach to a Strings", func(w *world) {
		a := w.arena("a")
		_, err := table.Attach[int, int](a, table.NewStrings[int](a, 0).Ref())
		w.must(err)
	}, plainly("error: table: Attach: the Ref does not name a Map: the table has another layout")},
	{"AttachStrings to a Map", func(w *world) {
		a := w.arena("a")
		_, err := table.AttachStrings[int](a, table.NewMap[int, int](a, 0).Ref())
		w.must(err)
	}, plainly("error: table: AttachStrings: the Ref does not name a Strings: the table has another layout")},
	{"Get of an attached Map after Reset", func(w *world) {
		a := w.arena("a")
		m, err := table.Attach[int, int](a, table.NewMap[int, int](a, 0).Ref())
		w.must(err)
		a.Reset()
		m.Get(1)
	}, ofTable("Map", goneTable, "a")},
	{"Attach after Close", func(w *world) { a, _ := w.closed(); table.Attach[int, int](a, table.Ref{}) }, ofTable("Attach", afterClose, "shut")},
	{"GetBatch with too few values", func(w *world) {
		table.NewMap[int, int](w.arena("a"), 0).GetBatch(make([]int, 3), make([]int, 2), nil)
	}, plainly("panic: runtime error: index out of range [2] with length 2")},
	{"GetBatch with too short a found", func(w *world) {
		table.NewMap[int, int](w.arena("a"), 0).GetBatch(make([]int, 3), make([]int, 3), make([]bool, 2))
	}, plainly("panic: runtime error: index out of range [2] with length 2")},
	{"changes during Scan", func(w *world) {
		m := table.NewStrings[int](w.arena("a"), 0)
		for i := range 1000 {
			m.Put(fmt.Sprint(i), i)
		}
		var c table.Cursor
		for range 1000 {
			for k, v := range m.Scan(&c, 10) {
				m.Delete(k)
				m.Put(fmt.Sprint(v+1000), v+1000)
			}
		}
		w.holds(m.Len() == 1000, "as many entries as before")
	}, plainly(fine)},
	{"a key of All after its deletion", func(w *world) {
		m := table.NewStrings[int](w.arena("a"), 0)
		m.Put("one", 1)
		m.Put("two", 2)
		for k := range m.All() {
			m.Delete(k)
			m.Put("six", 6)
			if k != "one" && k != "two" && k != "six" {
				panic("the key has other bytes: they are used again")
			}
			break
		}
	}, plainly(notCaught)},
	{"NewMap after Close", func(w *world) { a, _ := w.closed(); table.NewMap[int, int](a, 0) }, ofTable("NewMap", afterClose, "shut")},
	{"TryNewMap after Close", func(w *world) { a, _ := w.closed(); table.TryNewMap[int, int](a, 0) }, ofTable("NewMap", afterClose, "shut")},
	{"TryNewStrings after Close", func(w *world) { a, _ := w.closed(); table.TryNewStrings[int](a, 0) }, ofTable("NewStrings", afterClose, "shut")},
	{"TryNewMap of too much", func(w *world) { _, err := table.TryNewMap[int, int](w.arena("a"), math.MaxInt); w.must(err) },
		plainly(`error: table: "a": a table for # entries is not possible: no memory`)},
	{"strings as keys", func(w *world) { table.NewMap[string, int](w.arena("a"), 0) },
		plainly(pointers("table", "string", "it is a string"))},
	{"pointers as values", func(w *world) { table.NewMap[int, *int](w.arena("a"), 0) },
		plainly(pointers("table", "*int", "it is a pointer"))},
	{"strings: slices as values", func(w *world) { table.NewStrings[[]byte](w.arena("a"), 0) },
		plainly(pointers("table", "[]uint8", "it is a slice"))},
	{"negative hint", func(w *world) { table.NewMap[int, int](w.arena("a"), -1) }, plainly("panic: table: NewMap: the hint -1 is negative")},
	{"huge hint", func(w *world) { table.NewMap[int, int](w.arena("a"), math.MaxInt) }, plainly(`panic: table: "a": a table for # entries is not possible: no memory`)},
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
