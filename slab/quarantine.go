package slab

import (
	"cmp"
	"math/bits"
	mathrand "math/rand/v2"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// quarantine withholds freed slots from reuse. A slot waits first at a random place of items, until another
// slot draws that place, and then in a queue. So nobody can predict when it comes back, and it does not
// come back before as many others were freed as the queue is long.
type quarantine struct {
	items []slots.Item
	queue []slots.Item // a ring once it is full
	next  int          // the oldest slot of the ring
}

const (
	withheldBytes = 16 << 10 // of a class, for items and for queue each: they should fit into CPU caches
	maxWithheld   = 512      // slots
)

// minMixed is the minimum of slots in a quarantine from which slots are handed out in the order in which
// they leave. With fewer, they return to their slabs and are picked there at random: that costs more, but
// little compared to the poison of such large slots.
const minMixed = 4

// mixedBatches returns the number of batches that a depot may hold now: one, so that none lies below others
// for long; and one time in 16 none, so that slots in slabs take part, too, and writes to them are found
// sooner. To return all slots to their slabs would take 70 ns more for each object.
func mixedBatches(c uint8) int {
	if withheldSlots(c) >= minMixed && mathrand.Uint32N(16) > 0 {
		return 1
	}
	return 0
}

// withheldSlots returns the number of slots of a class in items, and in the queue, of a full quarantine.
func withheldSlots(c uint8) int {
	return max(min(withheldBytes/int(sizeclass.Table[c].Pitch), maxWithheld), 1)
}

// fill adds slots until the quarantine is full, and returns how many it took.
func (q *quarantine) fill(items []slots.Item, most int) (n int) {
	for n < len(items) && len(q.queue) < most {
		it := items[n]
		if len(q.items) < most {
			q.items = append(q.items, it)
		} else {
			i := mathrand.IntN(most)
			it, q.items[i] = q.items[i], it
			q.queue = append(q.queue, it)
		}
		n++
	}
	return n
}

// swap adds slots to a full quarantine, and puts those that leave for them into out, which may be items
// itself. One unpredictable number serves all of them, which saves a tenth of the time of Alloc and Free.
func (q *quarantine) swap(items, out []slots.Item) (n int) {
	random := mathrand.Uint64()
	places, queue, next := q.items, q.queue, q.next
	for _, it := range items {
		random = random*0x5851F42D4C957F2D + 0x14057B7EF767814F // Knuth's, see mathrand.PCG
		i, _ := bits.Mul64(random, uint64(len(places)))
		it, places[i] = places[i], it
		out[n], queue[next] = queue[next], it
		n++
		if next++; next == len(queue) {
			next = 0
		}
	}
	q.next = next
	return n
}

// withhold puts slots of a class into quarantine, and returns in the same place those that leave it instead.
func (q *quarantine) withhold(c uint8, items []slots.Item) (left []slots.Item) {
	return items[:q.swap(items[q.fill(items, withheldSlots(c)):], items)]
}

func (q *quarantine) len() int { return len(q.items) + len(q.queue) }

// release returns the slots of a class that are in quarantine to their slabs.
func (h *Heap) release(c uint8) (bad *guard.Violation) {
	d := &h.depots[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.withheld.len() == 0 || h.closed.Load() {
		return nil
	}
	bad = cmp.Or(h.returnToSlabs(c, d, d.withheld.items), h.returnToSlabs(c, d, d.withheld.queue))
	d.withheld = quarantine{}
	return bad
}
