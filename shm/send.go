package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// A message is 16 bytes, the first of which carry the descriptor: a mark and the bytes of the memory, little endian.
const (
	messageSize = 16
	mark        = "offhpshm" // 8 bytes
)

// Send gives the memory to the process at the other end of a Unix socket, a *net.UnixConn say, which takes it by
// Receive. The socket carries nothing else at that moment. Afterwards this process may close the Memory: the other
// has it.
//
// Send waits until there is room in the socket; a deadline of the connection holds for it. It panics with a
// *guard.Violation for memory of CreateNamed: hand over its name.
func (m *Memory) Send(socket syscall.Conn) error {
	m.mustBeMade("Send")
	m.mustBeSealed("Send")
	if err := m.send(socket); err != nil {
		return fmt.Errorf("shm: send %q: %w", m.name, err)
	}
	return nil
}

func (m *Memory) send(socket syscall.Conn) error {
	message := binary.LittleEndian.AppendUint64([]byte(mark), uint64(m.Size()))
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return control(m.peers, func(pass int) error {
		for len(message) > 0 {
			var n int
			var failed error
			err := raw.Write(func(fd uintptr) bool {
				n, failed = vm.SendDescriptor(int(fd), message, pass)
				return !vm.IsBusy(failed)
			})
			if err := errors.Join(err, failed); err != nil {
				return err
			}
			message, pass = message[n:], -1
		}
		return nil
	})
}

// Receive takes memory that another process has sent over a Unix socket. It waits for the message; a deadline of the
// connection holds for it. The error is io.EOF if the other end was closed.
//
// Before anything is mapped, Receive checks that the descriptor is memory whose size nobody can change, as Create seals
// it; that its size is the one that the sender named, and within MinSize and MaxSize; and that its owner is this user or
// root, unless AnyOwner is set. If not, there is an error, nothing is mapped, and no descriptor is kept, however many
// came. Of a stream the bytes of one message are read, and no more.
//
// The Memory is for reading if its creator has said so (Config.PeersReadOnly), or ReceiveConfig.ReadOnly.
func Receive(socket syscall.Conn, c ReceiveConfig) (*Memory, error) {
	m, err := receive(socket, c)
	if err == io.EOF {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("shm: receive: %w", err)
	}
	return m, nil
}

func receive(socket syscall.Conn, c ReceiveConfig) (m *Memory, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var files []*os.File
	defer func() {
		if m == nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	var message [messageSize]byte
	for got := 0; got < len(message); {
		var n int
		var fds []int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, fds, failed = vm.ReceiveDescriptors(int(fd), message[got:])
			return !vm.IsBusy(failed)
		})
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), defaultName))
		}
		switch {
		case errors.Join(err, failed) != nil:
			return nil, errors.Join(err, failed)
		case n == 0 && got == 0:
			return nil, io.EOF
		case n == 0:
			return nil, io.ErrUnexpectedEOF
		}
		got += n
	}
	size := binary.LittleEndian.Uint64(message[len(mark):])
	switch {
	case string(message[:len(mark)]) != mark:
		return nil, errors.New("the message is none of Send")
	case len(files) != 1:
		return nil, fmt.Errorf("%d descriptors came with the message, not one", len(files))
	case size == 0 || size > 1<<62:
		return nil, fmt.Errorf("the message names a size of %d bytes", size)
	}
	f := files[0]
	files = nil
	return accept(f, c, int64(size))
}
