package region

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Config says what Reserve reserves. guard.Config documents the fields that it has, too.
type Config struct {
	Name      string
	Size      int
	Reserve   int
	MinSize   int
	HugePages bool
	Prefault  bool
	Near      uintptr
	Secret    bool
	MaySwap   bool

	// PartOf is a region of the same owner, a heap say, that was reserved before and may be closed by now.
	// Leaks of both are reported as one, with the stack that opened the first.
	PartOf *Region

	// DeferOnSoft makes Commit leave Budget.OnSoft to a later call of Reclaim. It is for allocators, which
	// commit while they hold locks that OnSoft may need. A Commit beyond Budget.Hard then fails at
	// once: the allocator calls Reclaim without its locks, and tries again if Reclaim returns true.
	DeferOnSoft bool

	// Skip is how many callers of Reserve are left out of the stack that Info.Opened has.
	Skip int
}

// Region is a reservation of addresses between two guards. Reserve makes one. It must not be copied. Any number of
// goroutines may call its methods. Offsets and lengths are in bytes, multiples of the OS page, and lie inside
// [0, Size).
type Region struct {
	_ nocopy.NoCopy

	rec      *record
	base     unsafe.Pointer
	size     atomic.Int64 // grows
	reserved int64
	prefault bool
	zeroes   uintptr  // see KeepZeroes
	count    *counter // rec.count points to it
	cleanup  runtime.Cleanup
}

// Of returns the region behind a guard.Region. Package guard sets it: for allocators that work in regions of users.
var Of func(face any) *Region

// GuardSize is the least bytes of addresses on either side of the data. An overrun with a stride larger than an OS page
// should not leap over them.
const GuardSize = 64 << 10

// maxSize leaves room for guards and alignment in every size computation.
const maxSize = math.MaxInt/2 - 4*GuardSize

// Reserve is guard.Reserve.
func Reserve(c Config) (*Region, error) {
	if c.Name == "" {
		c.Name = "region"
	}
	room := max(c.Size, c.Reserve)
	if c.MinSize == 0 {
		c.MinSize = room
	}
	switch {
	case c.Size < 0 || c.Reserve < 0 || room == 0:
		return nil, fmt.Errorf("guard: reserve %q: size %d must be positive", c.Name, c.Size)
	case c.Reserve > 0 && c.Reserve < c.Size:
		return nil, fmt.Errorf("guard: reserve %q: Reserve %d is below Size %d", c.Name, c.Reserve, c.Size)
	case c.MinSize < 0 || c.MinSize > room:
		return nil, fmt.Errorf("guard: reserve %q: MinSize %d must be between 0 and the size of %d", c.Name, c.MinSize, room)
	case c.MaySwap && !c.Secret:
		return nil, fmt.Errorf("guard: reserve %q: MaySwap is for Secret regions", c.Name)
	case room > maxSize:
		return nil, fmt.Errorf("guard: reserve %q: %d bytes are more than addresses can hold: %w", c.Name, room, ErrNoMemory)
	}
	var of *owner
	if c.PartOf != nil {
		of = c.PartOf.rec.owner
	}
	for size := room; ; size /= 2 {
		rec, err := reserve(size, c.Near)
		if err == nil {
			rec.data = min(rec.room, alignUp(uintptr(c.Size), uintptr(PageSize())))
			if err := rec.keepSecret(c); err != nil {
				release([]*record{rec})
				return nil, fmt.Errorf("guard: reserve %q: leave it out of core dumps: %w", c.Name, err)
			}
			return rec.start(c, of), nil
		}
		if errors.Is(err, ErrNoMemory) { // there are too few mappings, whatever the size
			return nil, fmt.Errorf("guard: reserve %q: %w", c.Name, err)
		}
		if size/2 < c.MinSize {
			return nil, fmt.Errorf("guard: reserve %q: %d bytes%s: %v: %w", c.Name, size, addressLimit(), err, ErrNoMemory)
		}
	}
}

// addressLimit returns the limit of addresses in words, if there is one.
func addressLimit() string {
	if as := vm.Probe().AddressSpace; as != vm.Unlimited {
		return fmt.Sprintf(" (RLIMIT_AS is %d)", as)
	}
	return ""
}

// reserve claims addresses for size bytes and two guards. The region has no data yet. Where the kernel has none left, the quarantine gives
// way.
func reserve(size int, near uintptr) (*record, error) {
	page := uintptr(vm.Probe().PageSize)
	room := alignUp(uintptr(size), page)
	align, side := page, alignUp(GuardSize, page)
	if room >= hugeAlign {
		align = hugeAlign
	}
	total := room + 2*side + align - page
	hint := uintptr(0) // of the reservation, so that base comes to near
	if near > side {
		hint = (near - side) &^ (page - 1)
	}
	if err := takeMappings(1); err != nil {
		return nil, err
	}
	for {
		start, err := vm.ReserveNear(total, hint)
		if err != nil {
			if vm.IsOutOfMemory(err) && releaseOldest() {
				continue
			}
			mappings.Add(-1)
			return nil, err
		}
		gap := alignUp(uintptr(start)+side, align) - uintptr(start)
		return &record{reservation: start, size: total, base: unsafe.Add(start, gap), room: room, light: lightGuards, mappings: 1}, nil
	}
}

// hugeAlign is the alignment that lets huge pages form on every system we know.
const hugeAlign = 2 << 20

func alignUp(n, to uintptr) uintptr { return (n + to - 1) &^ (to - 1) }

// start names and registers a fresh reservation, and returns its Region. of is the owner; nil makes a new one.
func (rec *record) start(c Config, of *owner) *Region {
	c.Skip++
	rec.describe(c, of)
	return rec.open(c)
}

// describe names a fresh reservation.
func (rec *record) describe(c Config, of *owner) {
	rec.name = c.Name
	rec.stack = stacktrace.Callers(2 + c.Skip)
	if of == nil {
		of = &owner{name: rec.name, stack: rec.stack, number: owners.Add(1)}
	}
	rec.owner = of
	rec.report = trap.Report{Base: uintptr(rec.base), Size: rec.data, Region: strconv.Quote(rec.name)}
	setName(rec.reservation, rec.size, rec.mapName())
	if c.HugePages {
		// A kernel without huge pages serves small ones.
		_ = rec.advise(0, rec.room, vm.HugePages)
	}
}

// open registers a reservation that is ready for use, and returns its Region.
func (rec *record) open(c Config) *Region {
	register(rec)
	r := &Region{rec: rec, base: rec.base, reserved: int64(rec.size), prefault: c.Prefault}
	r.size.Store(int64(rec.data))
	rec.deferOnSoft.Store(c.DeferOnSoft)
	r.cleanup = runtime.AddCleanup(r, leak, rec)
	return r
}

// mapName returns the name of the region in /proc/PID/maps.
func (rec *record) mapName() string { return "offheap: " + rec.name }

// setName shows a name in /proc/PID/maps. It is for people only, so an error is ignored.
func setName(p unsafe.Pointer, n uintptr, name string) {
	name = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || strings.ContainsRune("\\`$[]", c) {
			return '_'
		}
		return c
	}, name)
	_ = vm.Name(p, n, name[:min(len(name), 79)])
}

// Base returns the address of the first byte. It never changes.
func (r *Region) Base() unsafe.Pointer { return r.base }

// Size returns the bytes of data.
func (r *Region) Size() int { return int(r.size.Load()) }

// Name returns the name that faults show.
func (r *Region) Name() string { return r.rec.name }

// Bytes returns all data of the region, committed or not.
func (r *Region) Bytes() []byte { return unsafe.Slice((*byte)(r.base), r.Size()) }

// Reserved returns the bytes of addresses claimed, guards included.
func (r *Region) Reserved() int64 { return r.reserved }

// Committed returns the bytes charged to the budget.
func (r *Region) Committed() int64 { return r.rec.charge.Load() }

// IsOpen tells whether the region is not closed yet.
func (r *Region) IsOpen() bool { return r.rec.isOpen() }

// Resident is guard.Region.Resident.
func (r *Region) Resident() (int64, error) {
	rec := r.rec
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.state != stateOpen {
		return 0, r.errorf("resident", ErrClosed)
	}
	n, err := rec.resident()
	if err != nil {
		return 0, r.errorf("resident", noMemory(err))
	}
	return n, nil
}

// resident returns how many committed bytes are in RAM. Caller holds rec.mu.
func (rec *record) resident() (total int64, err error) {
	for _, s := range rec.committed {
		n, err := vm.Resident(unsafe.Add(rec.base, s.off), s.end-s.off)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// FirstResident returns the offset of the first OS page of [off, off+n) that is in RAM, and off+n if there is none. It asks
// the kernel and touches nothing. Swapped-out pages are not in RAM. The error wraps errors.ErrUnsupported where the
// system does not tell.
func (r *Region) FirstResident(off, n int) (first int, err error) {
	err = r.change("resident", off, n, func(rec *record, lo, hi uintptr) error {
		at, err := vm.FirstResident(unsafe.Add(rec.base, lo), hi-lo)
		first = int(at)
		return err
	})
	return off + first, err
}

// KeepZeroes makes the first n bytes, whole OS pages, stay usable after Close, and read zero as long as the addresses are in
// quarantine. That holds for parts that are committed, readable and writable when Close is called, and neither
// guarded, locked, secret nor of a file. Allocators keep there the memory that handles point to and fast paths look
// at, so that a late call finds nothing, and can say why. Memory that such a call writes to is not charged.
func (r *Region) KeepZeroes(n int) error {
	return r.change("keep zeroes", 0, n, func(rec *record, _, hi uintptr) error {
		r.zeroes = hi
		return nil
	})
}

// Close is guard.Region.Close. With KeepZeroes, after an error the contents of some memory beside the kept part may be lost,
// too.
func (r *Region) Close() error {
	rec := r.rec
	rec.mu.Lock()
	if rec.state != stateOpen {
		rec.mu.Unlock()
		return r.errorf("close", ErrClosed)
	}
	// KeepZeroes: these parts stay accessible all the time, because another goroutine may be reading them.
	zeroes := rec.plain(r.zeroes)
	err := rec.wipe(0, rec.data)
	for _, s := range zeroes.outside(0, rec.data) {
		if err == nil {
			err = vm.Decommit(unsafe.Add(rec.base, s.off), s.end-s.off)
		}
	}
	if err != nil {
		_ = rec.protectAsBooked(0, rec.data) // secrets were made writable
		rec.mu.Unlock()
		return r.errorf("close", noMemory(err))
	}
	for _, s := range zeroes {
		p, n := unsafe.Add(rec.base, s.off), s.end-s.off
		if vm.Empty(p, n) != nil {
			clear(unsafe.Slice((*byte)(p), n))
		}
	}
	rec.state = stateClosed
	used := rec.used
	rec.committed, rec.guards = nil, guards{}
	rec.locked, rec.unlocked, rec.unmarked, rec.files, rec.hints, rec.fixed = nil, nil, nil, nil, nil, nil
	n := rec.charge.Swap(0)
	rec.told = use{}
	had := rec.mappings
	rec.mappings = 1 + 2*len(zeroes)
	mappings.Add(int64(rec.mappings - had))
	rec.mu.Unlock()

	r.cleanup.Stop()
	refund(n)
	if rec.backing != nil {
		rec.backing.f.Close() // nothing was written through it that Close could lose
	}
	setName(rec.reservation, rec.size, "offheap: closed")
	quarantine(rec, uintptr(rec.base)-uintptr(rec.reservation)+used+alignUp(GuardSize, uintptr(PageSize())))
	return nil
}

// plain returns the parts of the first n bytes that are committed, readable and writable, and neither guarded, locked nor
// of a file; none of a Secret region.
func (rec *record) plain(n uintptr) (parts spans) {
	if rec.secret {
		return nil
	}
	for _, s := range rec.committed.inside(0, n) {
		if s.prot == vm.ReadWrite {
			parts = parts.set(span{off: s.off, end: s.end})
		}
	}
	for _, other := range []spans{rec.files.inside(0, n), rec.locked.inside(0, n), rec.guards.in(0, n)} {
		for _, s := range other {
			parts = parts.remove(s.off, s.end)
		}
	}
	return parts
}

// errorf adds the operation and the region to an error.
func (r *Region) errorf(op string, err error) error {
	return fmt.Errorf("guard: %s region %q: %w", op, r.rec.name, err)
}
