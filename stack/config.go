package stack

import (
	"fmt"
	"math"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Config holds the settings of a Pool. The zero Config is the default. Sizes are in bytes, and are
// rounded up to OS pages.
type Config struct {
	// Name is shown in errors, faults and /proc/PID/maps. Default "stacks".
	Name string

	// Size is the usable size of each stack, in bytes. Default 64 KiB, at most 1 GiB.
	Size int

	// Max is the most stacks that the pool can have, at most 2^30. OpenPool reserves addresses for all
	// of them. Default 2^20, or fewer where addresses are scarce: a default pool takes at most a quarter
	// of the addresses that RLIMIT_AS leaves free, and at most 256 MiB on 32-bit systems. OpenPool returns
	// an error that wraps guard.ErrNoMemory if that is less than 16 MiB, or less than one stack needs.
	Max int

	// Retain is how many bytes an idle stack may keep in RAM, counted from its end. Default 16 KiB, at
	// most Size. A stack that was used deeper than twice Retain is cut back to Retain when it is put,
	// except for the last few of each processor: see Pool.Put.
	Retain int

	// Guard is the size of the guard below each stack, in bytes. Default one OS page, at most 1 GiB.
	// Native code that moves its stack pointer by more than Guard at once, and touches nothing in
	// between, leaps over the guard: see native.Call.
	Guard int
}

const (
	defaultSize   = 64 << 10
	defaultMax    = 1 << 20
	defaultRetain = 16 << 10

	maxSize  = 1 << 30 // depths are stored as uint32
	maxCount = 1 << 30 // indexes are stored as uint32
)

// normal checks a Config and returns it with the defaults filled in, except for the default of Max, which
// stays 0.
func (c Config) normal() (Config, error) {
	if c.Name == "" {
		c.Name = "stacks"
	}
	switch {
	case c.Size < 0 || c.Max < 0 || c.Retain < 0 || c.Guard < 0:
		return c, fmt.Errorf("stack: open %q: Size %d, Max %d, Retain %d and Guard %d must not be negative", c.Name, c.Size, c.Max, c.Retain, c.Guard)
	case c.Size > maxSize || c.Retain > maxSize || c.Guard > maxSize:
		return c, fmt.Errorf("stack: open %q: Size %d, Retain %d and Guard %d must be at most %d bytes", c.Name, c.Size, c.Retain, c.Guard, maxSize)
	case c.Max > maxCount:
		return c, fmt.Errorf("stack: open %q: Max %d must be at most %d", c.Name, c.Max, maxCount)
	case c.Size > 0 && c.Retain > c.Size:
		return c, fmt.Errorf("stack: open %q: Retain %d is above Size %d", c.Name, c.Retain, c.Size)
	}
	if c.Size == 0 {
		c.Size = max(defaultSize, c.Retain)
	}
	if c.Retain == 0 {
		c.Retain = min(defaultRetain, c.Size)
	}
	c.Size, c.Retain = pages(c.Size), pages(c.Retain)
	c.Guard = pages(max(c.Guard, 1))
	return c, nil
}

// pages rounds n up to a multiple of the OS page.
func pages(n int) int {
	page := guard.PageSize()
	return (n + page - 1) &^ (page - 1)
}

// layoutFor returns the layout of a pool of count stacks, without its addresses, and the bytes of its
// region. ok is false if no address space can hold them.
func (c Config) layoutFor(count int) (l layout, total int, ok bool) {
	stride := c.Size + c.Guard
	if uint64(count) > uint64(math.MaxInt/2)/uint64(stride+stackSize) {
		return l, 0, false
	}
	firstGuard := pages(count * stackSize)
	return layout{name: c.Name, firstGuard: uintptr(firstGuard), stride: uintptr(stride), size: uintptr(c.Size)}, firstGuard + count*stride, true
}

// countByDefault returns how many stacks a pool without Max should have, and the smallest number that it
// accepts where the system refuses to reserve so many.
func (c Config) countByDefault() (count, least int, err error) {
	each := int64(c.Size + c.Guard + stackSize) // less than 2^32
	want := min(defaultMax*each, math.MaxInt)
	if math.MaxInt == math.MaxInt32 {
		want = 256 << 20
	}
	size, err := region.DefaultReserve(int(want))
	if err != nil {
		return 0, 0, err
	}
	count = int(int64(size) / each)
	for count > 0 && count < defaultMax { // the Stacks take whole OS pages, so a division is not exact
		if _, total, ok := c.layoutFor(count); ok && total <= size {
			break
		}
		count--
	}
	if count == 0 {
		return 0, 0, fmt.Errorf("a stack of %d bytes does not fit into the %d bytes of addresses that a default pool may take (see Config.Max): %w", c.Size, size, guard.ErrNoMemory)
	}
	return min(count, defaultMax), min(count, int(region.LeastReserve/each)+1), nil
}
