package allocbench

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
)

// sharedInputs has published tables, on machines that have them.
const sharedInputs = "../../../../../shared"

// smallFleet is a table with a size that is left out, and one so rare that there is rarely an object of it.
const smallFleet = fleetHeader + "\n1,100,10\n24,1000.5,300\n100,250,400.25\n5000,10,20\n300000,0.1,0.05\n2000000,1,1\n"

func writeFleetTable(t *testing.T, text string) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "table.csv")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// fleetProof has the check values of a run, as bench/c/fleet printed them for the same table, bytes and
// operations.
type fleetProof struct{ state, sum uint64 }

func proveFleet(t *testing.T, table string, live, ops int, want fleetProof) {
	t.Helper()
	sizes, err := readFleetTable(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []allocators.Kind{allocators.Go, allocators.Heap, allocators.Local, allocators.Zero, allocators.ZeroLocal} {
		f, err := measureFleet(kind, sizes, live, ops, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		if got := (fleetProof{f.State, f.Sum}); got != want {
			t.Errorf("%s of %s: %x, want %x", kind, filepath.Base(table), got, want)
		}
		if f.LiveMB > float64(live)/1e6 || f.LiveMB < 0.9*float64(live)/1e6 || f.NsFill <= 0 || f.NsOp <= 0 {
			t.Errorf("%s of %s: %+v", kind, filepath.Base(table), f)
		}
	}
}

func TestFleet(t *testing.T) {
	proveFleet(t, writeFleetTable(t, smallFleet), 4_000_000, 50_000, fleetProof{0x72b38379a4ac83f5, 12820400})
	if _, err := measureFleet("none", fleetTable{[]int{8}, []float64{1}, []float64{1}}, 1000, 10, func(int) {}); err == nil {
		t.Error("an allocator that there is not")
	}
	empty := t.TempDir()
	if err := MeasureFleet("heap", empty, func(string, int, int) {}, func(Fleet) {}); err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("a folder without tables: %v", err)
	}
}

// TestFleetTables runs short forms with the published tables.
func TestFleetTables(t *testing.T) {
	dir := filepath.Join(sharedInputs, "inputs/size-dist/fleetbench-2022")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the published tables are not here: ../shared/inputs/size-dist/fleetbench-2022")
	}
	for number, want := range map[int]fleetProof{
		1: {0xda8f687bb6809c2b, 72078131},
		2: {0xecd1d3dfb05e277d, 41874415},
		3: {0xa5b8a081bf9f073c, 79198417},
		6: {0x721decf09a961c72, 123264058},
		9: {0x589ce727be7ebaf6, 73370176},
	} {
		proveFleet(t, filepath.Join(dir, fmt.Sprintf("tcmalloc_%d.csv", number)), 16<<20, 100_000, want)
	}
}

// TestFleetPlan follows the events of a plan: it frees live objects only, it stays within its bytes, and
// sizes come as often and live as long as the table says.
func TestFleetPlan(t *testing.T) {
	// Not with the rare large size: such an object stops all others from dying for a while.
	table, err := readFleetTable(writeFleetTable(t, strings.Replace(smallFleet, "300000,0.1,0.05\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if len(table.sizes) != 4 {
		t.Fatalf("sizes %v", table.sizes)
	}
	const limit, ops = 4_000_000, 1_000_000
	p := planFleet(table, limit, ops)
	type object struct{ size, born int }
	live := make([]object, p.slots)
	born, died, aged, bytes, now := map[int]int{}, map[int]int{}, map[int]int{}, 0, 0
	follow := func(events []fleetEvent) {
		for _, e := range events {
			o, size := &live[e>>32], int(uint32(e))
			if (o.size == 0) == (size == 0) {
				t.Fatalf("event %x meets an object of %d bytes", e, o.size)
			}
			bytes += size - o.size
			if bytes > limit {
				t.Fatalf("%d bytes are live", bytes)
			}
			if size == 0 {
				died[o.size]++
				aged[o.size] += now - o.born
			} else {
				born[size]++
				now++
			}
			*o = object{size, now}
		}
	}
	about := func(what string, size int, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want/10 {
			t.Errorf("%s of size %d: %.4g, want about %.4g", what, size, got, want)
		}
	}
	sum := func(values []float64) (sum float64) {
		for _, v := range values {
			sum += v
		}
		return sum
	}
	follow(p.fill)
	filled := len(p.fill)
	for i, size := range table.sizes[1:4] { // there are enough of these to count
		about("filled", size, float64(born[size])/float64(filled), table.lives[1+i]/sum(table.lives))
	}
	clear(born)
	follow(p.steady)
	for i, size := range table.sizes[:4] {
		about("born", size, float64(born[size])/ops, table.rates[i]/sum(table.rates))
	}
	lifetime := func(i int) float64 { return float64(aged[table.sizes[i]]) / float64(died[table.sizes[i]]) }
	for i := range 3 { // the last ones live too long to count
		about("lifetime", table.sizes[i], lifetime(i)/lifetime(1), table.lives[i]/table.rates[i]/(table.lives[1]/table.rates[1]))
	}
}

func TestReadFleetTable(t *testing.T) {
	for text, want := range map[string]string{
		"1,2,3\n":                                           "the first line",
		fleetHeader + "\n8,1,1\n16,1\n":                     "line 3",
		fleetHeader + "\n8,1,x\n":                           "line 2",
		fleetHeader + "\n0,1,1\n":                           "line 2",
		fleetHeader + "\n8,0,1\n":                           "line 2",
		fleetHeader + "\n2000000,1,1\n":                     "no size up to",
		fleetHeader + strings.Repeat("\n8,1,1", tallySizes): "more than",
	} {
		if _, err := readFleetTable(writeFleetTable(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}
