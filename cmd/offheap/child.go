package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// inChild starts this program again with other arguments and more environment. It writes in to the
// child's standard input and reads out from its standard output.
func inChild[Out, In any](args []string, in In, stderr io.Writer, env ...string) (*Out, error) {
	return inChildUntil[Out](context.Background(), args, in, stderr, env...)
}

// inChildUntil is inChild, and interrupts the child when ctx is done.
func inChildUntil[Out, In any](ctx context.Context, args []string, in In, stderr io.Writer, env ...string) (*Out, error) {
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
	defer context.AfterFunc(ctx, func() { _ = child.Process.Signal(os.Interrupt) })()
	out := new(Out)
	sent := errors.Join(gob.NewEncoder(stdin).Encode(in), stdin.Close())
	received := gob.NewDecoder(stdout).Decode(out)
	// An error of the child says more than the broken pipe that follows from it.
	if err := child.Wait(); err != nil {
		return nil, err
	}
	return out, errors.Join(sent, received)
}

// answer is the child's side of inChild: it reads in, calls do, and writes out. what names the input in
// errors, who comes before each step of the progress line.
func answer[In, Out any](f *flags, what, who string, do func(*In, measure.Progress) (Out, error)) int {
	return answerAs(f, what, func(*In) string { return who }, do)
}

// answerAs is answer, where who depends on the input.
func answerAs[In, Out any](f *flags, what string, who func(*In) string, do func(*In, measure.Progress) (Out, error)) int {
	in := new(In)
	if err := gob.NewDecoder(os.Stdin).Decode(in); err != nil {
		return f.fail(fmt.Errorf("reading the %s: %w", what, err))
	}
	progress, done := newProgress(f.stderr, who(in))
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
