package region

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Config says what Reserve reserves.
type Config struct {
	// Name is shown in faults, in Regions and, as [anon:offheap: Name], in
	// /proc/PID/maps. Default "region".
	Name string

	// Size is the bytes of data; it is rounded up to OS pages. It must be positive.
	Size int

	// MinSize is the smallest size in bytes to settle for where the system refuses addresses
	// (RLIMIT_AS): Size is halved until it fits or falls below. Default Size.
	MinSize int

	// HugePages asks for huge pages over the whole region, where the system has them.
	HugePages bool

	// Prefault makes Commit bring the memory into RAM at once.
	Prefault bool

	// PartOf is a region that was mapped before for the same thing, a heap say, and may be closed by
	// now: CheckLeaks tells of both as one, opened where that was.
	PartOf *Region

	// DeferOnSoft has Commit leave Budget.OnSoft to a later call of Reclaim. It is for allocators, which
	// commit while they hold locks that OnSoft may need. A Commit beyond Budget.Hard then fails at
	// once: the allocator calls Reclaim without its locks, and tries again if that is true.
	DeferOnSoft bool

	// Skip is how many functions between the one that opens something and Reserve are left out of the
	// stack that Info.Opened shows.
	Skip int

	// Secret is for keys and the like: what is committed is locked into RAM, left out of core dumps,
	// and overwritten with zeroes before it is given back or guarded. The package comment says what
	// that does not cover. Where the system cannot leave memory out of core dumps (outside Linux) the
	// error of Reserve wraps errors.ErrUnsupported.
	Secret bool

	// MaySwap lets a Secret region go on without the lock where RLIMIT_MEMLOCK refuses it. Without
	// it Commit fails then.
	MaySwap bool
}

// Region is a reservation of addresses between two guards. It must not be copied, and the zero Region is
// not usable: see Reserve. Its methods may be called by any number
// of goroutines; offsets and lengths are in bytes and, but for Bytes, multiples of the OS page
// inside [0, Size).
type Region struct {
	_ nocopy.NoCopy

	rec      *record
	base     unsafe.Pointer
	size     int
	reserved int64
	prefault bool
	zeroes   uintptr  // see KeepZeroes
	count    *counter // what rec.count points to
	cleanup  runtime.Cleanup

	deferOnSoft bool
}

// GuardSize is the addresses on either side of the data, at least. An overrun with a
// stride larger than an OS page should not leap over them.
const GuardSize = 64 << 10

// maxSize leaves room for guards and alignment in every size computation.
const maxSize = math.MaxInt/2 - 4*GuardSize

// Reserve reserves a region. Nothing is committed yet: touching it faults until
// Commit. Base is aligned to 2 MiB for sizes from 2 MiB on, to OS pages else.
// The error wraps ErrNoMemory where addresses are refused.
func Reserve(c Config) (*Region, error) {
	if c.Name == "" {
		c.Name = "region"
	}
	if c.MinSize == 0 {
		c.MinSize = c.Size
	}
	switch {
	case c.Size <= 0:
		return nil, fmt.Errorf("guard: reserve %q: size %d must be positive", c.Name, c.Size)
	case c.MinSize < 0 || c.MinSize > c.Size:
		return nil, fmt.Errorf("guard: reserve %q: MinSize %d must be between 0 and Size %d", c.Name, c.MinSize, c.Size)
	case c.MaySwap && !c.Secret:
		return nil, fmt.Errorf("guard: reserve %q: MaySwap is for Secret regions", c.Name)
	case c.Size > maxSize:
		return nil, fmt.Errorf("guard: reserve %q: %d bytes are more than addresses can hold: %w", c.Name, c.Size, ErrNoMemory)
	}
	var of *owner
	if c.PartOf != nil {
		of = c.PartOf.rec.owner
	}
	for size := c.Size; ; size /= 2 {
		rec, err := reserve(size)
		if err == nil {
			if err := rec.keepSecret(c); err != nil {
				release([]*record{rec})
				return nil, fmt.Errorf("guard: reserve %q: leave it out of core dumps: %w", c.Name, err)
			}
			return rec.start(c, of), nil
		}
		if errors.Is(err, ErrNoMemory) { // for want of mappings, however few addresses it were
			return nil, fmt.Errorf("guard: reserve %q: %w", c.Name, err)
		}
		if size/2 < c.MinSize {
			return nil, fmt.Errorf("guard: reserve %q: %d bytes%s: %v: %w", c.Name, size, addressLimit(), err, ErrNoMemory)
		}
	}
}

func addressLimit() string {
	if as := vm.Probe().AddressSpace; as != vm.Unlimited {
		return fmt.Sprintf(" (RLIMIT_AS is %d)", as)
	}
	return ""
}

// reserve claims addresses for size bytes of data and two guards. Where the
// kernel has none left, quarantined ones are given back first.
func reserve(size int) (*record, error) {
	page := uintptr(vm.Probe().PageSize)
	data := alignUp(uintptr(size), page)
	align, side := page, alignUp(GuardSize, page)
	if data >= hugeAlign {
		align = hugeAlign
	}
	total := data + 2*side + align - page
	if err := takeMappings(1); err != nil {
		return nil, err
	}
	for {
		start, err := vm.Reserve(total)
		if err != nil {
			if vm.IsOutOfMemory(err) && releaseOldest() {
				continue
			}
			mappings.Add(-1)
			return nil, err
		}
		gap := alignUp(uintptr(start)+side, align) - uintptr(start)
		return &record{reservation: start, size: total, base: unsafe.Add(start, gap), data: data, light: lightGuards, mappings: 1}, nil
	}
}

// hugeAlign is the alignment that lets huge pages form on every system we know.
const hugeAlign = 2 << 20

func alignUp(n, to uintptr) uintptr { return (n + to - 1) &^ (to - 1) }

// start names and registers a fresh reservation and wraps it for its user.
func (rec *record) start(c Config, of *owner) *Region {
	rec.name = c.Name
	rec.stack = stacktrace.Callers(2 + c.Skip)
	if of == nil {
		of = &owner{name: rec.name, stack: rec.stack, number: owners.Add(1)}
	}
	rec.owner = of
	setName(rec.reservation, rec.size, rec.mapName())
	if c.HugePages {
		// A hint: a kernel without huge pages serves small ones.
		_ = rec.advise(0, rec.data, vm.HugePages)
	}
	register(rec)
	r := &Region{rec: rec, base: rec.base, size: int(rec.data), reserved: int64(rec.size), prefault: c.Prefault, deferOnSoft: c.DeferOnSoft}
	r.cleanup = runtime.AddCleanup(r, leak, rec)
	return r
}

// mapName is the name of the region in /proc/PID/maps.
func (rec *record) mapName() string { return "offheap: " + rec.name }

// setName shows a name in /proc/PID/maps. It is for people only: a kernel that
// cannot is no error.
func setName(p unsafe.Pointer, n uintptr, name string) {
	name = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || strings.ContainsRune("\\`$[]", c) {
			return '_'
		}
		return c
	}, name)
	_ = vm.Name(p, n, name[:min(len(name), 79)])
}

// Base returns the address of the first byte, nil for a zero Region. It never changes, and stays
// reserved after Close as the package comment says.
func (r *Region) Base() unsafe.Pointer { return r.base }

// Size returns the bytes of data, 0 for a zero Region.
func (r *Region) Size() int { return r.size }

// Name returns the name that faults show.
func (r *Region) Name() string { return r.rec.name }

// Bytes returns the whole region, committed or not: touching what is not
// committed faults. The slice dies with Close.
func (r *Region) Bytes() []byte { return unsafe.Slice((*byte)(r.base), r.size) }

// Reserved returns the bytes of addresses claimed, guards included.
func (r *Region) Reserved() int64 { return r.reserved }

// Committed returns the bytes charged to the budget.
func (r *Region) Committed() int64 { return r.rec.charge.Load() }

// Resident returns how many bytes are in RAM, by asking the kernel: a system
// call for each 256 MiB committed. The error is errors.ErrUnsupported where the
// system does not tell.
func (r *Region) Resident() (int64, error) {
	rec := r.rec
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.state != open {
		return 0, r.errorf("resident", ErrClosed)
	}
	n, err := rec.resident()
	if err != nil {
		return 0, r.errorf("resident", noMemory(err))
	}
	return n, nil
}

// resident needs rec.mu.
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

// FirstResident returns the offset of the first OS page of [off, off+n) that is in RAM, and off+n if
// none is, by asking the kernel: nothing is touched. What was swapped out is not in RAM. The error
// is errors.ErrUnsupported where the system does not tell.
func (r *Region) FirstResident(off, n int) (first int, err error) {
	err = r.change("resident", off, n, func(rec *record, lo, hi uintptr) error {
		at, err := vm.FirstResident(unsafe.Add(rec.base, lo), hi-lo)
		first = int(at)
		return err
	})
	return off + first, err
}

// KeepZeroes keeps what is committed of the first n bytes, which must be whole OS pages, usable after
// Close, if it is readable and writable then, and neither guarded, locked, secret nor a file: it reads
// zero for as long as the addresses are in quarantine. Allocators keep there what
// their users' handles point to and what their fast paths look at, so that a call that comes
// late finds nothing, and can say why. What such a call writes is not charged.
func (r *Region) KeepZeroes(n int) error {
	return r.change("keep zeroes", 0, n, func(rec *record, _, hi uintptr) error {
		r.zeroes = hi
		return nil
	})
}

// Close takes the memory back and puts the addresses into quarantine. A second
// Close is an error that wraps ErrClosed. After any other error the region is open as it was, but
// for secrets, which may be gone, and may be closed again. With KeepZeroes, some of what lies beside the
// kept part may be gone then, too.
func (r *Region) Close() error {
	rec := r.rec
	rec.mu.Lock()
	if rec.state != open {
		rec.mu.Unlock()
		return r.errorf("close", ErrClosed)
	}
	// What is to read zero is accessible all the time, for another goroutine may be reading it.
	zeroes := rec.plain(r.zeroes)
	err := rec.wipe(0, rec.data)
	for _, s := range zeroes.outside(0, rec.data) {
		if err == nil {
			err = vm.Decommit(unsafe.Add(rec.base, s.off), s.end-s.off)
		}
	}
	if err != nil {
		_ = rec.restore(0, rec.data) // secrets were made writable
		rec.mu.Unlock()
		return r.errorf("close", noMemory(err))
	}
	for _, s := range zeroes {
		p, n := unsafe.Add(rec.base, s.off), s.end-s.off
		if vm.Empty(p, n) != nil {
			clear(unsafe.Slice((*byte)(p), n))
		}
	}
	rec.state = closed
	used := rec.used
	rec.committed, rec.guards = nil, guards{}
	rec.locked, rec.unlocked, rec.unmarked, rec.files, rec.hints, rec.seams = nil, nil, nil, nil, nil, nil
	n := rec.charge.Swap(0)
	rec.told = use{}
	had := rec.mappings
	rec.mappings = 1 + 2*len(zeroes)
	mappings.Add(int64(rec.mappings - had))
	rec.mu.Unlock()

	r.cleanup.Stop()
	refund(n)
	setName(rec.reservation, rec.size, "offheap: closed")
	quarantine(rec, uintptr(rec.base)-uintptr(rec.reservation)+used+alignUp(GuardSize, uintptr(PageSize())))
	return nil
}

// plain returns what of the first n bytes is committed, readable and writable, and nothing else.
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

func (r *Region) errorf(op string, err error) error {
	return fmt.Errorf("guard: %s region %q: %w", op, r.rec.name, err)
}
