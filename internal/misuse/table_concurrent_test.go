package misuse

import (
	"math"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/table"
)

// concurrentMisuse returns the cases of table.Concurrent.
func concurrentMisuse() []misuse {
	open := func(a *arena.Arena) *intConcurrent {
		m := table.NewConcurrent[int, int](a, 0)
		m.Put(1, 1)
		return m
	}
	// After Close it says what it says after Reset: it asks nothing of an arena that other goroutines may use.
	const gone = "use after Reset or Rewind: the arena has freed the table, or was closed"
	all := unusable("", "Concurrent", concurrentMethods, open, gone, gone, "Get", "GetHashed")
	return append(all, []misuse{
		{"Get after Rewind below its growth", func(w *world) {
			a := w.arena("a")
			m := table.NewConcurrent[int, int](a, 0)
			early := a.Mark()
			for i := range 10_000 {
				m.Put(i, i)
			}
			a.Rewind(early)
			m.Get(1)
		}, ofTable("Concurrent.Get", gone, "a")},
		{"Reset in the function of Update", func(w *world) {
			a := w.arena("a")
			m := table.NewConcurrent[int, int](a, 0)
			m.Update(1, func(int, bool) (int, bool) { a.Reset(); return 1, true })
		}, ofTable("Concurrent.Update", gone, "a")},
		{"Reset in a loop over All", func(w *world) {
			a := w.arena("a")
			m := table.NewConcurrent[int, int](a, 0)
			for i := range 1000 {
				m.Put(i, i)
			}
			for range m.All() {
				a.Reset()
			}
		}, ofTable("Concurrent.All", gone, "a")},
		{"NewConcurrent after Close", func(w *world) { a, _ := w.closed(); table.NewConcurrent[int, int](a, 0) }, ofTable("NewConcurrent", afterClose, "shut")},
		{"TryNewConcurrent after Close", func(w *world) { a, _ := w.closed(); table.TryNewConcurrent[int, int](a, 0) }, ofTable("NewConcurrent", afterClose, "shut")},
		{"negative hint", func(w *world) { table.NewConcurrent[int, int](w.arena("a"), -1) }, plainly("panic: table: NewConcurrent: the hint -1 is negative")},
		{"huge hint", func(w *world) { table.NewConcurrent[int, int](w.arena("a"), math.MaxInt) }, plainly(`panic: table: "a": a table for # entries is not possible: no memory`)},
		{"strings as keys", func(w *world) { table.NewConcurrent[string, int](w.arena("a"), 0) }, plainly(pointers("table", "string", "it is a string"))},
		{"pointers as values", func(w *world) { table.NewConcurrent[int, *int](w.arena("a"), 0) }, plainly(pointers("table", "*int", "it is a pointer"))},
		{"GetBatch with too few values", func(w *world) {
			table.NewConcurrent[int, int](w.arena("a"), 0).GetBatch(make([]int, 3), make([]int, 2, 10), nil)
		}, plainly("panic: runtime error: index out of range [2] with length 2")},
		{"GetBatch with too short a found", func(w *world) {
			table.NewConcurrent[int, int](w.arena("a"), 0).GetBatch(make([]int, 3), make([]int, 3), make([]bool, 2, 10))
		}, plainly("panic: runtime error: index out of range [2] with length 2")},
		{"panics of the program's functions", func(w *world) {
			m := table.NewConcurrent[int, int](w.arena("a"), 0)
			for i := range 1000 {
				m.Put(i, i)
			}
			panics := func(f func()) {
				defer func() { w.holds(recover() == "mine", "the panic comes through") }()
				f()
			}
			panics(func() { m.Update(1, func(int, bool) (int, bool) { panic("mine") }) })
			panics(func() { m.All()(func(int, int) bool { panic("mine") }) })
			panics(func() { m.Scan(new(table.Cursor), 1)(func(int, int) bool { panic("mine") }) })
			panics(func() { m.Sample(1)(func(int, int) bool { panic("mine") }) })
			m.Clear() // locks all shards
			w.holds(m.Len() == 0, "nothing is locked")
		}, plainly(fine)},
		{"calls in the program's functions", func(w *world) {
			m := table.NewConcurrent[int, int](w.arena("a"), 0)
			for i := range 1000 {
				m.Put(i, i)
			}
			v, _ := m.Update(1, func(old int, _ bool) (int, bool) {
				if old < 100 {
					m.Update(1, func(int, bool) (int, bool) { return 100, true })
				}
				m.Shrink()
				return old + 1, true
			})
			w.holds(v == 101, "the function was called again")
			for k := range m.All() {
				m.Clear()
				m.Put(k, k)
				break
			}
			w.holds(m.Len() == 1, "the rest is gone")
		}, plainly(fine)},
		{"Scan with the Cursor of another table", func(w *world) {
			small, large := table.NewMap[int, int](w.arena("a"), 0), table.NewConcurrent[int, int](w.arena("b"), 0)
			for i := range 10_000 {
				small.Put(i%100, i)
				large.Put(i, i)
			}
			var c table.Cursor
			for i := range 1000 {
				for range large.Scan(&c, 10) {
				}
				other := c
				for range small.Scan(&other, 10) {
				}
				for range large.Scan(&other, i%3) {
				}
			}
		}, plainly(fine)},
	}...)
}
