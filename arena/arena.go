// Package arena hands out memory by moving one pointer, and takes all of it
// back at once: objects that die together are allocated together.
//
// # Memory
//
//	Base                top      limit            dirty    committed       Reserve
//	 ├────┬──────────────┼─────────┼────────────────┼─────────┼──────────────┤
//	 │none│ handed out   │ zeroed, │ used before,   │ never   │ reserved:    │
//	 │    │              │ ready   │ to be cleared  │ used: 0 │ a touch faults
//	 └────┴──────────────┴─────────┴────────────────┴─────────┴──────────────┘
//	  64 B: offset 0 is the nil Ref
//
// The arena is one contiguous stretch, so there is no list of chunks: an
// allocation is one addition and one comparison with limit, which means
// "committed, and zero up to here". Behind that comparison, out of line, memory is cleared
// ahead in steps that stay in the processor's cache, and committed in steps that
// grow with the arena.
//
// # Life
//
//  1. Open reserves addresses, 64 GiB by default, or a quarter of what RLIMIT_AS leaves free. They
//     cost nothing.
//  2. New, MakeSlice and the others hand out memory aligned to 8 bytes, zeroed but for what they
//     copy into it. It is valid until Reset, Rewind to an earlier Mark, or Close.
//  3. Mark remembers a place; Rewind frees what was allocated since.
//  4. Reset frees everything and keeps memory for the next round: up to twice what recent rounds
//     used, or Config.Retain if that is more. After a spike, the memory goes back over some rounds.
//     Purge gives all back that is not handed out, at once.
//  5. Close gives everything back. Pointers into a closed arena fault while its addresses are in
//     quarantine (guard.SetQuarantine).
//
// # Types
//
// The garbage collector does not look into an arena, so what is stored there
// must not contain Go pointers: asking for a type that contains a string, slice, map, interface,
// channel, function or pointer panics and names the field. Link objects with Ref, which
// has no pointer inside.
//
// # Concurrency
//
//  1. An Arena is for one goroutine at a time.
//  2. Pool hands arenas out to any number of goroutines.
//  3. Concurrent is an arena that many goroutines allocate from at once. Any of them may purge and
//     close it; Reset is for one alone.
//  4. The objects are the user's to synchronise.
//  5. In builds with -race two goroutines that use one Arena are reported, and Reset of a Concurrent
//     while others allocate. Loads and stores of what lies in an arena are not: the detector knows
//     of the Go heap only.
//
// # Errors and panics
//
// New and its kin panic with an error that wraps guard.ErrNoMemory when the arena is full
// (Config.Limit, Config.Reserve, the process's budget, the kernel); TryNew and its kin return it.
// Misuse (a closed arena, a zero one, a stale Mark, a Ref beyond what is handed out) panics with a
// *guard.Violation; sizes and alignments that cannot be, with a plain error.
//
// # Cost
//
// New of a small type takes about as long as the store that follows it: some
// 0.6 ns when the memory is in the cache; see the README for figures beside C and Rust.
//
// # What it does not do
//
// It does not free single objects, and it cannot tell a pointer that outlived Reset: the memory is
// still mapped and will be handed out again.
package arena

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Config says how an arena is opened. The zero Config is the default.
type Config struct {
	// Name is shown in errors, faults and /proc/PID/maps. Default "arena".
	Name string

	// Reserve is the bytes of addresses, the most that the arena can ever hold, rounded up to 2 MiB.
	// Default 64 GiB (1 GiB in a Pool; 256 and 64 MiB on 32-bit systems), or Limit if that is more.
	// Under RLIMIT_AS the default is at most a quarter of the addresses that are still free, so that
	// Go's heap has room to grow. Where that is less than 16 MiB, or less than Limit, opening is an
	// error. What the system refuses for other reasons is halved, down to 16 MiB.
	Reserve int

	// Limit is the most bytes that may be in use together. Default Reserve.
	Limit int

	// Retain is the bytes that Reset keeps at least, if they were used, and that an idle arena of a
	// Pool keeps until it is closed. Default 1 MiB; with 1, Reset goes by what recent rounds used.
	// Purge keeps nothing.
	Retain int

	// HugePages asks for huge pages, and commits in multiples of them: fewer and cheaper
	// faults, at least 2 MiB in RAM.
	HugePages bool

	// Prefault brings memory into RAM when it is committed instead of when it is touched.
	Prefault bool
}

const (
	defaultReserve = 64 << 30 >> (shrink32 * 8)
	poolReserve    = 1 << 30 >> (shrink32 * 4)
	leastReserve   = 16 << 20
	defaultRetain  = 1 << 20

	// shrink32 is 1 where addresses have 32 bits.
	shrink32 = 1 - ^uintptr(0)>>63

	// first is the offset of the first object: offset 0 is the nil Ref, and a
	// whole cache line keeps 64-byte objects from straddling two.
	first = 64

	// granule is the alignment and the unit of size of every object: what any Go type needs.
	granule = 8

	// maxAlign is what the region's base is aligned to.
	maxAlign = 2 << 20
)

// Arena is a stretch of memory that is freed at once. It is for one goroutine at a time, and must
// not be copied: both copies would hand out the same memory. Open makes one; using the zero Arena is
// a *guard.Violation, and using a nil *Arena is one or, in New, Go's own nil pointer panic.
type Arena struct {
	_ nocopy.NoCopy

	// Invariants: first ≤ top ≤ ready ≤ ceiling; dirty ≤ committed; top and ready ≤ committed, once
	// something is; committed ≤ ceiling rounded up to what is committed at a time; the bytes of
	// [top, ready) and of [max(top, dirty), committed) are zero; limit is ready, or 0 to send every
	// call to the slow path (closed, in a pool, type words not trusted).
	top   uintptr
	limit uintptr
	base  unsafe.Pointer

	ready     uintptr
	dirty     uintptr
	committed uintptr
	ceiling   uintptr // the most that top may be
	tail      uintptr // where the last object ends, before rounding; 0 where that is not known: see grow
	peak      uintptr // the most that top was since the last reset, but for what top says now
	high      uintptr // the most that top was before the last reset
	recent    uintptr // what recent rounds used, decaying: see trim

	state   state
	reset   bool   // Reset, Rewind or Close is running callbacks
	gets    uint32 // how often the pool handed the arena out
	epoch   uint64
	rewinds rewinds
	callbacks

	idle idleness // kept by the pool

	pool   *Pool
	region *region.Region
	config Config
}

type state uint8

const (
	stateClosed state = iota // or never opened
	stateIdle                // in its pool
	stateOpen
)

// Open reserves an arena. The error wraps guard.ErrNoMemory where addresses are refused.
func Open(c Config) (*Arena, error) { return openArena(c, defaultReserve, nil) }

// openArena opens an arena of something that has a region already or, nil, for itself.
func openArena(c Config, reserve int, of *region.Region) (*Arena, error) {
	r, c, err := mapRegion(c, reserve, region.Config{PartOf: of})
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

// count is for the registry: an arena of a pool is an object itself. It reads what the arena's
// goroutine writes meanwhile, and the race detector is not told.
//
//go:norace
func (a *Arena) count() (objects int, bytes int64, ok bool) {
	if a.pool != nil && a.state == stateOpen {
		objects = 1
	}
	return objects, int64(a.top - first), true
}

// ceiling is the most that may be handed out, as an offset.
func ceiling(r *region.Region, c Config) uintptr {
	return min(uintptr(r.Size()), alignUp(uintptr(c.Limit)+first, granule))
}

// mapRegion checks a Config, fills in its defaults and reserves the addresses. g has what the region
// should know beside what the Config says.
func mapRegion(c Config, reserve int, g region.Config) (*region.Region, Config, error) {
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

// full is the error for size bytes that do not fit behind top.
func (c *Config) full(size, top uintptr) error {
	name := "Limit"
	if c.Limit == c.Reserve {
		name = "Reserve"
	}
	return fmt.Errorf("arena: %q: %d bytes more than the %d in use exceed its %s of %d: %w",
		c.Name, size, top-first, name, c.Limit, guard.ErrNoMemory)
}

// setReady says up to where memory is zero, and lets the fast path see it as far as Config.Limit
// allows.
func (a *Arena) setReady(to uintptr) {
	a.ready = min(to, a.ceiling)
	if pointerfree.Trusted {
		a.limit = a.ready
	}
}

// Close runs the OnReset callbacks, last first, and gives everything back. Memory of the arena must
// not be used any more: it faults. A second Close is an error that wraps guard.ErrClosed; after
// another error, where the kernel refused, Close may be called again. An arena of a Pool is closed
// by the pool: closing it is an error.
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
	if err := a.region.Close(); err != nil {
		return fmt.Errorf("arena: close: %w", err)
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

// Err returns nil while the arena may be used, and then the *guard.Violation that its methods panic
// with: it was closed, put into its pool, or is a zero Arena.
func (a *Arena) Err() error {
	if a == nil || a.state != stateOpen {
		return a.unusable("Err")
	}
	return nil
}

// Epoch returns a number that changes with every Reset, Rewind, Close and Pool.Put: a pointer that was
// stored with the epoch in which its memory was allocated is valid as long as the epoch is the same.
// ending tells whether OnReset callbacks are running that end the epoch: then what is allocated now
// is freed as soon as they are done. A zero Arena is in epoch 0.
func (a *Arena) Epoch() (n uint64, ending bool) {
	if a == nil {
		return 0, false
	}
	return a.epoch, a.reset
}

// usable panics where the arena must not be used.
func (a *Arena) usable(op string) { usable(a, op, (*Arena).unusable) }

// usable has what makes the violation as a parameter for the reason that bump has: so Mark is inlined.
func usable(a *Arena, op string, unusable func(a *Arena, op string) *guard.Violation) {
	if a == nil || a.state != stateOpen {
		panic(unusable(a, op))
	}
}

// unusable returns the violation of using an arena that is not open. It does not panic itself: the
// compiler would keep registers for what comes after the call, which costs a nanosecond.
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

// Stats are figures in bytes.
type Stats struct {
	Reserved  int64 // addresses, guards included
	Committed int64 // charged to the budget
	Resident  int64 // in RAM; -1 where the system does not tell
	Live      int64 // handed out, alignment included
	HighWater int64 // the most that was ever in use together
}

// Stats returns the arena's figures. It asks the kernel what is resident: a
// system call for each 256 MiB committed. After Close all are zero but HighWater; those of the zero
// Arena are all zero.
func (a *Arena) Stats() Stats {
	if a == nil || a.region == nil {
		return Stats{}
	}
	s := regionStats(a.region)
	s.Live = int64(a.top - first)
	s.HighWater = int64(max(a.high, a.peak, a.top) - first)
	return s
}

// regionStats returns what the region knows, nothing after its Close.
func regionStats(r *region.Region) Stats {
	resident, err := r.Resident()
	switch {
	case errors.Is(err, guard.ErrClosed):
		return Stats{}
	case err != nil:
		resident = -1
	}
	return Stats{Reserved: r.Reserved(), Committed: r.Committed(), Resident: resident}
}
