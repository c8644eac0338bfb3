package guard

import (
	"os"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/region"
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
	r *region.Region
}

// Reserve reserves a region. Nothing is committed yet: touching it faults until
// Commit. Base is aligned to 2 MiB for sizes from 2 MiB on, to OS pages else.
// The error wraps ErrNoMemory where addresses are refused.
func Reserve(c Config) (*Region, error) {
	config := c.internal()
	config.Skip = 1
	r, err := region.Reserve(config)
	if err != nil {
		return nil, err
	}
	return &Region{r: r}, nil
}

func (c Config) internal() region.Config {
	return region.Config{
		Name: c.Name, Size: c.Size, MinSize: c.MinSize, HugePages: c.HugePages, Prefault: c.Prefault,
		Secret: c.Secret, MaySwap: c.MaySwap,
	}
}

// made returns what the region is made of, and panics for a Region that Reserve did not make.
func (r *Region) made(op string) *region.Region {
	if r == nil || r.r == nil {
		panic(&Violation{Op: "guard." + op, Kind: ZeroValue, Detail: "guard.Reserve makes a Region"})
	}
	return r.r
}

// Base returns the address of the first byte, nil for a zero Region. It never changes, and stays
// reserved after Close as the package comment says.
func (r *Region) Base() unsafe.Pointer {
	if r.r == nil {
		return nil
	}
	return r.r.Base()
}

// Size returns the bytes of data, 0 for a zero Region.
func (r *Region) Size() int {
	if r.r == nil {
		return 0
	}
	return r.r.Size()
}

// Name returns the name that faults show.
func (r *Region) Name() string {
	return r.made("Name").Name()
}

// Bytes returns the whole region, committed or not: touching what is not
// committed faults. The slice dies with Close.
func (r *Region) Bytes() []byte {
	if r.r == nil {
		return nil
	}
	return r.r.Bytes()
}

// Reserved returns the bytes of addresses claimed, guards included.
func (r *Region) Reserved() int64 {
	if r.r == nil {
		return 0
	}
	return r.r.Reserved()
}

// Committed returns the bytes charged to the budget.
func (r *Region) Committed() int64 {
	return r.made("Committed").Committed()
}

// Resident returns how many bytes are in RAM, by asking the kernel: a system
// call for each 256 MiB committed. The error is errors.ErrUnsupported where the
// system does not tell.
func (r *Region) Resident() (int64, error) {
	return r.made("Resident").Resident()
}

// Commit makes [off, off+n) usable: readable, writable, zeroed, charged to the budget. What
// is committed already stays as it is, and is charged once. The error wraps
// ErrNoMemory where the budget or the kernel refuses; then nothing has changed. Two goroutines that
// commit the same memory at the same moment are both charged for it until one is done. Nothing of what
// is not committed may be guarded in a Secret region.
func (r *Region) Commit(off, n int) error {
	return r.made("Commit").Commit(off, n)
}

// Decommit gives the memory of [off, off+n) back and refunds the budget. The
// contents are lost; a touch faults until Commit, after which it reads zero. What is not committed
// is left alone. Guards inside stay. The error wraps ErrNoMemory where the part in the middle of
// what is committed would need mappings, and regions have all that they may (vm.max_map_count):
// Discard needs none.
func (r *Region) Decommit(off, n int) error {
	return r.made("Decommit").Decommit(off, n)
}

// Discard gives the memory of [off, off+n) back without decommitting it: all of it must be
// committed and readable and writable, stays so, stays charged, and reads zero. It is one system
// call and splits no mapping, whatever the range. Guards inside stay. What is secret is overwritten
// and stays in RAM.
func (r *Region) Discard(off, n int) error {
	return r.made("Discard").Discard(off, n)
}

// Protect sets what may be done with [off, off+n), all of which must be
// committed. Contents and charge stay. A touch that it refuses faults (Protected).
func (r *Region) Protect(off, n int, prot Prot) error {
	return r.made("Protect").Protect(off, n, prot)
}

// Guard makes [off, off+n) inaccessible, committed or not: a touch faults (Guarded). Its contents
// are lost, in part also if there is an error; its charge stays. Guarding what is guarded changes
// nothing. What is mapped from a file or locked cannot be guarded, but what is secret can: it is
// overwritten, and stays locked. Where guards are PROT_NONE pages, as they always are in Secret
// regions, the error wraps ErrNoMemory when the process has no mapping left.
func (r *Region) Guard(off, n int) error {
	return r.made("Guard").Guard(off, n)
}

// Unguard takes the guards in [off, off+n) away. What is committed there is
// usable again, as Protect said last, and reads zero. What is not guarded is left alone.
func (r *Region) Unguard(off, n int) error {
	return r.made("Unguard").Unguard(off, n)
}

// Lock keeps [off, off+n), all of which must be committed, in RAM until Unlock, Decommit or Close.
// RLIMIT_MEMLOCK bounds what a process may lock: the error wraps ErrNoMemory where it refuses.
// Locked memory cannot be guarded.
func (r *Region) Lock(off, n int) error {
	return r.made("Lock").Lock(off, n)
}

// Unlock lets the kernel move [off, off+n) out of RAM again. Secret regions refuse it.
func (r *Region) Unlock(off, n int) error {
	return r.made("Unlock").Unlock(off, n)
}

// Advise passes a hint about [off, off+n) to the kernel. The error wraps
// errors.ErrUnsupported where the kernel does not know it. Advise HugePages for whole
// regions (Config.HugePages): a part splits the mapping.
func (r *Region) Advise(off, n int, a Advice) error {
	return r.made("Advise").Advise(off, n, a)
}

// MapFile makes [off, off+n), nothing of which may be committed or guarded, show what f holds from
// byte at on, a multiple of the OS page. The mapping is private: writes, where prot allows them,
// copy the OS page and never reach the file. So all of it is committed from now on, and charged to
// the budget. f may be closed afterwards.
//
// What others write to the file may show or not; where they shorten it, or n reaches beyond its
// end, a touch of what is missing faults (Truncated), and what was written to there is lost. The
// rest of the last OS page reads zero.
//
// Protect, Lock, Decommit and Close work as on other memory: the file is let go by Decommit, and
// Commit brings zeroes. Guard and Move refuse it, and Secret regions take no files. Resident counts what of the file is in RAM,
// whoever brought it in. Hints for the region hold no longer for [off, off+n).
//
// The error wraps ErrNoMemory where the budget or the kernel refuses; after an error nothing has
// changed.
func (r *Region) MapFile(off, n int, f *os.File, at int64, prot Prot) error {
	return r.made("MapFile").MapFile(off, n, f, at, prot)
}

// Move hands the memory of [0, n) to another region, where it begins at 0, too: the OS pages change
// hands, and nothing is copied where the system can (Linux 5.7). So that is how memory grows that
// has no room left behind it: 1 GiB moves in well under a millisecond.
//
// All of it must be committed, readable and writable, and neither guarded nor locked nor mapped from
// a file, and no region Secret; in the other region none of it may be committed or guarded. Afterwards it is committed
// there, and here no more; the budget sees no difference. After an error nothing has changed. Where the kernel
// does not take the old place back, it stays committed, and charged beyond any budget. Nobody
// may use the memory meanwhile.
func (r *Region) Move(to *Region, n int) error {
	var target *region.Region
	if to != nil {
		target = to.made("Move")
	}
	return r.made("Move").Move(target, n)
}

// Close takes the memory back and puts the addresses into quarantine. A second
// Close is an error that wraps ErrClosed. After any other error the region is open as it was, but
// for secrets, which may be gone, and may be closed again. With KeepZeroes, some of what lies beside the
// kept part may be gone then, too.
func (r *Region) Close() error {
	return r.made("Close").Close()
}
