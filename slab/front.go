package slab

// fullMagazine is the most slots that a magazine holds; those of large slots hold fewer, see
// class.most.
const fullMagazine = 128

// mostClasses is a power of two, so that c%mostClasses needs no check.
const mostClasses = 128

// front is what one processor, or one Local, allocates from and frees to without a lock.
type front struct {
	lock      frontLock
	_         [128]byte // its neighbours on the Go heap are others' to write
	magazines [mostClasses]magazine
	_         [128]byte
}

// magazine is a stack of cached slots of one class. It is not a multiple of 4096 bytes by far, so
// that the tops of several lie in different sets of the cache.
type magazine struct {
	n     uint32 // slots in it
	most  uint32 // of the class
	size  uint32 // of the class
	_     uint32
	items [fullMagazine]item
	_     [48]byte
}

// open makes a front ready, or one that takes nothing.
func (f *front) open(closed bool) *front {
	for c := range f.magazines {
		if !closed {
			f.magazines[c].most = classes[c].most
		}
		f.magazines[c].size = classes[c].size
	}
	return f
}

func (f *front) magazine(c uint8) *magazine { return &f.magazines[c%mostClasses] }

// top is the slot that goes next. ok is false if there is none.
func (m *magazine) top() (it item, ok bool) {
	n := m.n - 1
	if n >= fullMagazine { // there was none
		return it, false
	}
	return m.items[n], true
}

// pop takes the slot that goes next. ok is false if there is none.
func (m *magazine) pop() (it item, ok bool) {
	if it, ok = m.top(); ok {
		m.n--
	}
	return it, ok
}

// push puts a slot into a magazine, if it is not full.
func (m *magazine) push(it item) bool {
	n := m.n
	if n >= m.most {
		return false
	}
	m.items[n%fullMagazine] = it // most is no more
	m.n = n + 1
	return true
}

// exchange pushes a slot. If the magazine is full it moves the older half out first, and returns
// how many that are.
func (m *magazine) exchange(it item, out []item) (n int) {
	if m.push(it) {
		return 0
	}
	n = copy(out, m.items[:m.most/2])
	m.n = uint32(copy(m.items[:], m.items[n:m.most]))
	m.push(it)
	return n
}

// stock puts as many slots into a magazine as it takes, and returns how many these are.
func (m *magazine) stock(items []item) (n int) {
	n = copy(m.items[m.n:m.most], items)
	m.n += uint32(n)
	return n
}

// empty brings home all that a front holds, which nobody uses any more.
func (h *Heap) empty(f *front) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for c := range f.magazines {
		m := f.magazine(uint8(c))
		if m.n == 0 {
			continue
		}
		d := &h.depots[c]
		d.mu.Lock()
		h.bringHome(uint8(c), d, m.items[:m.n])
		d.mu.Unlock()
		m.n = 0
	}
}
