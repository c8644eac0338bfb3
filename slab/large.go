package slab

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// largeObjects are those that fit into no slot: each is a region of its own, committed from its
// start to the end of the object's last OS page. So a touch behind that faults, and one after it
// was freed. In a hardened heap it lies at the end of the region, and canaries are around it.
type largeObjects struct {
	mu      sync.Mutex
	objects map[uintptr]largeObject // by their addresses
	bytes   int                     // committed
	left    []leftover              // what the kernel would not take back
}

// leftover is a region that no object is in any more, and what of it is charged to the limit.
type leftover struct {
	region *guard.Region
	bytes  int
}

type largeObject struct {
	region *guard.Region
	size   int // bytes asked for, when it was made
}

// largeName is that of the regions of large objects.
func (h *Heap) largeName() string { return h.config.Name + ": large object" }

func (l *largeObjects) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for p, o := range l.objects {
		n := int(o.region.Committed())
		if err := o.region.Close(); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(l.objects, p)
		l.bytes -= n
	}
	_, err := l.sweep()
	return errors.Join(append(errs, err)...)
}

// sweep tries again to give leftovers back, and returns how many bytes of the limit that frees. The
// lock is held.
func (l *largeObjects) sweep() (bytes int, err error) {
	l.left = slices.DeleteFunc(l.left, func(left leftover) bool {
		bad := left.region.Close()
		if bad != nil {
			err = cmp.Or(err, bad)
			return false
		}
		bytes += left.bytes
		return true
	})
	return bytes, err
}

// sweepLarge gives leftovers back, as far as the kernel takes them now.
func (h *Heap) sweepLarge() error {
	h.large.mu.Lock()
	defer h.large.mu.Unlock()
	bytes, err := h.large.sweep()
	h.account.refund(bytes)
	return err
}

// has tells whether an object's region starts at an address.
func (l *largeObjects) has(base uintptr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.objects {
		if uintptr(o.region.Base()) == base {
			return true
		}
	}
	return false
}

func (l *largeObjects) regions() (all []*guard.Region) {
	for _, left := range l.left {
		all = append(all, left.region)
	}
	for _, o := range l.objects {
		all = append(all, o.region)
	}
	return all
}

// getLarge makes a large object for a Local or, nil, a processor: aligned to 2 MiB if it is so long,
// else to OS pages; in a hardened heap to align. It reads zero.
func (h *Heap) getLarge(l *Local, size, align int) (b []byte, clean bool, err error) {
	h.usable("Alloc")
	if size < 0 {
		return nil, true, fmt.Errorf("slab: %d bytes: the size must not be negative", size)
	}
	if b, err = h.tryLarge(size, align); err != nil && h.reclaim(l) {
		b, err = h.tryLarge(size, align)
	}
	if err != nil {
		err = fmt.Errorf("slab: %w", err)
	}
	return b, true, err
}

func (h *Heap) tryLarge(size, align int) ([]byte, error) {
	room := size
	if h.hard != nil {
		room = h.hard.roomFor(size, align)
	}
	r, err := guard.Map(guard.Config{Name: h.largeName(), Size: room, PartOf: h.region})
	if err != nil {
		return nil, err
	}
	at := 0
	if h.hard != nil {
		at = h.hard.place(r, size, align)
	}
	from, to := onPages(at, size)
	if err := h.commitLarge(r, from, to); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	p := unsafe.Add(r.Base(), at)
	room = to - at
	if h.hard != nil {
		room = size
		h.hard.surround(r, at, size)
	}
	h.large.add(p, largeObject{r, size})
	h.large.resize(to - from)
	return unsafe.Slice((*byte)(p), room)[:size], nil // not of Bytes: what ends where it starts may lie at the end
}

// commitLarge commits [from, to) of a region, charged to the heap's limit.
func (h *Heap) commitLarge(r *guard.Region, from, to int) error {
	if err := h.account.charge(to - from); err != nil {
		return err
	}
	if err := r.Commit(from, to-from); err != nil {
		h.account.refund(to - from)
		return err
	}
	return nil
}

// resizeLarge makes a large object of another that holds b.
func (h *Heap) resizeLarge(b []byte, size int) ([]byte, error) {
	o, _ := h.largeAt(unsafe.Pointer(unsafe.SliceData(b)))
	r := o.region
	had, want := int(r.Committed()), alignUp(size, guard.PageSize())
	grow := func() (err error) {
		r, err = h.growLarge(r, had, want)
		return err
	}
	var err error
	if want < had {
		if err = r.Decommit(want, had-want); err == nil {
			h.account.refund(had - want)
		}
	} else if err = grow(); err != nil && h.reclaim(nil) {
		err = grow()
	}
	if err != nil {
		return nil, fmt.Errorf("slab: %w", err)
	}
	h.large.resize(want - had)
	if len(b) < had {
		clear(r.Bytes()[min(len(b), want):min(had, want)])
	}
	return r.Bytes()[:size:want], nil
}

// growLarge commits more of the object's region, or of one twice as long to which it moves: so the
// next times it need not. If there is an error the object is as it was.
func (h *Heap) growLarge(r *guard.Region, had, want int) (*guard.Region, error) {
	if want <= r.Size() {
		return r, h.commitLarge(r, had, want)
	}
	to, err := guard.Map(guard.Config{Name: r.Name(), Size: want + min(want, most), MinSize: want, PartOf: r})
	if err != nil {
		return r, err
	}
	if err := h.commitLarge(to, had, want); err != nil {
		return r, errors.Join(err, to.Close())
	}
	if err := r.Move(to, had); err != nil {
		h.account.refund(want - had)
		return r, errors.Join(err, to.Close())
	}
	l := &h.large
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.objects, uintptr(r.Base()))
	l.objects[uintptr(to.Base())] = largeObject{to, want}
	if r.Close() != nil {
		l.left = append(l.left, leftover{region: r})
	}
	return to, nil
}

// freeLarge frees the large object at p; false if there is none. Should the kernel refuse to take
// it back, that is tried again later. It stays an object if it was overrun.
func (h *Heap) freeLarge(p unsafe.Pointer) bool {
	o, ok := h.large.take(p)
	if !ok {
		return false
	}
	freed := false
	defer func() {
		if !freed { // overrun, or a fault
			h.large.add(p, o)
		}
	}()
	if h.hard != nil {
		if at, ok := h.hard.intact(o, p); !ok {
			panic(h.overrun(p, at))
		}
	}
	freed = true
	n := int(o.region.Committed())
	left := o.region.Close() != nil
	l := &h.large
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= n
	if left {
		l.left = append(l.left, leftover{o.region, n})
	} else {
		h.account.refund(n)
	}
	return true
}

// take takes the object at p out, so that nobody else frees it.
func (l *largeObjects) take(p unsafe.Pointer) (o largeObject, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok = l.objects[uintptr(p)]
	delete(l.objects, uintptr(p))
	return o, ok
}

func (l *largeObjects) add(p unsafe.Pointer, o largeObject) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects[uintptr(p)] = o
}

func (l *largeObjects) resize(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += n
}

// largeAt returns the large object at p.
func (h *Heap) largeAt(p unsafe.Pointer) (o largeObject, ok bool) {
	h.large.mu.Lock()
	defer h.large.mu.Unlock()
	o, ok = h.large.objects[uintptr(p)]
	return o, ok
}
