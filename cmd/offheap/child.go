package main

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// inChild starts this program again with a command line, writes what it is to work on to its
// standard input, and reads what it found from its standard output. env is added to its environment.
func inChild[Out, In any](args []string, in In, stderr io.Writer, env ...string) (*Out, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.Command(self, args...)
	child.Stderr = stderr
	child.Env = append(os.Environ(), env...)
	stdin, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	out := new(Out)
	sent := errors.Join(gob.NewEncoder(stdin).Encode(in), stdin.Close())
	received := gob.NewDecoder(stdout).Decode(out)
	// What the child says of its end tells more than a broken pipe does.
	if err := child.Wait(); err != nil {
		return nil, err
	}
	return out, errors.Join(sent, received)
}

// answer is the other end of inChild: it reads what to work on, does it, and writes what comes of it.
func answer[In, Out any](f *flags, what, who string, do func(*In, measure.Progress) (Out, error)) int {
	in := new(In)
	if err := gob.NewDecoder(os.Stdin).Decode(in); err != nil {
		return f.fail(fmt.Errorf("reading the %s: %w", what, err))
	}
	progress, done := newProgress(f.stderr, who)
	out, err := do(in, progress)
	done()
	if err == nil {
		err = gob.NewEncoder(f.stdout).Encode(out)
	}
	if err != nil {
		return f.fail(err)
	}
	return statusOK
}
