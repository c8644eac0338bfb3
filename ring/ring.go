package ring

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/shm"
)

// Errors to test for with errors.Is. Recv, Peek and the other calls return io.EOF when the producer has closed its side and
// all messages are received.
var (
	// ErrPeerClosed is for producers: nobody will receive what is sent.
	ErrPeerClosed = errors.New("the consumer has closed its side")

	// ErrPeerDied is for both sides. A consumer gets it after all that the producer had shown.
	ErrPeerDied = errors.New("the process at the other side has died")

	// ErrTaken is of Ring.Producer and Ring.Consumer.
	ErrTaken = errors.New("the ring has this side already")

	// ErrFull is for producers whose Config.Full is Fail: try again later. FanIn.Add wraps it where there is no lane left.
	ErrFull = errors.New("the ring is full")

	// ErrTooLarge is for producers: the message is longer than MaxMessage, or the batch than the ring.
	ErrTooLarge = errors.New("the message is larger than the ring")

	// ErrCorrupt ends a side for good: all its later calls return it. Attach wraps it where the memory has no ring.
	ErrCorrupt = errors.New("the other side has stored what it never should")

	// ErrDrops is of Peek and PeekBatch where Config.Full is DropOldest: use Recv.
	ErrDrops = errors.New("the ring drops the oldest message, which the producer may overwrite at any moment")
)

// Full says what a producer does when there is no room.
type Full uint32

// What Config.Full may be.
const (
	Block      Full = iota // it waits for the consumer
	Fail                   // it returns ErrFull at once
	DropOldest             // it drops the oldest messages. The consumer must copy: Peek returns ErrDrops
	policies

	mayLag = policies // DropOldest of a Broadcast
)

// String returns the name of the constant, or Full(9) for another value.
func (f Full) String() string {
	switch f {
	case Block:
		return "Block"
	case Fail:
		return "Fail"
	case DropOldest:
		return "DropOldest"
	}
	return fmt.Sprintf("Full(%d)", uint32(f))
}

// Config says what Create makes. The zero Config is a ring of 1 MiB whose producer waits when it is full.
type Config struct {
	// Name is shown in errors, in faults and in guard.Regions. Default "ring".
	Name string

	// Size is the bytes of data, rounded up to a power of two, and to an OS page. A message takes its own bytes, rounded up to
	// 8, and 8 more. Default 1 MiB, which is enough for short messages; with 4 MiB, those of 4 to 64 KiB take half the time.
	// The most is 1 TiB; 16 MiB where addresses have 32 bits.
	Size int

	// Full says what the producer does when there is no room. Default Block.
	Full Full

	start uint64 // the first index, for tests
}

// Ring is a ring in shared memory. It has one producer and one consumer in its life, each in any process that has the memory.
// Create and Attach make a Ring. It must not be copied.
//
// Any number of goroutines may call its methods, Close excepted: nobody uses the ring, or one of its sides, after Close.
type Ring struct {
	_      nocopy.NoCopy
	name   string
	full   Full
	memory *shm.Memory // nil if the program has brought it
	shared *shm.Memory // the data of a Broadcast, which this process may read; else nil
	head   *header
	data   *region.Region // the data, mapped twice in a row
	watch  *region.Region // by which the kernel notes the end of the process: see life.go
	size   uint64

	mu     sync.Mutex
	sides  []*side // of this process
	closed bool

	// handover is what the race detector sees of the ring: see side.shown.
	handover [2]atomic.Uint32
}

// Create makes a ring in memory of its own (shm.Create). The process that creates a ring need not be one of its two sides:
// its Close, and its death, end nothing. The error wraps guard.ErrNoMemory where the budget or the system has no memory, and
// errors.ErrUnsupported on systems other than Linux.
func Create(c Config) (*Ring, error) {
	r, err := create(c)
	return named("create", c.Name, r, err)
}

// check returns the bytes of data for a size, if a ring can be made so.
func (c Config) check(size int) (int, error) {
	n, err := ringSize(size)
	if err == nil && c.Full >= policies {
		err = fmt.Errorf("Config.Full is %v, not Block, Fail or DropOldest", c.Full)
	}
	return n, err
}

func create(c Config) (*Ring, error) {
	size, err := c.check(c.Size)
	if err != nil {
		return nil, err
	}
	m, err := shm.Create(shm.Config{Name: nameOr(c.Name), Size: headerSize() + size})
	if err != nil {
		return nil, err
	}
	headerOf(m.Bytes()).begin(size, c.Full, c.start)
	r, err := open(m.Bytes(), c.Name, m)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return r, nil
}

// Attach opens a ring that another process has created, in memory that shm.Receive or shm.Inherited has returned. The memory is
// the ring's from then on: Close closes it. After an error it is the caller's. The error wraps ErrCorrupt if there is no ring
// in the memory.
func Attach(m *shm.Memory) (*Ring, error) {
	if m == nil || m.Size() == 0 {
		panic(&guard.Violation{Op: "ring.Attach", Kind: guard.ZeroValue, Detail: "shm.Receive returns a Memory"})
	}
	name := m.Region().Name()
	if m.ReadOnly() {
		return named[Ring]("attach", name, nil, errors.New("both sides of a ring must store, and the memory is for reading"))
	}
	r, err := open(m.Bytes(), name, m)
	return named("attach", name, r, err)
}

// MemorySize returns the bytes that a ring with this Config.Size takes; 0 if there is no ring of this size.
func MemorySize(size int) int {
	n, err := ringSize(size)
	if err != nil {
		return 0
	}
	return headerSize() + n
}

// CreateIn makes a ring in memory that the program has mapped: zeroed, shared with other processes, one mapping, MemorySize bytes.
// It serves memory of other origin than package shm: a file in /dev/shm, System V shared memory. The memory stays the
// program's, and mapped until Close. What touches of it may meet, such as a file that is made shorter, the program answers for.
func CreateIn(memory []byte, c Config) (*Ring, error) {
	err := checkMemory(memory)
	if err == nil {
		_, err = c.check(len(memory) - headerSize())
	}
	var r *Ring
	if err == nil {
		headerOf(memory).begin(len(memory)-headerSize(), c.Full, c.start)
		r, err = open(memory, c.Name, nil)
	}
	return named("create", c.Name, r, err)
}

// AttachIn opens a ring that CreateIn has made, in memory as CreateIn takes it.
func AttachIn(memory []byte) (*Ring, error) {
	r, err := open(memory, "", nil)
	return named("attach", "", r, err)
}

// checkMemory returns an error if a ring does not fit exactly.
func checkMemory(memory []byte) error {
	data := len(memory) - headerSize()
	switch n, err := ringSize(data); {
	case data <= 0 || err != nil || n != data:
		return fmt.Errorf("memory of %d bytes is not one OS page and a power of two of OS pages: %w", len(memory), ErrCorrupt)
	case uintptr(unsafe.Pointer(unsafe.SliceData(memory)))%uintptr(guard.PageSize()) != 0:
		return fmt.Errorf("the memory does not begin at an OS page")
	}
	return nil
}

// open makes a Ring of memory that has one. m is what the memory belongs to, or nil.
func open(memory []byte, name string, m *shm.Memory) (*Ring, error) {
	if err := checkMemory(memory); err != nil {
		return nil, err
	}
	n := len(memory) - headerSize()
	head := headerOf(memory)
	full, err := head.read(n, DropOldest)
	if err != nil {
		return nil, err
	}
	r := &Ring{name: nameOr(name), full: full, memory: m, head: head, size: uint64(n)}
	if r.data, err = mirror(memory, headerSize(), r.name, vm.ReadWrite, m); err != nil {
		return nil, err
	}
	return r.watched(m)
}

// watched returns a Ring whose data is mapped, with its watch. m has the header, or is nil.
func (r *Ring) watched(m *shm.Memory) (*Ring, error) {
	var err error
	if r.watch, err = watch(r.head, r.name, m); err != nil {
		return nil, errors.Join(err, r.data.Close())
	}
	return r, nil
}

// fileOf returns the file of memory, nil if there is none.
func fileOf(m *shm.Memory) *os.File {
	if m == nil {
		return nil
	}
	files, _ := m.AppendFile(nil)
	return files[0]
}

// mirror returns a region that shows shared memory from an offset on, twice in a row.
func mirror(memory []byte, from int, name string, prot vm.Prot, m *shm.Memory) (*region.Region, error) {
	data := memory[from:]
	r, err := region.Reserve(region.Config{Name: name, Size: 2 * len(data), Skip: 3})
	if err != nil {
		return nil, err
	}
	if err := r.Mirror(0, len(data), unsafe.Pointer(unsafe.SliceData(data)), prot, fileOf(m), int64(from)); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func nameOr(name string) string {
	if name == "" {
		return "ring"
	}
	return name
}

// named adds the call and the ring to an error.
func named[T any](call, name string, r *T, err error) (*T, error) {
	if err != nil {
		return nil, fmt.Errorf("ring: %s %q: %w", call, nameOr(name), err)
	}
	return r, nil
}

// Memory returns the memory of the ring, to give it to another process: by its Send or its AppendFile. It is nil for a ring of
// CreateIn or AttachIn. Do not close it: close the Ring.
func (r *Ring) Memory() *shm.Memory {
	r.mustBeOpen("Memory")
	return r.memory
}

// Size returns the bytes of data.
func (r *Ring) Size() int { return int(r.size) }

// Close closes the sides that this process has, and the memory. The other process keeps its own. The error of a second Close
// wraps guard.ErrClosed. After any other error Close may be called again.
func (r *Ring) Close() error {
	r.mustBeOpen("Close")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("ring: close %q: %w", r.name, guard.ErrClosed)
	}
	for _, s := range r.sides {
		s.end()
	}
	if err := closeAll([]*region.Region{r.data, r.watch}, r.memory, r.shared); err != nil {
		return fmt.Errorf("ring: close %q: %w", r.name, err)
	}
	r.closed = true
	return nil
}

// closeAll closes regions and memories, where they are there and not closed yet: so that it may be called again after an error.
func closeAll(regions []*region.Region, all ...*shm.Memory) error {
	for _, r := range regions {
		if r.IsOpen() {
			if err := r.Close(); err != nil {
				return err
			}
		}
	}
	for _, m := range all {
		if m == nil {
			continue
		}
		if err := m.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			return err
		}
	}
	return nil
}

// mustBeOpen panics for a zero Ring.
func (r *Ring) mustBeOpen(op string) {
	if r == nil || r.head == nil {
		panic(&guard.Violation{Op: "ring." + op, Kind: guard.ZeroValue, Detail: "ring.Create makes a Ring"})
	}
}
