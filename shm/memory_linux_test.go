package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

func mustDo(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func mustCreate(t testing.TB, c Config) *Memory {
	t.Helper()
	m, err := Create(c)
	mustDo(t, err)
	closeAtEnd(t, m)
	return m
}

// closeAtEnd closes memory at the end of a test that may have closed it already.
func closeAtEnd(t testing.TB, m *Memory) {
	t.Cleanup(func() {
		if err := m.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	})
}

// sockets returns both ends of a Unix socket.
func sockets(t testing.TB, kind int) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, kind, 0)
	mustDo(t, err)
	end := func(fd int) *net.UnixConn {
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		c, err := net.FileConn(f)
		mustDo(t, err)
		mustDo(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
		t.Cleanup(func() { c.Close() })
		return c.(*net.UnixConn)
	}
	return end(fds[0]), end(fds[1])
}

func descriptors(t testing.TB) int {
	list, err := os.ReadDir("/proc/self/fd")
	mustDo(t, err)
	return len(list)
}

// TestSendReceive sends memory over sockets of each kind: both ends have the same bytes.
func TestSendReceive(t *testing.T) {
	page := guard.PageSize()
	had, before := descriptors(t), guard.Usage()
	for name, kind := range map[string]int{"stream": syscall.SOCK_STREAM, "datagram": syscall.SOCK_DGRAM, "seqpacket": syscall.SOCK_SEQPACKET} {
		a, b := sockets(t, kind)
		m := mustCreate(t, Config{Name: "sent", Size: page + 1})
		if m.Size() != 2*page || len(m.Bytes()) != 2*page || m.ReadOnly() || m.Region().Name() != "sent" || guard.Committed()-before.Committed != int64(2*page) {
			t.Fatalf("%s: %d bytes", name, m.Size())
		}
		m.Bytes()[5] = 'a'
		mustDo(t, m.Send(a))
		got, err := Receive(b, ReceiveConfig{Name: "received", MinSize: 2 * page, MaxSize: 2 * page})
		mustDo(t, err)
		if got.Bytes()[5] != 'a' || got.Size() != 2*page || got.ReadOnly() {
			t.Fatalf("%s: %d bytes, %#x", name, got.Size(), got.Bytes()[5])
		}
		got.Bytes()[2*page-1] = 'b'
		if m.Bytes()[2*page-1] != 'b' {
			t.Fatal("a store does not reach the other mapping")
		}
		// Who has received it may send it on, and its creator may be gone.
		mustDo(t, m.Close(), got.Send(b))
		third, err := Receive(a, ReceiveConfig{ReadOnly: true})
		mustDo(t, err)
		if third.Bytes()[5] != 'a' || !third.ReadOnly() {
			t.Fatal("the third has other bytes")
		}
		var fault *guard.Fault
		if err := guard.Catch(func() { third.Bytes()[5] = 1 }); !errors.As(err, &fault) || fault.Kind != guard.ReadOnly {
			t.Errorf("a store to what was mapped for reading: %v", err)
		}
		if err := guard.Catch(func() { m.Bytes()[5] = 1 }); !errors.As(err, &fault) || fault.Kind != guard.UseAfterClose {
			t.Errorf("a touch after Close: %v", err)
		}
		if err := m.Send(a); !errors.Is(err, guard.ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
		mustDo(t, a.Close())
		if kind != syscall.SOCK_DGRAM { // whose end nobody is told of
			if _, err := Receive(b, ReceiveConfig{}); err != io.EOF {
				t.Errorf("%s: the other end is closed: %v", name, err)
			}
		}
		if err := third.Send(b); err == nil {
			t.Errorf("%s: Send to a closed end", name)
		}
		mustDo(t, b.Close(), got.Close(), third.Close())
		if err := third.Close(); !errors.Is(err, guard.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	}
	if after := guard.Usage(); after.Committed != before.Committed || after.Regions != before.Regions || descriptors(t) != had {
		t.Errorf("before %+v, after %+v; %d descriptors, before %d", before, after, descriptors(t), had)
	}
}

// TestSeals has a peer try all that could make a touch fault, or store where it must not.
func TestSeals(t *testing.T) {
	page := guard.PageSize()
	for _, readOnly := range []bool{false, true} {
		m := mustCreate(t, Config{Size: page, PeersReadOnly: readOnly})
		path := fmt.Sprintf("/proc/self/fd/%d", m.peers.Fd())
		reopened, err := os.OpenFile(path, os.O_RDWR, 0)
		mustDo(t, err)
		defer reopened.Close()
		for name, f := range map[string]*os.File{"the peers'": m.peers, "reopened": reopened} {
			for _, size := range []int64{0, 1, int64(page) * 2} {
				if err := f.Truncate(size); err == nil {
					t.Errorf("%s file was made %d bytes large", name, size)
				}
			}
			if err := control(f, func(fd int) error { return vm.Seal(fd, vm.SealWrite) }); err == nil {
				t.Errorf("%s file got another seal", name)
			}
			_, err := f.WriteAt([]byte("written"), 0)
			writable, err2 := guard.MapFile(f, guard.FileConfig{Mode: guard.FileShared})
			if err2 == nil {
				mustDo(t, writable.Close())
			}
			if (err == nil) == readOnly || (err2 == nil) == readOnly {
				t.Errorf("%s file, read-only %v: write %v, map %v", name, readOnly, err, err2)
			}
		}
		// A hole reads zero, and no touch of it faults.
		m.Bytes()[9] = 9
		const punchHole, keepSize = 2, 1
		if err := syscall.Fallocate(int(reopened.Fd()), punchHole|keepSize, 0, int64(page)); (err == nil) == readOnly {
			t.Errorf("a hole, read-only %v: %v", readOnly, err)
		}
		if err := guard.Catch(func() {
			if (m.Bytes()[9] == 0) == readOnly {
				t.Errorf("read-only %v: %d after a hole", readOnly, m.Bytes()[9])
			}
		}); err != nil {
			t.Error(err)
		}
		a, b := sockets(t, syscall.SOCK_STREAM)
		mustDo(t, m.Send(a))
		got, err := Receive(b, ReceiveConfig{})
		mustDo(t, err)
		if got.ReadOnly() != readOnly {
			t.Errorf("read-only: %v, want %v", got.ReadOnly(), readOnly)
		}
		// Not even a system call of the peer's makes it writable.
		if err := syscall.Mprotect(got.Bytes(), syscall.PROT_READ|syscall.PROT_WRITE); (err == nil) == readOnly {
			t.Errorf("mprotect, read-only %v: %v", readOnly, err)
		}
		m.Bytes()[0] = 7
		if got.Bytes()[0] != 7 {
			t.Error("the creator's store does not show")
		}
		mustDo(t, got.Close())
	}
}

// TestChild hands memory to a program that this one starts.
func TestChild(t *testing.T) {
	const mark = "SHM_TEST_CHILD"
	if number := os.Getenv(mark); number != "" {
		fd, err := strconv.Atoi(number)
		mustDo(t, err)
		m, err := Inherited(fd, ReceiveConfig{})
		mustDo(t, err)
		copy(m.Bytes()[100:], "from the child")
		mustDo(t, m.Close())
		return
	}
	m := mustCreate(t, Config{Size: 1000})
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
	none, err := os.Open(os.DevNull)
	mustDo(t, err)
	defer none.Close()
	files, fd := m.AppendFile([]*os.File{none})
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", mark, fd))
	if out, err := cmd.CombinedOutput(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the test runs under an emulator and cannot start itself")
	} else if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := string(m.Bytes()[100:114]); fd != 4 || got != "from the child" {
		t.Errorf("descriptor %d, %q", fd, got)
	}
}

func TestBadConfig(t *testing.T) {
	for _, size := range []int{0, -1, math.MinInt, math.MaxInt, math.MaxInt - 1} {
		if _, err := Create(Config{Size: size}); err == nil {
			t.Errorf("size %d: no error", size)
		}
	}
	_, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + 1})
	mustDo(t, err)
	had := descriptors(t)
	_, err = Create(Config{Size: 1})
	guard.SetBudget(guard.Budget{})
	if !errors.Is(err, guard.ErrNoMemory) || descriptors(t) != had {
		t.Errorf("beyond the budget: %v, %d descriptors, before %d", err, descriptors(t), had)
	}
	m := mustCreate(t, Config{Name: strings.Repeat("x", 1000), Size: 1})
	if len(m.Region().Name()) != 1000 {
		t.Error("the name was cut")
	}
	for _, fd := range []int{-1, 0, 2} {
		if _, err := Inherited(fd, ReceiveConfig{}); err == nil {
			t.Errorf("descriptor %d: no error", fd)
		}
	}
	if _, err := Inherited(1<<20, ReceiveConfig{}); err == nil {
		t.Error("a descriptor that is none: no error")
	}
	var zero Memory
	if zero.Bytes() != nil || zero.Size() != 0 || zero.ReadOnly() {
		t.Error("a zero Memory has bytes")
	}
	for what, call := range map[string]func(){"Close": func() { zero.Close() }, "Send": func() { zero.Send(nil) }, "Region": func() { zero.Region() }, "AppendFile": func() { zero.AppendFile(nil) }} {
		func() {
			defer func() {
				if v, ok := recover().(*guard.Violation); !ok || v.Kind != guard.ZeroValue {
					t.Errorf("%s: %v", what, v)
				}
			}()
			call()
		}()
	}
}

// raw makes a descriptor of a kind that a hostile peer may send. name tells what is wrong with it; "" if nothing is.
func raw(t testing.TB, kind byte) (f *os.File, name string) {
	t.Helper()
	page := int64(guard.PageSize())
	memory := func(size int64, s vm.Seals) *os.File {
		fd, err := vm.CreateMemory("raw")
		mustDo(t, err)
		f := os.NewFile(uintptr(fd), "raw")
		mustDo(t, f.Truncate(size), vm.Seal(fd, s))
		return f
	}
	switch kind % 12 {
	case 0:
		return memory(page, seals), ""
	case 1:
		return memory(page, seals|vm.SealFutureWrite), ""
	case 2:
		return memory(page, vm.SealGrow|vm.SealSeals), "may become shorter"
	case 3:
		return memory(page, vm.SealShrink|vm.SealSeals), "may become longer"
	case 4:
		return memory(page, vm.SealShrink|vm.SealGrow), "may get other seals"
	case 5:
		return memory(0, seals), "no bytes"
	case 6:
		return memory(page+1, seals), "half an OS page"
	case 7:
		return memory(2*page, seals), "another size"
	case 8:
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		mustDo(t, err, f.Truncate(page))
		return f, "a file"
	case 9:
		f, err := os.Open(t.TempDir())
		mustDo(t, err)
		return f, "a folder"
	case 10:
		r, w, err := os.Pipe()
		mustDo(t, err, w.Close())
		return r, "a pipe"
	}
	f, err := os.OpenFile("/dev/zero", os.O_RDWR, 0)
	mustDo(t, err)
	return f, "a device"
}

// TestReceiveBadDescriptors sends what Receive must refuse: an error, nothing mapped, and no descriptor kept.
func TestReceiveBadDescriptors(t *testing.T) {
	page := guard.PageSize()
	good := binary.LittleEndian.AppendUint64([]byte(mark), uint64(page))
	for kind := range byte(12) {
		f, wrong := raw(t, kind)
		a, b := sockets(t, syscall.SOCK_STREAM)
		had, before := descriptors(t), guard.Usage()
		_, _, err := a.WriteMsgUnix(good, syscall.UnixRights(int(f.Fd())), nil)
		mustDo(t, err)
		m, err := Receive(b, ReceiveConfig{})
		if (err == nil) != (wrong == "") {
			t.Errorf("%q: %v", wrong, err)
		}
		if m != nil {
			mustDo(t, m.Close())
		} else {
			t.Logf("%s: %v", wrong, err)
		}
		if after := guard.Usage(); descriptors(t) != had || after.Regions != before.Regions || after.Committed != before.Committed {
			t.Errorf("%q: %d descriptors, before %d", wrong, descriptors(t), had)
		}
		mustDo(t, f.Close(), a.Close(), b.Close())
	}

	// Other messages, and what the receiver does not want.
	f, _ := raw(t, 0)
	fd := int(f.Fd())
	for what, c := range map[string]struct {
		message []byte
		rights  []int
		config  ReceiveConfig
	}{
		"no descriptor":      {good, nil, ReceiveConfig{}},
		"two descriptors":    {good, []int{fd, fd}, ReceiveConfig{}},
		"200 descriptors":    {good, make([]int, 200), ReceiveConfig{}},
		"another mark":       {[]byte("XXXXXXXX\x00\x10\x00\x00\x00\x00\x00\x00"), []int{fd}, ReceiveConfig{}},
		"no size":            {binary.LittleEndian.AppendUint64([]byte(mark), 0), []int{fd}, ReceiveConfig{}},
		"huge size":          {binary.LittleEndian.AppendUint64([]byte(mark), math.MaxUint64), []int{fd}, ReceiveConfig{}},
		"another size":       {binary.LittleEndian.AppendUint64([]byte(mark), uint64(2*page)), []int{fd}, ReceiveConfig{}},
		"half a message":     {good[:9], []int{fd}, ReceiveConfig{}},
		"too small":          {good, []int{fd}, ReceiveConfig{MinSize: page + 1}},
		"too large":          {good, []int{fd}, ReceiveConfig{MaxSize: page - 1}},
		"negative MaxSize":   {good, []int{fd}, ReceiveConfig{MaxSize: -1}},
		"nothing but an end": {nil, nil, ReceiveConfig{}},
	} {
		if what == "200 descriptors" && !vm.Probe().Populate {
			continue // an old kernel, or an emulator, which keeps those for which there is no room
		}
		a, b := sockets(t, syscall.SOCK_STREAM)
		had := descriptors(t)
		var rights []byte
		if c.rights != nil {
			rights = syscall.UnixRights(c.rights...)
		}
		if c.message != nil {
			_, _, err := a.WriteMsgUnix(c.message, rights, nil)
			mustDo(t, err)
		}
		mustDo(t, a.Close())
		if m, err := Receive(b, c.config); err == nil {
			t.Errorf("%s: no error", what)
			mustDo(t, m.Close())
		}
		if now := descriptors(t); now != had-1 {
			t.Errorf("%s: %d descriptors, before %d", what, now, had-1)
		}
		b.Close()
	}
	mustDo(t, f.Close())
}

// TestOwner accepts memory of this user, and that of others only with AnyOwner.
func TestOwner(t *testing.T) {
	f, _ := raw(t, 0)
	if err := f.Chown(12345, -1); err != nil {
		t.Skipf("only root gives files away: %v", err)
	}
	other, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0)
	mustDo(t, err)
	if _, err := accept(f, ReceiveConfig{}, 0); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("memory of another user: %v", err)
	}
	m, err := accept(other, ReceiveConfig{AnyOwner: true}, 0)
	mustDo(t, err, m.Close())
}

// TestFailEveryCall makes every system call fail once at every position: one error, and nothing is left open.
func TestFailEveryCall(t *testing.T) {
	bound := guard.CurrentQuarantine()
	defer guard.SetQuarantine(bound)
	guard.SetQuarantine(0)
	scenario := func() (errs []error) {
		a, b := sockets(t, syscall.SOCK_STREAM)
		defer a.Close()
		defer b.Close()
		again := func(f func() error) {
			if err := f(); err != nil {
				errs = append(errs, err)
				mustDo(t, f())
			}
		}
		var m, got *Memory
		again(func() (err error) { m, err = Create(Config{Size: 1, PeersReadOnly: true}); return err })
		m.Bytes()[0] = 9
		again(func() error { return m.Send(a) })
		again(func() (err error) {
			if got, err = Receive(b, ReceiveConfig{}); err != nil {
				mustDo(t, b.SetReadDeadline(time.Now().Add(-time.Second)))
				if left, err := Receive(b, ReceiveConfig{}); err == nil { // what failed did not take the message
					got = left
				}
				mustDo(t, b.SetReadDeadline(time.Now().Add(2*time.Minute)), m.Send(a))
			}
			if err != nil && got != nil {
				mustDo(t, got.Close())
				got = nil
			}
			return err
		})
		if got.Bytes()[0] != 9 {
			t.Error("other bytes")
		}
		again(got.Close)
		again(m.Close)
		return errs
	}
	for kind := range vm.Kinds {
		stop := vm.Inject(kind, 0, nil)
		errs := scenario()
		calls := stop()
		if errs != nil {
			t.Fatal(errs)
		}
		for nth := 1; nth <= calls; nth++ {
			had, before := descriptors(t), guard.Usage()
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			errs := scenario()
			stop()
			guard.SetQuarantine(1 << 20)
			guard.SetQuarantine(0)
			after := guard.Usage()
			before.Resident, after.Resident = 0, 0
			if len(errs) > 1 || len(errs) == 0 && kind != vm.Munmap || descriptors(t) != had || before != after {
				t.Errorf("%v %d of %d: %v; %d descriptors, before %d; before %+v, after %+v", kind, nth, calls, errs, descriptors(t), had, before, after)
			}
			for _, err := range errs {
				if !errors.Is(err, vm.OutOfMemory) && !errors.Is(err, guard.ErrNoMemory) {
					t.Errorf("%v %d of %d: %v", kind, nth, calls, err)
				}
			}
		}
		if calls > 0 {
			t.Logf("%-12v %d positions", kind, calls)
		}
	}
}

// TestHammerCounters has goroutines count in two mappings of one memory, by atomic operations.
func TestHammerCounters(t *testing.T) {
	const goroutines, times = 4, 10_000
	m := mustCreate(t, Config{Size: 8})
	a, b := sockets(t, syscall.SOCK_STREAM)
	mustDo(t, m.Send(a))
	got, err := Receive(b, ReceiveConfig{})
	mustDo(t, err)
	defer got.Close()
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			n := (*atomic.Uint64)(unsafe.Pointer(&[]*Memory{m, got}[i%2].Bytes()[0]))
			for range times {
				n.Add(1)
			}
		})
	}
	all.Wait()
	if n := binary.NativeEndian.Uint64(m.Bytes()); n != goroutines*times {
		t.Errorf("counted %d", n)
	}
}

// FuzzReceive sends descriptors and messages as a hostile peer may: Receive returns memory that is whole, or an error, and
// keeps nothing.
func FuzzReceive(f *testing.F) {
	page := guard.PageSize()
	good := binary.LittleEndian.AppendUint64([]byte(mark), uint64(page))
	for kind := range byte(12) {
		f.Add([]byte{kind}, good, 0)
	}
	f.Add([]byte{0, 1}, good, 0)
	f.Add([]byte{}, good[:7], 0)
	f.Add([]byte{0}, append(good, good...), page)
	f.Fuzz(func(t *testing.T, kinds, message []byte, most int) {
		if len(message) == 0 {
			return
		}
		a, b := sockets(t, syscall.SOCK_STREAM)
		var files []*os.File
		var fds []int
		for _, k := range kinds[:min(len(kinds), 8)] {
			file, _ := raw(t, k)
			files, fds = append(files, file), append(fds, int(file.Fd()))
		}
		had, before := descriptors(t), guard.Usage()
		var rights []byte
		if fds != nil {
			rights = syscall.UnixRights(fds...)
		}
		_, _, err := a.WriteMsgUnix(message[:min(len(message), 4096)], rights, nil)
		mustDo(t, err, a.Close())
		m, err := Receive(b, ReceiveConfig{MaxSize: most})
		if err == nil {
			for i := range m.Bytes() {
				_ = m.Bytes()[i]
			}
			if m.Size() != page || len(fds) != 1 || string(message[:8]) != mark {
				t.Errorf("accepted %d bytes of %v", m.Size(), kinds)
			}
			mustDo(t, m.Close())
		}
		mustDo(t, b.Close())
		if after := guard.Usage(); after.Regions != before.Regions || after.Committed != before.Committed || descriptors(t) != had-2 {
			t.Errorf("%d descriptors, before %d", descriptors(t), had-2)
		}
		for _, file := range files {
			mustDo(t, file.Close())
		}
	})
}
