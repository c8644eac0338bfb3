package arena

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// ground is what a table stands on, whatever its keys and values are: the memory in the arena, and how hashes
// are laid over it. It is on the Go heap; all that it points to is in the arena.
type ground struct {
	base     unsafe.Pointer // of the arena
	head     *mapHeader
	arena    *Arena
	epoch    uint64 // of the arena, when the table was last known to be alive
	mark     Mark   // above all memory of the table: it is stale if some was taken back
	slotSize uintptr
}

// mapHeader is a table's root. It is in the arena, without pointers.
type mapHeader struct {
	scales   [2]scale // the old one, and the new one while homes are moved to it
	boundary uint64   // hashes below it are laid over the new scale
	seed     seed
	moved    uint64 // homes of the old scale that were moved: the first ones
	count    uint64 // entries
	changes  uint64 // insertions and deletions so far
	due      uint64 // the next home is moved when count<<paceBits reaches this
	pace     uint64 // how much further due is after each
	spare    uint64 // offset of an empty segment, whose first 8 bytes are the next one's; 0 for none
}

// scale is a stretch of groups. The home of a hash is the group that is at the same place in the stretch
// as the hash is among all hashes. Addresses of groups are numbers, 64 to a segment; first is the address of the first
// home. The homes are followed by groups that only take what went past the last ones.
//
// A small scale is the end of one segment, so that address 64 is always the next segment's first.
type scale struct {
	homes    uint64
	first    uint64
	dir      uint64 // offset of the directory: the segments' offsets
	dirCap   uint64
	segments uint64 // that there are
}

const (
	segmentBits   = 6
	segmentGroups = 1 << segmentBits
)

// seek returns where a hash has its home. It does without a branch, which would go the wrong way
// every other time while the table grows.
func (h *mapHeader) seek(hash uint64) (s *scale, address uint64) {
	_, isMoved := bits.Sub64(hash, h.boundary, 0)
	s = (*scale)(unsafe.Add(unsafe.Pointer(&h.scales), uintptr(-isMoved)&unsafe.Sizeof(scale{})))
	address, _ = bits.Mul64(hash, s.homes)
	return s, address + s.first
}

// end returns the least hash that has its home behind the first n homes. If there is none it is 0, which
// follows the last hash, and more is false.
func (s *scale) end(n uint64) (hash uint64, more bool) {
	if n >= s.homes {
		return 0, false
	}
	hash, _ = bits.Div64(n, s.homes-1, s.homes)
	return hash, true
}

// groupAt returns the header and the first slot of the group at an address, which there must be. A segment has
// the slots of its groups in order, and behind them the headers in reverse: so a piece of a segment lies together, and
// headers share cache lines. It is a function, because a method of a generic type would look for its dictionary.
func groupAt(base unsafe.Pointer, dir, address uint64, slotSize uintptr) (header, slots unsafe.Pointer) {
	off := *(*uintptr)(unsafe.Add(base, uintptr(dir+address>>segmentBits*8)))
	i := uintptr(address) % segmentGroups
	header = unsafe.Add(base, off+segmentGroups*groupSlots*slotSize+(i^(segmentGroups-1))*headerSize)
	return header, unsafe.Add(base, off+i*(groupSlots*slotSize))
}

func (g *ground) header(s *scale, address uint64) unsafe.Pointer {
	header, _ := groupAt(g.base, s.dir, address, g.slotSize)
	return header
}

func (g *ground) at(off uint64) unsafe.Pointer { return unsafe.Add(g.base, uintptr(off)) }

// segment returns a segment's entry in the directory.
func (g *ground) segment(s *scale, i uint64) *uint64 { return (*uint64)(g.at(s.dir + i*8)) }

// open makes the memory of an empty table with room for hint entries.
func (g *ground) open(a *Arena, hint int, slotSize uintptr) error {
	head, err := TryNew[mapHeader](a)
	if err != nil {
		return err
	}
	*g = ground{arena: a, base: a.base, head: head, slotSize: slotSize, mark: Mark{arena: a, off: a.top}}
	g.remember()
	head.seed = newSeed()
	old := &head.scales[0]
	if err := g.layOut(old, homesFor(uint64(hint))); err != nil {
		return err
	}
	if err := g.addSegments(old, max(old.homes/segmentGroups, 1)); err != nil {
		return err
	}
	head.plan()
	return nil
}

// alive panics if the arena took memory of the table back.
func (g *ground) alive() {
	if g.epoch != g.arena.epoch || g.arena.state != open {
		g.stillAlive()
	}
}

// stillAlive does not write, so that lookups may run side by side.
func (g *ground) stillAlive() {
	g.arena.usable("Map")
	if g.arena.rewinds.stale(g.mark) {
		panic(g.arena.violation("Map", "use after Reset, or after Rewind to a mark older than the map's last growth"))
	}
}

// remember notes that the table is alive now.
func (g *ground) remember() {
	g.epoch = g.arena.epoch
	g.mark.epoch = g.epoch
}

// take allocates n times size bytes.
func (g *ground) take(n uint64, size, align uintptr) (uint64, error) {
	hi, bytes := bits.Mul64(n, uint64(size))
	if hi != 0 || bytes > uint64(g.arena.ceiling) {
		return 0, fmt.Errorf("arena: a map's %d times %d bytes do not fit into %q: %w", n, size, g.arena.config.Name, guard.ErrNoMemory)
	}
	p, err := g.arena.take(uintptr(bytes), align)
	if err != nil {
		return 0, err
	}
	g.mark.off = g.arena.top
	return uint64(uintptr(p) - uintptr(g.base)), nil
}

// layOut makes a scale without groups.
func (g *ground) layOut(s *scale, homes uint64) (err error) {
	dirCap := homes/segmentGroups + 2
	dir, err := g.take(dirCap, 8, granule)
	if err != nil {
		return err
	}
	*s = scale{homes: homes, dir: dir, dirCap: dirCap}
	if homes < segmentGroups {
		behind := homes/8 + min(homes-1, 1)
		s.first = segmentGroups - homes - behind
	}
	return nil
}

// reach makes sure that there is a group at the address.
func (g *ground) reach(s *scale, address uint64) error {
	for address >= s.segments*segmentGroups {
		if g.head.spare == 0 || s.segments == 0 && s.first > 0 {
			if err := g.addSegments(s, 1); err != nil {
				return err
			}
		} else if err := g.addSpare(s); err != nil {
			return err
		}
	}
	return nil
}

// addSegments allocates n segments.
func (g *ground) addSegments(s *scale, n uint64) error {
	if err := g.growDirectory(s, n); err != nil {
		return err
	}
	groups := uint64(segmentGroups)
	if s.segments == 0 {
		groups -= s.first
	}
	slots := groupSlots * g.slotSize
	off, err := g.take(n*groups, slots+headerSize, 64)
	if err != nil {
		return err
	}
	off -= (segmentGroups - groups) * uint64(slots) // what is not there of a first segment; this may wrap
	for range n {
		*g.segment(s, s.segments) = off
		off += segmentGroups * uint64(slots+headerSize)
		s.segments++
	}
	return nil
}

// addSpare adds the segment that was kept last.
func (g *ground) addSpare(s *scale) error {
	if err := g.growDirectory(s, 1); err != nil {
		return err
	}
	off := g.head.spare
	link := (*uint64)(g.at(off))
	g.head.spare, *link = *link, 0
	*g.segment(s, s.segments) = off
	s.segments++
	return nil
}

// keep puts an empty segment aside.
func (g *ground) keep(s *scale, i uint64) {
	off := *g.segment(s, i)
	*(*uint64)(g.at(off)) = g.head.spare
	g.head.spare = off
}

// growDirectory makes room for n more segments. There is room for the homes and one segment more, so
// this copies only where very many hashes meet.
func (g *ground) growDirectory(s *scale, n uint64) error {
	if s.segments+n <= s.dirCap {
		return nil
	}
	dirCap := 2 * (s.segments + n)
	dir, err := g.take(dirCap, 8, granule)
	if err != nil {
		return err
	}
	copy(unsafe.Slice((*uint64)(g.at(dir)), s.segments), unsafe.Slice((*uint64)(g.at(s.dir)), s.segments))
	s.dir, s.dirCap = dir, dirCap
	return nil
}
