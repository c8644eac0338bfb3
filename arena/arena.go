package arena

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Config configures an arena. The zero Config is the default. Sizes are in bytes.
type Config struct {
	// Name is shown in errors, faults and /proc/PID/maps. Default "arena".
	Name string

	// Reserve is how many bytes of addresses the arena reserves, the most that it can ever hold, rounded
	// up to 2 MiB. Default 64 GiB (1 GiB in a Pool; 256 and 64 MiB on 32-bit systems), or Limit if that
	// is more. Under RLIMIT_AS the default is at most a quarter of the addresses that are free, so that
	// Go's heap has room to grow; opening fails if that is less than 16 MiB, or less than Limit. If the
	// system refuses the default for another reason, halves of it are tried, down to 16 MiB.
	Reserve int

	// Limit is how many bytes may be handed out at a time. Each object counts with its size rounded up to 8
	// bytes, and a Concurrent counts whole chunks. Default Reserve.
	Limit int

	// Retain is how many bytes Reset keeps at least, if they were used, and how many an idle arena of a
	// Pool keeps until it is closed. Default 1 MiB; with 1, Reset keeps only what recent rounds used. Purge
	// keeps nothing.
	Retain int

	// HugePages asks for huge pages, and commits memory in multiples of 2 MiB. Faults are fewer and
	// cheaper then, and at least 2 MiB are in RAM. Default false.
	HugePages bool

	// Prefault brings memory into RAM when it is committed. Default false: when it is touched.
	Prefault bool
}

const (
	defaultReserve = 64 << 30 >> (shrink32 * 8)
	poolReserve    = 1 << 30 >> (shrink32 * 4)
	leastReserve   = 16 << 20
	defaultRetain  = 1 << 20

	// shrink32 is 1 if addresses have 32 bits, and 0 otherwise.
	shrink32 = 1 - ^uintptr(0)>>63

	// first is the offset of the first object. Offset 0 is the nil Ref. Objects of 64 bytes do not
	// straddle cache lines, because first is a whole one.
	first = 64

	// granule is the alignment and the unit of size of every object: the most that any Go type needs.
	granule = 8

	// maxAlign is the alignment of the region's base, and the largest that an object can have.
	maxAlign = 2 << 20
)

// Arena allocates memory that is freed at once. Open makes one; it must not be copied, because both copies
// would hand out the same memory. It is for one goroutine at a time.
//
// Using the zero Arena, or a nil *Arena, panics with a *guard.Violation. Exceptions: a nil *Arena given to New,
// RefOf or Ref.Deref is Go's own nil pointer panic, and Name, Err, Epoch and Stats do not panic.
type Arena struct {
	_ nocopy.NoCopy

	// Offsets from base. Invariants: first ≤ top ≤ ready ≤ ceiling; dirty ≤ committed; top and ready ≤
	// committed, unless nothing is committed; committed ≤ ceiling rounded up to Config.unit; the bytes of
	// [top, ready) and of [max(top, dirty), committed) are zero; limit is ready, or 0 to send every call to
	// the slow path (the arena is closed or idle in a pool, or type words are not trusted).
	top   uintptr
	limit uintptr
	base  unsafe.Pointer

	ready     uintptr
	dirty     uintptr
	committed uintptr
	ceiling   uintptr // the most that top may be: Config.Limit, as an offset
	tail      uintptr // the end of the last object, before rounding; 0 if that is not known: see endsAt
	peak      uintptr // the highest top since the last Reset; the present one may be higher
	high      uintptr // the highest top before the last Reset
	recent    uintptr // bytes that recent rounds used, decaying: see trim

	state       state
	inCallbacks bool   // Reset, Rewind or Close is calling OnReset callbacks
	gets        uint32 // how often the pool handed the arena out
	epoch       uint64
	rewinds     rewinds
	callbacks

	idle idleness // the pool's

	pool   *Pool
	region *region.Region
	config Config

	header    *header // of memory that is its owner's: see OpenIn. Else nil
	published uint64  // offset of the object that Publish named last
}

type state uint8

const (
	stateClosed state = iota // or never opened
	stateIdle                // in its pool
	stateOpen
)

// Open reserves an arena. The error wraps guard.ErrNoMemory if there are no addresses or mappings left.
func Open(c Config) (*Arena, error) { return openArena(c, defaultReserve, nil) }

// openArena opens an arena. Its region is part of another one, or stands alone if of is nil.
func openArena(c Config, reserve int, of *region.Region) (*Arena, error) {
	r, c, err := reserveRegion(c, reserve, region.Config{PartOf: of})
	if err != nil {
		return nil, err
	}
	a := &Arena{
		base: r.Base(), top: first, ready: first, dirty: first, peak: first, high: first,
		ceiling: ceiling(r, c), state: stateOpen, region: r, config: c,
	}
	r.CountLive(a.count)
	return a, nil
}

// count tells the registry what is live. An arena of a pool that is in use counts as an object. count reads
// fields while the arena's goroutine writes them; the race detector is not told.
//
//go:norace
func (a *Arena) count() (objects int, bytes int64, ok bool) {
	if a.pool != nil && a.state == stateOpen {
		objects = 1
	}
	return objects, int64(a.top - first), true
}

// ceiling returns the highest offset that may be handed out.
func ceiling(r *region.Region, c Config) uintptr {
	return min(uintptr(r.Size()), alignUp(uintptr(c.Limit)+first, granule))
}

// reserveRegion checks a Config, fills in its defaults and reserves the addresses. g has settings of the
// region that are not in the Config.
func reserveRegion(c Config, reserve int, g region.Config) (*region.Region, Config, error) {
	if c.Name == "" {
		c.Name = "arena"
	}
	switch {
	case c.Reserve < 0 || c.Limit < 0 || c.Retain < 0:
		return nil, c, fmt.Errorf("arena: open %q: Reserve %d, Limit %d and Retain %d must not be negative", c.Name, c.Reserve, c.Limit, c.Retain)
	case c.Reserve > 0 && c.Limit > c.Reserve:
		return nil, c, fmt.Errorf("arena: open %q: Limit %d is above Reserve %d", c.Name, c.Limit, c.Reserve)
	}
	size, least := c.Reserve, c.Reserve
	if size == 0 {
		size = max(reserve, c.Limit)
	}
	if size > 1<<(62-31*shrink32)-maxAlign {
		return nil, c, fmt.Errorf("arena: open %q: Reserve %d is more than addresses can hold: %w", c.Name, size, guard.ErrNoMemory)
	}
	size = int(alignUp(uintptr(size), maxAlign))
	if c.Reserve == 0 {
		fits, err := region.DefaultReserve(size)
		if err != nil {
			return nil, c, fmt.Errorf("arena: open %q: %w", c.Name, err)
		}
		size = fits &^ (maxAlign - 1)
		if c.Limit > size {
			return nil, c, fmt.Errorf("arena: open %q: Limit %d does not fit into a default reservation, which is %d bytes, a quarter of the addresses that are free (RLIMIT_AS): %w",
				c.Name, c.Limit, size, guard.ErrNoMemory)
		}
		least = max(leastReserve, c.Limit)
	}
	if c.Retain == 0 {
		c.Retain = defaultRetain
	}
	g.Name, g.Size, g.MinSize = c.Name, size, min(int(alignUp(uintptr(least), maxAlign)), size)
	g.HugePages, g.Prefault = c.HugePages, c.Prefault
	r, err := region.Reserve(g)
	if err != nil {
		return nil, c, fmt.Errorf("arena: open %q: %w", c.Name, err)
	}
	c.Reserve = r.Size()
	if c.Limit == 0 {
		c.Limit = c.Reserve
	}
	return r, c, nil
}

// unit returns the granularity of commit and decommit: an OS page, or 2 MiB with HugePages.
func (c *Config) unit() uintptr {
	if c.HugePages {
		return maxAlign
	}
	return uintptr(guard.PageSize())
}

// full returns the error for size bytes that do not fit above top.
func (c *Config) full(size, top uintptr) error {
	if c.Limit == 0 { // see adopt
		return fmt.Errorf("arena: %q: the memory is for reading: %w", c.Name, guard.ErrNoMemory)
	}
	name := "Limit"
	if c.Limit == c.Reserve {
		name = "Reserve"
	}
	return fmt.Errorf("arena: %q: %d bytes more than the %d in use exceed its %s of %d: %w",
		c.Name, size, top-first, name, c.Limit, guard.ErrNoMemory)
}

// setReady notes that memory is zero up to an offset, and opens the fast path up to there or to Config.Limit.
func (a *Arena) setReady(to uintptr) {
	a.ready = min(to, a.ceiling)
	if pointerfree.Trusted {
		a.limit = a.ready
	}
}

// Close calls the OnReset callbacks, the last registered first, and gives all memory and addresses back.
// Pointers into the arena fault afterwards. A second Close returns an error that wraps guard.ErrClosed. Any
// other error comes from the kernel: then the arena is as it was, and Close may be called again. An arena of a
// Pool is closed by the pool: for it Close returns an error and does nothing.
func (a *Arena) Close() error {
	if a == nil || a.region == nil {
		panic(a.unusable("Close"))
	}
	if a.pool != nil {
		return fmt.Errorf("arena: close %q: it belongs to a pool", a.config.Name)
	}
	return a.close()
}

func (a *Arena) close() (err error) {
	if a.state == stateClosed {
		return fmt.Errorf("arena: close %q: %w", a.config.Name, guard.ErrClosed)
	}
	a.unwind("Close", 0, func() { err = a.release() })
	return err
}

func (a *Arena) release() error {
	if a.header == nil {
		if err := a.region.Close(); err != nil {
			return fmt.Errorf("arena: close: %w", err)
		}
	}
	a.high = max(a.high, a.peak, a.top)
	a.state, a.top, a.limit, a.ready, a.dirty, a.committed = stateClosed, first, 0, 0, 0, 0
	a.onReset, a.cancelled = nil, 0
	a.epoch++
	return nil
}

// Name returns the Name of the arena's Config; "" for a zero Arena.
func (a *Arena) Name() string {
	if a == nil {
		return ""
	}
	return a.config.Name
}

// Err returns nil while the arena may be used, and otherwise the *guard.Violation that its methods panic
// with: after Close, after Pool.Put, and for a zero Arena.
func (a *Arena) Err() error {
	if a == nil || a.state != stateOpen {
		return a.unusable("Err")
	}
	return nil
}

// Epoch returns the number of the arena's present epoch. An epoch ends with every Reset, Rewind, Close and
// Pool.Put: a pointer that was stored together with the epoch of its allocation is valid as long as the epoch
// is the same. While OnReset callbacks are called, ending is true, and memory that is allocated then is freed
// as soon as the last callback returns. The epoch of a zero Arena is 0.
func (a *Arena) Epoch() (n uint64, ending bool) {
	if a == nil {
		return 0, false
	}
	return a.epoch, a.inCallbacks
}

// usable panics if the arena must not be used.
func (a *Arena) usable(op string) { usable(a, op, (*Arena).unusable) }

// usable is (*Arena).usable with its slow path as a parameter, so that Mark is inlined: see bump.
func usable(a *Arena, op string, unusable func(a *Arena, op string) *guard.Violation) {
	if a == nil || a.state != stateOpen {
		panic(unusable(a, op))
	}
}

// unusable returns the violation of using an arena that is not open. It does not panic itself: the compiler
// would save registers for the code behind the call, which costs a nanosecond.
func (a *Arena) unusable(op string) *guard.Violation {
	switch {
	case a == nil || a.region == nil:
		return zeroValue(op, "arena.Open makes an Arena")
	case a.state == stateIdle:
		return a.violation(op, guard.UseAfterPut, "")
	}
	return a.violation(op, guard.UseAfterClose, "")
}

// zeroValue returns the violation of using the zero value of a type, or nil.
func zeroValue(op, detail string) *guard.Violation {
	return &guard.Violation{Op: "arena." + op, Kind: guard.ZeroValue, Detail: detail}
}

func (a *Arena) violation(op string, kind guard.Kind, detail string) *guard.Violation {
	return &guard.Violation{Op: "arena." + op, Kind: kind, Detail: detail, Region: a.config.Name}
}

// Stats are figures of an arena, in bytes.
type Stats struct {
	Reserved  int64 // addresses, guards included
	Committed int64 // charged to the budget
	Live      int64 // handed out, alignment included
	HighWater int64 // the most that was ever handed out at a time
}

// Stats returns the figures of the arena. After Close all figures are zero but HighWater. Those of a zero Arena are zero.
func (a *Arena) Stats() Stats {
	if a == nil || a.region == nil {
		return Stats{}
	}
	if a.header != nil && a.state == stateClosed { // its region is open
		return Stats{HighWater: int64(a.high - first)}
	}
	s := regionStats(a.region)
	s.Live = int64(a.top - first)
	s.HighWater = int64(max(a.high, a.peak, a.top) - first)
	return s
}

// regionStats returns the figures that the region has: zero after its Close.
func regionStats(r *region.Region) Stats {
	if !r.IsOpen() {
		return Stats{}
	}
	return Stats{Reserved: r.Reserved(), Committed: r.Committed()}
}

// Resident asks the kernel how many bytes of the arena are in RAM: none of a zero Arena. The error wraps
// errors.ErrUnsupported where the system does not tell, and guard.ErrClosed after Close.
//
// Cost: a system call for each 256 MiB committed.
func (a *Arena) Resident() (int64, error) {
	if a == nil || a.region == nil {
		return 0, nil
	}
	return regionResident(a.region)
}

// regionResident returns how many bytes of the region are in RAM.
func regionResident(r *region.Region) (int64, error) {
	n, err := r.Resident()
	if err != nil {
		return 0, fmt.Errorf("arena: %w", err)
	}
	return n, nil
}
