//go:build unix && !linux

package vm

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Probe looks at the kernel and the process's limits, once.
var Probe = sync.OnceValue(func() Features {
	return Features{
		PageSize:     unix.Getpagesize(),
		AddressSpace: Unlimited,
		LockedMemory: Unlimited,
		CgroupLimit:  Unlimited,
	}
})

// FreeAddresses is Unlimited: the limit is not looked at here.
func FreeAddresses() uint64 { return Unlimited }
