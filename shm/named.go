package shm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Memory with a name is a file of a folder that is in RAM. Every Memory that shows it has a shared lock on the file, which
// the kernel drops when the process dies:
//
//	create   a file without a name ─▶ size, RAM ─▶ shared lock ─▶ a name
//	open     the name ─▶ shared lock ─▶ has the file a name still?
//	leave    the lock for nobody else ─▶ no name
//
// So a file with a name is complete, and somebody has a lock on it, unless its last user was killed: sweep removes such.

// folder has the files. Tests have others.
var folder = "/dev/shm"

const (
	namePrefix = "offheap-"
	maxLabel   = 100 // bytes of Config.Name in a name
)

// randomText is as long as the random end of a name: 130 bits.
var randomText = len(rand.Text())

// CreateNamed makes zeroed memory that other processes of this user, which need not be related to this one, open by its name
// (Memory.Name, OpenNamed). The name is there until the last process has closed the memory. It ends in 26 random characters, so
// nobody can take it before, and nobody can guess it. Hand it over as you would an address: as an argument, in the
// environment, in a file.
//
// Memory with a name has no seals. A process of the same user, or of root, may make it shorter: then a touch faults
// (guard.Truncated). PeersReadOnly is an error.
//
// If the last process was killed, the memory stays, with its name and contents, until somebody opens and closes it, or until
// the next CreateNamed of this user: it looks through /dev/shm and removes all memory there that CreateNamed has made and
// that no process has open.
//
// The error wraps guard.ErrNoMemory where the budget, the system or /dev/shm has no memory, and errors.ErrUnsupported on
// systems other than Linux. After an error nothing is left.
func CreateNamed(c Config) (*Memory, error) {
	if c.Name == "" {
		c.Name = defaultName
	}
	m, err := createNamed(c)
	if err != nil {
		return nil, fmt.Errorf("shm: create %q with a name: %w", c.Name, err)
	}
	return m, nil
}

func createNamed(c Config) (m *Memory, err error) {
	size, err := c.size()
	if err != nil {
		return nil, err
	}
	if c.PeersReadOnly {
		return nil, errors.New("PeersReadOnly is for memory without a name: only Create can seal it")
	}
	sweep()
	f, err := vm.CreateUnnamed(folder)
	if err != nil {
		return nil, noMemory(err)
	}
	m = &Memory{peers: f, name: c.Name}
	defer func() {
		if err != nil {
			err = errors.Join(noMemory(err), m.discard())
			m = nil
		}
	}()
	if err = m.fill(size); err != nil {
		return m, err
	}
	if err = control(f, vm.ShareLock); err != nil {
		return m, err
	}
	link := namePrefix + label(c.Name) + "-" + rand.Text()
	if err = control(f, func(fd int) error { return vm.Link(fd, filepath.Join(folder, link)) }); err != nil {
		return m, err
	}
	m.link = link
	return m, nil
}

// label returns what of a Config.Name can be in the name of a file: letters, digits and dashes.
func label(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name[:min(len(name), maxLabel)])
}

// isName tells whether CreateNamed may have made a name.
func isName(name string) bool {
	rest, ok := strings.CutPrefix(name, namePrefix)
	return ok && len(rest) > randomText && rest[len(rest)-randomText-1] == '-' && label(rest[:len(rest)-randomText]) == rest[:len(rest)-randomText] &&
		strings.Trim(rest[len(rest)-randomText:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// OpenNamed opens memory that another process, or this one, has made by CreateNamed, by the name that Memory.Name returned
// there. The memory must be open somewhere, or be left by processes that were killed: an error that wraps fs.ErrNotExist
// says that it is gone.
//
// Before anything is mapped, OpenNamed checks that the name is one of CreateNamed and no link, that nobody but the owner of
// the memory may open it, and what Receive checks: the owner, who is this user or root unless AnyOwner is set, and the size.
// If not, there is an error, nothing is mapped, and the file stays as it was. If there is no room to map the memory, the
// error wraps guard.ErrNoMemory, and memory that nobody else has open goes, as by Close.
func OpenNamed(name string, c ReceiveConfig) (*Memory, error) {
	m, err := openNamed(name, c)
	if err != nil {
		return nil, fmt.Errorf("shm: open %q: %w", name, err)
	}
	return m, nil
}

func openNamed(name string, c ReceiveConfig) (m *Memory, err error) {
	if !isName(name) {
		return nil, errors.New("it is no name that CreateNamed makes")
	}
	if c.Name == "" {
		c.Name = name
	}
	f, err := vm.OpenFile(filepath.Join(folder, name), c.ReadOnly)
	if err != nil {
		return nil, noMemory(err)
	}
	m = &Memory{peers: f, name: c.Name, link: name, reads: c.ReadOnly}
	locked := false
	defer func() {
		if err == nil {
			return
		}
		if locked { // the last of the others may have gone meanwhile
			err = errors.Join(err, m.leave())
		}
		f.Close()
		m, err = nil, noMemory(err)
	}()
	info, err := f.Stat()
	if err != nil {
		return m, err
	}
	if err = c.check(info); err != nil {
		return m, err
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		return m, fmt.Errorf("others may open the memory, too: its mode is %v", mode)
	}
	if err = control(f, vm.ShareLock); vm.IsBusy(err) {
		return m, fmt.Errorf("its last user is leaving it: %w", fs.ErrNotExist)
	} else if err != nil {
		return m, err
	}
	locked = true
	if info, err = f.Stat(); err != nil {
		return m, err
	}
	if links(info) == 0 {
		return m, fmt.Errorf("its last user has left it: %w", fs.ErrNotExist)
	}
	return m, m.mapAll()
}

// Name returns the name by which OpenNamed opens the memory: a word of at most 135 letters, digits and dashes. It is "" for
// memory that has none, and for the zero Memory.
func (m *Memory) Name() string { return m.link }

// leave gives the lock of a Memory up. If nobody else has one, it removes the name first.
func (m *Memory) leave() error { return removeAlone(m.peers, m.link) }

// removeAlone removes the name of a file if nobody else has a lock on it. The lock goes with the last descriptor of f.
func removeAlone(f *os.File, name string) error {
	if err := control(f, vm.TakeLock); vm.IsBusy(err) {
		return nil // the last of the others will
	} else if err != nil {
		return &os.PathError{Op: "lock", Path: name, Err: err}
	}
	path := filepath.Join(folder, name)
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(path)
	if err == nil && os.SameFile(mine, named) { // nobody has removed or replaced it
		err = vm.Remove(path)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return &os.PathError{Op: "remove", Path: name, Err: err}
}

// sweep removes the memory of this user whose last process was killed. What it cannot remove stays.
func sweep() {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if !isName(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err != nil || ownerOf(info) != os.Geteuid() {
			continue
		}
		f, err := vm.OpenFile(filepath.Join(folder, e.Name()), true)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && ownerOf(info) == os.Geteuid() {
			removeAlone(f, e.Name())
		}
		f.Close()
	}
}

// links returns how many names a file has.
func links(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}
