// Package region is what regions of memory outside the Go heap are made of: addresses between two guards, what is
// committed of them, the budget, the registry of all regions, their quarantine, and the reports of those that were
// never closed. Package guard shows it to users; the allocators use it directly, for what users do not see.
package region

import (
	"errors"
	"os"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// ErrNoMemory and ErrClosed are what guard shows as such.
var (
	ErrNoMemory = errors.New("no memory")
	ErrClosed   = errors.New("closed")
)

// PageSize returns the bytes of an OS page, the unit of Commit and the others.
func PageSize() int { return vm.Probe().PageSize }

// lightGuards tells whether guards inside regions are kernel markers. Tests change it.
var lightGuards = vm.Probe().LightGuards && os.Getenv("OFFHEAP_GUARDS") != "mprotect"

// LightGuards is true where guards inside a region are kernel markers, any number in one mapping,
// and false where each is a PROT_NONE page, of which some 32,000 fit into a process. In Secret
// regions they are such pages everywhere.
func LightGuards() bool { return lightGuards }
