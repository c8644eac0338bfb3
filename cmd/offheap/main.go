// Command offheap measures memory outside the Go heap on this machine.
//
//	offheap compare         run a service with Go's maps, with pointer-free Go, and with offheap, and compare
//	offheap compare index   build a full-text index on the Go heap and off it, and compare
//	offheap bench           time the operations of an allocator
//	offheap replay          replay a recorded trace of allocations off the Go heap and on it
//	offheap stacks          hold a million guarded stacks, beside goroutines and threads
//	offheap ipc             send messages between processes: rings beside pipes, sockets and queues
//	offheap info            show the limits of this machine, and what offheap does with them
//
// Every command explains itself with -h. The exit status is 0 on success, 1 if the
// command's job failed, and 2 if the command line made no sense.
//
// # The parts
//
// This package parses command lines and prints. The measurements are in packages below it, which
// import downwards only:
//
//	compare  compare index   bench      replay   stacks      ipc       this package
//	   │          │            │          │        │          │
//	service     index      allocbench   trace  stackbench  messages    cmd/offheap/internal/...: a job each
//	   │          │            └ allocators ┘      │          │
//	   └──────────┴──────┬─────────────────────────┴──────────┘
//	                  measure                                 progress, medians, the collector's work
//	                     │
//	                 workload                                 internal/workload: shared with module bench
//
// Some measurements take figures of the whole process, so each runs in a process of its own: compare,
// replay and stacks start this program again with a command that help does not list (compare-side,
// index-side, replay-side, stacks-side), write the job to its standard input and read the figures from its standard
// output. ipc starts two of them for each measurement (ipc-side), which send messages to each other.
package main

import (
	"fmt"
	"io"
	"os"
)

// command is a command: its name, its line in the help, and the function that runs it. A command without
// a summary is not listed: offheap starts it itself.
type command struct {
	name, summary string
	run           func(args []string, stdout, stderr io.Writer) int
}

var commands []command

func init() { // a plain initialiser would refer to itself
	commands = []command{
		{"compare", "run a service with Go's maps, with pointer-free Go, and with offheap, and compare", compare},
		{"compare index", "build a full-text index on the Go heap and off it, and compare", compareIndex},
		{"bench", "time the operations of an allocator", bench},
		{"replay", "replay a recorded trace of allocations off the Go heap and on it", replay},
		{"stacks", "hold a million guarded stacks, beside goroutines and threads", stacks},
		{"ipc", "send messages between processes: rings beside pipes, sockets and queues", ipc},
		{"info", "show the limits of this machine, and what offheap does with them", info},
		{compareSideCommand, "", compareSide},
		{indexSideCommand, "", indexSide},
		{replaySideCommand, "", replaySide},
		{stacksSideCommand, "", stacksSide},
		{ipcSideCommand, "", ipcSide},
	}
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(stderr, `offheap: which command? "offheap -h" lists them`)
		return statusUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		help(stdout)
		return statusOK
	}
	if len(args) > 1 && args[0] == "compare" && args[1] == "index" {
		args = append([]string{"compare index"}, args[2:]...)
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
	fmt.Fprint(w, "offheap measures memory outside the Go heap on this machine.\n\nUsage: offheap COMMAND [FLAGS]\n\n")
	for _, c := range commands {
		if c.summary != "" {
			fmt.Fprintf(w, "  %-13s  %s\n", c.name, c.summary)
		}
	}
	fmt.Fprint(w, "\n\"offheap COMMAND -h\" explains a command.\n")
}
