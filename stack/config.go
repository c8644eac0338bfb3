package stack

import (
	"fmt"
	"math"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Config says how a pool of stacks is opened. The zero Config is the default. Sizes are rounded up
// to OS pages.
type Config struct {
	// Name is shown in errors, faults and /proc/PID/maps. Default "stacks".
	Name string

	// Size is the bytes of each stack that can be used. Default 64 KiB, at most 1 GiB.
	Size int

	// Max is the most stacks that there can be. Default 2^20, or fewer where addresses are scarce:
	// they take at most a quarter of those that RLIMIT_AS leaves free, and 256 MiB on 32-bit
	// systems. Less than 16 MiB, or than one stack needs, is an error of OpenPool that wraps
	// guard.ErrNoMemory. A Max that is given is reserved whole.
	Max int

	// Retain is the bytes, from the top of a stack, that it may keep in RAM while it is idle.
	// Default 16 KiB. What went deeper than twice that is cut back when it is put; but see
	// Pool.Put for the few that are kept as they are.
	Retain int

	// Guard is the bytes of the guard below each stack. Default one OS page. Native code that moves
	// its stack pointer by more at once, and touches nothing between, can leap over it: see Call.
	Guard int
}

const (
	defaultSize   = 64 << 10
	defaultMax    = 1 << 20
	defaultRetain = 16 << 10

	maxSize  = 1 << 30 // depths are uint32
	maxCount = 1 << 30 // indexes, too
)

// normal checks a Config and fills in its defaults, but for Max, which stays 0.
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

// pages rounds up to OS pages.
func pages(n int) int {
	page := guard.PageSize()
	return (n + page - 1) &^ (page - 1)
}

// layout is where count stacks lie in a region, and its size; false if addresses cannot hold them.
func (c Config) layout(count int) (sh shape, total int, ok bool) {
	stride := c.Size + c.Guard
	if uint64(count) > uint64(math.MaxInt/2)/uint64(stride+stackSize) {
		return sh, 0, false
	}
	cells := pages(count * stackSize)
	return shape{name: c.Name, cells: uintptr(cells), stride: uintptr(stride), size: uintptr(c.Size)}, cells + count*stride, true
}

// countByDefault returns how many stacks a pool without Max should have, and how many it settles for
// where the system refuses these.
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
	for count > 0 && count < defaultMax { // the Stacks take whole OS pages
		if _, total, ok := c.layout(count); ok && total <= size {
			break
		}
		count--
	}
	if count == 0 {
		return 0, 0, fmt.Errorf("a stack of %d bytes does not fit into the %d bytes of addresses that a default pool may take (see Config.Max): %w", c.Size, size, guard.ErrNoMemory)
	}
	return min(count, defaultMax), min(count, int(region.LeastReserve/each)+1), nil
}
