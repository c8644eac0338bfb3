package misuse

import (
	"errors"
	"math"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// arena opens an arena. After the case it must still work.
func (w *world) arena(name string) *arena.Arena {
	a, err := arena.Open(arena.Config{Name: name})
	w.must(err)
	w.then(func() error {
		if a.Stats().Reserved == 0 {
			return nil
		}
		return worksArena(a, a.Close)
	})
	return a
}

// worksArena uses an arena and closes it.
func worksArena(a *arena.Arena, end func() error) error {
	a.Reset()
	for _, x := range arena.MakeSlice[uint64](a, 1000, 1000) {
		if x != 0 {
			return errors.New("fresh memory is not zero")
		}
	}
	return end()
}

// closed opens an arena with an object in it, and closes it.
func (w *world) closed() (*arena.Arena, arena.Ref[uint64]) {
	a := w.arena("shut")
	ref := arena.RefOf(a, arena.New[uint64](a))
	w.must(a.Close())
	return a, ref
}

// openIn opens an arena in memory that the case has.
func (w *world) openIn(r *guard.Region) *arena.Arena {
	a, err := arena.OpenIn(r, arena.Config{Name: "a"})
	w.must(err)
	return a
}

func (w *world) arenas() *arena.Pool {
	p, err := arena.OpenPool(arena.Config{Name: "pool"})
	w.must(err)
	w.then(func() error {
		if err := p.Close(); !errors.Is(err, guard.ErrClosed) {
			return err
		}
		return nil
	})
	return p
}

// put returns an arena that was put back, and an object in it.
func (w *world) put() (*arena.Pool, *arena.Arena, *uint64) {
	p := w.arenas()
	a := p.Get()
	x := arena.New[uint64](a)
	p.Put(a)
	return p, a, x
}

func (w *world) concurrent(name string) *arena.Concurrent {
	k, err := arena.OpenConcurrent(arena.Config{Name: name})
	w.must(err)
	w.then(func() error {
		if k.Stats().Reserved == 0 {
			return nil
		}
		k.Reset()
		arena.NewIn[uint64](k)
		return k.Close()
	})
	return k
}

func (w *world) closedConcurrent() *arena.Concurrent {
	k := w.concurrent("shut")
	arena.NewIn[uint64](k)
	w.must(k.Close())
	return k
}

// inArena expects a violation of an arena as a whole.
func inArena(op, what, name string) outcomes {
	return plainly("violation: arena." + op + ": " + what + inParentheses(name))
}

const (
	afterClose = "use after close"
	afterPut   = "use after Put"
	staleMark  = "use after Reset or Rewind: stale mark: the arena was reset, or rewound to an earlier one"
	goneText   = "use after Reset or Rewind: the arena freed the text"
	inCallback = "in use: called by an OnReset callback"
	zeroArena  = "use of a zero value: arena.Open makes an Arena"
	outside    = "invalid pointer: reference to memory that is not handed out"

	zeroConcurrent = "use of a zero value: arena.OpenConcurrent makes a Concurrent"
)

var arenaMisuse = []misuse{
	{"touch after Close", func(w *world) { a := w.arena("a"); x := arena.New[uint64](a); w.must(a.Close()); *x++ },
		plainly(`fault: guard: use after close in region "a": address 0xADDR, offset 64 of 68719476736`)},
	{"write after Reset", func(w *world) {
		a := w.arena("a")
		x := arena.New[uint64](a)
		a.Reset()
		*x = 1
		w.ruined()
		a.Reset()
	}, outcomes{
		plain:      notCaught,
		invariants: "panic: arena: invariant broken: [top, ready) is zero; top #, limit #, ready #, dirty #, committed #, ceiling #, tail #, region #",
	}},
	{"touch after Reset of what went back to the system", func(w *world) {
		a := w.arena("a")
		b := a.Alloc(8<<20, 8)
		for range 100 {
			a.Reset()
		}
		b[len(b)-1] = 1
	}, plainly(`fault: guard: touch of decommitted memory in region "a": address 0xADDR, offset 8388671 of 68719476736`)},
	{"write behind an object", func(w *world) {
		a := w.arena("a")
		b := a.Alloc(16, 8)
		poke(b, 16)
		a.Alloc(16, 8)
		a.Alloc(1<<20, 8)
	}, plainly(notCaught)},
	{"write on and on behind an object", func(w *world) {
		b := w.arena("a").Alloc(16, 8)
		w.ruined()
		for i := 0; ; i++ {
			poke(b, i)
		}
	}, plainly(`fault: guard: touch of decommitted memory in region "a": address 0xADDR, offset # of 68719476736`)},
	{"write before the first object", func(w *world) {
		b := w.arena("a").Alloc(16, 8)
		poke(b, -65)
	}, plainly(`fault: guard: underflow in region "a": address 0xADDR, 1 bytes before the first of 68719476736`)},
	{"New after Close", func(w *world) { a, _ := w.closed(); arena.New[uint64](a) }, inArena("New", afterClose, "shut")},
	{"New of nothing after Close", func(w *world) { a, _ := w.closed(); arena.New[struct{}](a) }, inArena("New", afterClose, "shut")},
	{"TryNew after Close", func(w *world) {
		a, _ := w.closed()
		_, err := arena.TryNew[uint64](a)
		w.must(err)
	}, inArena("TryNew", afterClose, "shut")},
	{"MakeSlice after Close", func(w *world) { a, _ := w.closed(); arena.MakeSlice[byte](a, 1, 1) }, inArena("MakeSlice", afterClose, "shut")},
	{"Append after Close", func(w *world) { a, _ := w.closed(); arena.Append(a, nil, 1) }, inArena("Append", afterClose, "shut")},
	{"Clone after Close", func(w *world) { a, _ := w.closed(); arena.Clone(a, []int{1}) }, inArena("Clone", afterClose, "shut")},
	{"String after Close", func(w *world) { a, _ := w.closed(); arena.String(a, "") }, inArena("String", afterClose, "shut")},
	{"Alloc after Close", func(w *world) { a, _ := w.closed(); a.Alloc(1, 1) }, inArena("Alloc", afterClose, "shut")},
	{"Mark after Close", func(w *world) { a, _ := w.closed(); a.Mark() }, inArena("Mark", afterClose, "shut")},
	{"Rewind after Close", func(w *world) { a, _ := w.closed(); a.Rewind(arena.Mark{}) }, inArena("Rewind", afterClose, "shut")},
	{"Reset after Close", func(w *world) { a, _ := w.closed(); a.Reset() }, inArena("Reset", afterClose, "shut")},
	{"OnReset after Close", func(w *world) { a, _ := w.closed(); a.OnReset(func() {}) }, inArena("OnReset", afterClose, "shut")},
	{"OnReset of nothing", func(w *world) { w.arena("a").OnReset(nil) }, inArena("OnReset", "invalid argument: nil function", "a")},
	{"Deref after Close", func(w *world) { a, ref := w.closed(); ref.Deref(a) }, inArena("Deref", afterClose, "shut")},
	{"Close twice", func(w *world) { a, _ := w.closed(); w.must(a.Close()) }, plainly(`error: arena: close "shut": closed`)},
	{"Close of a pool's", func(w *world) {
		a := w.arenas().Get()
		w.must(a.Close())
	}, plainly(`error: arena: close "pool": it belongs to a pool`)},
	{"New after Put", func(w *world) { _, a, _ := w.put(); arena.New[uint64](a) }, inArena("New", afterPut, "pool")},
	{"Reset after Put", func(w *world) { _, a, _ := w.put(); a.Reset() }, inArena("Reset", afterPut, "pool")},
	{"Deref after Put", func(w *world) {
		p := w.arenas()
		a := p.Get()
		ref := arena.RefOf(a, arena.New[uint64](a))
		p.Put(a)
		ref.Deref(a)
	}, inArena("Deref", afterPut, "pool")},
	{"Put twice", func(w *world) { p, a, _ := w.put(); p.Put(a) }, inArena("Put", "double free: put twice", "pool")},
	{"Put of no pool's", func(w *world) { w.arenas().Put(w.arena("a")) }, inArena("Put", "wrong owner: arena of another pool", "a")},
	{"touch after Put and Close of the pool", func(w *world) { p, _, x := w.put(); w.must(p.Close()); *x++ },
		plainly(`fault: guard: use after close in region "pool": address 0xADDR, offset 64 of 1073741824`)},
	{"stale mark", func(w *world) { a := w.arena("a"); m := a.Mark(); a.Reset(); a.Rewind(m) }, inArena("Rewind", staleMark, "a")},
	{"mark above a rewind", func(w *world) {
		a := w.arena("a")
		low := a.Mark()
		arena.New[uint64](a)
		high := a.Mark()
		a.Rewind(low)
		arena.New[[2]uint64](a)
		a.Rewind(high)
	}, inArena("Rewind", staleMark, "a")},
	{"foreign mark", func(w *world) { a, other := w.arena("a"), w.arena("other"); a.Rewind(other.Mark()) }, inArena("Rewind", "wrong owner: mark of another arena", "a")},
	{"zero mark", func(w *world) { w.arena("a").Rewind(arena.Mark{}) }, inArena("Rewind", "wrong owner: mark of another arena", "a")},
	{"Reset in a callback", func(w *world) { a := w.arena("a"); a.OnReset(a.Reset); a.Reset() }, inArena("Reset", inCallback, "a")},
	{"Close in a callback", func(w *world) { a := w.arena("a"); a.OnReset(func() { a.Close() }); a.Reset() }, inArena("Close", inCallback, "a")},
	{"Rewind in a callback", func(w *world) { a := w.arena("a"); a.OnReset(func() { a.Rewind(a.Mark()) }); a.Reset() }, inArena("Rewind", inCallback, "a")},
	{"foreign Ref", func(w *world) {
		a, other := w.arena("a"), w.arena("other")
		arena.RefOf(a, arena.New[uint64](a)).Deref(other)
	}, plainly(`violation: arena.Deref: invalid pointer: reference to memory that is not handed out ("other", offset 64)`)},
	{"foreign Ref that lies inside", func(w *world) {
		a, other := w.arena("a"), w.arena("other")
		arena.New[uint64](other)
		arena.RefOf(a, arena.New[uint64](a)).Deref(other)
	}, plainly(notCaught)},
	{"Ref after Reset", func(w *world) {
		a := w.arena("a")
		ref := arena.RefOf(a, arena.New[uint64](a))
		a.Reset()
		ref.Deref(a)
	}, plainly(`violation: arena.Deref: invalid pointer: reference to memory that is not handed out ("a", offset 64)`)},
	{"Slice of a foreign Ref", func(w *world) {
		a, other := w.arena("a"), w.arena("other")
		arena.RefOf(a, arena.New[uint64](a)).Slice(other, 2)
	}, plainly(`violation: arena.Slice: invalid pointer: reference to memory that is not handed out ("other", offset 64)`)},
	{"Ref of a foreign pointer", func(w *world) {
		a, other := w.arena("a"), w.arena("other")
		arena.RefOf(a, arena.New[uint64](other))
	}, plainly(`violation: arena.RefOf: invalid pointer: into other memory ("a", address 0xADDR, offset #)`)},
	{"Ref of a Go pointer", func(w *world) { arena.RefOf(w.arena("a"), new(uint64)) },
		plainly(`violation: arena.RefOf: invalid pointer: into other memory ("a", address 0xADDR, offset #)`)},
	{"Concurrent: New after Close", func(w *world) { arena.NewIn[uint64](w.closedConcurrent()) }, inArena("Concurrent.New", afterClose, "shut")},
	{"Concurrent: New of nothing after Close", func(w *world) { arena.NewIn[struct{}](w.closedConcurrent()) }, inArena("Concurrent.New", afterClose, "shut")},
	{"Concurrent: much after Close", func(w *world) { w.closedConcurrent().Alloc(1<<20, 8) }, inArena("Concurrent.New", afterClose, "shut")},
	{"Concurrent: Clone after Close", func(w *world) { arena.CloneIn(w.closedConcurrent(), []int{1}) }, inArena("Concurrent.New", afterClose, "shut")},
	{"Concurrent: Append after Close", func(w *world) { arena.AppendIn(w.closedConcurrent(), nil, 1) }, inArena("Concurrent.AppendIn", afterClose, "shut")},
	{"Concurrent: type with pointers", func(w *world) { arena.CloneIn(w.concurrent("k"), []*int{}) },
		plainly(pointers("arena", "*int", "it is a pointer"))},
	{"Concurrent: Slice of a foreign Ref", func(w *world) {
		a := w.arena("a")
		arena.RefOf(a, arena.New[uint64](a)).SliceIn(w.concurrent("k"), 2)
	}, plainly(`violation: arena.Concurrent.SliceIn: invalid pointer: reference to memory that is not handed out ("k", offset 64)`)},
	{"Writer after Reset", func(w *world) {
		a := w.arena("a")
		text := arena.NewWriter(a)
		text.WriteString("text")
		a.Reset()
		text.WriteString("more")
	}, inArena("Writer.WriteString", goneText, "a")},
	{"Writer after Rewind", func(w *world) {
		a := w.arena("a")
		text := arena.NewWriter(a)
		text.WriteString("text")
		m := a.Mark()
		text.WriteString("much more")
		a.Rewind(m)
		text.Bytes()
	}, inArena("Writer.Bytes", goneText, "a")},
	{"NewWriter after Close", func(w *world) { a, _ := w.closed(); arena.NewWriter(a) }, inArena("NewWriter", afterClose, "shut")},
	{"Get of a closed pool", func(w *world) { p := w.arenas(); w.must(p.Close()); p.Get() }, inArena("Pool.Get", afterClose, "pool")},
	{"TryGet of a closed pool", func(w *world) { p := w.arenas(); w.must(p.Close()); _, err := p.TryGet(); w.must(err) },
		plainly(`error: arena: pool "pool": closed`)},
	{"Concurrent: Reset after Close", func(w *world) { w.closedConcurrent().Reset() }, inArena("Concurrent.Reset", afterClose, "shut")},
	{"Concurrent: Close twice", func(w *world) { w.must(w.closedConcurrent().Close()) }, plainly(`error: arena: close "shut": closed`)},
	{"Concurrent: foreign Ref", func(w *world) {
		a := w.arena("a")
		arena.RefOf(a, arena.New[uint64](a)).DerefIn(w.concurrent("k"))
	}, plainly(`violation: arena.Concurrent.DerefIn: invalid pointer: reference to memory that is not handed out ("k", offset 64)`)},
	{"Purge after Close", func(w *world) { a, _ := w.closed(); w.must(a.Purge()) }, inArena("Purge", afterClose, "shut")},
	{"RefOf after Close", func(w *world) { a, _ := w.closed(); arena.RefOf(a, new(uint64)) }, inArena("RefOf", afterClose, "shut")},
	{"Purge after Put", func(w *world) { _, a, _ := w.put(); w.must(a.Purge()) }, inArena("Purge", afterPut, "pool")},
	{"zero Arena", func(w *world) { arena.New[uint64](new(arena.Arena)) }, inArena("New", zeroArena, "")},
	{"Close of a nil Arena", func(w *world) { var a *arena.Arena; w.must(a.Close()) }, inArena("Close", zeroArena, "")},
	{"zero Pool", func(w *world) { new(arena.Pool).Get() }, inArena("Pool.Get", "use of a zero value: arena.OpenPool makes a Pool", "")},
	{"zero Concurrent", func(w *world) { arena.NewIn[uint64](new(arena.Concurrent)) }, inArena("Concurrent.New", zeroConcurrent, "")},
	{"nil Concurrent", func(w *world) { arena.NewIn[uint64](nil) }, inArena("Concurrent.New", zeroConcurrent, "")},
	{"Put of nil", func(w *world) { w.arenas().Put(nil) }, plainly(fine)},
	{"Concurrent: String after Close", func(w *world) { arena.StringIn(w.closedConcurrent(), "text") }, inArena("Concurrent.New", afterClose, "shut")},
	{"Concurrent: Ref after Close", func(w *world) { arena.RefIn(w.closedConcurrent(), new(uint64)) }, inArena("Concurrent.RefIn", afterClose, "shut")},
	{"Concurrent: Deref after Close", func(w *world) {
		k := w.concurrent("shut")
		ref := arena.RefIn(k, arena.NewIn[uint64](k))
		w.must(k.Close())
		ref.DerefIn(k)
	}, inArena("Concurrent.DerefIn", afterClose, "shut")},
	{"Concurrent: Purge after Close", func(w *world) { w.must(w.closedConcurrent().Purge()) }, inArena("Concurrent.Purge", afterClose, "shut")},
	{"Concurrent: touch after Close", func(w *world) {
		k := w.concurrent("shut")
		x := arena.NewIn[uint64](k)
		w.must(k.Close())
		*x++
	}, plainly(`fault: guard: use after close in region "shut": address 0xADDR, offset 64 of 68719476736`)},
	{"registration in a callback", func(w *world) {
		a := w.arena("a")
		n := 0
		var again func()
		again = func() { n++; a.OnReset(again) }
		a.OnReset(again)
		a.Reset()
		a.Reset()
		w.must(a.Close())
		w.holds(n == 3, "it ran once each time")
	}, plainly(fine)},
	{"type with pointers", func(w *world) { arena.New[struct{ Name string }](w.arena("a")) },
		plainly(pointers("arena", "struct { Name string }", "struct { Name string }.Name is a string"))},
	{"negative size", func(w *world) { w.arena("a").Alloc(-1, 8) },
		plainly(refused("arena", -1, 8, 2<<20))},
	{"alignment of 3", func(w *world) { w.arena("a").Alloc(8, 3) }, plainly(refused("arena", 8, 3, 2<<20))},
	{"alignment of 0", func(w *world) { w.arena("a").Alloc(8, 0) }, plainly(refused("arena", 8, 0, 2<<20))},
	{"negative alignment", func(w *world) { w.arena("a").Alloc(8, -8) }, plainly(refused("arena", 8, -8, 2<<20))},
	{"alignment above the limit", func(w *world) { w.arena("a").Alloc(8, 4<<20) }, plainly(refused("arena", 8, 4<<20, 2<<20))},
	{"slice overflow", func(w *world) { arena.MakeSlice[int](w.arena("a"), 0, math.MaxInt) },
		plainly("panic: arena: 9223372036854775807 elements of 8 bytes are more than addresses can hold: no memory")},
	{"OpenIn a closed region", func(w *world) {
		r := w.region(1 << 16)
		w.must(r.Close())
		_, err := arena.OpenIn(r, arena.Config{Name: "a"})
		w.must(err)
	}, plainly(`error: arena: open "a": closed`)},
	{"OpenIn a zero Region", func(w *world) { arena.OpenIn(new(guard.Region), arena.Config{}) },
		inArena("OpenIn", "use of a zero value: guard.Reserve makes a Region", "")},
	{"OpenIn memory that is not committed", func(w *world) {
		r := w.region(1 << 16)
		w.must(r.Decommit(0, 1<<16))
		_, err := arena.OpenIn(r, arena.Config{Name: "a"})
		w.mustNotReturnFault(err)
	}, plainly(`error: arena: open "a": guard: touch of decommitted memory in region "region": address 0xADDR, offset 0 of 65536`)},
	{"OpenIn memory of another use", func(w *world) {
		r := w.region(1 << 16)
		r.Bytes()[20] = 1
		_, err := arena.OpenIn(r, arena.Config{Name: "a"})
		w.must(err)
	}, plainly(`error: arena: open "a": the memory is not zero, and has no arena`)},
	{"OpenIn damaged memory", func(w *world) {
		r := w.region(1 << 16)
		w.openIn(r)
		r.Bytes()[18] = 1
		w.openIn(r)
	}, plainly(`error: arena: open "a": the arena in the memory is damaged: size 65536 of 65536, 65600 in use, root 0`)},
	{"touch of an OpenIn arena after Close of its region", func(w *world) {
		r := w.region(1 << 16)
		x := arena.New[uint64](w.openIn(r))
		w.must(r.Close())
		*x = 1
	}, plainly(`fault: guard: use after close in region "region": address 0xADDR, offset 64 of 65536`)},
	{"New in an OpenIn arena after Close", func(w *world) {
		a := w.openIn(w.region(1 << 16))
		w.must(a.Close())
		arena.New[uint64](a)
	}, inArena("New", afterClose, "a")},
	{"more than the memory of an OpenIn arena", func(w *world) { w.openIn(w.region(1<<16)).Alloc(1<<16, 8) },
		plainly(`panic: arena: "a": 65536 bytes more than the 0 in use exceed its Reserve of 65536: no memory`)},
	{"Reset in memory for reading", func(w *world) {
		m := w.memory()
		a := w.openIn(m.Region())
		arena.Publish(a, arena.RefOf(a, arena.New[uint64](a)))
		w.openIn(w.reader(m).Region()).Reset()
	}, plainly(`fault: guard: write to memory that is mapped for reading in region "reader": address 0xADDR, offset 64 of 65536`)},
	{"New in memory for reading", func(w *world) {
		m := w.memory()
		w.openIn(m.Region())
		arena.New[uint64](w.openIn(w.reader(m).Region()))
	}, plainly(`panic: arena: "a": the memory is for reading: no memory`)},
	{"Publish in memory for reading", func(w *world) {
		m := w.memory()
		w.openIn(m.Region())
		arena.Publish(w.openIn(w.reader(m).Region()), arena.Ref[uint64]{})
	}, inArena("Publish", "invalid argument: the memory is for reading", "a")},
	{"OpenIn empty memory for reading", func(w *world) { w.openIn(w.reader(w.memory()).Region()) },
		plainly(`error: arena: open "a": there is no arena in the memory, which is for reading`)},
	{"Publish of an arena of its own memory", func(w *world) { arena.Publish(w.arena("a"), arena.Ref[uint64]{}) },
		inArena("Publish", "invalid argument: the arena was not opened by OpenIn", "a")},
	{"Publish after Close", func(w *world) { a, ref := w.closed(); arena.Publish(a, ref) }, inArena("Publish", afterClose, "shut")},
	{"Published after Close", func(w *world) { a, _ := w.closed(); arena.Published[uint64](a) }, inArena("Published", afterClose, "shut")},
	{"Ref to what was not published", func(w *world) {
		r := w.region(1 << 16)
		a := w.openIn(r)
		ref := arena.RefOf(a, arena.New[uint64](a))
		ref.Deref(w.openIn(r))
	}, plainly(`violation: arena.Deref: invalid pointer: reference to memory that is not handed out ("a", offset 64)`)},
	{"OpenIn twice, one after the other", func(w *world) {
		r := w.region(1 << 16)
		a := w.openIn(r)
		arena.Publish(a, arena.RefOf(a, arena.New[uint64](a)))
		w.must(a.Close())
		again := w.openIn(r)
		w.holds(*arena.Published[uint64](again).Deref(again) == 0, "the object is there")
		w.holds(arena.Published[uint64](w.arena("b")).IsNil(), "nothing is published elsewhere")
	}, plainly(fine)},
	{"rewind to a mark twice", func(w *world) {
		a := w.arena("a")
		m := a.Mark()
		for range 2 {
			arena.New[uint64](a)
			a.Rewind(m)
		}
	}, plainly(fine)},
	{"use of an arena in its callback", func(w *world) {
		a := w.arena("a")
		x := arena.New[uint64](a)
		a.OnReset(func() { *x++; arena.New[uint64](a) })
		a.Reset()
	}, plainly(fine)},
	{"nil Ref", func(w *world) {
		a := w.arena("a")
		w.holds(arena.RefOf[uint64](a, nil).Deref(a) == nil && arena.Ref[uint64]{}.Slice(a, 0) == nil, "nil is nil")
	}, plainly(fine)},
}
