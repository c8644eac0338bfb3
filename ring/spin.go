package ring

import (
	"time"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

const (
	// maxSpin is the longest that a side spins: some times what it takes to sleep and to be woken.
	maxSpin = 20 * time.Microsecond

	// Where spinning has not paid, it is tried once in so many waits.
	retrySpin = 64
)

// spinFor looks at the other side's index again and again for a while, if that may pay: the other side runs on another
// processor, and spinning has paid before. done says that the side has room for need bytes, or has failed.
//
// On the same processor it is the other side that does not run while this one spins.
func (s *side) spinFor(need uint64) (done bool, err error) {
	here := uint32(vm.Processor() + 1)
	if there := s.theirs.processor.Load(); here == 0 || there == 0 || there == here {
		return false, nil
	}
	limit := s.spin
	if limit < maxSpin/8 {
		if s.waits++; s.waits%retrySpin != 0 {
			return false, nil
		}
		limit = maxSpin
	}
	start := time.Now()
	for {
		for range 8 {
			vm.Pause(4)
			if err := s.look(); err != nil || s.room() >= need {
				s.spin = min(s.spin+maxSpin/4, maxSpin)
				return true, err
			}
		}
		if time.Since(start) > limit {
			s.spin /= 2
			return false, nil
		}
	}
}
