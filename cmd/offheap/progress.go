package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

const (
	patience = time.Second            // a step that takes less is not shown
	pace     = 200 * time.Millisecond // time between two lines
)

// line is a progress line on a terminal. Each text replaces the one before.
type line struct {
	out     io.Writer
	what    string
	started time.Time
	shown   time.Time // zero if this step is not shown yet
}

// newProgress returns a Progress that shows the current step on stderr, with who before it, and a
// function that removes the line at the end. It shows nothing unless stderr is a terminal.
func newProgress(stderr io.Writer, who string) (show measure.Progress, done func()) {
	if !isTerminal(stderr) {
		return func(string, int, int) {}, func() {}
	}
	l := &line{out: stderr}
	return func(what string, done, total int) { l.show(who+what, done, total) }, l.clear
}

func (l *line) show(what string, done, total int) {
	now := time.Now()
	if what != l.what {
		l.clear()
		l.what, l.started = what, now
	}
	if now.Sub(l.started) < patience || now.Sub(l.shown) < pace {
		return
	}
	l.shown = now
	fmt.Fprintf(l.out, "\r\x1b[K%s: %s of %s", what, humanize.Comma(int64(done)), humanize.Comma(int64(total)))
}

func (l *line) clear() {
	if !l.shown.IsZero() {
		fmt.Fprint(l.out, "\r\x1b[K")
		l.shown = time.Time{}
	}
}

// isTerminal tells whether w is a device that shows characters. The null device
// passes for one, and does no harm.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
