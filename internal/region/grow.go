package region

import (
	"fmt"
	"sync/atomic"
)

// Grow is guard.Region.Grow.
func (r *Region) Grow(n int) ([]byte, error) {
	if n < 0 {
		return nil, r.errorf("grow", fmt.Errorf("%d bytes must not be negative", n))
	}
	rec := r.rec
	if uintptr(n) > rec.room {
		return nil, r.errorf("grow", rec.full(n))
	}
	more := alignUp(uintptr(n), uintptr(PageSize()))
	// Charged without the lock, because OnSoft may call this region.
	if more > 0 {
		if err := charge(int64(more), rec.deferOnSoft.Load()); err != nil {
			return nil, r.errorf("grow", err)
		}
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	lo := rec.data
	var err error
	switch {
	case rec.state != stateOpen:
		err = ErrClosed
	case more > rec.room-lo:
		err = rec.full(n)
	case more > 0:
		err = rec.commit(lo, lo+more, r.prefault)
	}
	if err != nil {
		refund(int64(more))
		return nil, r.errorf("grow", noMemory(err))
	}
	rec.charge.Add(int64(more))
	r.setSize(lo+more, int(lo+more))
	return r.Bytes(), nil
}

// full returns the error for n bytes more than the reservation has room for. Caller may hold rec.mu.
func (rec *record) full(n int) error {
	return fmt.Errorf("%d bytes more do not fit into the %d reserved: %w", n, rec.room, ErrNoMemory)
}

// setSize notes that data ends at an offset, and that size bytes of it are the user's. Caller holds r.rec.mu.
func (r *Region) setSize(data uintptr, size int) {
	rec := r.rec
	rec.data = data
	atomic.StoreUintptr(&rec.report.Size, data)
	r.size.Store(int64(size))
}
