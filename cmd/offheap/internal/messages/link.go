package messages

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/seed-9a6c551e/offheap/internal/vm/ipc"
)

// Mechanism is a way of sending messages between processes.
type Mechanism string

const (
	Ring          Mechanism = "ring"        // package ring in memory of package shm
	RingShmget    Mechanism = "ring_shmget" // the same in System V shared memory
	RingTmpfs     Mechanism = "ring_tmpfs"  // the same in a file in /dev/shm
	Pipe          Mechanism = "pipe"
	Pipe1M        Mechanism = "pipe_1m"    // with a buffer of 1 MiB in the kernel
	PipeBufio     Mechanism = "pipe_bufio" // with package bufio on both sides
	UnixStream    Mechanism = "unix_stream"
	UnixSeqpacket Mechanism = "unix_seqpacket"
	SysVQueue     Mechanism = "sysv_msg"
	POSIXQueue    Mechanism = "posix_mq"
)

// Mechanisms are all mechanisms, in the order in which they are measured.
var Mechanisms = []Mechanism{Ring, RingShmget, RingTmpfs, Pipe, Pipe1M, PipeBufio, UnixStream, UnixSeqpacket, SysVQueue, POSIXQueue}

// kinds are how each mechanism works.
var kinds map[Mechanism]kind

func init() { // a plain initialiser would refer to itself
	kinds = map[Mechanism]kind{
		Ring:          {make: makeRings, open: openRings, attach: attachRings, again: readMemory},
		RingShmget:    {make: makeSegmentRings, open: openRings, attach: attachSegmentRings, again: readMemory, remove: removeSegments},
		RingTmpfs:     {make: makeFileRings, open: openRings, attach: attachFileRings, again: readMemory, find: findFile, remove: removeFiles},
		Pipe:          {copies: 2, polled: true, make: makePipes, open: openPipe},
		Pipe1M:        {copies: 2, polled: true, make: makeLargePipes, open: openPipe},
		PipeBufio:     {copies: 4, polled: true, make: makePipes, open: openBufio},
		UnixStream:    {copies: 2, polled: true, make: makeSockets, open: openSocket},
		UnixSeqpacket: {copies: 2, packets: true, polled: true, make: makeSockets, open: openSocket, why: socketLimits},
		SysVQueue:     {copies: 2, packets: true, make: makeQueues, open: openQueue, why: queueLimits, remove: removeQueues},
		POSIXQueue:    {copies: 2, packets: true, make: makeMail, open: openMail, why: mailLimits, find: ipc.OpenMail, remove: removeMail},
	}
}

// kind is how a mechanism works. The functions from attach on may be nil.
type kind struct {
	copies  int  // of each payload, between what the sender writes and what the receiver reads
	packets bool // a message is sent whole or refused, so its size is tried first
	polled  bool // descriptors that Go's poller waits for

	make   func(l *link) error                      // makes what both ends use; close and remove work after an error, too
	open   func(e *end) (conn, error)               // opens an end, in any process
	attach func(e *end, r *rings) error             // opens rings in a process that has not made them
	again  func(e *end, want []byte) (tryer, error) // opens another receiver, where open opens only one
	why    func(bytes int) string                   // names the limits that refuse a message of so many bytes
	find   func(name string) (*os.File, error)      // opens by its name what an end inherits
	remove func(e *end) error                       // removes what outlives the processes, both ways
}

// end is a side of a link, as the process of this side gets it.
type end struct {
	Mechanism Mechanism
	Side      int      // 0 or 1
	Bytes     int      // of a message
	Numbers   []int    // of what has no descriptor: to send, to receive
	Names     []string // of what has a name, as long as it has it: likewise
	Files     int      // how many it inherits
	files     []*os.File
	rings     *rings // in the process that has made them
}

// link is a mechanism between two sides, both ways, in the process that has made it.
type link struct {
	ends     [2]end
	named    bool // names stay, so that other processes can open them
	rings    *rings
	borrowed bool // the files are those of the rings
}

// makeLink makes a link for messages of so many bytes. An error says that this is not possible here, and why.
func makeLink(m Mechanism, bytes int) (*link, error) {
	l, err := newLink(m, bytes, false)
	k := kinds[m]
	if err == nil && k.packets {
		err = l.try()
	}
	if err == nil {
		return l, nil
	}
	if l != nil {
		err = errors.Join(err, l.close(), l.remove())
	}
	if k.why != nil {
		err = fmt.Errorf("%w (%s)", err, k.why(bytes))
	}
	return nil, err
}

// newLink makes a link without a trial. With named, what has a name or a number keeps it until remove.
func newLink(m Mechanism, bytes int, named bool) (*link, error) {
	l := &link{named: named}
	for i := range l.ends {
		l.ends[i] = end{Mechanism: m, Side: i, Bytes: bytes}
	}
	if err := kinds[m].make(l); err != nil {
		return nil, errors.Join(err, l.close(), l.remove())
	}
	for i := range l.ends {
		l.ends[i].Files = len(l.ends[i].files)
	}
	return l, nil
}

// try sends a message through the link and receives it.
func (l *link) try() error {
	a, err := l.ends[0].open()
	if err != nil {
		return err
	}
	defer a.close()
	b, err := l.ends[1].open()
	if err != nil {
		return err
	}
	defer b.close()
	out, err := a.claim()
	if err != nil {
		return err
	}
	fill(out, 1)
	if err := errors.Join(a.publish(), a.flush()); err != nil {
		return err
	}
	in, err := b.peek()
	if err != nil {
		return err
	}
	if err := check(in, 1); err != nil {
		return err
	}
	return b.release()
}

// remove removes what would outlive the processes. It may be called again, and after another process has done it.
func (l *link) remove() error { return l.ends[0].remove() }

func (e *end) remove() error {
	if f := kinds[e.Mechanism].remove; f != nil {
		return f(e)
	}
	return nil
}

// close closes what both ends have in this process.
func (l *link) close() (err error) {
	closed := map[*os.File]bool{}
	for i := range l.ends {
		for _, f := range l.ends[i].files {
			if !closed[f] && !l.borrowed {
				closed[f] = true
				err = errors.Join(err, f.Close())
			}
		}
		l.ends[i].files = nil
	}
	return errors.Join(err, l.rings.close())
}

// give gives the ends their descriptors: the first from side 0 to side 1, the second back, each as the ends have it.
func (l *link) give(send0, receive1, send1, receive0 *os.File) {
	l.ends[0].files = []*os.File{send0, receive0}
	l.ends[1].files = []*os.File{send1, receive1}
}

// firstInherited is the descriptor of the first file that a process inherits, beside those that all have.
const firstInherited = 3

// inherit takes the descriptors that the process has inherited. Those of package shm it leaves to shm.Inherited.
func (e *end) inherit() error {
	if e.Mechanism == Ring {
		return nil
	}
	for i := range e.Files {
		fd := firstInherited + i
		if kinds[e.Mechanism].polled {
			// Only then does os.NewFile give it to the poller.
			if err := syscall.SetNonblock(fd, true); err != nil {
				return err
			}
		}
		e.files = append(e.files, os.NewFile(uintptr(fd), string(e.Mechanism)))
	}
	return nil
}

func (e *end) open() (conn, error) { return kinds[e.Mechanism].open(e) }

// openAgain opens another receiver beside one that is open. It may look for the message that is wanted.
func (e *end) openAgain(want []byte) (tryer, error) {
	if f := kinds[e.Mechanism].again; f != nil {
		return f(e, want)
	}
	return e.open()
}
