package misuse

import (
	"errors"
	"math"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/shm"
)

// memory makes shared memory of 64 KiB, which a case may close.
func (w *world) memory() *shm.Memory {
	return w.shared(shm.Create(shm.Config{Name: "memory", Size: 1 << 16}))
}

// namedMemory makes such memory with a name.
func (w *world) namedMemory() *shm.Memory {
	return w.shared(shm.CreateNamed(shm.Config{Name: "memory", Size: 1 << 16}))
}

// shared closes memory after the case, if the case does not.
func (w *world) shared(m *shm.Memory, err error) *shm.Memory {
	w.must(err)
	w.then(func() error {
		if err := m.Close(); !errors.Is(err, guard.ErrClosed) {
			return err
		}
		return nil
	})
	return m
}

// sockets returns both ends of a Unix socket.
func (w *world) sockets() (a, b *net.UnixConn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	w.must(err)
	end := func(fd int) *net.UnixConn {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		w.must(errors.Join(err, f.Close()))
		w.then(func() error { c.Close(); return nil })
		return c.(*net.UnixConn)
	}
	return end(fds[0]), end(fds[1])
}

// receive sends memory to this process itself.
func (w *world) receive(m *shm.Memory, c shm.ReceiveConfig) *shm.Memory {
	a, b := w.sockets()
	w.must(m.Send(a))
	return w.shared(shm.Receive(b, c))
}

// reader maps memory a second time, for reading.
func (w *world) reader(m *shm.Memory) *shm.Memory {
	return w.receive(m, shm.ReceiveConfig{Name: "reader", ReadOnly: true})
}

// sends has a peer send a file and some bytes, as Receive must refuse them.
func (w *world) sends(f *os.File, message string) {
	a, b := w.sockets()
	var rights []byte
	if f != nil {
		rights = syscall.UnixRights(int(f.Fd()))
	}
	_, _, err := a.WriteMsgUnix([]byte(message), rights, nil)
	w.must(errors.Join(err, a.Close()))
	w.shared(shm.Receive(b, shm.ReceiveConfig{}))
}

// goodMessage is what Send says of 64 KiB.
const goodMessage = "offhpshm\x00\x00\x01\x00\x00\x00\x00\x00"

const (
	zeroMemory = "use of a zero value: shm.Create makes a Memory"
	hasName    = `invalid argument: the memory has a name, by which OpenNamed opens it ("memory")`
)

var shmMisuse = []misuse{
	{"memory of no bytes", func(w *world) { w.shared(shm.Create(shm.Config{Name: "memory"})) }, plainly(`error: shm: create "memory": size 0 must be positive`)},
	{"memory of too many bytes", func(w *world) { w.shared(shm.Create(shm.Config{Name: "memory", Size: math.MaxInt})) },
		plainly(`error: shm: create "memory": 9223372036854775807 bytes are more than addresses can hold: no memory`)},
	{"touch behind the memory", func(w *world) { poke(w.memory().Bytes(), 1<<16) },
		plainly(`fault: guard: overflow in region "memory": address 0xADDR, 1 bytes beyond the last of 65536`)},
	{"touch before the memory", func(w *world) { peek(w.memory().Bytes(), -1) },
		plainly(`fault: guard: underflow in region "memory": address 0xADDR, 1 bytes before the first of 65536`)},
	{"touch after Close", func(w *world) { m := w.memory(); b := m.Bytes(); w.must(m.Close()); poke(b, 100) },
		plainly(`fault: guard: use after close in region "memory": address 0xADDR, offset 100 of 65536`)},
	{"store to memory for reading", func(w *world) { poke(w.reader(w.memory()).Bytes(), 7) },
		plainly(`fault: guard: write to memory that is mapped for reading in region "reader": address 0xADDR, offset 7 of 65536`)},
	{"store of a peer that may read alone", func(w *world) {
		m := w.shared(shm.Create(shm.Config{Name: "memory", Size: 1 << 16, PeersReadOnly: true}))
		poke(w.receive(m, shm.ReceiveConfig{Name: "peer"}).Bytes(), 7)
	}, plainly(`fault: guard: write to memory that is mapped for reading in region "peer": address 0xADDR, offset 7 of 65536`)},
	{"Protect of a peer that may read alone", func(w *world) {
		m := w.shared(shm.Create(shm.Config{Name: "memory", Size: 1 << 16, PeersReadOnly: true}))
		w.must(w.receive(m, shm.ReceiveConfig{Name: "peer"}).Region().Protect(0, 1<<16, guard.ReadWrite))
	}, plainly(`error: guard: protect region "peer": the file was mapped for reading: permission denied`)},
	{"Grow", func(w *world) { _, err := w.memory().Region().Grow(1); w.must(err) },
		plainly(`error: guard: grow region "memory": 1 bytes more do not fit into the 65536 reserved: no memory`)},
	{"Decommit", func(w *world) { w.must(w.memory().Region().Decommit(0, 1<<16)) }, plainly(`error: guard: decommit region "memory": the region shows a file`)},
	{"Close twice", func(w *world) { m := w.memory(); w.must(m.Close()); w.must(m.Close()) }, plainly(`error: shm: close "memory": guard: close region "memory": closed`)},
	{"Close of the region, and of the memory", func(w *world) { m := w.memory(); w.must(m.Region().Close()); w.must(m.Close()) },
		plainly(`error: shm: close "memory": guard: close region "memory": closed`)},
	{"Send after Close", func(w *world) { m := w.memory(); w.must(m.Close()); w.receive(m, shm.ReceiveConfig{}) }, plainly(`error: shm: send "memory": closed`)},
	{"Send of a zero Memory", func(w *world) { w.must(new(shm.Memory).Send(nil)) }, plainly("violation: shm.Send: " + zeroMemory)},
	{"AppendFile of a zero Memory", func(w *world) { new(shm.Memory).AppendFile(nil) }, plainly("violation: shm.AppendFile: " + zeroMemory)},
	{"Region of a zero Memory", func(w *world) { new(shm.Memory).Region() }, plainly("violation: shm.Region: " + zeroMemory)},
	{"Close of a zero Memory", func(w *world) { w.must(new(shm.Memory).Close()) }, plainly("violation: shm.Close: " + zeroMemory)},
	{"Close of a nil Memory", func(w *world) { var m *shm.Memory; w.must(m.Close()) }, plainly("violation: shm.Close: " + zeroMemory)},
	{"Send to a closed socket", func(w *world) {
		a, _ := w.sockets()
		w.must(a.Close())
		w.must(w.memory().Send(a))
	}, plainly(`error: shm: send "memory": raw-write unix @->@: use of closed network connection`)},
	{"Receive of no message", func(w *world) {
		a, b := w.sockets()
		w.must(a.Close())
		w.shared(shm.Receive(b, shm.ReceiveConfig{}))
	}, plainly("error: EOF")},
	{"Receive of half a message", func(w *world) { w.sends(nil, goodMessage[:9]) }, plainly("error: shm: receive: unexpected EOF")},
	{"Receive of another message", func(w *world) { w.sends(nil, "a message of others") }, plainly("error: shm: receive: the message is none of Send")},
	{"Receive of no descriptor", func(w *world) { w.sends(nil, goodMessage) }, plainly("error: shm: receive: 0 descriptors came with the message, not one")},
	{"Receive of a file", func(w *world) { w.sends(w.file(), goodMessage) }, plainly("error: shm: receive: the descriptor is no memory with seals: invalid argument")},
	{"Receive of too much", func(w *world) { w.receive(w.memory(), shm.ReceiveConfig{MaxSize: 100}) },
		plainly("error: shm: receive: the memory has 65536 bytes, and 0 to 100 are accepted")},
	{"Receive of too little", func(w *world) { w.receive(w.memory(), shm.ReceiveConfig{MinSize: 1 << 20}) },
		plainly("error: shm: receive: the memory has 65536 bytes, and 1048576 to # are accepted")},
	{"negative MaxSize", func(w *world) { w.receive(w.memory(), shm.ReceiveConfig{MaxSize: -1}) },
		plainly("error: shm: receive: MinSize 0 and MaxSize -1 must not be negative")},
	{"Inherited of standard output", func(w *world) { w.shared(shm.Inherited(1, shm.ReceiveConfig{})) },
		plainly("error: shm: inherited: 1 is no descriptor that AppendFile returns")},
	{"Inherited of no descriptor", func(w *world) { w.shared(shm.Inherited(1<<20, shm.ReceiveConfig{})) },
		plainly("error: shm: inherited: stat shared memory: bad file descriptor")},
	{"CreateNamed with PeersReadOnly", func(w *world) {
		w.shared(shm.CreateNamed(shm.Config{Name: "memory", Size: 1, PeersReadOnly: true}))
	}, plainly(`error: shm: create "memory" with a name: PeersReadOnly is for memory without a name: only Create can seal it`)},
	{"Send of named memory", func(w *world) { w.must(w.namedMemory().Send(nil)) }, plainly("violation: shm.Send: " + hasName)},
	{"AppendFile of named memory", func(w *world) { w.namedMemory().AppendFile(nil) }, plainly("violation: shm.AppendFile: " + hasName)},
	{"OpenNamed of a path", func(w *world) { w.shared(shm.OpenNamed("/etc/passwd", shm.ReceiveConfig{})) },
		plainly(`error: shm: open "/etc/passwd": it is no name that CreateNamed makes`)},
	{"OpenNamed after the last Close", func(w *world) {
		m := w.namedMemory()
		w.must(m.Close())
		_, err := shm.OpenNamed(m.Name(), shm.ReceiveConfig{})
		w.holds(errors.Is(err, os.ErrNotExist), "it does not exist")
		w.must(errors.New(strings.ReplaceAll(err.Error(), m.Name(), "NAME")))
	}, plainly(`error: shm: open "NAME": open /dev/shm/NAME: no such file or directory`)},
	{"touch of named memory that a peer made shorter", func(w *world) {
		m := w.namedMemory()
		w.must(os.Truncate("/dev/shm/"+m.Name(), 0))
		poke(m.Bytes(), 5)
	}, plainly(`fault: guard: touch beyond the end of its file in region "memory": address 0xADDR, offset 5 of 65536`)},
	{"Name and Bytes of a zero Memory", func(w *world) {
		var m shm.Memory
		w.holds(m.Name() == "" && m.Bytes() == nil && m.Size() == 0 && !m.ReadOnly(), "it is empty")
	}, plainly(fine)},
	{"Close of the creator, and use by the other", func(w *world) {
		m := w.memory()
		got := w.receive(m, shm.ReceiveConfig{})
		w.must(m.Close())
		got.Bytes()[1<<16-1] = 1
	}, plainly(fine)},
}
