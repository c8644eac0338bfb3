package slots

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// table is an array outside the Go heap. Its memory is committed as far as it is used.
type table struct {
	base   unsafe.Pointer
	region *region.Region
	off    int // of the array in the region
	size   int // of the array, in bytes: a multiple of the OS page
	ready  int // bytes that are committed, from off on

	charge func(bytes int) error // nil, or called before memory is committed: Config.Charge
	refund func(bytes int)
}

// reach makes the first n bytes usable.
func (t *table) reach(n int) error {
	if n <= t.ready {
		return nil
	}
	step := max(64<<10, t.ready/8)
	to := min(alignUp(max(n, t.ready+step), guard.PageSize()), t.size)
	if err := t.commit(to); err != nil {
		to = alignUp(n, guard.PageSize())
		if err := t.commit(to); err != nil {
			return err
		}
	}
	t.ready = to
	return nil
}

// commit commits the bytes from ready to an end.
func (t *table) commit(to int) error {
	n := to - t.ready
	if t.charge != nil {
		if err := t.charge(n); err != nil {
			return err
		}
	}
	err := t.region.Commit(t.off+t.ready, n)
	if err != nil && t.charge != nil {
		t.refund(n)
	}
	return err
}

func alignUp(n, to int) int { return (n + to - 1) &^ (to - 1) }
