package guard

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Config says what Reserve reserves. Only Size must be set, or Reserve.
type Config struct {
	// Name is shown in faults, in Regions and, as [anon:offheap: Name], in
	// /proc/PID/maps. Default "region".
	Name string

	// Size is the bytes of data, rounded up to OS pages. It must be positive, unless Reserve is.
	Size int

	// Reserve is the bytes of addresses to reserve, for a region that grows: Region.Grow lets Size
	// grow up to Reserve. Default Size.
	Reserve int

	// MinSize is the smallest reservation in bytes to settle for where the system refuses addresses
	// (RLIMIT_AS): Size, or Reserve if that is set, is halved until it fits or falls below MinSize.
	// Default Size or Reserve: no less.
	MinSize int

	// HugePages asks for huge pages over the whole region, where the system has them.
	HugePages bool

	// Prefault makes Commit bring the memory into RAM at once.
	Prefault bool

	// Near asks for addresses from Near on, if they are free. It is a hint: the kernel chooses others if they are
	// not, and where the system takes no hints (outside Linux, and on 32-bit systems). It never forces an address.
	// 0 is no hint.
	Near uintptr

	// Secret is for keys and passwords. Committed memory is locked into RAM, left out of core dumps,
	// and overwritten with zeroes before it is given back or guarded. The package comment says what
	// that does not cover. Where the system cannot leave memory out of core dumps (outside Linux) the
	// error of Reserve wraps errors.ErrUnsupported.
	Secret bool

	// MaySwap lets a Secret region go on without the lock where RLIMIT_MEMLOCK refuses it. By default
	// Commit fails then.
	MaySwap bool
}

// Region is a reservation of addresses between two guards. Reserve makes one, or MapFile. Base, Size, Bytes and Reserved of the
// zero Region return zero; its other methods panic with a *Violation (ZeroValue). A Region must not be copied.
//
// Any number of goroutines may call its methods. Offsets and lengths are in bytes, multiples of the OS page, and
// lie inside [0, Size); others are an error. In a region that shows a file (MapFile) they need not be multiples of the
// OS page; Commit, Decommit, Discard, Guard, Unguard and Move are errors there. After Close, the error of every method that has one wraps ErrClosed.
type Region struct {
	_ nocopy.NoCopy
	r *region.Region
}

func init() { region.Of = func(face any) *region.Region { return face.(*Region).r } }

// Reserve reserves a region. No memory is committed yet: a touch faults until Commit or Grow. Base is aligned to
// 2 MiB for sizes, or Reserves, from 2 MiB on, to OS pages else. The error wraps ErrNoMemory where addresses are refused; a
// Config that cannot be is another error, and nothing is reserved then.
func Reserve(c Config) (*Region, error) {
	config := c.internal()
	config.Skip = 1
	r, err := region.Reserve(config)
	if err != nil {
		return nil, err
	}
	return &Region{r: r}, nil
}

// internal returns the Config as the implementation takes it.
func (c Config) internal() region.Config {
	return region.Config{
		Name: c.Name, Size: c.Size, Reserve: c.Reserve, MinSize: c.MinSize, HugePages: c.HugePages, Prefault: c.Prefault, Near: c.Near,
		Secret: c.Secret, MaySwap: c.MaySwap,
	}
}

// made returns the implementation of a region, and panics for a Region that Reserve did not make.
func (r *Region) made(op string) *region.Region {
	if r == nil || r.r == nil {
		panic(&Violation{Op: "guard." + op, Kind: ZeroValue, Detail: "guard.Reserve makes a Region"})
	}
	return r.r
}

// Base returns the address of the first byte, nil for a zero Region. It never changes. After Close it stays
// reserved while the region is in quarantine.
func (r *Region) Base() unsafe.Pointer {
	if r.r == nil {
		return nil
	}
	return r.r.Base()
}

// Size returns the bytes of data: Config.Size or less, rounded up to OS pages, and what Grow has added; 0 for a zero
// Region.
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

// Bytes returns all data of the region, committed or not. A touch of memory that is not committed faults, and so
// does every touch after Close.
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

// Resident asks the kernel how many bytes are in RAM: a system call for each 256 MiB committed. The error wraps
// ErrClosed after Close, and errors.ErrUnsupported where the system does not tell.
func (r *Region) Resident() (int64, error) {
	return r.made("Resident").Resident()
}

// Commit makes [off, off+n) usable: readable, writable, zeroed, charged to the budget. Parts that are committed
// already stay as they are, and are charged once. The error wraps ErrNoMemory where the budget or the kernel
// refuses, and ErrClosed after Close; then nothing has changed. In a Secret region no part that Commit is to make
// usable may be guarded.
//
// Two goroutines that commit the same memory at the same moment are both charged for it until one is done.
// Commit may call Budget.OnSoft.
func (r *Region) Commit(off, n int) error {
	return r.made("Commit").Commit(off, n)
}

// Grow makes the region n bytes larger, n rounded up to OS pages, and commits what it adds as Commit does. It returns
// all data of the region, as Bytes does. The address stays, and so do slices of the memory from before. What lies
// before stays as it is, committed or not: a region of Size 0 that grows by Grow alone is committed throughout.
//
// The error wraps ErrNoMemory where Config.Reserve bytes are not enough or the budget or the kernel refuses, and ErrClosed
// after Close; then nothing has changed. Grow may call Budget.OnSoft. Each goroutine that grows the region gets
// memory of its own.
//
// A region that shows a file grows by n bytes exactly. If the file is shared, it becomes longer where it is too short, and
// the file system sets space aside: so that a store does not find the disk full later. If there is no space, the
// error wraps syscall.ENOSPC, and the file is as long as before. Copy-on-write file systems may find the disk
// full at a store all the same. If the file is not shared, it must have the bytes already, because others made it longer;
// else the error wraps io.ErrUnexpectedEOF. New bytes of the file read zero. One process grows a file at a time.
//
// Cost: a system call or two, whatever the size of the region. Nothing is copied.
func (r *Region) Grow(n int) ([]byte, error) {
	return r.made("Grow").Grow(n)
}

// Decommit gives the memory of [off, off+n) back and refunds the budget. The contents are lost; a touch faults
// until Commit, after which it reads zero. Parts that are not committed, and guards, stay as they are.
//
// In the middle of committed memory Decommit takes mappings. The error wraps ErrNoMemory where regions have all that
// they may have (vm.max_map_count). Discard takes none.
func (r *Region) Decommit(off, n int) error {
	return r.made("Decommit").Decommit(off, n)
}

// Discard gives the memory of [off, off+n) back without decommitting it. All of it must be committed, readable and
// writable, and not locked. It stays so, stays charged, and reads zero. Guards inside
// stay. Secret memory is overwritten and stays in RAM.
//
// Cost: one system call, which splits no mapping.
func (r *Region) Discard(off, n int) error {
	return r.made("Discard").Discard(off, n)
}

// Protect sets which accesses [off, off+n) allows, all of which must be committed. Contents and charge stay. A touch
// that the protection refuses faults (Protected; ReadOnly, if a file is mapped for reading). The error wraps ErrNoMemory
// where mappings are short.
//
// In a region that shows a file, off and off+n must be at borders of OS pages or at the ends of the region. One with
// FileRead does not become writable.
func (r *Region) Protect(off, n int, prot Prot) error {
	return r.made("Protect").Protect(off, n, prot)
}

// Guard makes [off, off+n) inaccessible, committed or not: a touch faults (Guarded). The contents are lost, in
// part also after an error; the charge stays. Guarding a guard changes nothing.
//
// Locked memory cannot be guarded. Secret memory can: it is overwritten, and stays
// locked. Where guards are PROT_NONE pages, as they are in Secret regions everywhere, the error wraps ErrNoMemory
// when mappings are short.
func (r *Region) Guard(off, n int) error {
	return r.made("Guard").Guard(off, n)
}

// Unguard removes the guards in [off, off+n). Committed memory there is usable again, with the protection that Protect
// set last, and reads zero. Memory that is not guarded stays as it is.
func (r *Region) Unguard(off, n int) error {
	return r.made("Unguard").Unguard(off, n)
}

// Lock keeps [off, off+n), all of which must be committed, in RAM until Unlock, Decommit or Close. Locked memory
// cannot be guarded. The error wraps ErrNoMemory where RLIMIT_MEMLOCK, which bounds the locked memory of a
// process, refuses it; then some of it may be locked.
func (r *Region) Lock(off, n int) error {
	return r.made("Lock").Lock(off, n)
}

// Unlock lets the kernel move [off, off+n) out of RAM again. Secret regions refuse it.
func (r *Region) Unlock(off, n int) error {
	return r.made("Unlock").Unlock(off, n)
}

// Advise passes a hint about [off, off+n) to the kernel. The error wraps errors.ErrUnsupported where the kernel does not
// know the hint.
//
// A file that is read from its start to its end needs no hint: the kernel reads ahead. Random ends that: it is for places
// in no order, and makes reading in order some 30 times slower. WillNeed is for all of the range at once: in small steps
// it is slower than no hint. Give HugePages to whole regions (Config.HugePages): a part splits the mapping.
func (r *Region) Advise(off, n int, a Advice) error {
	return r.made("Advise").Advise(off, n, a)
}

// Sync writes what was stored in [off, off+n) to the shared file that the region shows (FileShared). If wait is true, it
// returns when the disk has it, with what is needed to find it again, and an error if that failed; else it only begins. A
// region that shows no shared file is an error. After an error of the disk do not trust a later Sync that succeeds: the
// kernel may have dropped the bytes.
func (r *Region) Sync(off, n int, wait bool) error {
	return r.made("Sync").Sync(off, n, wait)
}

// Prefetch brings [off, off+n) into RAM, and returns when it is there: later touches do not fault in the kernel. It is an
// error if a part cannot be read, because the file is shorter by now or the disk fails. Anonymous memory must be
// committed, readable and writable. To begin and not to wait is Advise with WillNeed.
func (r *Region) Prefetch(off, n int) error {
	return r.made("Prefetch").Prefetch(off, n)
}

// Move hands the memory of [0, n) to another region, where it begins at 0, too. The OS pages change hands, and
// nothing is copied where the system can (Linux 5.7): 1 GiB moves in well under a millisecond. So a region without
// room behind it grows by Move to a larger one.
//
// All of [0, n) must be committed, readable and writable, and neither guarded nor locked, and no region Secret. In the other region no part of [0, n) may be committed or guarded. Afterwards the memory is
// committed there, and no longer here; the budget sees no difference. No goroutine may use the memory meanwhile.
//
// After an error nothing has changed. Where the kernel does not take the old memory back, there is no error: it
// stays committed, and charged beyond any budget.
func (r *Region) Move(to *Region, n int) error {
	var target *region.Region
	if to != nil {
		target = to.made("Move")
	}
	return r.made("Move").Move(target, n)
}

// Close gives the memory back and puts the addresses into quarantine. The error of a second Close wraps ErrClosed.
// After any other error the region is open as it was, and may be closed again; only secrets may be overwritten.
func (r *Region) Close() error {
	return r.made("Close").Close()
}
