package table

import (
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
)

// ground is what a table stands on, whatever its keys and values are: the memory in the arena, and
// how hashes are laid over it. It is on the Go heap; all that it points to is in the arena.
type ground struct {
	_        nocopy.NoCopy // a copy would not hear of the arena's Reset
	head     *mapHeader    // the table's first object in the arena: all offsets count from it
	arena    *arena.Arena
	slotSize uintptr
	hasher   hasher

	doomed bool   // the arena takes memory of the table back, or has done so
	epoch  uint64 // of the arena, when that began
	doom   func() // tells the table
	cancel func() // takes the last registration of doom back; nil if there was none
}

// mapHeader is a table's root. It is in the arena, without pointers.
type mapHeader struct {
	scales   [2]scale // the new one while groups are moved to it, and the old one
	boundary uint64   // hashes up to it are laid over the new scale; 0 is no hash, for none
	left     uint64   // of those, hashes from here on may still be in the old one, behind what was moved
	leftSize uint64   // how many hashes these are
	seed     seed
	moved    uint64  // groups of the old scale that were moved: the first ones
	count    uint64  // entries
	changes  uint64  // how often entries came, went or were moved
	due      uint64  // the next group is moved when count<<paceBits reaches this
	pace     uint64  // how much further due is after each
	spare    segment // an empty one, whose first header is the next; zero for none
}

// scale is a stretch of groups. The home of a hash is the group that is at the same place in the
// stretch as the hash is among all hashes. Addresses of groups are numbers, 64 to a segment; first
// is the address of the first home. The homes are followed by groups that only take what went past
// the last ones.
//
// A small scale is the end of one segment, so that address 64 is always the next segment's first.
type scale struct {
	homes    uint64
	first    uint64
	dir      uint64 // offset of the directory: an array of segments
	dirCap   uint64
	segments uint64 // that there are
}

const (
	segmentBits   = 6
	segmentGroups = 1 << segmentBits
)

func (h *mapHeader) new() *scale { return &h.scales[0] }
func (h *mapHeader) old() *scale { return &h.scales[1] }

// seek returns where a hash has its home. It does without a branch, which would go the wrong way
// every other time while the table grows.
func (h *mapHeader) seek(hash uint64) (s *scale, address uint64) {
	_, isOld := bits.Sub64(h.boundary, hash, 0)
	s = (*scale)(unsafe.Add(unsafe.Pointer(&h.scales), uintptr(-isOld)&unsafe.Sizeof(scale{})))
	address, _ = bits.Mul64(hash, s.homes)
	return s, address + s.first
}

// isLeft tells whether a hash that is laid over the new scale may still be in the old one.
func (h *mapHeader) isLeft(hash uint64) bool { return hash-h.left < h.leftSize }

// last returns the last hash that has its home among the first n+1 homes.
func (s *scale) last(n uint64) uint64 {
	if n+1 >= s.homes {
		return math.MaxUint64
	}
	next, _ := bits.Div64(n+1, s.homes-1, s.homes)
	return next - 1
}

// segment says where a segment is: the offsets of its headers and of its slots. They are apart, so
// that the headers of many groups are in few cache lines and OS pages.
type segment struct{ headers, slots uint64 }

// groupAt returns the header and the first slot of the group at an address, which there must be. It
// is a function, because a method of a generic type would look for its dictionary.
func groupAt(base unsafe.Pointer, dir, address uint64, slotSize uintptr) (header, slots unsafe.Pointer) {
	s := (*segment)(unsafe.Add(base, uintptr(dir+address>>segmentBits*uint64(unsafe.Sizeof(segment{})))))
	i := uintptr(address) % segmentGroups
	return unsafe.Add(base, uintptr(s.headers)+i*headerSize), unsafe.Add(base, uintptr(s.slots)+i*(groupSlots*slotSize))
}

func (g *ground) header(s *scale, address uint64) unsafe.Pointer {
	header, _ := groupAt(g.base(), s.dir, address, g.slotSize)
	return header
}

func (g *ground) slots(s *scale, address uint64) unsafe.Pointer {
	_, slots := groupAt(g.base(), s.dir, address, g.slotSize)
	return slots
}

func (g *ground) base() unsafe.Pointer { return unsafe.Pointer(g.head) }

func (g *ground) at(off uint64) unsafe.Pointer { return unsafe.Add(g.base(), uintptr(off)) }

// segment returns a segment's entry in the directory.
func (g *ground) segment(s *scale, i uint64) *segment {
	return (*segment)(g.at(s.dir + i*uint64(unsafe.Sizeof(segment{}))))
}

// open makes the memory of an empty table with room for hint entries. If it fails the arena has what
// it had before.
func (g *ground) open(a *arena.Arena, hint int, h hasher, slotSize uintptr) (err error) {
	mark := a.Mark()
	defer func() {
		if _, ending := a.Epoch(); err != nil && !ending { // callbacks must not rewind, and the memory goes after them
			a.Rewind(mark)
		}
	}()
	head, err := arena.TryNew[mapHeader](a)
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	g.head, g.arena, g.slotSize, g.hasher = head, a, slotSize, h
	g.watch()
	head.seed = newSeed()
	old := head.old()
	if err := g.layOut(old, homesFor(uint64(hint))); err != nil {
		return err
	}
	if err := g.addSegments(old, max(old.homes/segmentGroups, 1)); err != nil {
		return err
	}
	head.plan()
	return nil
}

// alive panics if the arena took memory of the table back. It writes nothing, so lookups may run
// side by side.
func (g *ground) alive() {
	if g.doomed {
		g.stillAlive()
	}
}

// stillAlive lets callbacks of OnReset use the table: its memory goes after them.
func (g *ground) stillAlive() {
	mustBeOpen(g.arena, g.hasher.typ())
	if epoch, ending := g.arena.Epoch(); !ending || epoch != g.epoch {
		panic(&guard.Violation{Op: "table." + g.hasher.typ(), Kind: guard.UseAfterReset, Detail: "the arena took the table's memory back", Region: g.arena.Name()})
	}
}

// watch makes sure that doom is called before what the table allocated until now is freed, and before
// any callback that was registered earlier. While callbacks run that is soon, so it is called at once.
func (g *ground) watch() {
	if _, ending := g.arena.Epoch(); ending {
		g.doom()
		return
	}
	if g.cancel != nil {
		g.cancel() // whatever frees older memory of the table frees the newest, too
	}
	g.cancel = g.arena.OnReset(g.doom)
}

// take allocates n times size bytes. Whatever takes them back will call doom first.
func (g *ground) take(n uint64, size, align uintptr) (uint64, error) {
	hi, bytes := bits.Mul64(n, uint64(size))
	if hi != 0 || bytes > math.MaxInt {
		return 0, fmt.Errorf("table: %q: %d times %d bytes are more than addresses can hold: %w", g.arena.Name(), n, size, guard.ErrNoMemory)
	}
	b, err := g.arena.TryAlloc(int(bytes), int(align))
	if err != nil {
		return 0, fmt.Errorf("table: %w", err)
	}
	g.watch()
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(g.base())), nil
}

// hash hashes a key.
func (g *ground) hash(key unsafe.Pointer, size uintptr) uint64 {
	switch g.hasher.kind {
	case known:
		return spread((*text)(key).hash)
	case byParts:
		return g.head.seed.parts(key, g.hasher.parts)
	}
	return g.head.seed.memory(key, size)
}

// hashInline is hash for loops over many entries: the most frequent keys take no call. rest is
// hash, a parameter for the reason that bump has. Iteration is a fifth faster.
func hashInline(g *ground, key unsafe.Pointer, size uintptr, rest func(*ground, unsafe.Pointer, uintptr) uint64) uint64 {
	if size == 8 && g.hasher.kind == byBytes {
		return g.head.seed.word(load8(key, 0))
	}
	return rest(g, key, size)
}

// layOut makes a scale without groups.
func (g *ground) layOut(s *scale, homes uint64) (err error) {
	dirCap := homes/segmentGroups + 2
	dir, err := g.take(dirCap, unsafe.Sizeof(segment{}), 8)
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
		if g.head.spare != (segment{}) && (s.segments > 0 || s.first == 0) {
			if err := g.addSpare(s); err != nil {
				return err
			}
			continue
		}
		n := uint64(1)
		if all := s.homes / segmentGroups; s.segments < all {
			n = min(1+all/segmentsPer, all-s.segments)
		}
		if err := g.addSegments(s, n); err != nil {
			return err
		}
	}
	return nil
}

// segmentsPer is how much a table is larger than what is allocated at a time: headers lie together
// in larger pieces, and what is not used yet is little.
const segmentsPer = 256

// addSegments allocates n segments.
func (g *ground) addSegments(s *scale, n uint64) error {
	if err := g.growDirectory(s, n); err != nil {
		return err
	}
	missing := uint64(0) // of the first segment of a small scale only the end is there
	if s.segments == 0 {
		missing = s.first
	}
	groups := n*segmentGroups - missing
	slotsSize := groupSlots * g.slotSize
	off, err := g.take(groups, headerSize+slotsSize, 64)
	if err != nil {
		return err
	}
	// The offset of the segment's start may wrap, and wraps back.
	at := segment{off - missing*headerSize, off + groups*headerSize - missing*uint64(slotsSize)}
	for range n {
		*g.segment(s, s.segments) = at
		at.headers += segmentGroups * headerSize
		at.slots += segmentGroups * uint64(slotsSize)
		s.segments++
	}
	return nil
}

// addSpare adds the segment that was kept last.
func (g *ground) addSpare(s *scale) error {
	if err := g.growDirectory(s, 1); err != nil {
		return err
	}
	spare := g.head.spare
	next := (*segment)(g.at(spare.headers))
	g.head.spare, *next = *next, segment{}
	*g.segment(s, s.segments) = spare
	s.segments++
	return nil
}

// keep puts an empty segment aside.
func (g *ground) keep(s *scale, i uint64) {
	spare := *g.segment(s, i)
	*(*segment)(g.at(spare.headers)) = g.head.spare
	g.head.spare = spare
}

// growDirectory makes room for n more segments. There is room for the homes and one segment more,
// so this copies only where very many hashes meet.
func (g *ground) growDirectory(s *scale, n uint64) error {
	if s.segments+n <= s.dirCap {
		return nil
	}
	dirCap := 2 * (s.segments + n)
	dir, err := g.take(dirCap, unsafe.Sizeof(segment{}), 8)
	if err != nil {
		return err
	}
	copy(unsafe.Slice((*segment)(g.at(dir)), s.segments), unsafe.Slice((*segment)(g.at(s.dir)), s.segments))
	s.dir, s.dirCap = dir, dirCap
	return nil
}
