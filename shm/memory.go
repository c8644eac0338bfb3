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

// Config says what Create and CreateNamed make. Only Size must be set.
type Config struct {
	// Name is shown in faults, in guard.Regions and in /proc/PID/maps. Default "shared memory".
	Name string

	// Size is the bytes, rounded up to OS pages. It must be positive.
	Size int

	// PeersReadOnly lets other processes read, and nobody but the creator store. It is for Create alone.
	PeersReadOnly bool
}

// ReceiveConfig says what Receive, Inherited and OpenNamed accept. The zero ReceiveConfig accepts any size, of memory
// that this user or root has made.
type ReceiveConfig struct {
	// Name is shown in faults and in guard.Regions. Default "shared memory", and for OpenNamed the name that it opens.
	Name string

	// MinSize and MaxSize bound the bytes. Default: no bound.
	MinSize, MaxSize int

	// ReadOnly maps the memory for reading, although its creator would let this process store.
	ReadOnly bool

	// AnyOwner accepts memory that any user has made.
	AnyOwner bool
}

const defaultName = "shared memory"

// Memory is memory that processes share. Create and CreateNamed make one; Receive, Inherited and OpenNamed return one that
// another process has made. It must not be copied. Bytes, Size, ReadOnly and Name of the zero Memory return zero; its other
// methods panic with a *guard.Violation.
type Memory struct {
	_      nocopy.NoCopy
	region *guard.Region
	peers  *os.File // what others get
	name   string
	link   string // in the folder of named memory; "" if it has none
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
	size, err := c.size()
	if err != nil {
		return nil, err
	}
	fd, err := vm.CreateMemory(c.Name[:min(len(c.Name), maxName)])
	if err != nil {
		return nil, noMemory(err)
	}
	m = &Memory{peers: os.NewFile(uintptr(fd), c.Name), name: c.Name}
	defer func() {
		if err != nil {
			err = errors.Join(noMemory(err), m.discard())
			m = nil
		}
	}()
	if err = m.fill(size); err != nil {
		return m, err
	}
	add := seals
	if c.PeersReadOnly {
		add |= vm.SealFutureWrite
	}
	if err = control(m.peers, func(fd int) error { return vm.Seal(fd, add) }); err != nil || !c.PeersReadOnly {
		return m, err
	}
	var reader int
	if err = control(m.peers, func(fd int) (err error) { reader, err = vm.OpenForReading(fd); return err }); err == nil {
		m.peers.Close()
		m.peers = os.NewFile(uintptr(reader), c.Name)
	}
	return m, err
}

// size returns Size in whole OS pages.
func (c *Config) size() (int64, error) {
	page := guard.PageSize()
	switch {
	case c.Size <= 0:
		return 0, fmt.Errorf("size %d must be positive", c.Size)
	case c.Size > math.MaxInt-page:
		return 0, fmt.Errorf("%d bytes are more than addresses can hold: %w", c.Size, guard.ErrNoMemory)
	}
	return int64(c.Size+page-1) / int64(page) * int64(page), nil
}

// fill gives the new file of a Memory its bytes, maps them, and sets RAM aside for all of them.
func (m *Memory) fill(size int64) (err error) {
	if err = vm.Truncate(m.peers, size); err != nil {
		return err
	}
	// First mapped, which asks the budget, and then RAM is set aside.
	if m.region, err = guard.MapFile(m.peers, guard.FileConfig{Name: m.name, Mode: guard.FileShared, Memory: true}); err != nil {
		return err
	}
	return control(m.peers, func(fd int) error { return vm.Allocate(fd, 0, size) })
}

// discard gives back what a Memory that could not be made has got so far.
func (m *Memory) discard() (err error) {
	if m.region != nil {
		err = m.region.Close()
	}
	m.peers.Close()
	return err
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
	reads, err := c.checkSeals(f)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err = c.check(info); err != nil {
		return nil, err
	}
	if announced != 0 && info.Size() != announced {
		return nil, fmt.Errorf("the memory has %d bytes, and the sender named %d", info.Size(), announced)
	}
	m = &Memory{peers: f, name: c.Name, reads: reads}
	if err = m.mapAll(); err != nil {
		return nil, err
	}
	return m, nil
}

// mapAll maps the file of a Memory that another process has made.
func (m *Memory) mapAll() (err error) {
	config := guard.FileConfig{Name: m.name, Mode: guard.FileShared, Memory: true}
	if m.reads {
		config.Mode = guard.FileRead
	}
	m.region, err = guard.MapFile(m.peers, config)
	return err
}

// checkSeals returns an error if the file is not memory that Create has sealed. reads tells whether it is to be mapped for
// reading.
func (c *ReceiveConfig) checkSeals(f *os.File) (reads bool, err error) {
	if info, err := f.Stat(); err != nil {
		return false, err
	} else if !info.Mode().IsRegular() {
		return false, notMemory(info)
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
	return c.ReadOnly || forReading || has&(vm.SealWrite|vm.SealFutureWrite) != 0, nil
}

// check returns an error if the file is none, or its owner or size is none that the ReceiveConfig accepts.
func (c *ReceiveConfig) check(info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return notMemory(info)
	}
	if owner := ownerOf(info); !c.AnyOwner && owner != 0 && owner != os.Geteuid() {
		return errors.New("the memory was made by another user")
	}
	return c.checkSize(info.Size())
}

func notMemory(info os.FileInfo) error { return fmt.Errorf("it is no memory (%v)", info.Mode().Type()) }

// ownerOf returns the user who has a file, -1 if the system does not tell.
func ownerOf(info os.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// checkSize returns an error if memory of so many bytes cannot be, or is none that the ReceiveConfig accepts.
func (c *ReceiveConfig) checkSize(size int64) error {
	most := int64(c.MaxSize)
	if most == 0 {
		most = math.MaxInt - int64(guard.PageSize())
	}
	switch {
	case c.MinSize < 0 || c.MaxSize < 0:
		return fmt.Errorf("MinSize %d and MaxSize %d must not be negative", c.MinSize, c.MaxSize)
	case size == 0 || size%int64(guard.PageSize()) != 0:
		return fmt.Errorf("the memory has %d bytes, which are not whole OS pages", size)
	case size < int64(c.MinSize) || size > most:
		return fmt.Errorf("the memory has %d bytes, and %d to %d are accepted", size, c.MinSize, most)
	}
	return nil
}

// Bytes returns the memory. After Close every touch of it faults.
func (m *Memory) Bytes() []byte {
	if m.region == nil {
		return nil
	}
	return m.region.Bytes()
}

// Size returns the bytes, whole OS pages.
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
//
// It panics with a *guard.Violation for memory of CreateNamed: hand over its name.
func (m *Memory) AppendFile(files []*os.File) (all []*os.File, fd int) {
	m.mustBeMade("AppendFile")
	m.mustBeSealed("AppendFile")
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

// Close unmaps the memory. Other processes keep it. If the memory has a name and nobody else has it open, the name goes, too.
//
// The error of a second Close wraps guard.ErrClosed. After an error that wraps an *os.PathError the memory is unmapped, and
// its name is left for a later CreateNamed to remove. After any other error the Memory is open as it was.
func (m *Memory) Close() error {
	m.mustBeMade("Close")
	if err := m.region.Close(); err != nil {
		return fmt.Errorf("shm: close %q: %w", m.name, err)
	}
	defer m.peers.Close() // nothing was written through it that this could lose
	if m.link == "" {
		return nil
	}
	if err := m.leave(); err != nil {
		return fmt.Errorf("shm: close %q: %w", m.name, err)
	}
	return nil
}

// mustBeMade panics for a zero Memory.
func (m *Memory) mustBeMade(op string) {
	if m == nil || m.region == nil {
		panic(&guard.Violation{Op: "shm." + op, Kind: guard.ZeroValue, Detail: "shm.Create makes a Memory"})
	}
}

// mustBeSealed panics for memory that has a name: others could make it shorter, so nobody accepts its descriptor.
func (m *Memory) mustBeSealed(op string) {
	if m.link != "" {
		panic(&guard.Violation{Op: "shm." + op, Kind: guard.InvalidArgument, Detail: "the memory has a name, by which OpenNamed opens it", Region: m.name})
	}
}
