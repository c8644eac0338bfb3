package misuse

import (
	"math"

	"github.com/seed-9a6c551e/offheap/table"
)

type concurrentMap = table.Concurrent[int, int]

const zeroConcurrentTable = "use of a zero value: table.NewConcurrent makes a Concurrent"

func increment(old int, _ bool) (int, bool) { return old + 1, true }

// concurrentCalls has all methods of a Concurrent.
var concurrentCalls = []struct {
	name string
	do   func(m *concurrentMap)
}{
	{"Get", func(m *concurrentMap) { m.Get(1) }},
	{"GetHashed", func(m *concurrentMap) { m.GetHashed(1, 1) }},
	{"GetBatch", func(m *concurrentMap) { m.GetBatch([]int{1}, make([]int, 1), nil) }},
	{"HashOf", func(m *concurrentMap) { m.HashOf(1) }},
	{"Len", func(m *concurrentMap) { m.Len() }},
	{"Put", func(m *concurrentMap) { m.Put(1, 1) }},
	{"TryPut", func(m *concurrentMap) { m.TryPut(1, 1) }},
	{"Add", func(m *concurrentMap) { m.Add(1, 1) }},
	{"TryAdd", func(m *concurrentMap) { m.TryAdd(1, 1) }},
	{"Update", func(m *concurrentMap) { m.Update(1, increment) }},
	{"TryUpdate", func(m *concurrentMap) { m.TryUpdate(1, increment) }},
	{"Delete", func(m *concurrentMap) { m.Delete(1) }},
	{"Clear", func(m *concurrentMap) { m.Clear() }},
	{"Shrink", func(m *concurrentMap) { m.Shrink() }},
	{"All", func(m *concurrentMap) { m.All()(func(int, int) bool { return true }) }},
	{"Keys", func(m *concurrentMap) { m.Keys()(func(int) bool { return true }) }},
	{"Values", func(m *concurrentMap) { m.Values()(func(int) bool { return true }) }},
	{"Scan", func(m *concurrentMap) { m.Scan(new(table.Cursor), 1)(func(int, int) bool { return true }) }},
	{"Sample", func(m *concurrentMap) { m.Sample(1)(func(int, int) bool { return true }) }},
}

// concurrentMisuse returns the cases of table.Concurrent: each method of a table that the arena has freed, of a zero and of a nil
// Concurrent, and some more.
func concurrentMisuse() (all []misuse) {
	for _, c := range concurrentCalls {
		null := ofTable("Concurrent", zeroConcurrentTable, "")
		if c.name == "Get" || c.name == "GetHashed" {
			null = plainly("panic: runtime error: invalid memory address or nil pointer dereference") // Go's own: they make no call before
		}
		all = append(all,
			misuse{c.name + " after Reset", func(w *world) {
				a := w.arena("a")
				m := table.NewConcurrent[int, int](a, 0)
				m.Put(1, 1)
				a.Reset()
				c.do(m)
			}, ofTable("Concurrent", goneTable, "a")},
			misuse{c.name + " of a zero Concurrent", func(*world) { c.do(new(concurrentMap)) }, ofTable("Concurrent", zeroConcurrentTable, "")},
			misuse{c.name + " of a nil Concurrent", func(*world) { c.do(nil) }, null})
	}
	return append(all, []misuse{
		{"Get after Close", func(w *world) {
			a := w.arena("a")
			m := table.NewConcurrent[int, int](a, 0)
			w.must(a.Close())
			m.Get(1)
		}, ofTable("Concurrent", goneTable, "a")},
		{"Put after Rewind below", func(w *world) {
			a := w.arena("a")
			early := a.Mark()
			m := table.NewConcurrent[int, int](a, 0)
			a.Rewind(early)
			m.Put(1, 1)
		}, ofTable("Concurrent", goneTable, "a")},
		{"Get after Rewind below its growth", func(w *world) {
			a := w.arena("a")
			m := table.NewConcurrent[int, int](a, 0)
			early := a.Mark()
			for i := range 10_000 {
				m.Put(i, i)
			}
			a.Rewind(early)
			m.Get(1)
		}, ofTable("Concurrent", goneTable, "a")},
		{"Reset in the function of Update", func(w *world) {
			a := w.arena("a")
			m := table.NewConcurrent[int, int](a, 0)
			m.Update(1, func(int, bool) (int, bool) { a.Reset(); return 1, true })
		}, ofTable("Concurrent", goneTable, "a")},
		{"Reset in a loop over All", func(w *world) {
			a := w.arena("a")
			m := table.NewConcurrent[int, int](a, 0)
			for i := range 1000 {
				m.Put(i, i)
			}
			for range m.All() {
				a.Reset()
			}
		}, ofTable("Concurrent", goneTable, "a")},
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
