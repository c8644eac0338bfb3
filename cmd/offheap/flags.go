package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Exit statuses.
const (
	statusOK     = 0
	statusFailed = 1
	statusUsage  = 2
)

// flags is a command's flag set. Help goes to stdout, and every error is one line on stderr.
type flags struct {
	*flag.FlagSet
	usage, about   string
	stdout, stderr io.Writer
}

// newFlags returns an empty flag set for a command. Help starts with a line of "Usage: offheap" and
// usage, whose first word is the command's name; then comes about, then the flags.
func newFlags(usage, about string, stdout, stderr io.Writer) *flags {
	name, _, _ := strings.Cut(usage, " ")
	f := &flags{flag.NewFlagSet("offheap "+name, flag.ContinueOnError), usage, about, stdout, stderr}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// parse parses args. At most as many operands may follow the flags. If ok is false the command must end
// with the status.
func (f *flags) parse(args []string, operands int) (status int, ok bool) {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.help()
		return statusOK, false
	case err != nil:
		return f.refuse("%v", err), false
	case f.NArg() > operands && operands > 0 && strings.HasPrefix(f.Arg(operands), "-"):
		return f.refuse("%s must come before %s", f.Arg(operands), f.Arg(0)), false
	case f.NArg() > operands:
		return f.refuse("unexpected argument %q", f.Arg(operands)), false
	}
	return statusOK, true
}

// help writes the help to stdout.
func (f *flags) help() {
	fmt.Fprintf(f.stdout, "Usage: offheap %s\n\n%s\n", f.usage, f.about)
	some := false
	f.VisitAll(func(*flag.Flag) { some = true })
	if some {
		fmt.Fprint(f.stdout, "\nFlags:\n")
		f.SetOutput(f.stdout)
		f.PrintDefaults()
		f.SetOutput(io.Discard)
	}
}

// refuse reports that the command line makes no sense, and returns the status to end with.
func (f *flags) refuse(format string, args ...any) int {
	fmt.Fprintf(f.stderr, "%s: %s; -h explains\n", f.Name(), fmt.Sprintf(format, args...))
	return statusUsage
}

// fail reports an error of the command's job, and returns the status to end with.
func (f *flags) fail(err error) int {
	fmt.Fprintf(f.stderr, "%s: %v\n", f.Name(), err)
	return statusFailed
}
