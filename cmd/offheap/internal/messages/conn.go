package messages

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm/ipc"
)

// conn is an open end. A message is as long as the end says. One goroutine at a time sends, and one receives.
type conn interface {
	claim() ([]byte, error) // room for the next message, until publish
	publish() error         // sends the message, or keeps it back until more are to be sent
	flush() error           // sends what was kept back
	peek() ([]byte, error)  // waits for the next message, which stays until release
	release() error         // is done with it
	tryer
}

// tryer is a receiver that does not wait.
type tryer interface {
	// try receives once, as much as the mechanism gives at once: ipc.ErrWouldWait if there is nothing.
	try(b []byte) (n int, err error)

	close() error // leaves the end's descriptors open
}

// buffered is what those conns have in common that send from a buffer and receive into another.
type buffered struct{ out, in []byte }

func newBuffered(e *end) buffered {
	return buffered{alignedBytes(e.Bytes), alignedBytes(e.Bytes)}
}

// alignedBytes returns n bytes that begin where a word does.
func alignedBytes(n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(make([]uint64, n/8+1)))), n)
}

func (b *buffered) claim() ([]byte, error) { return b.out, nil }
func (b *buffered) release() error         { return nil }
func (b *buffered) flush() error           { return nil }
func (b *buffered) close() error           { return nil }

// stream sends and receives bytes without boundaries. Both sides know how long a message is.
type stream struct {
	buffered
	w   io.Writer
	r   io.Reader
	raw syscall.Conn
}

func (c *stream) publish() error {
	_, err := c.w.Write(c.out)
	return err
}

func (c *stream) peek() ([]byte, error) {
	_, err := io.ReadFull(c.r, c.in)
	return c.in, err
}

func (c *stream) try(b []byte) (int, error) { return ipc.TryRead(c.raw, b) }

func makePipes(l *link) error { return makePipesOf(l, 0) }

// largePipe is the most that Linux lets anybody's pipe hold, by default.
const largePipe = 1 << 20

func makeLargePipes(l *link) error { return makePipesOf(l, largePipe) }

// makePipesOf makes pipes that hold so many bytes; 0 for as many as the system wants.
func makePipesOf(l *link, size int) (err error) {
	var r, w [2]*os.File
	for i := range r {
		if r[i], w[i], err = os.Pipe(); err != nil {
			break
		}
		if size == 0 {
			continue
		}
		if got, e := ipc.SetPipeSize(w[i], size); e != nil || got < size {
			err = fmt.Errorf("a pipe of %d bytes: %w", size, e)
			break
		}
	}
	l.give(w[0], r[0], w[1], r[1])
	return err
}

func openPipe(e *end) (conn, error) {
	return &stream{newBuffered(e), e.files[0], e.files[1], e.files[1]}, nil
}

// bufioSize is the buffer of package bufio on each side.
const bufioSize = 64 << 10

// bufioStream is a stream through package bufio.
type bufioStream struct {
	stream
	w *bufio.Writer
}

func openBufio(e *end) (conn, error) {
	w, r := bufio.NewWriterSize(e.files[0], bufioSize), bufio.NewReaderSize(e.files[1], bufioSize)
	return &bufioStream{stream{newBuffered(e), w, r, e.files[1]}, w}, nil
}

func (c *bufioStream) flush() error { return c.w.Flush() }

// socket is an end of a Unix socket.
type socket struct {
	stream
	conn *net.UnixConn
}

func makeSockets(l *link) error {
	a, b, err := ipc.Sockets(l.ends[0].Mechanism == UnixSeqpacket)
	if err != nil {
		return err
	}
	l.ends[0].files, l.ends[1].files = []*os.File{a}, []*os.File{b}
	return nil
}

func openSocket(e *end) (conn, error) {
	c, err := net.FileConn(e.files[0])
	if err != nil {
		return nil, err
	}
	u := c.(*net.UnixConn)
	if e.Mechanism == UnixSeqpacket {
		// For long messages. The kernel doubles it, and allows less than is asked for: then the message is refused.
		if err := u.SetWriteBuffer(max(e.Bytes, defaultSocketBuffer)); err != nil {
			return nil, errors.Join(err, u.Close())
		}
	}
	return &socket{stream{newBuffered(e), u, u, u}, u}, nil
}

// defaultSocketBuffer is what Linux gives a socket by default, unless net.core.wmem_default says otherwise.
const defaultSocketBuffer = 212992

func (c *socket) close() error { return c.conn.Close() }

func socketLimits(int) string { return limit("net.core.wmem_max") }

// queue is an end of two System V message queues.
type queue struct {
	buffered   // each behind room for the type
	to, from   ipc.Queue
	typed, got []byte // the buffers with it
}

func makeQueues(l *link) error {
	for range 2 {
		q, err := ipc.CreateQueue()
		if err != nil {
			return err
		}
		l.ends[0].Numbers = append(l.ends[0].Numbers, int(q))
	}
	l.ends[1].Numbers = reversed(l.ends[0].Numbers)
	return nil
}

func removeQueues(e *end) (err error) {
	for _, n := range e.Numbers {
		err = errors.Join(err, ipc.Queue(n).Remove())
	}
	return err
}

func openQueue(e *end) (conn, error) {
	q := &queue{to: ipc.Queue(e.Numbers[0]), from: ipc.Queue(e.Numbers[1])}
	for _, b := range []*[]byte{&q.typed, &q.got} {
		// The type is a word or half of one, and the message begins where a word does.
		const room = 8 - ipc.TypeSize
		*b = alignedBytes(8 + e.Bytes)[room:]
	}
	q.out, q.in = q.typed[ipc.TypeSize:], q.got[ipc.TypeSize:]
	return q, nil
}

func (c *queue) publish() error { return c.to.Send(c.typed, true) }

func (c *queue) peek() ([]byte, error) {
	n, err := c.from.Receive(c.got, true)
	return c.in[:n], err
}

func (c *queue) try(b []byte) (int, error) {
	typed := make([]byte, ipc.TypeSize+len(b))
	n, err := c.from.Receive(typed, false)
	copy(b, typed[ipc.TypeSize:][:n])
	return n, err
}

func queueLimits(int) string { return limit("kernel.msgmax") }

// mail is an end of two POSIX message queues.
type mail struct {
	buffered
	to, from int
}

// mostMail is how many messages a queue holds, if its size is allowed. By default Linux allows no more.
const mostMail = 10

func makeMail(l *link) (err error) {
	e := &l.ends[0]
	for i := range 2 {
		name := fmt.Sprintf("offheap-%d-%d", os.Getpid(), i)
		var q *os.File
		for n := mostMail; n > 0; n /= 2 { // all queues of a user together have a limit, too
			if q, err = ipc.CreateMail(name, n, e.Bytes); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
		e.Names, e.files = append(e.Names, name), append(e.files, q)
	}
	return l.mirrorFiles()
}

// mirrorFiles gives the second end the files of the first, in the order of its own directions. The files lose their names, unless the link is named.
func (l *link) mirrorFiles() error {
	e := &l.ends[0]
	if !l.named {
		if err := e.remove(); err != nil {
			return err
		}
		e.Names = nil
	}
	l.ends[1].Names, l.ends[1].files = reversed(e.Names), reversed(e.files)
	return nil
}

func removeMail(e *end) (err error) {
	for _, name := range e.Names {
		err = errors.Join(err, ipc.RemoveMail(name))
	}
	return err
}

// reversed returns two things the other way round.
func reversed[T any](v []T) []T {
	if len(v) == 0 {
		return nil
	}
	return []T{v[1], v[0]}
}

func openMail(e *end) (conn, error) {
	return &mail{newBuffered(e), int(e.files[0].Fd()), int(e.files[1].Fd())}, nil
}

func (c *mail) publish() error { return ipc.SendMail(c.to, c.out, true) }

func (c *mail) peek() ([]byte, error) {
	n, err := ipc.ReceiveMail(c.from, c.in, true)
	return c.in[:n], err
}

func (c *mail) try(b []byte) (int, error) { return ipc.ReceiveMail(c.from, b, false) }

func mailLimits(int) string {
	return limit("fs.mqueue.msgsize_max") + "; the queues of a user together have RLIMIT_MSGQUEUE"
}

// limit names a limit of the system, and its value.
func limit(name string) string {
	text, err := os.ReadFile(filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/")))
	if n, e := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && e == nil {
		return fmt.Sprintf("%s is %d bytes", name, n)
	}
	return name
}
