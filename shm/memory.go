package shm

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Config says what Create makes. Only Size must be set.
type Config struct {
	// Name is shown in faults, in guard.Regions and in /proc/PID/maps. Default "shared memory".
	Name string

	// Size is the bytes, rounded up to OS pages. It must be positive.
	Size int

	// PeersReadOnly lets other processes read, and nobody but the creator store.
	PeersReadOnly bool
}

// ReceiveConfig says what Receive and Inherited accept. The zero ReceiveConfig accepts any size, of memory that this
// user or root has made.
type ReceiveConfig struct {
	// Name is shown in faults and in guard.Regions. Default "shared memory".
	Name string

	// MinSize and MaxSize bound the bytes. Default: no bound.
	MinSize, MaxSize int

	// ReadOnly maps the memory for reading, although its creator would let this process store.
	ReadOnly bool

	// AnyOwner accepts memory that any user has made.
	AnyOwner bool
}

const defaultName = "shared memory"

// Memory is memory that processes share. Create makes one, and Receive and Inherited return one. It must not be copied.
// Bytes, Size and ReadOnly of the zero Memory return zero; its other methods panic with a *guard.Violation.
type Memory struct {
	_      nocopy.NoCopy
	region *guard.Region
	peers  *os.File // what others get
	name   string
	reads  bool
}

// seals are those that all memory has. A peer that could make it shorter could make every touch of it a fault.
const seals = vm.SealShrink | vm.SealGrow | vm.SealSeals

// maxName is the most bytes of a name that memfd_create takes.
const maxName = 249

// Create makes zeroed memory. The error wraps guard.ErrNoMemory where the budget or the system has no memory,
// and errors.ErrUnsupported on systems other than Linux. After an error nothing is left.
func Create(c Config) (*Memory, error) {
	if c.Name == "" {
		c.Name = defaultName
	}
	m, err := create(c)
	if err != nil {
		return nil, fmt.Errorf("shm: create %q: %w", c.Name, err)
	}
	return m, nil
}

func create(c Config) (m *Memory, err error) {
	page := guard.PageSize()
	switch {
	case c.Size <= 0:
		return nil, fmt.Errorf("size %d must be positive", c.Size)
	case c.Size > math.MaxInt-page:
		return nil, fmt.Errorf("%d bytes are more than addresses can hold: %w", c.Size, guard.ErrNoMemory)
	}
	size := int64(c.Size+page-1) / int64(page) * int64(page)
	fd, err := vm.CreateMemory(c.Name[:min(len(c.Name), maxName)])
	if err != nil {
		return nil, noMemory(err)
	}
	f := os.NewFile(uintptr(fd), c.Name)
	m = &Memory{peers: f, name: c.Name}
	defer func() {
		if err != nil {
			f.Close()
			err = errors.Join(noMemory(err), m.unmap())
			m = nil
		}
	}()
	if err = vm.Truncate(f, size); err != nil {
		return m, err
	}
	// First mapped, which asks the budget, and then RAM is set aside.
	if m.region, err = guard.MapFile(f, guard.FileConfig{Name: c.Name, Mode: guard.FileShared, Memory: true}); err != nil {
		return m, err
	}
	if err = control(f, func(fd int) error { return vm.Allocate(fd, 0, size) }); err != nil {
		return m, err
	}
	add := seals
	if c.PeersReadOnly {
		add |= vm.SealFutureWrite
	}
	if err = control(f, func(fd int) error { return vm.Seal(fd, add) }); err != nil || !c.PeersReadOnly {
		return m, err
	}
	var reader int
	if err = control(f, func(fd int) (err error) { reader, err = vm.OpenForReading(fd); return err }); err == nil {
		m.peers = os.NewFile(uintptr(reader), c.Name)
		f.Close()
	}
	return m, err
}

// noMemory wraps guard.ErrNoMemory in the kernel's errors for a lack of memory.
func noMemory(err error) error {
	if vm.IsOutOfMemory(err) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", err, guard.ErrNoMemory)
	}
	return err
}

// control calls do with the descriptor of a file, which nobody closes meanwhile.
func control(f syscall.Conn, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if raw.Control(func(fd uintptr) { err = do(int(fd)) }) != nil {
		return guard.ErrClosed // there is no other reason
	}
	return err
}

// accept maps memory that another process has made, after it has checked what it can. It takes f over. announced is the
// size that the sender named; 0 if none did.
func accept(f *os.File, c ReceiveConfig, announced int64) (m *Memory, err error) {
	if c.Name == "" {
		c.Name = defaultName
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	reads, err := c.check(f, announced)
	if err != nil {
		return nil, err
	}
	m = &Memory{peers: f, name: c.Name, reads: reads}
	config := guard.FileConfig{Name: c.Name, Mode: guard.FileShared, Memory: true}
	if reads {
		config.Mode = guard.FileRead
	}
	if m.region, err = guard.MapFile(f, config); err != nil {
		return nil, err
	}
	return m, nil
}

// check returns an error if the file is not memory as Create makes it, or not what the ReceiveConfig asks for. reads
// tells whether it is to be mapped for reading.
func (c *ReceiveConfig) check(f *os.File, announced int64) (reads bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("the descriptor is no memory (%v)", info.Mode().Type())
	}
	var has vm.Seals
	var forReading bool
	err = control(f, func(fd int) (err error) {
		if has, err = vm.SealsOf(fd); err != nil {
			return fmt.Errorf("the descriptor is no memory with seals: %w", err)
		}
		forReading, err = vm.IsForReading(fd)
		return err
	})
	if err != nil {
		return false, err
	}
	if has&seals != seals {
		return false, fmt.Errorf("the memory has the seals %#x, and needs %#x: others could make it shorter", has, seals)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !c.AnyOwner && (!ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid()) {
		return false, errors.New("the memory was made by another user")
	}
	size, most := info.Size(), int64(c.MaxSize)
	if most == 0 {
		most = math.MaxInt - int64(guard.PageSize())
	}
	switch {
	case c.MinSize < 0 || c.MaxSize < 0:
		return false, fmt.Errorf("MinSize %d and MaxSize %d must not be negative", c.MinSize, c.MaxSize)
	case size == 0 || size%int64(guard.PageSize()) != 0:
		return false, fmt.Errorf("the memory has %d bytes, which are not whole OS pages", size)
	case announced != 0 && size != announced:
		return false, fmt.Errorf("the memory has %d bytes, and the sender named %d", size, announced)
	case size < int64(c.MinSize) || size > most:
		return false, fmt.Errorf("the memory has %d bytes, and %d to %d are accepted", size, c.MinSize, most)
	}
	return c.ReadOnly || forReading || has&(vm.SealWrite|vm.SealFutureWrite) != 0, nil
}

// Bytes returns the memory. After Close every touch of it faults.
func (m *Memory) Bytes() []byte {
	if m.region == nil {
		return nil
	}
	return m.region.Bytes()
}

// Size returns the bytes.
func (m *Memory) Size() int {
	if m.region == nil {
		return 0
	}
	return m.region.Size()
}

// ReadOnly tells whether a store of this process would fault (guard.ReadOnly).
func (m *Memory) ReadOnly() bool { return m.reads }

// Region returns the region that the memory is, for its other methods: Resident, Lock, Advise, Prefetch, File. Do not
// close it: close the Memory.
func (m *Memory) Region() *guard.Region {
	m.mustBeMade("Region")
	return m.region
}

// AppendFile appends the memory to the files that a program gets when it is started (exec.Cmd.ExtraFiles), and returns them
// with the number that the descriptor has there, for Inherited. Tell the program the number: by an argument, say. Start
// the program before Close. The file belongs to the Memory: do not close it.
func (m *Memory) AppendFile(files []*os.File) (all []*os.File, fd int) {
	m.mustBeMade("AppendFile")
	return append(files, m.peers), 3 + len(files)
}

// Inherited returns the memory that the parent process has handed over by AppendFile, under the number that AppendFile
// returned. It takes the descriptor over, and closes it if there is an error: call it once. Errors are those of
// Receive.
func Inherited(fd int, c ReceiveConfig) (*Memory, error) {
	if fd < 3 {
		return nil, fmt.Errorf("shm: inherited: %d is no descriptor that AppendFile returns", fd)
	}
	f := os.NewFile(uintptr(fd), defaultName)
	if f == nil {
		return nil, fmt.Errorf("shm: inherited: %d is no descriptor", fd)
	}
	syscall.CloseOnExec(fd) // the parent has cleared that
	m, err := accept(f, c, 0)
	if err != nil {
		return nil, fmt.Errorf("shm: inherited: %w", err)
	}
	return m, nil
}

// Close unmaps the memory. The error of a second Close wraps guard.ErrClosed. After any other error the Memory is open as
// it was. Other processes keep the memory.
func (m *Memory) Close() error {
	m.mustBeMade("Close")
	if err := m.region.Close(); err != nil {
		return fmt.Errorf("shm: close %q: %w", m.name, err)
	}
	m.peers.Close() // nothing was written through it that this could lose
	return nil
}

// unmap closes the region of a Memory that could not be made.
func (m *Memory) unmap() error {
	if m.region == nil {
		return nil
	}
	return m.region.Close()
}

// mustBeMade panics for a zero Memory.
func (m *Memory) mustBeMade(op string) {
	if m == nil || m.region == nil {
		panic(&guard.Violation{Op: "shm." + op, Kind: guard.ZeroValue, Detail: "shm.Create makes a Memory"})
	}
}
