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

const goneTable = "use after Reset or Rewind: the arena freed memory of the table"

func withEntry(a *arena.Arena) *intMap {
	m := table.NewMap[int, int](a, 0)
	m.Put(1, 1)
	return m
}

func withStrings(a *arena.Arena) *intStrings {
	m := table.NewStrings[int](a, 0)
	m.Put("1", 1)
	return m
}

func tableMisuse() []misuse {
	all := unusable("", "Map", mapMethods, withEntry, goneTable, afterClose, "Get", "Lookup")
	all = append(all, unusable("strings: ", "Strings", stringsMethods, withStrings, goneTable, afterClose)...)
	return append(all, moreTableMisuse...)
}

var moreTableMisuse = []misuse{
	{"Get after Put of the arena", func(w *world) {
		p := w.arenas()
		a := p.Get()
		m := table.NewMap[int, int](a, 0)
		p.Put(a)
		m.Get(1)
	}, ofTable("Map.Get", afterPut, "pool")},
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
	}, ofTable("Map.Get", goneTable, "a")},
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
	}, ofTable("Map.Get", goneTable, "a")},
	{"Attach after Close", func(w *world) { a, _ := w.closed(); table.Attach[int, int](a, table.Ref{}) }, ofTable("Attach", afterClose, "shut")},
	{"GetBatch with too few values", func(w *world) {
		table.NewMap[int, int](w.arena("a"), 0).GetBatch(make([]int, 3), make([]int, 2, 10), nil)
	}, plainly("panic: runtime error: index out of range [2] with length 2")},
	{"GetBatch with too short a found", func(w *world) {
		table.NewMap[int, int](w.arena("a"), 0).GetBatch(make([]int, 3), make([]int, 3), make([]bool, 2, 10))
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
	{"strings: changes during All", func(w *world) {
		m := table.NewStrings[int](w.arena("a"), 0)
		for i := range 1000 {
			m.Put(fmt.Sprint(i), i)
		}
		for k, v := range m.All() {
			m.Delete(k)
			if v < 1000 {
				m.Put(fmt.Sprint(v+1000), v+1000)
			}
		}
	}, plainly(fine)},
	{"map: changes during Scan", func(w *world) {
		m := table.NewMap[int, int](w.arena("a"), 0)
		for i := range 1000 {
			m.Put(i, i)
		}
		var c table.Cursor
		for range 1000 {
			for k := range m.Scan(&c, 10) {
				m.Delete(k)
				m.Put(k+1000, k)
				m.Shrink()
			}
		}
		w.holds(m.Len() == 1000, "as many entries as before")
	}, plainly(fine)},
	{"Clear during iterations", func(w *world) {
		m, s := withEntry(w.arena("a")), withStrings(w.arena("b"))
		for i := range 1000 {
			m.Put(i, i)
			s.Put(fmt.Sprint(i), i)
		}
		n := 0
		for range m.All() {
			m.Clear()
			n++
		}
		for range s.Keys() {
			s.Clear()
			n++
		}
		for range m.Sample(100) {
			n++
		}
		w.holds(n == 2, "nothing comes after Clear")
	}, plainly(fine)},
	{"Reset in a loop over All", func(w *world) {
		a := w.arena("a")
		m := withEntry(a)
		m.Put(2, 2)
		for range m.All() {
			a.Reset()
		}
	}, ofTable("Map.All", goneTable, "a")},
	{"strings: Reset in a loop over Sample", func(w *world) {
		a := w.arena("a")
		for range withStrings(a).Sample(2) {
			a.Reset()
		}
	}, ofTable("Strings.Sample", goneTable, "a")},
	{"panics of the program's loops", func(w *world) {
		m := withEntry(w.arena("a"))
		func() {
			defer func() { w.holds(recover() == "mine", "the panic comes through") }()
			for range m.All() {
				panic("mine")
			}
		}()
		m.Put(2, 2)
		w.holds(m.Len() == 2, "the map is as it was")
	}, plainly(fine)},
	{"a pointer of Lookup after an insertion", func(w *world) {
		m := withEntry(w.arena("a"))
		v := m.Lookup(1)
		for i := range 10_000 {
			m.Put(i+2, 2)
		}
		*v = 3 // of some other entry, or of none
	}, plainly(notCaught)},
	{"AttachStrings after Close", func(w *world) { a, _ := w.closed(); table.AttachStrings[int](a, table.Ref{}) }, ofTable("AttachStrings", afterClose, "shut")},
	{"AttachStrings with another value", func(w *world) {
		a := w.arena("a")
		_, err := table.AttachStrings[uint64](a, table.NewStrings[int64](a, 0).Ref())
		w.must(err)
	}, plainly("error: table: AttachStrings: the table has another layout: field value was stored as an int64 at byte #, and is a uint64 at byte # in this program")},
	{"Attach with fields in another order", func(w *world) {
		type point struct{ X, Y int32 }
		type changed struct{ Y, X int32 }
		a := w.arena("a")
		_, err := table.Attach[int64, changed](a, table.NewMap[int64, point](a, 0).Ref())
		w.must(err)
	}, plainly("error: table: Attach: the table has another layout: field value.X was stored as an int32 at byte #, and is an int32 at byte # in this program")},
	{"Attach with pointers", func(w *world) { a := w.arena("a"); table.Attach[int, *int](a, withEntry(a).Ref()) },
		plainly(pointers("table", "*int", "it is a pointer"))},
	{"NewStrings after Close", func(w *world) { a, _ := w.closed(); table.NewStrings[int](a, 0) }, ofTable("NewStrings", afterClose, "shut")},
	{"NewMap in a nil Arena", func(w *world) { table.NewMap[int, int](nil, 0) }, ofTable("NewMap", zeroArena, "")},
	{"NewStrings in a nil Arena", func(w *world) { table.NewStrings[int](nil, 0) }, ofTable("NewStrings", zeroArena, "")},
	{"Attach in a zero Arena", func(w *world) { table.Attach[int, int](new(arena.Arena), table.Ref{}) }, ofTable("Attach", zeroArena, "")},
	{"strings: negative hint", func(w *world) { table.NewStrings[int](w.arena("a"), -1) }, plainly("panic: table: NewStrings: the hint -1 is negative")},
	{"strings: TryNew with a negative hint", func(w *world) { _, err := table.TryNewStrings[int](w.arena("a"), -1); w.must(err) },
		plainly("error: table: NewStrings: the hint -1 is negative")},
	{"strings: huge hint", func(w *world) { table.NewStrings[int](w.arena("a"), math.MaxInt) },
		plainly(`panic: table: "a": a table for # entries is not possible: no memory`)},
}
