package slab

// fullMagazine is the most slots that a magazine holds; those of large slots hold fewer, see
// class.most.
const fullMagazine = 128

// magazine is a stack of free slots of one class.
type magazine struct {
	n     uint32
	items [fullMagazine]item
}

// front is what one processor, or one Local, allocates from and frees to without a lock.
type front struct {
	lock      frontLock
	_         [128]byte // its neighbours on the Go heap are others' to write
	magazines [128]magazine
	_         [128]byte
}

// at returns the magazine of a class.
func (f *front) at(c uint8) *magazine { return &f.magazines[c%128] }

// exchange pushes a slot. If the magazine is full it moves the older half out first, and returns
// how many that are.
func (m *magazine) exchange(it item, most uint32, out []item) (n int) {
	if m.n >= most {
		n = copy(out, m.items[:most/2])
		m.n = uint32(copy(m.items[:], m.items[n:m.n]))
	}
	m.items[m.n] = it
	m.n++
	return n
}

// empty brings home all that a front holds, which nobody uses any more.
func (h *Heap) empty(f *front) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for c := range f.magazines {
		m := &f.magazines[c]
		if m.n == 0 {
			continue
		}
		d := &h.depots[c]
		d.mu.Lock()
		h.bringHome(d, m.items[:m.n])
		d.mu.Unlock()
		m.n = 0
	}
}
