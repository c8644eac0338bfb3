package region

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// LeastReserve is the smallest default reservation in bytes.
const LeastReserve = 16 << 20

// DefaultReserve returns how many bytes of addresses to reserve for an owner that was given no size: want, but at most a
// quarter of the addresses that RLIMIT_AS leaves free now, so that Go's heap and others have room to grow. Less
// than LeastReserve, where want is more, is an error that wraps ErrNoMemory.
func DefaultReserve(want int) (int, error) {
	for {
		free := vm.FreeAddresses()
		size := int(min(uint64(want), free/4)) &^ (PageSize() - 1)
		switch {
		case uint64(want) <= free/4:
			return want, nil
		case size >= LeastReserve:
			return size, nil
		case !releaseOldest():
			return 0, fmt.Errorf("a default reservation is a quarter of the %d bytes of addresses that are free (RLIMIT_AS), and at least %d: %w",
				free, LeastReserve, ErrNoMemory)
		}
	}
}
