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

// untyped is the part of a table that knows neither its key nor its value type: the memory in the
// arena, and where hashes have their homes. It is on the Go heap; all that root leads to is in the arena.
type untyped struct {
	_        nocopy.NoCopy // a copy would not hear of the arena's Reset
	root     *root         // the table's first object in the arena: all offsets count from it
	arena    *arena.Arena
	slotSize uintptr
	hasher   hasher

	invalid    bool   // the arena frees memory of the table, or has done so
	epoch      uint64 // of the arena, when that began
	invalidate func() // makes the table invalid
	cancel     func() // takes the last registration of invalidate back; nil if there was none
}

// root is the head of a table in the arena, without pointers.
type root struct {
	layouts    [2]layout // the next one, while groups are moved to it, and the current one
	boundary   uint64    // hashes up to it have their homes in the next layout; no hash is 0
	lagFrom    uint64    // the first hash of these that may still be in the current layout
	lagging    uint64    // how many hashes may be, from lagFrom to boundary
	seed       seed
	moved      uint64  // groups of the current layout that were moved: the first ones
	count      uint64  // entries
	changes    uint64  // how often entries came, went or were moved
	nextMove   uint64  // the next group is moved when count<<fractionBits reaches this
	movePeriod uint64  // what a move adds to nextMove
	spare      segment // an empty one, whose first header names the next one; zero for none
}

// layout is a row of groups over which the hashes are spread: a hash has its home at the same place
// among the homes as the hash has among all hashes. Groups are numbered, 64 to a segment. The group at
// first is the first home. Behind the homes lie groups that only take overflow.
//
// A small layout is the end of one segment, so that group 64 is always the first of the next segment.
type layout struct {
	homes    uint64
	first    uint64
	dir      uint64 // offset of the directory: an array of segments
	dirCap   uint64 // segments that the directory has room for
	segments uint64 // segments that there are
}

const (
	segmentBits   = 6
	segmentGroups = 1 << segmentBits
)

func (r *root) next() *layout    { return &r.layouts[0] }
func (r *root) current() *layout { return &r.layouts[1] }

// homeOf returns the home of a hash. It has no branch: while the table grows that would be predicted
// wrongly every other time.
func (r *root) homeOf(hash uint64) (l *layout, address uint64) {
	_, isCurrent := bits.Sub64(r.boundary, hash, 0)
	l = (*layout)(unsafe.Add(unsafe.Pointer(&r.layouts), uintptr(-isCurrent)&unsafe.Sizeof(layout{})))
	address, _ = bits.Mul64(hash, l.homes)
	return l, address + l.first
}

// lags tells whether an entry with a hash that has its home in the next layout may still be in the
// current one: it may have overflowed into a group that was not moved.
func (r *root) lags(hash uint64) bool { return hash-r.lagFrom < r.lagging }

// lastHash returns the last hash that has its home among the first n+1 homes.
func (l *layout) lastHash(n uint64) uint64 {
	if n+1 >= l.homes {
		return math.MaxUint64
	}
	next, _ := bits.Div64(n+1, l.homes-1, l.homes)
	return next - 1
}

// segment has the offsets of the headers and the slots of 64 groups. Headers lie together, so that
// the headers of many groups are in few cache lines and OS pages.
type segment struct{ headers, slots uint64 }

// groupAt returns the header and the first slot of a group, which must exist. It is a function, because
// a method of a generic type would load its dictionary.
func groupAt(base unsafe.Pointer, dir, address uint64, slotSize uintptr) (header, slots unsafe.Pointer) {
	l := (*segment)(unsafe.Add(base, uintptr(dir+address>>segmentBits*uint64(unsafe.Sizeof(segment{})))))
	i := uintptr(address) % segmentGroups
	return unsafe.Add(base, uintptr(l.headers)+i*headerSize), unsafe.Add(base, uintptr(l.slots)+i*(groupSlots*slotSize))
}

// header returns the header of a group, which must exist.
func (u *untyped) header(l *layout, address uint64) unsafe.Pointer {
	header, _ := groupAt(u.base(), l.dir, address, u.slotSize)
	return header
}

// slots returns the first slot of a group, which must exist.
func (u *untyped) slots(l *layout, address uint64) unsafe.Pointer {
	_, slots := groupAt(u.base(), l.dir, address, u.slotSize)
	return slots
}

// base returns where offsets count from.
func (u *untyped) base() unsafe.Pointer { return unsafe.Pointer(u.root) }

// at returns the address of an offset.
func (u *untyped) at(off uint64) unsafe.Pointer { return unsafe.Add(u.base(), uintptr(off)) }

// segment returns a segment's entry in the directory.
func (u *untyped) segment(l *layout, i uint64) *segment {
	return (*segment)(u.at(l.dir + i*uint64(unsafe.Sizeof(segment{}))))
}

// open allocates an empty table with room for hint entries. If it fails, the arena keeps nothing of it,
// unless callbacks of OnReset are running: then the memory goes when they are done.
func (u *untyped) open(a *arena.Arena, hint int, keys hasher, slotSize uintptr) (err error) {
	mark := a.Mark()
	defer func() {
		if _, ending := a.Epoch(); err != nil && !ending { // callbacks must not rewind
			a.Rewind(mark)
		}
	}()
	r, err := arena.TryNew[root](a)
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	u.root, u.arena, u.slotSize, u.hasher = r, a, slotSize, keys
	u.watchArena()
	r.seed = newSeed()
	l := r.current()
	if err := u.newLayout(l, homesFor(uint64(hint))); err != nil {
		return err
	}
	if err := u.addSegments(l, max(l.homes/segmentGroups, 1)); err != nil {
		return err
	}
	r.scheduleMoves()
	return nil
}

// usable panics if the arena has freed memory of the table. It writes nothing, so that several
// goroutines may search at once.
func (u *untyped) usable() {
	if u.invalid {
		u.usableInCallback()
	}
}

// usableInCallback is usable for an invalid table: callbacks of OnReset may use it, because its memory
// is freed after them.
func (u *untyped) usableInCallback() {
	mustBeOpen(u.arena, u.hasher.typ())
	if epoch, ending := u.arena.Epoch(); !ending || epoch != u.epoch {
		panic(&guard.Violation{Op: "table." + u.hasher.typ(), Kind: guard.UseAfterReset, Detail: "the arena freed memory of the table", Region: u.arena.Name()})
	}
}

// watchArena registers invalidate, to be called before the memory that the table has now is freed, and
// before any callback that was registered earlier. While callbacks run the memory is freed as soon as
// they are done, so invalidate is called at once.
func (u *untyped) watchArena() {
	if _, ending := u.arena.Epoch(); ending {
		u.invalidate()
		return
	}
	if u.cancel != nil {
		u.cancel() // the call that frees older memory of the table frees the newest, too
	}
	u.cancel = u.arena.OnReset(u.invalidate)
}

// alloc allocates n times size zeroed bytes, and returns their offset.
func (u *untyped) alloc(n uint64, size, align uintptr) (uint64, error) {
	hi, bytes := bits.Mul64(n, uint64(size))
	if hi != 0 || bytes > math.MaxInt {
		return 0, fmt.Errorf("table: %q: %d times %d bytes are more than addresses can hold: %w", u.arena.Name(), n, size, guard.ErrNoMemory)
	}
	b, err := u.arena.TryAlloc(int(bytes), int(align))
	if err != nil {
		return 0, fmt.Errorf("table: %w", err)
	}
	u.watchArena()
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(u.base())), nil
}

// hash hashes a key.
func (u *untyped) hash(key unsafe.Pointer, size uintptr) uint64 {
	switch u.hasher.kind {
	case byStoredHash:
		return wholeHash((*stringKey)(key).hash)
	case byParts:
		return u.root.seed.parts(key, u.hasher.parts)
	}
	return u.root.seed.memory(key, size)
}

// hashInline is hash for loops over many entries: keys of 8 bytes take no call, which makes iteration a
// fifth faster. rest is (*untyped).hash: as a parameter its call costs the inliner less.
func hashInline(u *untyped, key unsafe.Pointer, size uintptr, rest func(*untyped, unsafe.Pointer, uintptr) uint64) uint64 {
	if size == 8 && u.hasher.kind == byBytes {
		return u.root.seed.word(load8(key, 0))
	}
	return rest(u, key, size)
}

// newLayout makes a layout without groups.
func (u *untyped) newLayout(l *layout, homes uint64) (err error) {
	dirCap := homes/segmentGroups + 2
	dir, err := u.alloc(dirCap, unsafe.Sizeof(segment{}), 8)
	if err != nil {
		return err
	}
	*l = layout{homes: homes, dir: dir, dirCap: dirCap}
	if homes < segmentGroups {
		behind := homes/8 + min(homes-1, 1)
		l.first = segmentGroups - homes - behind
	}
	return nil
}

// ensureGroup adds segments until there is a group at the address.
func (u *untyped) ensureGroup(l *layout, address uint64) error {
	for address >= l.segments*segmentGroups {
		if u.root.spare != (segment{}) && (l.segments > 0 || l.first == 0) {
			if err := u.addSpare(l); err != nil {
				return err
			}
			continue
		}
		n := uint64(1)
		if all := l.homes / segmentGroups; l.segments < all {
			n = min(1+all/growthShare, all-l.segments)
		}
		if err := u.addSegments(l, n); err != nil {
			return err
		}
	}
	return nil
}

// growthShare bounds the segments that are added at a time: a 256th of the layout. So little memory is
// unused, and headers lie together in larger pieces than those of one segment.
const growthShare = 256

// addSegments allocates n segments.
func (u *untyped) addSegments(l *layout, n uint64) error {
	if err := u.growDirectory(l, n); err != nil {
		return err
	}
	missing := uint64(0) // groups that are not there: a small layout has only the end of its first segment
	if l.segments == 0 {
		missing = l.first
	}
	groups := n*segmentGroups - missing
	slotsSize := groupSlots * u.slotSize
	off, err := u.alloc(groups, headerSize+slotsSize, 64)
	if err != nil {
		return err
	}
	// The offset of the segment's start may wrap below 0; adding the group's wraps it back.
	at := segment{off - missing*headerSize, off + groups*headerSize - missing*uint64(slotsSize)}
	for range n {
		*u.segment(l, l.segments) = at
		at.headers += segmentGroups * headerSize
		at.slots += segmentGroups * uint64(slotsSize)
		l.segments++
	}
	return nil
}

// addSpare adds the spare segment that was kept last.
func (u *untyped) addSpare(l *layout) error {
	if err := u.growDirectory(l, 1); err != nil {
		return err
	}
	spare := u.root.spare
	next := (*segment)(u.at(spare.headers))
	u.root.spare, *next = *next, segment{}
	*u.segment(l, l.segments) = spare
	l.segments++
	return nil
}

// keepSpare keeps an empty segment for the next layout.
func (u *untyped) keepSpare(l *layout, i uint64) {
	spare := *u.segment(l, i)
	*(*segment)(u.at(spare.headers)) = u.root.spare
	u.root.spare = spare
}

// growDirectory makes room for n more segments. The directory has room for the homes and one segment
// more, so it is copied only if very many entries have their homes close together.
func (u *untyped) growDirectory(l *layout, n uint64) error {
	if l.segments+n <= l.dirCap {
		return nil
	}
	dirCap := 2 * (l.segments + n)
	dir, err := u.alloc(dirCap, unsafe.Sizeof(segment{}), 8)
	if err != nil {
		return err
	}
	copy(unsafe.Slice((*segment)(u.at(dir)), l.segments), unsafe.Slice((*segment)(u.at(l.dir)), l.segments))
	l.dir, l.dirCap = dir, dirCap
	return nil
}
