//go:build race

package table

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/internal/race"
)

// call is one call of a method.
type call[T any] struct {
	name string
	do   func(m T)
}

func ignore[K, V any](K, V) bool { return true }
func ignoreOne[K any](K) bool    { return true }

var (
	mapReads = []call[*Map[int, int]]{
		{"Get", func(m *Map[int, int]) { m.Get(1) }},
		{"Lookup", func(m *Map[int, int]) { m.Lookup(1) }},
		{"Len", func(m *Map[int, int]) { m.Len() }},
		{"GetHashed", func(m *Map[int, int]) { m.GetHashed(m.HashOf(1), 1) }},
		{"GetBatch", func(m *Map[int, int]) { m.GetBatch([]int{1}, []int{0}, nil) }},
		{"All", func(m *Map[int, int]) { m.All()(ignore) }},
		{"Keys", func(m *Map[int, int]) { m.Keys()(ignoreOne) }},
		{"Values", func(m *Map[int, int]) { m.Values()(ignoreOne) }},
		{"Scan", func(m *Map[int, int]) { m.Scan(new(Cursor), 1)(ignore) }},
		{"Sample", func(m *Map[int, int]) { m.Sample(1)(ignore) }},
	}
	mapWrites = []call[*Map[int, int]]{
		{"Put", func(m *Map[int, int]) { m.Put(1, 1) }},
		{"Put of another key", func(m *Map[int, int]) { m.Put(2, 1) }},
		{"TryPut", func(m *Map[int, int]) { m.TryPut(1, 1) }},
		{"Entry", func(m *Map[int, int]) { m.Entry(1) }},
		{"TryEntry", func(m *Map[int, int]) { m.TryEntry(1) }},
		{"Add", func(m *Map[int, int]) { m.Add(1, 1) }},
		{"TryAdd", func(m *Map[int, int]) { m.TryAdd(1, 1) }},
		{"Delete", func(m *Map[int, int]) { m.Delete(2) }},
		{"Clear", func(m *Map[int, int]) { m.Clear() }},
		{"Shrink", func(m *Map[int, int]) { m.Shrink() }},
		{"Reset of the arena", func(m *Map[int, int]) { m.arena.Reset() }},
	}
	stringsReads = []call[*Strings[int]]{
		{"Get", func(m *Strings[int]) { m.Get("1") }},
		{"GetBytes", func(m *Strings[int]) { m.GetBytes([]byte("1")) }},
		{"Lookup", func(m *Strings[int]) { m.Lookup("1") }},
		{"LookupBytes", func(m *Strings[int]) { m.LookupBytes([]byte("1")) }},
		{"GetHashed", func(m *Strings[int]) { m.GetHashed(m.HashOf("1"), "1") }},
		{"GetHashedBytes", func(m *Strings[int]) { m.GetHashedBytes(m.HashOfBytes([]byte("1")), []byte("1")) }},
		{"Len", func(m *Strings[int]) { m.Len() }},
		{"All", func(m *Strings[int]) { m.All()(ignore) }},
		{"Keys", func(m *Strings[int]) { m.Keys()(ignoreOne) }},
		{"Values", func(m *Strings[int]) { m.Values()(ignoreOne) }},
		{"Scan", func(m *Strings[int]) { m.Scan(new(Cursor), 1)(ignore) }},
		{"Sample", func(m *Strings[int]) { m.Sample(1)(ignore) }},
	}
	stringsWrites = []call[*Strings[int]]{
		{"Put", func(m *Strings[int]) { m.Put("1", 1) }},
		{"PutBytes", func(m *Strings[int]) { m.PutBytes([]byte("2"), 1) }},
		{"TryPut", func(m *Strings[int]) { m.TryPut("1", 1) }},
		{"TryPutBytes", func(m *Strings[int]) { m.TryPutBytes([]byte("1"), 1) }},
		{"Entry", func(m *Strings[int]) { m.Entry("1") }},
		{"EntryBytes", func(m *Strings[int]) { m.EntryBytes([]byte("1")) }},
		{"TryEntry", func(m *Strings[int]) { m.TryEntry("1") }},
		{"TryEntryBytes", func(m *Strings[int]) { m.TryEntryBytes([]byte("1")) }},
		{"Add", func(m *Strings[int]) { m.Add("1", 1) }},
		{"AddBytes", func(m *Strings[int]) { m.AddBytes([]byte("1"), 1) }},
		{"TryAdd", func(m *Strings[int]) { m.TryAdd("1", 1) }},
		{"TryAddBytes", func(m *Strings[int]) { m.TryAddBytes([]byte("1"), 1) }},
		{"Delete", func(m *Strings[int]) { m.Delete("1") }},
		{"DeleteBytes", func(m *Strings[int]) { m.DeleteBytes([]byte("1")) }},
		{"Clear", func(m *Strings[int]) { m.Clear() }},
		{"Shrink", func(m *Strings[int]) { m.Shrink() }},
	}
)

// TestRacesAreReported lets two goroutines use a table, in a process of its own. The race detector must report a change that is not
// ordered with another call, and nothing else. The calls come one after another in truth, so that they do no harm.
func TestRacesAreReported(t *testing.T) {
	const asked = "OFFHEAP_TEST_TABLE_RACE"
	if os.Getenv(asked) != "" {
		mapRaces := racesOf(func(a *arena.Arena, attached bool) (m, other *Map[int, int]) {
			m = NewMap[int, int](a, 0)
			m.Put(1, 1)
			if other = m; attached {
				other = must(Attach[int, int](a, m.Ref()))
			}
			return m, other
		}, mapReads, mapWrites)
		stringsRaces := racesOf(func(a *arena.Arena, attached bool) (m, other *Strings[int]) {
			m = NewStrings[int](a, 0)
			m.Put("1", 1)
			if other = m; attached {
				other = must(AttachStrings[int](a, m.Ref()))
			}
			return m, other
		}, stringsReads, stringsWrites)
		fmt.Print("wrong: ", append(mapRaces, stringsRaces...), "\n")
		return
	}
	c := exec.Command(os.Args[0], "-test.run=^TestRacesAreReported$")
	// With the garbage collector running, the detector misses a race now and then: a quarter of the runs missed one.
	c.Env = append(os.Environ(), asked+"=1", "GORACE=atexit_sleep_ms=0", "GOGC=off")
	out, err := c.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("\nwrong: []\n")) {
		_, wrong, _ := strings.Cut(string(out), "\nwrong: ")
		t.Errorf("%v\nwrong: %s", err, wrong)
	}
	for _, of := range []string{"Map[", "Strings["} {
		if !bytes.Contains(out, []byte("table.(*"+of)) {
			t.Errorf("no report names a method of %s…]", of)
		}
	}
}

// racesOf lets two goroutines make each pair of calls, once without order and once in order. Half of the pairs are on two Maps that are
// attached to one table. It returns the pairs for which the detector was wrong.
func racesOf[T any](open func(a *arena.Arena, attached bool) (m, other T), reads, writes []call[T]) (wrong []string) {
	all := slices.Concat(reads, writes)
	for i, f := range all {
		for j, g := range all {
			for _, ordered := range []bool{false, true} {
				told := race.Unseen // how one goroutine tells the other that it is done
				if ordered {
					told = func(f func()) { f() }
				}
				before := race.Errors()
				a := must(arena.Open(arena.Config{}))
				m, other := open(a, (i+j)%2 == 1)
				done := make(chan bool)
				go func() {
					f.do(m)
					told(func() { close(done) })
				}()
				told(func() { <-done })
				panicOf(func() { g.do(other) }) // after a Reset
				if got, want := race.Errors() > before, !ordered && (i >= len(reads) || j >= len(reads)); got != want {
					wrong = append(wrong, fmt.Sprintf("%s and then %s, ordered %v: reported %v\n", f.name, g.name, ordered, got))
				}
				a.Close()
			}
		}
	}
	return wrong
}
