// Command offheap shows what memory outside the Go heap does on this machine.
//
//	offheap compare   index a source tree twice, with Go structures and with offheap, and compare
//	offheap bench     nanoseconds for each operation of an allocator
//	offheap replay    traces of an allocator, through offheap and through the Go heap
//	offheap stacks    many guarded stacks, and what else they could be
//	offheap info      what this machine gives, and what offheap will do with it
//
// Every command explains itself with -h. The exit status is 0 on success, 1 when the
// command's job failed, and 2 when the command line made no sense.
package main

import (
	"fmt"
	"io"
	"os"
)

// command is a line of the table: a name, what the list says of it, and what runs it. One
// without a summary is not listed: offheap starts it itself.
type command struct {
	name, summary string
	run           func(args []string, stdout, stderr io.Writer) int
}

var commands []command

func init() { // a plain initialiser would refer to itself
	commands = []command{
		{"compare", "index a source tree with Go structures and with offheap, and compare", compare},
		{"bench", "nanoseconds for each operation of an allocator", bench},
		{"info", "what this machine gives, and what offheap will do with it", info},
		{"replay", "replay traces of an allocator through offheap and through the Go heap", replay},
		{"stacks", "open many guarded stacks, and what else they could be", stacks},
		{compareSideCommand, "", compareSide},
		{replaySideCommand, "", replaySide},
		{stacksSideCommand, "", stacksSide},
	}
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(stderr, `offheap: which command? "offheap -h" lists them`)
		return statusUsage
	}
	switch args[0] {
	case "-h", "-help", "--help":
		help(stdout)
		return statusOK
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "offheap: there is no command %q; \"offheap -h\" lists them\n", args[0])
	return statusUsage
}

func help(w io.Writer) {
	fmt.Fprint(w, "offheap shows what memory outside the Go heap does on this machine.\n\nUsage: offheap COMMAND [FLAGS]\n\n")
	for _, c := range commands {
		if c.summary != "" {
			fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
		}
	}
	fmt.Fprint(w, "\n\"offheap COMMAND -h\" explains a command.\n")
}
