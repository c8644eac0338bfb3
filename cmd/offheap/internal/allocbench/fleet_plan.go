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

// fleetTable says how often the programs of a fleet allocate objects of each size, and how many of them
// are live on average. Its file has a line of size,alloc_rate,num_live for each size; the units of the
// last two do not matter.
type fleetTable struct {
	sizes []int
	rates []float64 // of allocation
	lives []float64 // average numbers
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
	case n >= tallySizes:
		return t, fmt.Errorf("%s: %d sizes are more than %d", name, n, tallySizes-1)
	}
	return t, nil
}

// fleetEvent is an allocation or a free. The high half is the slot of the harness that names the object,
// the low half the size; 0 for a free.
type fleetEvent uint64

// fleetPlan has all events. It is complete before the clock starts.
type fleetPlan struct {
	fill   []fleetEvent
	steady []fleetEvent
	slots  int
	state  workload.Random // at the end
}

// planFleet makes a plan in two parts. The first draws objects by the average numbers until the next
// does not fit into live bytes. The second draws ops objects by the rates, and lets objects die before
// each until it fits.
//
// An object dies by chance, at any age. The chance of a size is its rate over its average number, so
// its mean lifetime is the one that the table implies.
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
	allocate := func(index int) fleetEvent {
		if len(vacant) == 0 {
			vacant = append(vacant, uint32(p.slots))
			p.slots++
		}
		slot := vacant[len(vacant)-1]
		vacant = vacant[:len(vacant)-1]
		members[index] = append(members[index], slot)
		deaths.add(index, weights[index])
		bytes += t.sizes[index]
		return fleetEvent(slot)<<32 | fleetEvent(t.sizes[index])
	}
	release := func() fleetEvent {
		index := deaths.draw(p.state.Next())
		of := members[index]
		i := workload.Below(p.state.Next(), len(of))
		slot := of[i]
		of[i] = of[len(of)-1]
		members[index] = of[:len(of)-1]
		vacant = append(vacant, slot)
		deaths.add(index, -weights[index])
		bytes -= t.sizes[index]
		return fleetEvent(slot) << 32
	}
	for {
		index := births.draw(p.state.Next())
		if bytes+t.sizes[index] > live {
			break
		}
		p.fill = append(p.fill, allocate(index))
	}
	for range ops {
		index := arrivals.draw(p.state.Next())
		for bytes+t.sizes[index] > live {
			p.steady = append(p.steady, release())
		}
		p.steady = append(p.steady, allocate(index))
	}
	return p
}

// fleetWeights scales values to whole numbers from 1 to 2^40, the same on every machine. The weights of
// 2^22 objects add up in 64 bits.
func fleetWeights(values []float64) []uint64 {
	most := slices.Max(values)
	weights := make([]uint64, len(values))
	for i, v := range values {
		weights[i] = 1 + uint64(v/most*(1<<40))
	}
	return weights
}

const tallySizes = 2048 // one more than the sizes that a table may have; a power of two

// tally draws sizes by weights that change. It is a Fenwick tree.
type tally struct {
	sums  [tallySizes + 1]uint64
	total uint64
}

// add adds to the weight of the size at an index. To subtract, pass the two's complement.
func (t *tally) add(index int, weight uint64) {
	for i := index + 1; i <= tallySizes; i += i & -i {
		t.sums[i] += weight
	}
	t.total += weight
}

// draw returns the index of the size that the random number r selects.
func (t *tally) draw(r uint64) (index int) {
	at, _ := bits.Mul64(r, t.total) // r scaled to [0, total)
	for step := tallySizes / 2; step > 0; step /= 2 {
		if sum := t.sums[index+step]; sum <= at {
			index += step
			at -= sum
		}
	}
	return index
}
