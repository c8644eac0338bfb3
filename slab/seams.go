package slab

import (
	"fmt"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// seams counts where committed units end beside others that are not, in all heaps of the process:
// each is one mapping more, of those that the process may hold. When there are no more left the Go
// runtime dies, so heaps leave it half.
var seams atomic.Int64

// mostSeams is what heaps may have of them. Tests have less.
var mostSeams = int64(vm.Probe().Mappings() / 2)

// added is how many more seams there are when units are committed none of which was; and as many
// less when they are decommitted.
func (s *space) added(first, n int) int {
	return 2 - 2*b2i(s.committed(first-1)) - 2*b2i(s.committed(first+n))
}

// committed tells whether a unit beside others is committed. Where guards are not, one is on either
// side of each slab.
func (s *space) committed(u int) bool {
	return u >= 0 && u < s.cold.n && !s.cold.has(u) && (s.marked || s.guards == 0)
}

// mayAdd refuses more seams where there are too many.
func (s *space) mayAdd(n int) error {
	if now := seams.Load(); n > 0 && now+int64(n) > mostSeams {
		return fmt.Errorf("%q: its memory and that of other heaps is in %d mappings, and the process may hold %d (vm.max_map_count), half of which is left to others: %w",
			s.region.Name(), now, vm.Probe().MaxMappings, guard.ErrNoMemory)
	}
	return nil
}

func (s *space) count(more int) {
	s.seams += more
	seams.Add(int64(more))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
