package slab

// fullMagazine is the most slots that a magazine holds; those of large slots hold fewer, see
// class.most.
const fullMagazine = 128

// mostClasses is a power of two, so that c%mostClasses needs no check.
const mostClasses = 128

// front is what one processor, or one Local, allocates from and frees to without a lock: a magazine
// for each class, which is a stack of cached slots.
type front struct {
	lock  frontLock
	_     [128]byte // its neighbours on the Go heap are others' to write
	n     [mostClasses]uint32
	items [mostClasses][fullMagazine]item
	_     [128]byte
}

// pop takes a slot out of a magazine. ok is false if there is none.
func (f *front) pop(c uint8) (it item, ok bool) {
	n := f.n[c%mostClasses] - 1
	if n >= fullMagazine { // there was none
		return it, false
	}
	f.n[c%mostClasses] = n
	return f.items[c%mostClasses][n], true
}

// push puts a slot into a magazine, if there are fewer than most.
func (f *front) push(c uint8, it item, most uint32) bool {
	n := f.n[c%mostClasses]
	if n >= most || n >= fullMagazine { // the second is for the compiler
		return false
	}
	f.items[c%mostClasses][n] = it
	f.n[c%mostClasses] = n + 1
	return true
}

// exchange pushes a slot. If the magazine is full it moves the older half out first, and returns
// how many that are.
func (f *front) exchange(c uint8, it item, most uint32, out []item) (n int) {
	if f.push(c, it, most) {
		return 0
	}
	items := &f.items[c]
	n = copy(out, items[:most/2])
	f.n[c] = uint32(copy(items[:], items[n:most]))
	f.push(c, it, most)
	return n
}

// stock puts as many slots into a magazine as it takes, and returns how many these are.
func (f *front) stock(c uint8, items []item) (n int) {
	n = copy(f.items[c][f.n[c]:classes[c].most], items)
	f.n[c] += uint32(n)
	return n
}

// empty brings home all that a front holds, which nobody uses any more.
func (h *Heap) empty(f *front) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for c, n := range f.n {
		if n == 0 {
			continue
		}
		d := &h.depots[c]
		d.mu.Lock()
		h.bringHome(uint8(c), d, f.items[c][:n])
		d.mu.Unlock()
		f.n[c] = 0
	}
}
