package ipc

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// From the kernel's uapi headers, where they are the same for all architectures.
const (
	ipcPrivate  = 0
	ipcCreate   = 0o1000
	ipcNoWait   = 0o4000
	ipcRemove   = 0
	shmRemap    = 0o40000
	ownerAlone  = 0o600
	anyType     = 0
	messageType = 1
)

// call makes a system call, again after each signal that interrupts it. What the arguments point to stays where it is.
//
//go:uintptrescapes
func call(trap, a, b, c, d, e uintptr) (uintptr, error) {
	if err := vm.Failing(vm.IPC); err != nil {
		return 0, err
	}
	for {
		r, _, errno := unix.Syscall6(trap, a, b, c, d, e, 0)
		switch errno {
		case 0:
			return r, nil
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOMSG, unix.ETIMEDOUT:
			return 0, ErrWouldWait
		default:
			return 0, errno
		}
	}
}

// CreateQueue makes a System V message queue for processes of this user.
func CreateQueue() (Queue, error) {
	id, err := call(unix.SYS_MSGGET, ipcPrivate, ipcCreate|ownerAlone, 0, 0, 0)
	return Queue(id), err
}

// Send sends a message, b without its first TypeSize bytes, which it overwrites. It waits for room if wait is true, and
// else may return ErrWouldWait.
func (q Queue) Send(b []byte, wait bool) error {
	*(*uintptr)(unsafe.Pointer(unsafe.SliceData(b[:TypeSize]))) = messageType
	_, err := call(unix.SYS_MSGSND, uintptr(q), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)-TypeSize), flags(wait), 0)
	return err
}

// Receive receives a message of n bytes into b[TypeSize:]. A message that is longer is an error, and stays in the queue.
func (q Queue) Receive(b []byte, wait bool) (n int, err error) {
	got, err := call(unix.SYS_MSGRCV, uintptr(q), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)-TypeSize), anyType, flags(wait))
	return int(got), err
}

// Remove removes the queue with all its messages. Processes that wait for it get an error. It is none if the queue is gone.
func (q Queue) Remove() error {
	_, err := call(unix.SYS_MSGCTL, uintptr(q), ipcRemove, 0, 0, 0)
	return unlessGone(err)
}

// unlessGone returns nil for the errors of what is not there any more.
func unlessGone(err error) error {
	if err == unix.EINVAL || err == unix.EIDRM || err == unix.ENOENT {
		return nil
	}
	return err
}

func flags(wait bool) uintptr {
	if wait {
		return 0
	}
	return ipcNoWait
}

// CreateSegment makes n bytes of zeroed System V shared memory for processes of this user.
func CreateSegment(n int) (Segment, error) {
	id, err := call(unix.SYS_SHMGET, ipcPrivate, uintptr(n), ipcCreate|ownerAlone, 0, 0)
	return Segment(id), err
}

// Attach maps the memory where the kernel chooses, or if at is not nil over what is mapped there.
func (s Segment) Attach(at unsafe.Pointer) (unsafe.Pointer, error) {
	how := uintptr(0)
	if at != nil {
		how = shmRemap
	}
	p, err := call(unix.SYS_SHMAT, uintptr(s), uintptr(at), how, 0, 0)
	if err != nil {
		return nil, err
	}
	return unsafe.Add(nil, p), nil
}

// Detach unmaps memory at the address that Attach returned. The kernel has no reason to refuse that, so it is not among the
// calls that fail on purpose.
func Detach(p unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_SHMDT, uintptr(p), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// Remove removes the memory as soon as no process has attached it. It is no error if it is gone.
func (s Segment) Remove() error {
	_, err := call(unix.SYS_SHMCTL, uintptr(s), ipcRemove, 0, 0, 0)
	return unlessGone(err)
}

// CreateMail makes a POSIX message queue with room for as many messages of so many bytes. The name has no slash.
// Programs that the process starts do not get the descriptor.
func CreateMail(name string, messages, bytes int) (*os.File, error) {
	attributes := [8]int{1: messages, 2: bytes} // struct mq_attr
	return openMail(name, unix.O_CREAT|unix.O_EXCL, &attributes)
}

// OpenMail opens a POSIX message queue that is there.
func OpenMail(name string) (*os.File, error) { return openMail(name, 0, nil) }

func openMail(name string, how uintptr, attributes *[8]int) (*os.File, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	fd, err := call(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), how|unix.O_RDWR|unix.O_CLOEXEC, ownerAlone, uintptr(unsafe.Pointer(attributes)), 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(fd, name), nil
}

// RemoveMail removes the name of a POSIX message queue. It is no error if it is gone.
func RemoveMail(name string) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, err = call(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(p)), 0, 0, 0, 0)
	return unlessGone(err)
}

// SendMail sends b to a POSIX message queue. It waits for room if wait is true, and else may return ErrWouldWait.
func SendMail(fd int, b []byte, wait bool) error {
	_, err := call(unix.SYS_MQ_TIMEDSEND, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, uintptr(unsafe.Pointer(until(wait))))
	return err
}

// ReceiveMail receives a message of n bytes. b must have room for the longest that the queue takes.
func ReceiveMail(fd int, b []byte, wait bool) (n int, err error) {
	got, err := call(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, uintptr(unsafe.Pointer(until(wait))))
	return int(got), err
}

// longAgo is a deadline that has passed.
var longAgo unix.Timespec

func until(wait bool) *unix.Timespec {
	if wait {
		return nil
	}
	return &longAgo
}

// TryRead reads what there is, and returns ErrWouldWait if that is nothing. n is 0 at the end.
func TryRead(f syscall.Conn, b []byte) (n int, err error) {
	if err := vm.Failing(vm.IPC); err != nil {
		return 0, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Read(func(fd uintptr) bool {
		for err = unix.EINTR; err == unix.EINTR; {
			n, err = unix.Read(int(fd), b)
		}
		return true
	})
	switch {
	case failed != nil:
		return 0, failed
	case err == unix.EAGAIN:
		return 0, ErrWouldWait
	}
	return max(n, 0), err
}

// SetPipeSize sets how many bytes a pipe holds, and returns how many it holds then.
func SetPipeSize(pipe *os.File, n int) (got int, err error) {
	if err := vm.Failing(vm.IPC); err != nil {
		return 0, err
	}
	raw, err := pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { got, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, n) })
	if failed != nil {
		return 0, failed
	}
	return got, err
}

// Sockets returns both ends of a Unix socket: of packets, which keep their boundaries, or of a stream. Programs that the
// process starts do not get them.
func Sockets(packets bool) (a, b *os.File, err error) {
	if err := vm.Failing(vm.IPC); err != nil {
		return nil, nil, err
	}
	kind := unix.SOCK_STREAM
	if packets {
		kind = unix.SOCK_SEQPACKET
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}
