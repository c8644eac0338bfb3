package vm

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The seals of memory that is a file: what nobody can do to it any more.
const (
	SealSeals       Seals = unix.F_SEAL_SEAL         // add seals
	SealShrink      Seals = unix.F_SEAL_SHRINK       // make it shorter
	SealGrow        Seals = unix.F_SEAL_GROW         // make it longer
	SealWrite       Seals = unix.F_SEAL_WRITE        // write
	SealFutureWrite Seals = unix.F_SEAL_FUTURE_WRITE // write, but through mappings that are there already (Linux 5.1)
)

// CreateMemory makes memory that is a file without a name in any folder. name is shown in /proc/PID/maps. Programs that the
// process starts do not get the descriptor.
func CreateMemory(name string) (fd int, err error) {
	if err := failing(MemfdCreate); err != nil {
		return -1, err
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if fd, err = unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL); err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	return fd, err
}

// Seal adds seals to memory of CreateMemory.
func Seal(fd int, s Seals) error {
	if err := failing(Fcntl); err != nil {
		return err
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, int(s))
	return err
}

// SealsOf returns the seals of a file. It is an error if the file cannot have any.
func SealsOf(fd int) (Seals, error) {
	if err := failing(Fcntl); err != nil {
		return 0, err
	}
	s, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return Seals(s), err
}

// IsForReading tells whether a descriptor is open for reading alone.
func IsForReading(fd int) (bool, error) {
	if err := failing(Fcntl); err != nil {
		return false, err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return flags&unix.O_ACCMODE == unix.O_RDONLY, err
}

// OpenForReading returns another descriptor of a file that is open, for reading alone.
func OpenForReading(fd int) (int, error) {
	if err := failing(Open); err != nil {
		return -1, err
	}
	return unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// SendDescriptor sends bytes over a Unix socket, and a descriptor with the first of them; without one if pass is negative.
// n is how many bytes it sent.
func SendDescriptor(socket int, b []byte, pass int) (n int, err error) {
	if err := failing(Sendmsg); err != nil {
		return 0, err
	}
	var rights []byte
	if pass >= 0 {
		rights = unix.UnixRights(pass)
	}
	for {
		if n, err = unix.SendmsgN(socket, b, rights, nil, unix.MSG_NOSIGNAL); err != unix.EINTR {
			return n, err
		}
	}
}

// ReceiveDescriptors receives bytes from a Unix socket, and the descriptors that came with them, which programs that the
// process starts do not get. n is 0 at the end of the stream. After an error there are no descriptors.
func ReceiveDescriptors(socket int, b []byte) (n int, fds []int, err error) {
	if err := failing(Recvmsg); err != nil {
		return 0, nil, err
	}
	var rights [256]byte // for some 60 descriptors
	var got, flags int
	for err = unix.EINTR; err == unix.EINTR; {
		n, got, flags, _, err = unix.Recvmsg(socket, b, rights[:], unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return 0, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:got])
	for _, m := range messages {
		if more, e := unix.ParseUnixRights(&m); e == nil {
			fds = append(fds, more...)
		}
	}
	if err == nil && flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0 {
		err = errors.New("more was sent than there is room for")
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return 0, nil, err
	}
	return n, fds, nil
}

// IsBusy tells whether err is the error of a socket that has nothing, or no room, at this moment; or of a lock that another
// process has.
func IsBusy(err error) bool { return err == unix.EAGAIN }

// CreateUnnamed makes a file in a folder that has no name there, until Link gives it one, and that nobody but this user may
// open, whatever the umask is.
func CreateUnnamed(folder string) (*os.File, error) {
	if err := failing(Open); err != nil {
		return nil, err
	}
	const perm = 0o600
	f, err := os.OpenFile(folder, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, perm)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(perm); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Link gives a file of CreateUnnamed a name, which nobody must have: a link that has it is not followed.
func Link(fd int, name string) error {
	if err := failing(Linkat); err != nil {
		return err
	}
	from := "/proc/self/fd/" + strconv.Itoa(fd)
	if err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: from, New: name, Err: err}
	}
	return nil
}

// OpenFile opens a file by its name, for reading alone or for writing, too. It follows no link at the end of the name, and
// does not wait.
func OpenFile(name string, forReading bool) (*os.File, error) {
	if err := failing(Open); err != nil {
		return nil, err
	}
	flag := unix.O_RDWR
	if forReading {
		flag = unix.O_RDONLY
	}
	return os.OpenFile(name, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// Remove removes a name.
func Remove(name string) error {
	if err := failing(Unlink); err != nil {
		return err
	}
	return os.Remove(name)
}

// ShareLock takes a lock on an open file that others may take, too, or fails at once (IsBusy). The kernel drops it with the
// last descriptor and the last mapping of the open file, also when the process dies.
func ShareLock(fd int) error { return flock(fd, unix.LOCK_SH) }

// TakeLock takes the lock of ShareLock for nobody else, or fails at once (IsBusy). Then a shared one is lost. Of several who
// had a shared one, and all take it at the same moment, one gets it.
func TakeLock(fd int) error { return flock(fd, unix.LOCK_EX) }

func flock(fd, how int) error {
	if err := failing(Flock); err != nil {
		return err
	}
	return unix.Flock(fd, how|unix.LOCK_NB)
}
