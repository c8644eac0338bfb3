package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/table"
)

// key returns the key of a number. Different numbers have different keys, which look random (the finisher of
// splitmix64).
func key(i uint64) uint64 {
	i += 0x9e3779b97f4a7c15
	i = (i ^ i>>30) * 0xbf58476d1ce4e5b9
	i = (i ^ i>>27) * 0x94d049bb133111eb
	return i ^ i>>31
}

const goMap = "Go's map"

// scale divides the numbers of entries: those of tables with more than a million entries, and those of others.
type scale struct{ large, small int }

// allRows returns all rows.
func allRows(by scale) (rows []row) {
	add := func(name, target string, open func(o *options) pair) {
		rows = append(rows, row{name: name, beside: goMap, target: target, unit: "ns", open: open})
	}
	few := func(n int) int {
		if n > 1_000_000 {
			return n / by.large
		}
		return n / by.small
	}
	for i, n := range []int{few(1_000_000), few(10_000_000), few(30_000_000)} {
		label := fmt.Sprintf("%g M", float64(n)/1e6)
		add(label+": get", "0.9", both(n, get))
		add(label+": get, each key is the last value", "0.75", both(n, follow))
		add(label+": miss", "0.8", both(n, miss))
		if i == 1 {
			rows = append(rows, row{name: label + ": GetBatch", beside: "Get", target: "0.5", unit: "ns", open: both(n, batch)})
		}
		if i == 2 {
			continue
		}
		add(label+": put, overwrite", "0.9", both(n, put))
		add(label+": iterate", "1.0", both(n, iterate))
		add(label+": delete and put the same key", "1.0", both(n, churn))
		add(label+": delete one key, put another", "1.0", lastOf(both(n, replace)))
		add(label+": fill, no hint", "0.8", fill(n, false))
		add(label+": fill, hint", "", fill(n, true))
	}
	wide := few(4_000_000)
	add(fmt.Sprintf("%g M of [16]byte → [100]byte: 9 get, 1 put", float64(wide)/1e6), "0.9", wideRow(wide))
	add(fmt.Sprintf("%g M strings: get", float64(few(1_000_000))/1e6), "", stringsRow(few(1_000_000), func(m *stringsOurs, asked []string) uint64 { return getStringsOurs(m, asked) },
		func(m stringsTheirs, asked []string) uint64 { return getStringsTheirs(m, asked) }))
	add(fmt.Sprintf("%g M strings: put, overwrite", float64(few(1_000_000))/1e6), "", stringsRow(few(1_000_000), func(m *stringsOurs, asked []string) uint64 { putStringsOurs(m, asked); return 0 },
		func(m stringsTheirs, asked []string) uint64 { putStringsTheirs(m, asked); return 0 }))
	add(fmt.Sprintf("%g M strings: delete and put the same key", float64(few(1_000_000))/1e6), "", stringsRow(few(1_000_000), func(m *stringsOurs, asked []string) uint64 { churnStringsOurs(m, asked); return 0 },
		func(m stringsTheirs, asked []string) uint64 { churnStringsTheirs(m, asked); return 0 }))
	rows = append(rows, row{name: "memory over entries, the most from 100 K to 3 M", beside: goMap, unit: "times", target: "1.3 times", open: memory})
	rows = append(rows, concurrentRows(few(1_000_000))...)
	rows = append(rows, concurrentRows(few(10_000_000))...)
	pops := 200_000 / by.large
	add(fmt.Sprintf("%d K: pop one after another", pops/1000), "", popping(pops))
	turned := 1_000_000 / by.large
	for _, order := range []string{"iteration", "popping", "oldest first", "newest first", "random"} {
		for _, what := range []string{"get", "miss", "replace"} {
			rows = append(rows, row{name: fmt.Sprintf("%d K: %s after ten turnovers, %s", turned/1000, what, order),
				beside: "the fresh table", unit: "ns", target: "1.2", open: turnedOver(turned, order, what)})
		}
	}
	return rows
}

// openArena opens an arena for our side.
func openArena(o *options) *arena.Arena {
	a, err := arena.Open(arena.Config{Name: "maps", HugePages: !o.smallPages, Retain: 1 << 30})
	if err != nil {
		fmt.Fprintln(os.Stderr, "maps:", err)
		os.Exit(1)
	}
	return a
}

// steps returns the number of operations in a run.
func (o *options) steps(n int) int {
	if o.quick {
		n /= 4
	}
	return min(n, 2_000_000)
}

// timed returns the nanoseconds that each of n operations takes.
func (o *options) timed(n int, f func() uint64) (ns float64, check uint64) {
	if o.cpu {
		start := workload.ProcessorTime()
		check = f()
		return float64(workload.ProcessorTime()-start) / float64(n), check
	}
	start := time.Now()
	check = f()
	return float64(time.Since(start).Nanoseconds()) / float64(n), check
}

// tables are a Map and a Go map with the same n entries: the value of key(i) is key(i+1), that of the last the first.
type tables struct {
	n      int
	arena  *arena.Arena
	ours   *ours
	theirs theirs
	asked  []uint64 // keys that are there, at random
	values []uint64 // theirs
	missed []uint64 // keys that are not there
	from   [2]uint64
}

// shared has the tables of the last row, which the next one uses if it wants as many entries.
var shared *tables

// both makes a row with tables of n entries.
func both(n int, what func(o *options, t *tables) (a, b func() (float64, uint64))) func(o *options) pair {
	return func(o *options) (p pair) {
		if shared == nil || shared.n != n {
			unshare()
			shared = newTables(o, n)
		}
		p.ours, p.theirs = what(o, shared)
		return p
	}
}

// lastOf makes the row the last one of its tables, because it changes the keys.
func lastOf(open func(o *options) pair) func(o *options) pair {
	return func(o *options) pair {
		p := open(o)
		p.close = unshare
		return p
	}
}

// unshare frees the shared tables.
func unshare() {
	if shared != nil {
		shared.arena.Close()
		shared = nil
	}
}

func newTables(o *options, n int) *tables {
	a := openArena(o)
	t := &tables{n: n, arena: a, ours: table.NewMap[uint64, uint64](a, 0), theirs: theirs{}}
	fillOurs(t.ours, 0, uint64(n))
	fillTheirs(t.theirs, 0, uint64(n))
	last := uint64(n) - 1
	t.ours.Put(key(last), key(0))
	t.theirs[key(last)] = key(0)
	random := rand.New(rand.NewPCG(1, uint64(n)))
	for range o.steps(n) {
		i := random.Uint64N(uint64(n))
		t.asked = append(t.asked, key(i))
		t.values = append(t.values, key((i+1)%uint64(n)))
		t.missed = append(t.missed, key(1<<40+i))
	}
	return t
}

func get(o *options, t *tables) (a, b func() (float64, uint64)) {
	return func() (float64, uint64) {
			return o.timed(len(t.asked), func() uint64 { return getOurs(t.ours, t.asked) })
		},
		func() (float64, uint64) {
			return o.timed(len(t.asked), func() uint64 { return getTheirs(t.theirs, t.asked) })
		}
}

// batch compares GetBatch with Get.
func batch(o *options, t *tables) (a, b func() (float64, uint64)) {
	return func() (float64, uint64) {
			return o.timed(len(t.asked), func() uint64 { return batchOurs(t.ours, t.asked) })
		},
		func() (float64, uint64) {
			return o.timed(len(t.asked), func() uint64 { return getOurs(t.ours, t.asked) })
		}
}

func miss(o *options, t *tables) (a, b func() (float64, uint64)) {
	return func() (float64, uint64) {
			return o.timed(len(t.missed), func() uint64 { return getOurs(t.ours, t.missed) })
		},
		func() (float64, uint64) {
			return o.timed(len(t.missed), func() uint64 { return getTheirs(t.theirs, t.missed) })
		}
}

func follow(o *options, t *tables) (a, b func() (float64, uint64)) {
	steps := len(t.asked) / 4
	k := [2]uint64{t.asked[0], t.asked[0]}
	return func() (float64, uint64) {
			ns, check := o.timed(steps, func() uint64 { return followOurs(t.ours, k[0], steps) })
			k[0] = check
			return ns, check
		}, func() (float64, uint64) {
			ns, check := o.timed(steps, func() uint64 { return followTheirs(t.theirs, k[1], steps) })
			k[1] = check
			return ns, check
		}
}

func put(o *options, t *tables) (a, b func() (float64, uint64)) {
	return func() (float64, uint64) {
			return o.timed(len(t.asked), func() uint64 { putOurs(t.ours, t.asked, t.values); return uint64(t.ours.Len()) })
		}, func() (float64, uint64) {
			return o.timed(len(t.asked), func() uint64 { putTheirs(t.theirs, t.asked, t.values); return uint64(len(t.theirs)) })
		}
}

func churn(o *options, t *tables) (a, b func() (float64, uint64)) {
	return func() (float64, uint64) {
			return o.timed(len(t.asked), func() uint64 { churnOurs(t.ours, t.asked, t.values); return uint64(t.ours.Len()) })
		}, func() (float64, uint64) {
			return o.timed(len(t.asked), func() uint64 { churnTheirs(t.theirs, t.asked, t.values); return uint64(len(t.theirs)) })
		}
}

func replace(o *options, t *tables) (a, b func() (float64, uint64)) {
	steps := uint64(len(t.asked) / 2)
	run := func(side int, f func(from uint64) uint64) func() (float64, uint64) {
		return func() (float64, uint64) {
			ns, check := o.timed(int(steps), func() uint64 { return f(t.from[side]) })
			t.from[side] += steps
			return ns, check
		}
	}
	return run(0, func(from uint64) uint64 { replaceOurs(t.ours, from, steps, uint64(t.n)); return uint64(t.ours.Len()) }),
		run(1, func(from uint64) uint64 {
			replaceTheirs(t.theirs, from, steps, uint64(t.n))
			return uint64(len(t.theirs))
		})
}

func iterate(o *options, t *tables) (a, b func() (float64, uint64)) {
	return func() (float64, uint64) { return o.timed(t.n, func() uint64 { return iterateOurs(t.ours) }) },
		func() (float64, uint64) { return o.timed(t.n, func() uint64 { return iterateTheirs(t.theirs) }) }
}

// fill makes a row that fills empty tables. Our memory was used before, as that of the Go heap is after the first
// round.
func fill(n int, hint bool) func(o *options) pair {
	return func(o *options) pair {
		a := openArena(o)
		room := 0
		if hint {
			room = n
		}
		return pair{
			ours: func() (float64, uint64) {
				a.Reset()
				return o.timed(n, func() uint64 {
					m := table.NewMap[uint64, uint64](a, room)
					fillOurs(m, 0, uint64(n))
					return uint64(m.Len())
				})
			},
			theirs: func() (float64, uint64) {
				runtime.GC()
				return o.timed(n, func() uint64 {
					m := make(theirs, room)
					fillTheirs(m, 0, uint64(n))
					return uint64(len(m))
				})
			},
			close: func() { a.Close() },
		}
	}
}

func wideKeyOf(i uint64) (k wideKey) {
	binary.LittleEndian.PutUint64(k[:], key(i))
	binary.LittleEndian.PutUint64(k[8:], key(i+1<<50))
	return k
}

func wideRow(n int) func(o *options) pair {
	return func(o *options) pair {
		a := openArena(o)
		m, g := table.NewMap[wideKey, wideValue](a, 0), wideTheirs{}
		for i := range uint64(n) {
			m.Put(wideKeyOf(i), wideValue{byte(i)})
			g[wideKeyOf(i)] = wideValue{byte(i)}
		}
		asked := make([]wideKey, o.steps(n))
		random := rand.New(rand.NewPCG(1, uint64(n)))
		for i := range asked {
			asked[i] = wideKeyOf(random.Uint64N(uint64(n)))
		}
		return pair{
			ours:   func() (float64, uint64) { return o.timed(len(asked), func() uint64 { return mixOurs(m, asked) }) },
			theirs: func() (float64, uint64) { return o.timed(len(asked), func() uint64 { return mixTheirs(g, asked) }) },
			close:  func() { a.Close() },
		}
	}
}

// stringsRow makes a row with n strings of 8 to 24 bytes. The strings that are asked for are copies, made after all keys: a copy that is made
// beside its key lies in one cache line with it, and the search in Go's map would find the key's bytes in the cache.
func stringsRow(n int, a func(m *stringsOurs, asked []string) uint64, b func(m stringsTheirs, asked []string) uint64) func(o *options) pair {
	return func(o *options) pair {
		text := func(i uint64) string { return fmt.Sprintf("%0*d", 8+int(i%17), key(i)>>37) }
		in := openArena(o)
		m, g := table.NewStrings[uint64](in, 0), stringsTheirs{}
		asked := make([]string, n)
		for i := range uint64(n) {
			k := text(i)
			m.Put(k, i)
			g[k] = i
		}
		for i, j := range rand.New(rand.NewPCG(1, uint64(n))).Perm(n) {
			asked[i] = text(uint64(j))
		}
		return pair{
			ours:   func() (float64, uint64) { return o.timed(n, func() uint64 { return a(m, asked) }) },
			theirs: func() (float64, uint64) { return o.timed(n, func() uint64 { return b(g, asked) }) },
			close:  func() { in.Close() },
		}
	}
}

// memory makes tables grow, and returns how many times the bytes of their entries they take at most.
func memory(o *options) pair {
	return pair{
		ours: func() (worst float64, _ uint64) {
			a := openArena(o)
			defer a.Close()
			m := table.NewMap[uint64, uint64](a, 0)
			for n := uint64(1); n <= 3_000_000; n++ {
				m.Put(key(n), n)
				if n >= 100_000 && n%101 == 0 {
					worst = max(worst, float64(a.Stats().Live)/float64(16*n))
				}
			}
			return worst, 0
		},
		theirs: func() (worst float64, _ uint64) {
			before := heap()
			m := theirs{}
			for n, next := uint64(1), uint64(100_000); n <= 3_000_000; n++ {
				m[key(n)] = n
				if n == next {
					worst = max(worst, float64(heap()-before)/float64(16*n))
					next += next / 20
				}
			}
			runtime.KeepAlive(m)
			return worst, 0
		},
	}
}

// heap returns the bytes of live Go objects.
func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func popping(n int) func(o *options) pair {
	return func(o *options) pair {
		a := openArena(o)
		return pair{
			ours: func() (float64, uint64) {
				a.Reset()
				m := table.NewMap[uint64, uint64](a, 0)
				fillOurs(m, 0, uint64(n))
				return o.timed(n, func() uint64 { return popOurs(m) })
			},
			theirs: func() (float64, uint64) {
				m := theirs{}
				fillTheirs(m, 0, uint64(n))
				return o.timed(n, func() uint64 { return popTheirs(m) })
			},
			close: func() { a.Close() },
		}
	}
}

// turnedOver compares a table after ten turnovers with a fresh one of the same size.
func turnedOver(entries int, order, what string) func(o *options) pair {
	return func(o *options) pair {
		n := uint64(entries)
		a := openArena(o)
		p := pair{close: func() { a.Close() }}
		old, fresh := table.NewMap[uint64, uint64](a, 0), table.NewMap[uint64, uint64](a, 0)
		fillOurs(old, 0, n)
		next, end := n, 11*n
		start := time.Now()
		random := rand.New(rand.NewPCG(1, n))
		present := make([]uint64, n) // numbers of the keys that are there
		for i := range present {
			present[i] = uint64(i)
		}
		insert := func() bool {
			old.Put(key(next), next)
			next++
			if next&255 == 0 && time.Since(start) > o.patience {
				p.note = fmt.Sprintf("%.2f turnovers took too long", float64(next-n)/float64(n))
				end = next
			}
			return next < end
		}
		for next < end {
			switch order {
			case "iteration":
				for k := range old.All() {
					if old.Delete(k); !insert() {
						break
					}
				}
				continue
			case "popping":
				for k := range old.All() {
					old.Delete(k)
					break
				}
			case "oldest first":
				old.Delete(key(next - n))
			case "newest first":
				old.Delete(key(next/n*n - 1 - next%n))
			case "random":
				i := random.Uint64N(n)
				old.Delete(key(present[i]))
				present[i] = next
			}
			insert()
		}
		// Both get the same numbers of keys; the fresh one has the same entries.
		keys := make([]uint64, 0, n)
		for k, v := range old.All() {
			fresh.Put(k, v)
			keys = append(keys, k)
		}
		random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		if p.note != "" {
			keys = keys[:len(keys)/100] // so slow a table need not be measured well
		}
		side := func(m *ours) func() (float64, uint64) {
			switch what {
			case "get":
				return func() (float64, uint64) { return o.timed(len(keys), func() uint64 { return getOurs(m, keys) }) }
			case "miss":
				missed := make([]uint64, len(keys))
				for i := range missed {
					missed[i] = key(1<<40 + uint64(i))
				}
				return func() (float64, uint64) { return o.timed(len(missed), func() uint64 { return getOurs(m, missed) }) }
			}
			// Each run replaces a sixteenth of the entries, so that the fresh table stays fresh for a while.
			at, fresher := 0, uint64(1)<<41
			return func() (float64, uint64) {
				steps := len(keys) / 16
				if at+steps > len(keys) {
					at = 0
				}
				gone := keys[at : at+steps]
				at += steps
				ns, check := o.timed(steps, func() uint64 {
					for _, k := range gone {
						m.Delete(k)
						m.Put(key(fresher), 0)
						fresher++
					}
					return uint64(m.Len())
				})
				return ns, check
			}
		}
		p.ours, p.theirs = side(old), side(fresh)
		return p
	}
}
