// Package vm makes the system calls of offheap: every call to the kernel's memory manager, and those for signals, is
// here, and decisions are not. It is the only package that imports golang.org/x/sys/unix.
//
// # The contract
//
// A stretch of addresses is in one of four states. Each word on an arrow is one system
// call, made in place: only our own reservations are ever mapped over.
//
//		          Reserve               Protect(ReadWrite)
//		   free ──────────▶  reserved  ───────────────────▶  usable
//		    ▲                │ ▲  │ ▲                           │
//		    └────────────────┘ │  │ └───────────────────────────┘
//		         Release       │  │          Decommit
//		                       │  │
//		              Decommit │  │ MapFile
//		                       │  ▼
//		                    from a file
//
//	  - reserved: addresses are claimed, no memory stands behind them and none is
//	    promised; a touch faults.
//	  - usable: a touch brings in a zeroed OS page. Empty takes the pages away and leaves the stretch
//	    usable; Decommit puts a fresh reservation in its place. Protect(None) makes it
//	    inaccessible and keeps the pages.
//	  - from a file: a touch brings in an OS page of the file. A write goes to the file if the mapping is
//	    shared; else it copies the OS page. Beyond the file's end a touch faults.
//	  - Move hands the pages of one usable stretch to another, of the same length, in one call; the
//	    first is then usable and empty.
//	  - Over either lies an optional guard marker (Guard, Unguard): a touch faults
//	    whatever the protection says. Markers survive Empty and Protect, not Decommit, and
//	    need no mapping of their own.
//
// # Preconditions
//
// Addresses and lengths are multiples of the OS page and lie inside one
// reservation: the callers in package region have checked that. The functions
// are safe for concurrent use on disjoint ranges.
//
// # Failing on purpose
//
// Inject makes the Nth call of a kind fail once, so that the packages above can be
// shown to survive every failure. When nothing is injected it costs one load.
package vm

import (
	"errors"
	"math"
)

// ErrUnsupported is the error of a call that this kernel does not have.
var ErrUnsupported = errors.ErrUnsupported

// Prot says which accesses memory allows. There is no write+execute.
type Prot uint8

const (
	None        Prot = iota // every touch faults
	Read                    // reads
	ReadWrite               // reads and writes
	ReadExecute             // reads and runs code
)

func (p Prot) String() string {
	switch p {
	case None:
		return "none"
	case Read:
		return "read"
	case ReadWrite:
		return "read-write"
	case ReadExecute:
		return "read-execute"
	}
	return "invalid protection"
}

// Advice is a hint about how memory will be used.
type Advice uint8

const (
	Normal      Advice = iota // no hint
	Sequential                // will be read in order
	Random                    // will be read in no order
	WillNeed                  // will be read soon
	HugePages                 // back it with huge pages where they fit
	NoHugePages               // never back it with huge pages
	NoDump                    // leave it out of core dumps
	DontNeed                  // will not be used soon; contents stay
	advices
)

// Seals is a set of what nobody can do any more to memory that is a file.
type Seals uint

// Unlimited is the value of a limit that is not set.
const Unlimited = ^uint64(0)

// Features describes what this kernel, and the limits of this process, allow.
type Features struct {
	PageSize     int    // bytes in an OS page
	HugePageSize int    // bytes in a huge page; 0 where there are none
	HugePageMode string // "always", "madvise", "never"; "" where unknown
	LightGuards  bool   // guard markers without a mapping each (Linux 6.13)
	Populate     bool   // pages can be brought in ahead (Linux 5.14)
	Names        bool   // mappings can be named (Linux 5.17 with CONFIG_ANON_VMA_NAME)
	MaxMappings  int    // mappings a process may hold; 0 where unknown
	AddressSpace uint64 // RLIMIT_AS in bytes, or Unlimited
	LockedMemory uint64 // RLIMIT_MEMLOCK in bytes, or Unlimited
	Overcommit   string // "heuristic", "always", "never"; "" where unknown
	CgroupLimit  uint64 // bytes the control group allows, or Unlimited
	PhysicalSize uint64 // bytes of RAM; 0 where unknown
}

// Mappings returns MaxMappings, for callers that take at most a part of it; where it is unknown, no bound.
func (f Features) Mappings() int {
	if f.MaxMappings == 0 {
		return math.MaxInt
	}
	return f.MaxMappings
}
