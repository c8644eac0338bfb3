package allocbench

import (
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// fleetTable is how often the programs of a fleet ask for objects of each size, and how many of
// them are live on average: a line of size,alloc_rate,num_live for each size, in any units.
type fleetTable struct {
	sizes []int
	rates []float64 // at which they are allocated
	lives []float64 // how many there are
}

const (
	fleetHeader = "size,alloc_rate,num_live"
	fleetCap    = 1 << 20 // larger objects are left out
)

func readFleetTable(name string) (t fleetTable, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return t, err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if lines[0] != fleetHeader {
		return t, fmt.Errorf("%s: the first line is %q, want %s", name, lines[0], fleetHeader)
	}
	for i, line := range lines[1:] {
		size, rest, _ := strings.Cut(line, ",")
		rate, live, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(size)
		a, err2 := strconv.ParseFloat(rate, 64)
		l, err3 := strconv.ParseFloat(live, 64)
		if err != nil || err2 != nil || err3 != nil || n <= 0 || !(a > 0 && l > 0) {
			return t, fmt.Errorf("%s: line %d: %q is not %s, all above zero", name, i+2, line, fleetHeader)
		}
		if n <= fleetCap {
			t.sizes, t.rates, t.lives = append(t.sizes, n), append(t.rates, a), append(t.lives, l)
		}
	}
	switch n := len(t.sizes); {
	case n == 0:
		return t, fmt.Errorf("%s: there is no size up to %d", name, fleetCap)
	case n >= tallyKinds:
		return t, fmt.Errorf("%s: %d sizes are more than %d", name, n, tallyKinds-1)
	}
	return t, nil
}

// fleetEvent is an allocation or a free: a slot of the harness in the high half, in the low one the
// size, 0 for a free.
type fleetEvent uint64

// fleetPlan is what will be done, decided in full before the clock starts.
type fleetPlan struct {
	fill   []fleetEvent
	steady []fleetEvent
	slots  int
	state  workload.Random // at the end
}

// planFleet draws objects by what is live until no more fit into so many bytes, then draws as many
// as there are operations by the rates, and lets objects die before each until it fits.
//
// An object dies by chance, whatever its age: one of a size is as likely to be next as the rate of
// the size over its number says, so the mean lifetime of a size is what the table says.
func planFleet(t fleetTable, live, ops int) *fleetPlan {
	deathOf := make([]float64, len(t.sizes))
	for i := range deathOf {
		deathOf[i] = t.rates[i] / t.lives[i]
	}
	p := &fleetPlan{state: 5000}
	var births, arrivals, deaths tally
	weights := fleetWeights(deathOf)
	for i, w := range fleetWeights(t.lives) {
		births.add(i, w)
	}
	for i, w := range fleetWeights(t.rates) {
		arrivals.add(i, w)
	}
	members := make([][]uint32, len(t.sizes)) // the slots of the objects of each size
	var vacant []uint32
	bytes := 0
	begin := func(kind int) fleetEvent {
		if len(vacant) == 0 {
			vacant = append(vacant, uint32(p.slots))
			p.slots++
		}
		slot := vacant[len(vacant)-1]
		vacant = vacant[:len(vacant)-1]
		members[kind] = append(members[kind], slot)
		deaths.add(kind, weights[kind])
		bytes += t.sizes[kind]
		return fleetEvent(slot)<<32 | fleetEvent(t.sizes[kind])
	}
	end := func() fleetEvent {
		kind := deaths.draw(p.state.Next())
		of := members[kind]
		i := workload.Below(p.state.Next(), len(of))
		slot := of[i]
		of[i] = of[len(of)-1]
		members[kind] = of[:len(of)-1]
		vacant = append(vacant, slot)
		deaths.add(kind, -weights[kind])
		bytes -= t.sizes[kind]
		return fleetEvent(slot) << 32
	}
	for {
		kind := births.draw(p.state.Next())
		if bytes+t.sizes[kind] > live {
			break
		}
		p.fill = append(p.fill, begin(kind))
	}
	for range ops {
		kind := arrivals.draw(p.state.Next())
		for bytes+t.sizes[kind] > live {
			p.steady = append(p.steady, end())
		}
		p.steady = append(p.steady, begin(kind))
	}
	return p
}

// fleetWeights scales weights to whole numbers of up to 2^40, the same on every machine, so that
// two to the 22 objects have a sum.
func fleetWeights(values []float64) []uint64 {
	most := slices.Max(values)
	weights := make([]uint64, len(values))
	for i, v := range values {
		weights[i] = 1 + uint64(v/most*(1<<40))
	}
	return weights
}

const tallyKinds = 2048 // room for so many, less one; a power of two

// tally draws by weights that change: a Fenwick tree.
type tally struct {
	sums  [tallyKinds + 1]uint64
	total uint64
}

// add adds to the weight of a kind; a weight below zero, as two's complement, is subtracted.
func (t *tally) add(kind int, weight uint64) {
	for i := kind + 1; i <= tallyKinds; i += i & -i {
		t.sums[i] += weight
	}
	t.total += weight
}

// draw returns the kind that r stands for.
func (t *tally) draw(r uint64) (kind int) {
	at, _ := bits.Mul64(r, t.total) // r scaled to [0, total)
	for step := tallyKinds / 2; step > 0; step /= 2 {
		if sum := t.sums[kind+step]; sum <= at {
			kind += step
			at -= sum
		}
	}
	return kind
}
