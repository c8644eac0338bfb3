package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/messages"
)

const ipcAbout = `Sends messages from one process to another, both of this program, by each mechanism in turn:

  ring           package ring, 4 MiB in memory of package shm
  ring_shmget    the same ring in System V shared memory
  ring_tmpfs     the same ring in a file in /dev/shm
  pipe           a pipe as it comes
  pipe_1m        a pipe with a buffer of 1 MiB
  pipe_bufio     a pipe with package bufio, 64 KiB on both sides
  unix_stream    a Unix socket
  unix_seqpacket a Unix socket that keeps the boundaries of messages
  sysv_msg       a System V message queue
  posix_mq       a POSIX message queue

One way, the sender sends as fast as it can. It writes every byte of a message and the receiver reads
them all ("touched"); then the same without that ("handed over"). In ping-pong each message is answered by
one as long. All messages are checked: their numbers, and the sums of touched ones. In a ring a message is
written and read where it lies. Streams (pipes, unix_stream) carry no lengths here: both sides know them.

CPU is the processor time of both processes for a GB of messages (10^9 bytes). Latencies are, one way, from
before a message is sent until it is received, with the mechanism as full as the sender can make it; in
ping-pong from before a message is sent until its answer is received. Messages of both ways are counted.

A mechanism may refuse a size on this machine: that is "not possible", with the reason. An interrupt ends
the run, and prints what there is.`

// ipcSideCommand is a process that sends or receives messages.
const ipcSideCommand = "ipc-side"

// ipcReport is what -json prints.
type ipcReport struct {
	*messages.Report
	Error string `json:"error,omitempty"`
}

func ipc(args []string, stdout, stderr io.Writer) int {
	f := newFlags("ipc [-sizes BYTES,...] [-seconds S] [-json]", ipcAbout, stdout, stderr)
	f.jsonErrors = slices.Contains(args, "-json") || slices.Contains(args, "--json")
	sizes := f.String("sizes", "64,4KiB,64KiB,1MiB", "send messages of so many `BYTES`, multiples of 8 from 64 to 1MiB")
	seconds := f.Float64("seconds", 0.25, "each measurement takes about `S` seconds; there are three for each mechanism and size")
	asJSON := f.Bool("json", false, "print one JSON object instead of tables")
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	f.jsonErrors = *asJSON
	if !(*seconds >= 0.001 && *seconds <= 3600) {
		return f.refuse("-seconds %v must be from 0.001 to 3600", *seconds)
	}
	job := messages.Job{Mechanisms: messages.Mechanisms, Time: time.Duration(*seconds * float64(time.Second))}
	var err error
	if job.Sizes, err = parseSizes(*sizes); err != nil {
		return f.refuse("%v", err)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	return f.measureMessages(ctx, job, *asJSON)
}

// parseSizes parses the operand of -sizes.
func parseSizes(text string) (sizes []int, err error) {
	if text == "" {
		return nil, errors.New("-sizes names no size")
	}
	for _, word := range strings.Split(text, ",") {
		n, err := humanize.ParseBytes(word)
		switch {
		case err != nil:
			return nil, fmt.Errorf("-sizes %s: %q is no number of bytes", text, word)
		case n < messages.LeastBytes || n > messages.MostBytes:
			return nil, fmt.Errorf("-sizes %s: %s must be from %d to %s", text, word, messages.LeastBytes, humanize.Comma(messages.MostBytes))
		case n%8 != 0:
			return nil, fmt.Errorf("-sizes %s: %s is no multiple of 8", text, word)
		case slices.Contains(sizes, int(n)):
			return nil, fmt.Errorf("-sizes %s: %s stands there twice", text, word)
		}
		sizes = append(sizes, int(n))
	}
	return sizes, nil
}

// measureMessages measures and reports. When ctx is done it reports what there is.
func (f *flags) measureMessages(ctx context.Context, job messages.Job, asJSON bool) int {
	progress, done := newProgress(f.stderr, "")
	r, err := messages.Measure(ctx, startIPCSide(f.stderr), job, progress)
	done()
	if ctx.Err() != nil {
		err = errInterrupted
	}
	if asJSON {
		out := ipcReport{Report: r}
		if err != nil {
			out.Error = err.Error()
		}
		f.jsonErrors = false // the object has the error
		err = errors.Join(err, printJSON(f.stdout, out))
	} else {
		err = errors.Join(err, printMessages(f.stdout, job, r))
	}
	if err != nil {
		return f.fail(err)
	}
	return statusOK
}

// startIPCSide returns a function that starts this program as a side.
func startIPCSide(stderr io.Writer) messages.Side {
	return func(files []*os.File) (*exec.Cmd, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(self, ipcSideCommand)
		cmd.Stderr, cmd.ExtraFiles = stderr, files
		return cmd, nil
	}
}

func ipcSide(args []string, stdout, stderr io.Writer) int {
	f := newFlags(ipcSideCommand, "Started by ipc.", stdout, stderr)
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	if err := messages.RunSide(os.Stdin, stdout); err != nil {
		return f.fail(err)
	}
	return statusOK
}
