package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
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
	jsonErrors     bool // errors are JSON objects on stdout, too
}

// commandName matches the name of a command at the start of its usage.
var commandName = regexp.MustCompile(`^[a-z-]+( [a-z]+)*`)

// newFlags returns an empty flag set for a command. Help starts with a line of "Usage: offheap" and
// usage, which begins with the command's name, words in small letters; then comes about, then the flags.
func newFlags(usage, about string, stdout, stderr io.Writer) *flags {
	name := commandName.FindString(usage)
	f := &flags{flag.NewFlagSet("offheap "+name, flag.ContinueOnError), usage, about, stdout, stderr, false}
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
	f.complain(fmt.Sprintf(format, args...), "; -h explains")
	return statusUsage
}

// fail reports an error of the command's job, and returns the status to end with.
func (f *flags) fail(err error) int {
	f.complain(err.Error(), "")
	return statusFailed
}

// complain writes an error to stderr, with a hint for people behind it.
func (f *flags) complain(message, hint string) {
	if f.jsonErrors {
		_ = printJSON(f.stdout, struct {
			Error string `json:"error"`
		}{message})
	}
	fmt.Fprintf(f.stderr, "%s: %s%s\n", f.Name(), message, hint)
}
