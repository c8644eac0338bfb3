package slab

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// largeObjects are those that fit into no slot: each is a region of its own, so its end touches a
// guard but for the last OS page, and a touch after it was freed faults.
type largeObjects struct {
	mu      sync.Mutex
	objects map[uintptr]*guard.Region
	bytes   int
}

func (l *largeObjects) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for p, r := range l.objects {
		if err := r.Close(); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(l.objects, p)
		l.bytes -= r.Size()
	}
	return errors.Join(errs...)
}

func (l *largeObjects) regions() (all []*guard.Region) {
	for _, r := range l.objects {
		all = append(all, r)
	}
	return all
}

// getLarge makes a large object, aligned to 2 MiB if it is so long, else to OS pages. It reads zero.
func (h *Heap) getLarge(size int) (b []byte, clean bool, err error) {
	h.usable("Alloc")
	if size < 0 {
		return nil, true, fmt.Errorf("slab: %d bytes: the size must not be negative", size)
	}
	if b, err = h.tryLarge(size); err != nil && h.reclaim() {
		b, err = h.tryLarge(size)
	}
	if err != nil {
		err = fmt.Errorf("slab: %w", err)
	}
	return b, true, err
}

func (h *Heap) tryLarge(size int) ([]byte, error) {
	r, err := guard.Map(guard.Config{Name: h.config.Name + ": large object", Size: size})
	if err != nil {
		return nil, err
	}
	if err := h.account.charge(r.Size()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.Commit(0, r.Size()); err != nil {
		h.account.refund(r.Size())
		return nil, errors.Join(err, r.Close())
	}
	l := &h.large
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects[uintptr(r.Base())] = r
	l.bytes += r.Size()
	return r.Bytes()[:size], nil
}

// freeLarge frees the large object at p; false if there is none. Should the kernel refuse to take
// it back it stays an object.
func (h *Heap) freeLarge(p unsafe.Pointer) bool {
	l := &h.large
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.objects[uintptr(p)]
	if r == nil {
		return false
	}
	if r.Close() == nil {
		delete(l.objects, uintptr(p))
		l.bytes -= r.Size()
		h.account.refund(r.Size())
	}
	return true
}

// largeAt returns the region of the large object at p, nil if there is none.
func (h *Heap) largeAt(p unsafe.Pointer) *guard.Region {
	h.large.mu.Lock()
	defer h.large.mu.Unlock()
	return h.large.objects[uintptr(p)]
}
