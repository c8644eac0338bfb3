package slab

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// largeObjects has the objects that fit into no slot. Each is a region of its own, committed from its start
// to the end of the object's last OS page, or up to an eighth farther if the region is a cached one. A touch
// behind that faults. In a hardened heap the object lies at the end of the region, between canaries.
//
//	           newLarge                            freeLarge
//	(nothing) ──────────▶ in objects, live ──────────────────────▶ in cache ──▶ closed
//	                          ▲    │  hardened: freeLarge             │            ▲
//	                          │    └──────────────────────────────────┼────────────┤
//	                          └───────────────────────────────────────┘  in left, if the kernel refuses
type largeObjects struct {
	mu       sync.Mutex
	objects  map[uintptr]largeObject // by their addresses
	names    map[uint64]uintptr      // the addresses of those that references name, by their names
	bytes    int                     // committed, of objects
	asked    int                     // bytes that were asked for, of objects
	reserved int64                   // addresses, of objects
	cache    largeCache
	left     []leftover // regions that the kernel would not take back
	shut     bool       // the heap is closed: add refuses
}

// leftover is a region without an object that the kernel would not take back, and the bytes of it that are
// charged to the limit.
type leftover struct {
	region *region.Region
	bytes  int
}

// largeObject is a live object.
type largeObject struct {
	region *region.Region
	size   int    // bytes asked for
	name   uint64 // in references; 0 if there are none
}

// largeName returns the name of the regions of large objects.
func (h *Heap) largeName() string { return h.config.Name + ": large object" }

// close closes all regions. After an error it may be called again.
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
		l.remove(p, o)
		l.bytes -= n
		l.asked -= o.size
	}
	for _, r := range l.cache.all() {
		l.left = append(l.left, leftover{r.Region, r.bytes}) // which sweep closes
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

// sweepLarge closes the cached regions, and the leftovers that the kernel takes now.
func (h *Heap) sweepLarge() error {
	l := &h.large
	l.mu.Lock()
	out := l.cache.all()
	bytes, err := l.sweep()
	l.mu.Unlock()
	h.account.Refund(bytes)
	return cmp.Or(err, h.closeCached(out))
}

// coolLarge closes the cached regions that nobody took for decayAfter.
func (h *Heap) coolLarge(now uint32) {
	l := &h.large
	l.mu.Lock()
	out := l.cache.due(now)
	l.mu.Unlock()
	_ = h.closeCached(out) // what the kernel does not take now is tried again
}

// evictLarge closes the coldest cached regions, of some bytes together, for a request that would fail. It tells
// whether there were any.
func (h *Heap) evictLarge(bytes int) bool {
	l := &h.large
	l.mu.Lock()
	out := l.cache.coldest(bytes, 1)
	l.mu.Unlock()
	_ = h.closeCached(out)
	return len(out) > 0
}

// closeCached closes regions that were taken out of the cache, without the lock.
func (h *Heap) closeCached(out []cachedRegion) (err error) {
	for _, r := range out {
		err = cmp.Or(err, h.closeLarge(r.Region, r.bytes))
	}
	return err
}

// regionAt tells whether a region starts at an address that has a large object, or had one and is cached.
func (l *largeObjects) regionAt(base uintptr) (live, cached bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.objects {
		if uintptr(o.region.Base()) == base {
			return true, false
		}
	}
	return false, l.cache.holds(base)
}

// regions returns all regions.
func (l *largeObjects) regions() (all []*region.Region) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, left := range l.left {
		all = append(all, left.region)
	}
	for _, o := range l.objects {
		all = append(all, o.region)
	}
	for _, r := range l.cache.regions {
		all = append(all, r.Region)
	}
	return all
}

// getLarge allocates a large object; clean tells whether it reads zero. It is aligned to align, and to OS pages at
// least.
func (h *Heap) getLarge(k client, size, align int) (b []byte, clean bool, err error) {
	h.usable("Alloc")
	if b, ok := h.getCached(size, align); ok {
		return b, false, nil
	}
	now := ticks()
	raise(k.decay(now))
	b, err = h.newLarge(size, align)
	if err != nil && k.reclaim(now, err) {
		b, err = h.newLarge(size, align)
	}
	if err != nil && region.Reclaim() {
		if b, ok := h.getCached(size, align); ok { // OnSoft has freed it
			return b, false, nil
		}
		b, err = h.newLarge(size, align)
	}
	if err != nil {
		h.usable("Alloc")
		return nil, true, prefixed(err)
	}
	region.ReclaimOr(func() { h.dropLarge(addr(b)) })
	h.usable("Alloc") // OnSoft may have closed the heap
	return b, true, nil
}

// getCached makes a large object of a cached region, with its old contents. ok is false if none fits. Nothing is
// committed, so OnSoft need not be called.
func (h *Heap) getCached(size, align int) (b []byte, ok bool) {
	want := alignUp(max(size, 1), guard.PageSize())
	if want < size {
		return nil, false // it has overflowed
	}
	return h.large.reuse(size, want, align)
}

// maxHugePages is the size of the largest object that huge pages are asked for. A page fault of 2 MiB takes as
// long as 40 of 4 KiB, so huge pages pay if a twelfth of the object is touched. A longer object may be sparse:
// then each touch would bring in 2 MiB.
const maxHugePages = 64 << 20

// hugePages tells whether a region of some bytes is to have huge pages.
func hugePages(bytes int) bool { return bytes >= 2<<20 && bytes <= maxHugePages }

// newLarge allocates a large object in a fresh region. Where memory is short, cached regions give way.
func (h *Heap) newLarge(size, align int) (b []byte, err error) {
	b, err = h.tryLarge(size, align)
	for err != nil && h.evictLarge(size) {
		b, err = h.tryLarge(size, align)
	}
	return b, err
}

// tryLarge allocates a large object in a fresh region, charged to the heap's limit.
func (h *Heap) tryLarge(size, align int) ([]byte, error) {
	if err := h.account.Fits(alignUp(size, guard.PageSize())); err != nil { // before system calls
		if !h.config.LimitCommitted || h.space.Purge(0, ticks()) != nil || h.account.Fits(alignUp(size, guard.PageSize())) != nil {
			return nil, err
		}
	}
	if h.hard != nil {
		return h.tryLargeHardened(size, align)
	}
	r, err := h.reserveLarge(alignedRoom(max(size, 1), align), size)
	if err != nil {
		return nil, err
	}
	committed := alignUp(max(size, 1), guard.PageSize())
	if err := h.commitLarge(r, 0, committed); err != nil {
		return nil, closeAfter(err, r)
	}
	return h.addLarge(r, 0, size, committed)
}

// alignedRoom returns the size of a region for some bytes that are to be aligned: regions of 2 MiB are aligned to that.
func alignedRoom(bytes, align int) int {
	if align > guard.PageSize() {
		return max(bytes, 2*maxAlign)
	}
	return bytes
}

// reserveLarge reserves room for a large object of some bytes.
func (h *Heap) reserveLarge(room, size int) (*region.Region, error) {
	return region.Reserve(region.Config{Name: h.largeName(), Size: room, HugePages: hugePages(size), PartOf: h.region, DeferOnSoft: true})
}

// addLarge makes an object of the bytes of a region from an offset on, with a capacity.
func (h *Heap) addLarge(r *region.Region, at, size, capacity int) ([]byte, error) {
	p := unsafe.Add(r.Base(), at)
	committed := int(r.Committed())
	if !h.large.add(p, largeObject{region: r, size: size}) {
		h.account.Refund(committed)
		return nil, closeAfter(guard.ErrClosed, r)
	}
	h.large.resize(committed, size)
	return unsafe.Slice((*byte)(p), capacity)[:size], nil // not of Bytes: what ends where it starts may lie at the end
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

// resizeLarge resizes the large object b, which is aligned to align, and stays so.
func (h *Heap) resizeLarge(b []byte, size, align int) ([]byte, error) {
	p := addr(b)
	o, ok := h.largeAt(p)
	if !ok {
		panic(h.noObject("Realloc", p)) // freed meanwhile
	}
	r := o.region
	had, want := int(r.Committed()), alignUp(size, guard.PageSize())
	grow := func() (err error) {
		r, err = h.growLarge(r, had, want, align)
		for err != nil && h.evictLarge(want-had) {
			r, err = h.growLarge(r, had, want, align)
		}
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
	h.usable("Realloc") // OnSoft may have closed the heap
	h.large.resize(want-had, 0)
	h.large.ask(r.Base(), size)
	if len(b) < had {
		clear(r.Bytes()[min(len(b), want):min(had, want)])
	}
	return r.Bytes()[:size:want], nil
}

// growLarge commits more of the object's region, or of one twice as long to which it moves: so the
// next times it need not. If there is an error, or OnSoft panics, the object is as it was.
func (h *Heap) growLarge(r *region.Region, had, want, align int) (*region.Region, error) {
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
	least := alignedRoom(want, align)
	to, err := region.Reserve(region.Config{
		Name: r.Name(), Size: least + min(want, maxReserve), MinSize: least, HugePages: hugePages(want), PartOf: r, DeferOnSoft: true})
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
	l.remove(uintptr(r.Base()), o)
	l.insert(uintptr(to.Base()), largeObject{region: to, size: o.size}) // without a name: see Ref
	if r.Close() != nil {
		l.left = append(l.left, leftover{region: r})
		h.note()
	}
	return to, nil
}

// freeLarge frees the large object at p, and looks whether free memory is due to go back; false if there is no object.
// It stays one if it was overrun.
func (h *Heap) freeLarge(p unsafe.Pointer) bool {
	if !h.dropLarge(p) {
		return false
	}
	raise(h.client().decay(ticks()))
	return true
}

// dropLarge caches the region of the large object at p, or closes it in a hardened heap; false if there is no object.
func (h *Heap) dropLarge(p unsafe.Pointer) bool {
	if h.hard != nil {
		return h.dropHardened(p)
	}
	out, ok := h.large.retire(p)
	if ok {
		h.note()
		_ = h.closeCached(out)
	}
	return ok
}

// dropHardened frees a large object of a hardened heap. It is not cached, so a touch faults from then on.
func (h *Heap) dropHardened(p unsafe.Pointer) bool {
	o, ok := h.large.take(p)
	if !ok {
		return false
	}
	n := int(o.region.Committed())
	intact := false
	defer func() {
		if intact || !h.large.add(p, o) { // else it was overrun, or there was a fault
			h.large.resize(-n, -o.size)
			_ = h.closeLarge(o.region, n)
		}
	}()
	at := 0
	if at, intact = h.hard.intact(o, p); !intact {
		panic(h.overrun("Free", p, at))
	}
	return true
}

// closeLarge gives back the memory of a region that has no object any more. Should the kernel refuse to take it,
// that is tried again later.
func (h *Heap) closeLarge(r *region.Region, bytes int) error {
	err := r.Close()
	if err == nil {
		h.account.Refund(bytes)
		return nil
	}
	l := &h.large
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = append(l.left, leftover{r, bytes})
	h.note()
	return err
}

// retire takes the object at p out and caches its region. It returns the regions that are to be closed for that.
func (l *largeObjects) retire(p unsafe.Pointer) (out []cachedRegion, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.objects[uintptr(p)]
	if !ok {
		return nil, false
	}
	n := int(o.region.Committed())
	l.remove(uintptr(p), o)
	l.bytes -= n
	l.asked -= o.size
	r := cachedRegion{o.region, n, ticks()}
	if l.shut {
		return []cachedRegion{r}, true
	}
	return l.cache.put(r, l.bytes), true
}

// reuse makes an object of a cached region that has room for want bytes. ok is false if none fits.
func (l *largeObjects) reuse(size, want, align int) (b []byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return nil, false
	}
	r, ok := l.cache.take(want, align)
	if !ok {
		return nil, false
	}
	room := int(r.Committed())
	l.insert(uintptr(r.Base()), largeObject{region: r, size: size})
	l.bytes += room
	l.asked += size
	return r.Bytes()[:size:room], true
}

// take takes the object at p out, so that nobody else frees it. Its bytes stay counted.
func (l *largeObjects) take(p unsafe.Pointer) (o largeObject, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o, ok = l.objects[uintptr(p)]; ok {
		l.remove(uintptr(p), o)
	}
	return o, ok
}

// add puts an object in; false if the heap is closed.
func (l *largeObjects) add(p unsafe.Pointer, o largeObject) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return false
	}
	l.insert(uintptr(p), o)
	return true
}

// insert puts an object in. Caller holds l.mu.
func (l *largeObjects) insert(p uintptr, o largeObject) {
	l.objects[p] = o
	l.reserved += o.region.Reserved()
	if o.name != 0 {
		l.names[o.name] = p
	}
}

// remove takes the object o at p out. Caller holds l.mu.
func (l *largeObjects) remove(p uintptr, o largeObject) {
	delete(l.objects, p)
	l.reserved -= o.region.Reserved()
	delete(l.names, o.name)
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

// lastName is the number of large objects of the process that references ever named. Each has a name of its own.
var lastName atomic.Uint64

// nameOf returns the name of the large object at p, and gives it one if it has none. ok is false if there is no object.
func (l *largeObjects) nameOf(p unsafe.Pointer) (name uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.objects[uintptr(p)]
	if !ok {
		return 0, false
	}
	if o.name == 0 {
		o.name = lastName.Add(1)
		if l.names == nil {
			l.names = map[uint64]uintptr{}
		}
		l.objects[uintptr(p)], l.names[o.name] = o, uintptr(p)
	}
	return o.name, true
}

// named returns the large object that has a name, and where it starts. ok is false if there is none.
func (l *largeObjects) named(name uint64) (o largeObject, p unsafe.Pointer, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.names[name]
	if !ok {
		return largeObject{}, nil, false
	}
	o = l.objects[at]
	return o, o.start(at), true
}

// all returns where the objects start.
func (l *largeObjects) all() (all []unsafe.Pointer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, o := range l.objects {
		all = append(all, o.start(p))
	}
	return all
}

// start returns the address of the object as a pointer.
func (o largeObject) start(p uintptr) unsafe.Pointer {
	return unsafe.Add(o.region.Base(), p-uintptr(o.region.Base()))
}
