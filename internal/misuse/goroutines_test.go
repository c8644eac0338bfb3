package misuse

import (
	"sync"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/table"
)

// besides runs f and then g, each on a goroutine of its own, so that the race detector sees no order between them. In truth
// g waits for f: so neither does harm.
func besides(f, g func()) { onTwo(f, g, race.Unseen) }

// before runs f and then g, each on a goroutine of its own, in an order that the race detector sees.
func before(f, g func()) { onTwo(f, g, func(do func()) { do() }) }

func onTwo(f, g func(), tell func(do func())) {
	done := make(chan bool)
	var both sync.WaitGroup
	both.Go(func() {
		f()
		tell(func() { close(done) })
	})
	both.Go(func() {
		tell(func() { <-done })
		g()
	})
	both.Wait()
}

// mapOf returns a map with an entry.
func (w *world) mapOf() *table.Map[int, int] {
	m := table.NewMap[int, int](w.arena("a"), 0)
	m.Put(1, 1)
	return m
}

func (w *world) stringsOf() *table.Strings[int] {
	m := table.NewStrings[int](w.arena("a"), 0)
	m.Put("1", 1)
	return m
}

var goroutinesMisuse = []misuse{
	{"table: Put besides Put", func(w *world) {
		m := w.mapOf()
		besides(func() { m.Put(1, 2) }, func() { m.Put(1, 3) })
	}, underRace()},
	{"table: Put besides Put of another key", func(w *world) {
		m := w.mapOf()
		besides(func() { m.Put(2, 2) }, func() { m.Put(3, 3) })
	}, underRace()},
	{"table: Put besides Get", func(w *world) {
		m := w.mapOf()
		besides(func() { m.Put(2, 2) }, func() { m.Get(1) })
	}, underRace()},
	{"table: Get besides Delete", func(w *world) {
		m := w.mapOf()
		besides(func() { m.Get(1) }, func() { m.Delete(1) })
	}, underRace()},
	{"table: Entry besides Len", func(w *world) {
		m := w.mapOf()
		besides(func() { m.Entry(1) }, func() { m.Len() })
	}, underRace()},
	{"table: Shrink besides GetBatch", func(w *world) {
		m := w.mapOf()
		besides(func() { m.Shrink() }, func() { m.GetBatch([]int{1}, []int{0}, nil) })
	}, underRace()},
	{"table: All besides Clear", func(w *world) {
		m := w.mapOf()
		besides(func() {
			for range m.All() {
			}
		}, func() { m.Clear() })
	}, underRace()},
	{"table: Put during an iteration", func(w *world) {
		m := w.mapOf()
		m.Put(2, 2)
		put := make(chan bool)
		var both sync.WaitGroup
		for range m.All() {
			if m.Len() == 2 {
				both.Go(func() {
					m.Put(3, 3)
					race.Unseen(func() { close(put) })
				})
			}
			race.Unseen(func() { <-put })
		}
		both.Wait()
	}, underRace()},
	{"table: Reset besides Get", func(w *world) {
		a := w.arena("a")
		m := table.NewMap[int, int](a, 0)
		besides(func() { m.Get(1) }, func() { a.Reset() })
	}, underRace()},
	{"table: Put besides Get of an attached Map", func(w *world) {
		a := w.arena("a")
		m := table.NewMap[int, int](a, 0)
		other, err := table.Attach[int, int](a, m.Ref())
		w.must(err)
		besides(func() { m.Put(1, 1) }, func() { other.Get(1) })
	}, underRace()},
	{"table: insertions into two Maps of an arena", func(w *world) {
		a := w.arena("a")
		m, n := table.NewMap[int, int](a, 0), table.NewMap[int, int](a, 0)
		grow := func(m *table.Map[int, int]) func() {
			return func() {
				for i := range 100 {
					m.Put(i, i)
				}
			}
		}
		besides(grow(m), grow(n))
	}, underRace()},
	{"table: strings: Put besides Get", func(w *world) {
		m := w.stringsOf()
		besides(func() { m.Put("2", 2) }, func() { m.Get("1") })
	}, underRace()},
	{"table: strings: LookupBytes besides Delete", func(w *world) {
		m := w.stringsOf()
		besides(func() { m.LookupBytes([]byte("1")) }, func() { m.Delete("2") })
	}, underRace()},
	{"table: New in the arena of a Concurrent", func(w *world) {
		a := w.arena("a")
		m := table.NewConcurrent[int, int](a, 0)
		besides(func() {
			for i := range 10_000 {
				m.Put(i, i)
			}
		}, func() { arena.New[int](a) })
	}, underRace()},
	{"table: searches besides searches", func(w *world) {
		m, s := w.mapOf(), w.stringsOf()
		search := func() {
			m.Get(1)
			m.Lookup(2)
			s.Get("1")
			for range m.All() {
			}
			for range s.Sample(1) {
			}
		}
		besides(search, search)
	}, inOrder()},
	{"table: changes before searches", func(w *world) {
		m := w.mapOf()
		before(func() { m.Put(2, 2); m.Delete(1) }, func() { _, ok := m.Get(2); w.holds(ok, "it is there") })
	}, inOrder()},
	{"table: changes of two Maps that do not grow", func(w *world) {
		a := w.arena("a")
		m, n := table.NewMap[int, int](a, 10), table.NewMap[int, int](a, 10)
		besides(func() { m.Put(1, 1) }, func() { n.Put(1, 1) })
	}, inOrder()},
	{"table: changes of a Concurrent besides searches", func(w *world) {
		m := table.NewConcurrent[int, int](w.arena("a"), 0)
		all := func() {
			for i := range 1000 {
				m.Put(i, i)
				m.Update(i, func(old int, there bool) (int, bool) { return old + 1, true })
				m.Get(i)
				m.Delete(i / 2)
			}
			for range m.All() {
			}
			m.Shrink()
			m.Clear()
		}
		besides(all, all)
	}, inOrder()},
	{"arena: New besides New", func(w *world) {
		a := w.arena("a")
		besides(func() { arena.New[int](a) }, func() { arena.New[int](a) })
	}, underRace()},
	{"arena: Concurrent: Reset besides New", func(w *world) {
		c := w.concurrent("k")
		besides(func() { arena.NewIn[int](c) }, c.Reset)
	}, underRace()},
	{"slab: Local: Alloc besides Alloc", func(w *world) {
		l := w.heap().Local()
		besides(func() { l.Alloc(10, 8) }, func() { l.Alloc(10, 8) })
	}, underRace()},
}
