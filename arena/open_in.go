package arena

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// header lies in the first bytes of memory that an arena was opened in. Offset 0 is the nil Ref, so no object is there.
type header struct {
	mark uint64
	size uint64
	top  atomic.Uint64 // what was handed out when Publish was called last
	root atomic.Uint64 // the Ref that Publish got last
}

// headerMark says that the memory has an arena of this version. Another layout gets another one.
const headerMark = 0x31306e657261666f // "ofaren01"

var _ = [1]int{}[(unsafe.Sizeof(header{})-1)/first] // it fits below the first object

// OpenIn opens an arena in memory that the program has made itself: a shared memory (shm.Memory.Region), a file that is
// mapped, or a region all of which is committed. The memory must be zero, or have had an arena before: then the arena
// goes on with what was handed out at the last Publish. Of the Config only Name counts; its default is the region's.
//
// The arena has the size that the region has now, and never makes a file longer. So make a new file as long as the arena may
// ever need (os.File.Truncate): it takes disk space only for what is used.
//
// Several processes may open arenas in the same memory. Refs, and tables by table.Attach, are valid in all of them; pointers
// are not. At each moment one of them allocates. The others read what it has published, and see no later Publish
// until they open the arena again. An arena in memory for reading (shm.Config.PeersReadOnly) does not allocate: the error
// is guard.ErrNoMemory. Its Reset and Rewind store, so they fault (guard.ReadOnly).
//
// After a Reset or Rewind that freed what was published, publish anew before anybody looks there: the objects are gone.
//
// Close, Reset and Purge leave the memory to its owner: it stays committed. The region must stay open as long as the arena.
//
// The error says what is wrong: the memory is neither zero nor an arena's, the arena was damaged, or had another size. OpenIn
// checks its own figures and not the objects: of memory that others may store to, they may be any.
func OpenIn(r *guard.Region, c Config) (*Arena, error) {
	if r == nil || r.Base() == nil {
		panic(zeroValue("OpenIn", "guard.Reserve makes a Region"))
	}
	in := region.Of(r)
	if c.Name == "" {
		c.Name = r.Name()
	}
	a, err := openIn(in, c)
	if err != nil {
		return nil, fmt.Errorf("arena: open %q: %w", c.Name, err)
	}
	return a, nil
}

func openIn(r *region.Region, c Config) (*Arena, error) {
	size := uintptr(r.Size()) &^ (granule - 1)
	c.Reserve, c.Limit, c.Retain, c.HugePages = int(size), int(size), int(size), false
	switch {
	case !r.IsOpen():
		return nil, guard.ErrClosed
	case size <= first:
		return nil, fmt.Errorf("%d bytes are too few", size)
	case uintptr(r.Base())%granule != 0:
		return nil, errors.New("the memory is not aligned to 8 bytes")
	}
	h := (*header)(r.Base())
	a := &Arena{
		base: r.Base(), top: first, ready: first, dirty: first, peak: first, high: first, committed: size, ceiling: size,
		state: stateOpen, region: r, config: c, header: h,
	}
	var err error
	if fault := region.Catch(func() { err = a.adopt(r.Writable()) }); fault != nil {
		err = (*guard.Fault)(fault)
	}
	return a, err
}

// adopt reads the header, or writes one.
func (a *Arena) adopt(writable bool) error {
	h, size := a.header, a.ceiling
	switch h.mark {
	case headerMark:
	case 0:
		if !writable {
			return errors.New("there is no arena in the memory, which is for reading")
		}
		for off := uintptr(0); off < first; off += granule {
			if *(*uint64)(unsafe.Add(a.base, off)) != 0 {
				return errors.New("the memory is not zero, and has no arena")
			}
		}
		h.size = uint64(size)
		h.top.Store(first)
		h.mark = headerMark
		return nil
	default:
		return errors.New("the memory is not zero, and has no arena")
	}
	root, top := h.root.Load(), h.top.Load() // Publish stores them in the other order
	if h.size != uint64(size) || top < first || top > uint64(size) || top%granule != 0 || root >= top || root > 0 && root < first {
		return fmt.Errorf("the arena in the memory is damaged: size %d of %d, %d in use, root %d", h.size, size, top, root)
	}
	a.published = root
	a.top = uintptr(top)
	a.ready, a.peak, a.high = a.top, a.top, a.top
	a.dirty = size // who allocated before may have stored there
	if !writable {
		a.ceiling, a.config.Limit = a.top, 0
	}
	return nil
}

// Publish makes all that a has handed out so far known to arenas that are opened in the same memory from now on, here and in
// other processes, and names the object from which they find the others. a was opened by OpenIn.
//
// Stores that happened before Publish are seen by an OpenIn that sees it. To tell the others that there is something new is
// up to the program: by a message, say. It panics with a *guard.Violation for an arena of another kind, or in memory for
// reading.
func Publish[T any](a *Arena, root Ref[T]) {
	a.usable("Publish")
	if a.header == nil {
		panic(a.violation("Publish", guard.InvalidArgument, "the arena was not opened by OpenIn"))
	}
	if !a.region.Writable() {
		panic(a.violation("Publish", guard.InvalidArgument, "the memory is for reading"))
	}
	a.published = root.off
	a.header.top.Store(uint64(a.top))
	a.header.root.Store(root.off)
}

// Published returns the object that the last Publish before OpenIn has named; the nil Ref if there was none, or if the arena
// was not opened by OpenIn. T must be the type that it was published with. The Ref may be any if others can store to the
// memory: Deref checks that it lies inside.
func Published[T any](a *Arena) Ref[T] {
	a.usable("Published")
	return Ref[T]{a.published}
}
