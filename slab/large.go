package slab

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// largeObjects has the objects that fit into no slot. Each is a region of its own, committed from its start
// to the end of the object's last OS page. So a touch behind that faults, and so does a touch after Free. In
// a hardened heap the object lies at the end of the region, between canaries.
type largeObjects struct {
	mu      sync.Mutex
	objects map[uintptr]largeObject // by their addresses
	bytes   int                     // committed
	asked   int                     // bytes that were asked for
	left    []leftover              // regions that the kernel would not take back
	shut    bool                    // the heap is closed: add refuses
}

// leftover is a region without an object that the kernel would not take back, and the bytes of it that are
// charged to the limit.
type leftover struct {
	region *region.Region
	bytes  int
}

type largeObject struct {
	region *region.Region
	size   int // bytes asked for
}

// largeName returns the name of the regions of large objects.
func (h *Heap) largeName() string { return h.config.Name + ": large object" }

func (l *largeObjects) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	var errs []error
	for p, o := range l.objects {
		n := int(o.region.Committed())
		if err := o.region.Close(); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(l.objects, p)
		l.bytes -= n
		l.asked -= o.size
	}
	_, err := l.sweep()
	return errors.Join(append(errs, err)...)
}

// sweep tries again to close leftovers, and returns how many bytes of the limit that frees. Caller holds l.mu.
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

// sweepLarge closes the leftovers that the kernel takes now.
func (h *Heap) sweepLarge() error {
	h.large.mu.Lock()
	defer h.large.mu.Unlock()
	bytes, err := h.large.sweep()
	h.account.Refund(bytes)
	return err
}

// has tells whether the region of a large object starts at an address.
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

func (l *largeObjects) regions() (all []*region.Region) {
	for _, left := range l.left {
		all = append(all, left.region)
	}
	for _, o := range l.objects {
		all = append(all, o.region)
	}
	return all
}

// getLarge allocates a large object. It reads zero. It is aligned
// to align, to OS pages at least, and to 2 MiB if it has 2 MiB or more.
func (h *Heap) getLarge(k client, size, align int) (b []byte, clean bool, err error) {
	h.usable("Alloc")
	b, err = h.tryLarge(size, align)
	if err != nil && k.reclaim(ticks(), err) {
		b, err = h.tryLarge(size, align)
	}
	if err != nil && region.Reclaim() {
		b, err = h.tryLarge(size, align)
	}
	if err != nil {
		h.usable("Alloc")
		return nil, true, prefixed(err)
	}
	region.ReclaimOr(func() { h.freeLarge(unsafe.Pointer(unsafe.SliceData(b))) })
	h.usable("Alloc") // OnSoft may have closed the heap
	return b, true, nil
}

func (h *Heap) tryLarge(size, align int) ([]byte, error) {
	if err := h.account.Fits(alignUp(size, guard.PageSize())); err != nil { // before system calls
		return nil, err
	}
	bytes := max(size, 1)
	room := bytes
	switch {
	case h.hard != nil:
		bytes = size // an object of no bytes lies behind the committed part
		room = h.hard.roomFor(size, align)
	case align > guard.PageSize():
		room = max(bytes, 2*maxAlign) // regions of 2 MiB are aligned to that
	}
	r, err := region.Reserve(region.Config{Name: h.largeName(), Size: room, PartOf: h.region, DeferOnSoft: true})
	if err != nil {
		return nil, err
	}
	at := 0
	if h.hard != nil {
		at = h.hard.place(r, size, align)
	}
	from, to := onPages(at, bytes)
	if err := h.commitLarge(r, from, to); err != nil {
		return nil, closeAfter(err, r)
	}
	p := unsafe.Add(r.Base(), at)
	room = to - at
	if h.hard != nil {
		room = size
		h.hard.surround(r, at, size)
	}
	if !h.large.add(p, largeObject{r, size}) {
		h.account.Refund(to - from)
		return nil, closeAfter(guard.ErrClosed, r)
	}
	h.large.resize(to-from, size)
	return unsafe.Slice((*byte)(p), room)[:size], nil // not of Bytes: what ends where it starts may lie at the end
}

// closeAfter closes a region that is not used because of an error, and returns the error.
func closeAfter(err error, r *region.Region) error {
	if bad := r.Close(); bad != nil {
		return errors.Join(err, bad)
	}
	return err
}

// commitLarge commits [from, to) of a region, charged to the heap's limit.
func (h *Heap) commitLarge(r *region.Region, from, to int) error {
	if err := h.account.Charge(to - from); err != nil {
		return err
	}
	if err := r.Commit(from, to-from); err != nil {
		h.account.Refund(to - from)
		return err
	}
	h.account.Reach()
	return nil
}

// resizeLarge resizes the large object b.
func (h *Heap) resizeLarge(b []byte, size int) ([]byte, error) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	o, ok := h.largeAt(p)
	if !ok {
		panic(h.noObject("Realloc", p)) // freed meanwhile
	}
	r := o.region
	had, want := int(r.Committed()), alignUp(size, guard.PageSize())
	grow := func() (err error) {
		r, err = h.growLarge(r, had, want)
		return err
	}
	var err error
	if want < had {
		if err = r.Decommit(want, had-want); err == nil {
			h.account.Refund(had - want)
		}
	} else {
		err = grow()
		if err != nil && h.client().reclaim(ticks(), err) {
			err = grow()
		}
		if err != nil && region.Reclaim() {
			err = grow()
		}
	}
	if err != nil {
		h.usable("Realloc")
		return nil, prefixed(err)
	}
	h.large.resize(want-had, 0)
	h.large.ask(r.Base(), size)
	if len(b) < had {
		clear(r.Bytes()[min(len(b), want):min(had, want)])
	}
	return r.Bytes()[:size:want], nil
}

// growLarge commits more of the object's region, or of one twice as long to which it moves: so the
// next times it need not. If there is an error, or OnSoft panics, the object is as it was.
func (h *Heap) growLarge(r *region.Region, had, want int) (*region.Region, error) {
	if want <= r.Size() {
		err := h.commitLarge(r, had, want)
		if err == nil {
			region.ReclaimOr(func() {
				if r.Decommit(had, want-had) == nil {
					h.account.Refund(want - had)
				}
			})
		}
		return r, err
	}
	if err := h.account.Fits(want - had); err != nil { // before system calls
		return r, err
	}
	to, err := region.Reserve(region.Config{Name: r.Name(), Size: want + min(want, maxReserve), MinSize: want, PartOf: r, DeferOnSoft: true})
	if err != nil {
		return r, err
	}
	if err := h.commitLarge(to, had, want); err != nil {
		return r, closeAfter(err, to)
	}
	undo := func() error {
		h.account.Refund(want - had)
		return to.Close()
	}
	region.ReclaimOr(func() { _ = undo() })
	if err := r.Move(to, had); err != nil {
		return r, errors.Join(err, undo())
	}
	l := &h.large
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return r, errors.Join(guard.ErrClosed, undo())
	}
	o := l.objects[uintptr(r.Base())]
	delete(l.objects, uintptr(r.Base()))
	l.objects[uintptr(to.Base())] = largeObject{to, o.size}
	if r.Close() != nil {
		l.left = append(l.left, leftover{region: r})
		h.note()
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
		if !freed && !h.large.add(p, o) { // overrun, or a fault
			h.closeLarge(o)
		}
	}()
	if h.hard != nil {
		if at, ok := h.hard.intact(o, p); !ok {
			panic(h.overrun(p, at))
		}
	}
	freed = true
	h.closeLarge(o)
	return true
}

// closeLarge gives back the memory of an object that was taken out.
func (h *Heap) closeLarge(o largeObject) {
	n := int(o.region.Committed())
	left := o.region.Close() != nil
	l := &h.large
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= n
	l.asked -= o.size
	if left {
		l.left = append(l.left, leftover{o.region, n})
		h.note()
	} else {
		h.account.Refund(n)
	}
}

// take takes the object at p out, so that nobody else frees it.
func (l *largeObjects) take(p unsafe.Pointer) (o largeObject, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok = l.objects[uintptr(p)]
	delete(l.objects, uintptr(p))
	return o, ok
}

// add puts an object in; false if the heap is closed.
func (l *largeObjects) add(p unsafe.Pointer, o largeObject) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return false
	}
	l.objects[uintptr(p)] = o
	return true
}

// resize counts bytes that are committed, and asked for, on top.
func (l *largeObjects) resize(committed, asked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += committed
	l.asked += asked
}

// ask notes how many bytes are asked for now of the object at p, if it is a large one.
func (l *largeObjects) ask(p unsafe.Pointer, size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o, ok := l.objects[uintptr(p)]; ok {
		l.asked += size - o.size
		o.size = size
		l.objects[uintptr(p)] = o
	}
}

// largeAt returns the large object at p.
func (h *Heap) largeAt(p unsafe.Pointer) (o largeObject, ok bool) {
	h.large.mu.Lock()
	defer h.large.mu.Unlock()
	o, ok = h.large.objects[uintptr(p)]
	return o, ok
}
