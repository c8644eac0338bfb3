package messages

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/seed-9a6c551e/offheap/internal/vm/ipc"
)

// Features are what a mechanism can do, beside speed. Each but Copies is found by trying.
type Features struct {
	// Copies of each payload are made between what the sender writes and what the receiver reads.
	Copies int `json:"copies"`

	// SharedByReaders: of two that receive, both get a message; else one.
	SharedByReaders bool `json:"shared_by_readers"`

	// MessageBoundaries: of two messages that wait, one receive takes one; else both.
	MessageBoundaries bool `json:"message_boundaries"`

	// FileBacked: the bytes of a message that was sent are in a file.
	FileBacked bool `json:"file_backed"`

	// SurvivesProcess: what was sent can be received after the only process that had the link was killed.
	SurvivesProcess bool `json:"survives_process"`

	// NotPossible has the sizes that were asked for and are not possible.
	NotPossible []Refusal `json:"not_possible,omitempty"`

	// Unknown says why the features are not known: the mechanism does not work here at all.
	Unknown string `json:"unknown,omitempty"`
}

// probeBytes is the size of the messages that features are found with.
const probeBytes = 256

// probe finds the features of a mechanism. Where the mechanism does not work at all, that is no error.
func probe(ctx context.Context, start Side, m Mechanism) (*Features, error) {
	f := &Features{Copies: kinds[m].copies}
	l, err := makeLink(m, probeBytes)
	if err != nil {
		f.Unknown = err.Error()
		return f, nil
	}
	err = errors.Join(f.probeLink(l), l.close(), l.remove())
	if err != nil {
		return nil, err
	}
	f.SurvivesProcess, err = survives(ctx, start, m)
	return f, err
}

// probeLink finds what takes a link alone.
func (f *Features) probeLink(l *link) error {
	sender, err := l.ends[0].open()
	if err != nil {
		return err
	}
	defer sender.close()
	receiver, err := l.ends[1].open()
	if err != nil {
		return err
	}
	defer receiver.close()
	first := alignedBytes(probeBytes)
	fill(first, 1)
	other, err := l.ends[1].openAgain(first)
	if err != nil {
		return err
	}
	defer other.close()

	for number := range uint64(2) {
		if err := sendOne(sender, number+1); err != nil {
			return err
		}
	}
	if f.FileBacked, err = l.hasFileWith(first); err != nil {
		return err
	}
	b := alignedBytes(4 * probeBytes)
	n, err := receiver.try(b)
	switch {
	case err != nil:
		return err
	case n != probeBytes && n != 2*probeBytes || check(b[:probeBytes], 1) != nil:
		return fmt.Errorf("received %d bytes after two messages of %d", n, probeBytes)
	}
	f.MessageBoundaries = n == probeBytes
	if f.MessageBoundaries {
		if n, err = receiver.try(b); err != nil || n != probeBytes {
			return fmt.Errorf("received %d bytes of the second message of %d: %w", n, probeBytes, err)
		}
	}
	// Both were received. Another receiver gets them, too, or nothing.
	n, err = other.try(b)
	switch {
	case err == nil && n > 0:
		f.SharedByReaders = check(b[:probeBytes], 1) == nil
	case !errors.Is(err, ipc.ErrWouldWait):
		return fmt.Errorf("a second receiver: %w", err)
	}
	return nil
}

// hasFileWith tells whether any descriptor of the link is that of a file which has the bytes in it.
func (l *link) hasFileWith(want []byte) (bool, error) {
	for _, file := range l.ends[0].files {
		raw, err := file.SyscallConn()
		if err != nil {
			return false, err
		}
		var content []byte
		err = raw.Control(func(fd uintptr) {
			if f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
				defer f.Close()
				content, _ = io.ReadAll(io.NewSectionReader(f, 0, 64<<20)) // pipes and sockets have no places to read at
			}
		})
		if err != nil || bytes.Contains(content, want) {
			return err == nil, err
		}
	}
	return false, nil
}

// orphan is what a process leaves behind that was killed.
type orphan struct {
	Error string
	End   end // the receiver's
	PID   int
	FDs   []int // of the end
}

// survives has a process send a message through a link of its own, kills it, and tries to receive the message.
func survives(ctx context.Context, start Side, m Mechanism) (yes bool, err error) {
	p, err := start.startProcess("a process to be killed", task{Orphan: m}, nil)
	if err != nil {
		return false, err
	}
	var left orphan
	err = p.dec.Decode(&left) // it is not killed before, even if ctx is done: nobody would know what to remove
	if err == nil && left.Error != "" {
		err = errors.New(left.Error)
	}
	p.kill()
	_ = p.end() // killed
	defer func() { err = errors.Join(err, left.End.remove()) }()
	if err != nil || ctx.Err() != nil {
		return false, errors.Join(err, ctx.Err())
	}
	if !left.find() {
		return false, nil
	}
	defer left.End.closeFiles()
	c, err := left.End.open()
	if err != nil {
		return false, nil
	}
	defer c.close()
	b := alignedBytes(2 * probeBytes)
	n, err := c.try(b)
	return err == nil && n == probeBytes && check(b[:n], 1) == nil, nil
}

// beOrphan makes a link whose names stay, sends a message through it, says how to find it, and waits to be killed; or for
// the end of in, if its parent is killed first.
func beOrphan(m Mechanism, in io.Reader, out *gob.Encoder) error {
	left := orphan{PID: os.Getpid()}
	l, err := newLink(m, probeBytes, true)
	if err == nil {
		left.End = l.ends[1]
		for _, f := range l.ends[1].files {
			left.FDs = append(left.FDs, int(f.Fd()))
		}
		var c conn
		if c, err = l.ends[0].open(); err == nil {
			err = sendOne(c, 1)
		}
	}
	if err != nil {
		left.Error = err.Error()
	}
	err = out.Encode(left)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	return errors.Join(unlessUnheard(err), left.End.remove())
}

// find opens by their names the files of the end that is left, and tells whether all are there.
func (o *orphan) find() bool {
	for i, fd := range o.FDs {
		find, name := os.Open, fmt.Sprintf("/proc/%d/fd/%d", o.PID, fd)
		if f := kinds[o.End.Mechanism].find; f != nil {
			find, name = f, o.End.Names[i]
		}
		f, err := find(name)
		if err != nil {
			o.End.closeFiles()
			return false
		}
		o.End.files = append(o.End.files, f)
	}
	return true
}

func (e *end) closeFiles() {
	for _, f := range e.files {
		f.Close()
	}
	e.files = nil
}
