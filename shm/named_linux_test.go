package shm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// ownFolder gives named memory a folder of its own for one test, and returns it.
func ownFolder(t *testing.T) string {
	was := folder
	folder = t.TempDir()
	t.Cleanup(func() { folder = was })
	f, err := vm.CreateUnnamed(folder)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("the folder for tests does not have files without a name: %v", err)
	}
	mustDo(t, err, f.Close())
	return folder
}

// expectNames expects so many names in the folder.
func expectNames(t *testing.T, want int) {
	t.Helper()
	list, err := os.ReadDir(folder)
	mustDo(t, err)
	if len(list) != want {
		t.Errorf("%d names, want %d: %v", len(list), want, list)
	}
}

func mustCreateNamed(t testing.TB, c Config) *Memory {
	t.Helper()
	m, err := CreateNamed(c)
	mustDo(t, err)
	closeAtEnd(t, m)
	return m
}

// TestNamed opens memory by its name, in the real folder: both have the same bytes, and the name goes with the last.
func TestNamed(t *testing.T) {
	page := guard.PageSize()
	had, before := descriptors(t), guard.Usage()
	for _, creatorFirst := range []bool{true, false} {
		m := mustCreateNamed(t, Config{Name: "prices of today", Size: page + 1})
		name := m.Name()
		if !strings.HasPrefix(name, "offheap-prices-of-today-") || !isName(name) || m.Size() != 2*page || m.ReadOnly() || m.Region().Name() != "prices of today" {
			t.Fatalf("%q has %d bytes", name, m.Size())
		}
		path := filepath.Join(folder, name)
		info, err := os.Lstat(path)
		mustDo(t, err)
		if info.Mode() != 0o600 || ownerOf(info) != os.Geteuid() {
			t.Errorf("the file is %v of user %d", info.Mode(), ownerOf(info))
		}
		got, err := OpenNamed(name, ReceiveConfig{MinSize: 2 * page, MaxSize: 2 * page})
		mustDo(t, err)
		reader, err := OpenNamed(name, ReceiveConfig{Name: "reader", ReadOnly: true})
		mustDo(t, err)
		m.Bytes()[0], got.Bytes()[2*page-1] = 'a', 'b'
		if b := reader.Bytes(); b[0] != 'a' || b[2*page-1] != 'b' || got.ReadOnly() || !reader.ReadOnly() || got.Name() != name || reader.Region().Name() != "reader" {
			t.Error("the mappings differ")
		}
		var fault *guard.Fault
		if err := guard.Catch(func() { reader.Bytes()[0] = 1 }); !errors.As(err, &fault) || fault.Kind != guard.ReadOnly {
			t.Errorf("a store of a reader: %v", err)
		}
		order := []*Memory{m, got, reader}
		if !creatorFirst {
			order = []*Memory{reader, got, m}
		}
		for _, m := range order {
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("the name went before its last user: %v", err)
			}
			mustDo(t, m.Close())
			if err := m.Close(); !errors.Is(err, guard.ErrClosed) {
				t.Errorf("second Close: %v", err)
			}
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the name stays: %v", err)
		}
		if _, err := OpenNamed(name, ReceiveConfig{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("memory that is gone: %v", err)
		}
	}
	if after := guard.Usage(); after.Committed != before.Committed || after.Regions != before.Regions || descriptors(t) != had {
		t.Errorf("before %+v, after %+v; %d descriptors, before %d", before, after, descriptors(t), had)
	}
}

// namedChild is a process that uses memory with a name until it is told to end.
type namedChild struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

const asNamedChild = "SHM_TEST_NAMED"

// TestNamedChild is the process that startNamed starts: it creates memory, or opens it, and says its name.
func TestNamedChild(t *testing.T) {
	name := os.Getenv(asNamedChild)
	if name == "" {
		t.Skip("for children")
	}
	var m *Memory
	var err error
	if name == "new" {
		m, err = CreateNamed(Config{Name: "child", Size: 1})
	} else {
		m, err = OpenNamed(name, ReceiveConfig{})
	}
	mustDo(t, err)
	copy(m.Bytes()[10:], "from the child")
	fmt.Println("name", m.Name())
	io.Copy(io.Discard, os.Stdin)
	mustDo(t, m.Close())
}

// startNamed starts a process that opens memory, or makes some if name is "new". It returns when the process has it.
func startNamed(t *testing.T, name string) (*namedChild, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	c := &namedChild{cmd: exec.CommandContext(ctx, os.Args[0], "-test.run=^TestNamedChild$")}
	c.cmd.Env = append(os.Environ(), asNamedChild+"="+name)
	c.cmd.Stderr = os.Stderr
	var err error
	c.in, err = c.cmd.StdinPipe()
	mustDo(t, err)
	out, err := c.cmd.StdoutPipe()
	mustDo(t, err)
	if err := c.cmd.Start(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the test runs under an emulator and cannot start itself")
	} else if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	line, err := c.out.ReadString('\n')
	if word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word == "name" {
		return c, rest
	}
	rest, _ := io.ReadAll(c.out)
	t.Fatalf("the child says %q, %v\n%s", line, err, rest)
	return nil, ""
}

// end has the process close its memory and end.
func (c *namedChild) end(t *testing.T) {
	t.Helper()
	mustDo(t, c.in.Close())
	io.Copy(io.Discard, c.out)
	mustDo(t, c.cmd.Wait())
}

// kill ends the process at once.
func (c *namedChild) kill(t *testing.T) {
	t.Helper()
	mustDo(t, c.cmd.Process.Kill())
	c.cmd.Wait()
}

// TestNamedProcesses shares memory with processes that get its name, some of which are killed.
func TestNamedProcesses(t *testing.T) {
	exists := func(name string) bool {
		_, err := os.Lstat(filepath.Join(folder, name))
		return err == nil
	}
	m := mustCreateNamed(t, Config{Size: 1})
	name := m.Name()
	one, _ := startNamed(t, name)
	two, _ := startNamed(t, name)
	if got := string(m.Bytes()[10:24]); got != "from the child" {
		t.Errorf("%q", got)
	}
	mustDo(t, m.Close())
	two.kill(t)
	if !exists(name) {
		t.Error("the name went while a process has the memory")
	}
	one.end(t)
	if exists(name) {
		t.Error("the last process has left the name")
	}

	// The last is killed: the memory is there for who opens it, and goes with him.
	c, name := startNamed(t, "new")
	c.kill(t)
	again, err := OpenNamed(name, ReceiveConfig{})
	mustDo(t, err)
	if got := string(again.Bytes()[10:24]); got != "from the child" {
		t.Errorf("%q", got)
	}
	other := mustCreateNamed(t, Config{Size: 1}) // does not remove what is in use
	if !exists(name) {
		t.Error("memory in use was removed")
	}
	mustDo(t, again.Close())
	if exists(name) {
		t.Error("the last process has left the name")
	}

	// Nobody opens it: the next CreateNamed removes it.
	c, name = startNamed(t, "new")
	c.kill(t)
	if !exists(name) {
		t.Error("who removed it?")
	}
	third := mustCreateNamed(t, Config{Size: 1})
	if exists(name) || !exists(other.Name()) || !exists(third.Name()) {
		t.Error("the wrong names are there")
	}
	mustDo(t, other.Close(), third.Close())
}

// TestHammerNamed opens and closes memory while its other users come and go: who gets it has it whole, and when all
// have gone so has the name.
func TestHammerNamed(t *testing.T) {
	ownFolder(t)
	const goroutines = 4
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	had := descriptors(t)
	var name atomic.Pointer[string]
	var opened, gone atomic.Int64
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			for range rounds {
				if n := name.Load(); n != nil {
					m, err := OpenNamed(*n, ReceiveConfig{ReadOnly: i%2 == 0})
					switch {
					case errors.Is(err, fs.ErrNotExist):
						gone.Add(1)
					case err != nil:
						t.Error(err)
					default:
						opened.Add(1)
						if string(m.Bytes()[:5]) != "whole" {
							t.Error("memory that is not whole")
						}
						if err := m.Close(); err != nil {
							t.Error(err)
						}
						continue
					}
				}
				m, err := CreateNamed(Config{Size: 1})
				if err != nil {
					t.Error(err)
					return
				}
				copy(m.Bytes(), "whole")
				n := m.Name()
				name.Store(&n)
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("opened %d times, gone %d times", opened.Load(), gone.Load())
	expectNames(t, 0)
	if now := descriptors(t); now != had {
		t.Errorf("%d descriptors, before %d", now, had)
	}
}

// TestNamedPlanted has others put what is no memory under a name: an error, and what they put stays as it was.
func TestNamedPlanted(t *testing.T) {
	dir := ownFolder(t)
	page := int64(guard.PageSize())
	name := namePrefix + "x-" + strings.Repeat("A", randomText)
	path := filepath.Join(dir, name)
	target := filepath.Join(t.TempDir(), "target")
	plant := func(path string, perm os.FileMode, size int64) {
		mustDo(t, os.WriteFile(path, nil, perm), os.Chmod(path, perm), os.Truncate(path, size))
	}
	for what, put := range map[string]func(){
		"nothing":              func() {},
		"link":                 func() { plant(target, 0o600, page); mustDo(t, os.Symlink(target, path)) },
		"link to nothing":      func() { mustDo(t, os.Symlink(filepath.Join(dir, "nothing"), path)) },
		"folder":               func() { mustDo(t, os.Mkdir(path, 0o600)) },
		"pipe":                 func() { mustDo(t, syscall.Mkfifo(path, 0o600)) },
		"for all users":        func() { plant(path, 0o666, page) },
		"for a group":          func() { plant(path, 0o640, page) },
		"no bytes":             func() { plant(path, 0o600, 0) },
		"a part of an OS page": func() { plant(path, 0o600, page+1) },
		"too large":            func() { plant(path, 0o600, 3*page) },
	} {
		put()
		was, _ := os.Lstat(path)
		had := descriptors(t)
		if m, err := OpenNamed(name, ReceiveConfig{MaxSize: int(2 * page)}); err == nil {
			t.Errorf("%s: no error", what)
			mustDo(t, m.Close())
		} else {
			t.Logf("%s: %v", what, err)
		}
		if now, _ := os.Lstat(path); (was == nil) != (now == nil) || was != nil && !os.SameFile(was, now) || descriptors(t) != had {
			t.Errorf("%s: it changed, or a descriptor was kept", what)
		}
		m := mustCreateNamed(t, Config{Size: 1}) // looks through the folder
		if _, err := os.Stat(target); err != nil && what == "link" {
			t.Errorf("the target of a link: %v", err)
		}
		mustDo(t, m.Close(), os.RemoveAll(path))
	}
	expectNames(t, 0)

	for _, name := range []string{
		"", ".", "..", "offheap-", name + "/..", "../" + name, "/" + path, name + "\x00", name + "a", strings.Replace(name, "x", "ü", 1), strings.Replace(name, "x-", "", 1),
		strings.ToLower(name), namePrefix + strings.Repeat("x", 200) + "-" + strings.Repeat("A", randomText), "sem.x",
	} {
		if _, err := OpenNamed(name, ReceiveConfig{}); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	plant(filepath.Join(dir, "offheap-mine"), 0o600, page) // not a name of ours, although it begins as one
	mustDo(t, mustCreateNamed(t, Config{Size: 1}).Close())
	expectNames(t, 1)
}

// TestNamedOwner has another user make memory: it is accepted only with AnyOwner, and nobody but the owner removes what is
// left.
func TestNamedOwner(t *testing.T) {
	ownFolder(t)
	m := mustCreateNamed(t, Config{Size: 1})
	path := filepath.Join(folder, m.Name())
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Skipf("only root gives files away: %v", err)
	}
	if _, err := OpenNamed(m.Name(), ReceiveConfig{}); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("memory of another user: %v", err)
	}
	got, err := OpenNamed(m.Name(), ReceiveConfig{AnyOwner: true})
	mustDo(t, err)
	m.peers.Close() // as if both had been killed
	got.peers.Close()
	mustDo(t, m.Region().Close(), got.Region().Close(), mustCreateNamed(t, Config{Size: 1}).Close())
	expectNames(t, 1)
	mustDo(t, os.Chown(path, os.Geteuid(), -1), mustCreateNamed(t, Config{Size: 1}).Close())
	expectNames(t, 0)
}

// TestNamedFull makes memory where there is none: an error for a lack of memory, and nothing is left.
func TestNamedFull(t *testing.T) {
	dir := ownFolder(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting a small tmpfs: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	had, before := descriptors(t), guard.Usage()
	for range 3 {
		if _, err := CreateNamed(Config{Size: 2 << 20}); !errors.Is(err, guard.ErrNoMemory) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("more than there is: %v", err)
		}
		expectNames(t, 0)
		all := mustCreateNamed(t, Config{Size: 1 << 20}) // all that there is, so nothing was left
		for i := range all.Bytes() {
			all.Bytes()[i] = 1
		}
		mustDo(t, all.Close())
	}
	if after := guard.Usage(); after.Committed != before.Committed || after.Regions != before.Regions || descriptors(t) != had {
		t.Errorf("before %+v, after %+v; %d descriptors, before %d", before, after, descriptors(t), had)
	}
	folder = filepath.Join(dir, "none")
	if _, err := CreateNamed(Config{Size: 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// TestNamedMeddling has processes of the same user remove, replace and truncate the file.
func TestNamedMeddling(t *testing.T) {
	dir := ownFolder(t)
	page := guard.PageSize()
	m := mustCreateNamed(t, Config{Size: 2 * page})
	path := filepath.Join(dir, m.Name())
	mustDo(t, os.Truncate(path, int64(page)))
	if vm.Probe().Populate { // else an old kernel, or an emulator that gets the addresses of such faults wrong
		var fault *guard.Fault
		if err := guard.Catch(func() { m.Bytes()[page] = 1 }); !errors.As(err, &fault) || fault.Kind != guard.Truncated {
			t.Errorf("a touch of what was cut off: %v", err)
		}
	}
	got, err := OpenNamed(m.Name(), ReceiveConfig{}) // as large as it is now
	mustDo(t, err)
	if got.Size() != page {
		t.Errorf("%d bytes", got.Size())
	}
	mustDo(t, got.Close(), os.Remove(path), os.WriteFile(path, []byte("another"), 0o600), m.Close())
	if b, err := os.ReadFile(path); string(b) != "another" {
		t.Errorf("the file that has the name now is %q, %v", b, err)
	}
	mustDo(t, os.Remove(path))
	m = mustCreateNamed(t, Config{Size: 1})
	mustDo(t, os.Remove(filepath.Join(dir, m.Name())), m.Close())
	expectNames(t, 0)
}

// TestNamedUmask makes memory under masks that would open it to all, and to nobody.
func TestNamedUmask(t *testing.T) {
	dir := ownFolder(t)
	for _, mask := range []int{0, 0o777} {
		was := syscall.Umask(mask)
		m, err := CreateNamed(Config{Size: 1})
		syscall.Umask(was)
		mustDo(t, err)
		info, err := os.Lstat(filepath.Join(dir, m.Name()))
		mustDo(t, err, m.Close())
		if info.Mode() != 0o600 {
			t.Errorf("umask %o: %v", mask, info.Mode())
		}
	}
}

// TestNamedBadConfig asks for what cannot be.
func TestNamedBadConfig(t *testing.T) {
	ownFolder(t)
	if _, err := CreateNamed(Config{}); err == nil {
		t.Error("no size: no error")
	}
	if _, err := CreateNamed(Config{Size: 1, PeersReadOnly: true}); err == nil {
		t.Error("PeersReadOnly: no error")
	}
	m := mustCreateNamed(t, Config{Name: strings.Repeat("größe/../", 100), Size: 1})
	if len(m.Name()) > 135 || strings.Trim(m.Name(), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		t.Error(m.Name())
	}
	got, err := OpenNamed(m.Name(), ReceiveConfig{})
	mustDo(t, err, got.Close())
	if mustCreate(t, Config{Size: 1}).Name() != "" || new(Memory).Name() != "" {
		t.Error("memory without a name has one")
	}
	for what, call := range map[string]func(){"Send": func() { m.Send(nil) }, "AppendFile": func() { m.AppendFile(nil) }} {
		func() {
			defer func() {
				if v, ok := recover().(*guard.Violation); !ok || v.Kind != guard.InvalidArgument {
					t.Errorf("%s: %v", what, v)
				}
			}()
			call()
		}()
	}
}

// TestNamedFailEveryCall makes every system call fail once at every position: one error at most, and nothing is left open, nor
// a name after the next CreateNamed.
func TestNamedFailEveryCall(t *testing.T) {
	ownFolder(t)
	bound := guard.CurrentQuarantine()
	defer guard.SetQuarantine(bound)
	guard.SetQuarantine(0)
	killed := func() { // leaves memory as a process does that is killed
		m, err := CreateNamed(Config{Size: 1})
		mustDo(t, err, m.peers.Close(), m.region.Close())
	}
	scenario := func() (errs []error) {
		again := func(f func() error) {
			if err := f(); err != nil {
				errs = append(errs, err)
				if err := f(); err != nil && !errors.Is(err, guard.ErrClosed) {
					t.Errorf("again: %v", err)
				}
			}
		}
		var m, got *Memory
		again(func() (err error) { m, err = CreateNamed(Config{Size: 1}); return err })
		m.Bytes()[0] = 9
		again(func() (err error) { got, err = OpenNamed(m.Name(), ReceiveConfig{}); return err })
		if got.Bytes()[0] != 9 {
			t.Error("other bytes")
		}
		again(got.Close)
		again(m.Close)
		return errs
	}
	for kind := range vm.Kinds {
		killed()
		stop := vm.Inject(kind, 0, nil)
		errs := scenario()
		calls := stop()
		if errs != nil {
			t.Fatal(errs)
		}
		for nth := 1; nth <= calls; nth++ {
			killed()
			had, before := descriptors(t), guard.Usage()
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			errs := scenario()
			stop()
			guard.SetQuarantine(1 << 20)
			guard.SetQuarantine(0)
			after := guard.Usage()
			before.Resident, after.Resident = 0, 0
			if len(errs) > 1 || descriptors(t) != had || before != after {
				t.Errorf("%v %d of %d: %v; %d descriptors, before %d; before %+v, after %+v", kind, nth, calls, errs, descriptors(t), had, before, after)
			}
			for _, err := range errs {
				if !errors.Is(err, vm.OutOfMemory) && !errors.Is(err, guard.ErrNoMemory) {
					t.Errorf("%v %d of %d: %v", kind, nth, calls, err)
				}
			}
			mustDo(t, mustCreateNamed(t, Config{Size: 1}).Close())
			expectNames(t, 0)
		}
		if calls > 0 {
			t.Logf("%-12v %d positions", kind, calls)
		}
	}
}
