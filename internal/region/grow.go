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
	return r.growBy(n, func(int) int { return n })
}

// GrowTo grows the region to a size, unless it is as large already. Goroutines that grow it to the same size grow it once.
func (r *Region) GrowTo(size int) error {
	missing := func(now int) int { return max(size-now, 0) }
	_, err := r.growBy(missing(r.Size()), missing)
	return err
}

// growBy grows the region by as many bytes as missing returns for its size: at most n. It calls missing when nobody else
// can grow the region.
func (r *Region) growBy(n int, missing func(size int) int) (b []byte, err error) {
	switch rec := r.rec; {
	case uintptr(n) > rec.room:
		err = rec.full(n)
	case rec.backing != nil:
		b, err = r.growFile(n, missing)
	default:
		b, err = r.growAnonymous(n, missing)
	}
	if err != nil {
		return nil, r.errorf("grow", noMemory(err))
	}
	return b, nil
}

func (r *Region) growAnonymous(n int, missing func(size int) int) ([]byte, error) {
	rec, page := r.rec, uintptr(PageSize())
	// Charged without the lock, because OnSoft may call this region.
	most, used := alignUp(uintptr(n), page), uintptr(0)
	if most > 0 {
		if err := charge(int64(most), rec.deferOnSoft.Load()); err != nil {
			return nil, err
		}
	}
	defer func() { refund(int64(most - used)) }()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	lo := rec.data
	more := alignUp(uintptr(missing(int(lo))), page)
	switch {
	case rec.state != stateOpen:
		return nil, ErrClosed
	case more > rec.room-lo:
		return nil, rec.full(n)
	case more == 0:
		return r.Bytes(), nil
	}
	if err := rec.commit(lo, lo+more, r.prefault); err != nil {
		return nil, err
	}
	used = more
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
	atomic.StoreUintptr(&rec.report.Size, uintptr(size))
	r.size.Store(int64(size))
}
