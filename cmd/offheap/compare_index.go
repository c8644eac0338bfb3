package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/index"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

const queries = 200_000

const compareIndexAbout = `Builds a full-text index of the text files in a folder twice, each time in a process of its
own: with Go's maps, slices and strings, and with offheap. Each index answers the same
200,000 queries while the last tenth of the documents is added. Prints the time, the work of
the collector and the memory of each side. The exit status is 1 if any answers differ.

A text file is a regular file of 1 byte to 64 MiB without a zero byte in its first 8 KiB.
Links are not followed. GOGC and GOMEMLIMIT apply to both sides.`

// titles are the names of the sides in messages.
var titles = map[index.Side]string{index.GoHeap: "Go heap", index.OffHeap: "offheap"}

// indexComparison has the figures of both sides, as -json prints them.
type indexComparison struct {
	GoHeap       index.Figures `json:"go_heap"`
	OffHeap      index.Figures `json:"offheap"`
	Queries      int           `json:"queries"`
	AnswersEqual bool          `json:"answers_equal"`
	InputBytes   int64         `json:"input_bytes"`
	Documents    int           `json:"documents"`
}

// compareIndex is the command "compare index".
func compareIndex(args []string, stdout, stderr io.Writer) int {
	f := newFlags("compare index [-dir DIR] [-json]", compareIndexAbout, stdout, stderr)
	dir := f.String("dir", "", "index the folder `DIR` (default: the source of the installed Go)")
	asJSON := f.Bool("json", false, "print one JSON object instead of a table")
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	if *dir == "" {
		var err error
		if *dir, err = goSource(); err != nil {
			return f.refuse("%v", err)
		}
	} else if err := checkFolder(*dir); err != nil {
		return f.refuse("%v", err)
	}

	return f.compareFolder(*dir, queries, *asJSON)
}

// compareFolder surveys the folder, measures both sides and reports.
func (f *flags) compareFolder(dir string, queries int, asJSON bool) int {
	progress, done := newProgress(f.stderr, "")
	corpus, err := index.Survey(dir, queries, progress)
	done()
	if errors.Is(err, index.ErrNothing) {
		return f.refuse("%v", err)
	}
	if err != nil {
		return f.fail(err)
	}
	if corpus.Skipped > 0 {
		fmt.Fprintf(f.stderr, "%s: left out %d files and folders that cannot be read\n", f.Name(), corpus.Skipped)
	}
	goHeap, err := inIndexSide(index.GoHeap, corpus, f.stderr)
	if err != nil {
		return f.fail(err)
	}
	offHeap, err := inIndexSide(index.OffHeap, corpus, f.stderr)
	if err != nil {
		return f.fail(err)
	}
	return f.report(corpus, goHeap, offHeap, asJSON)
}

// indexSideCommand measures one side in a process of its own. It reads the corpus from stdin and writes
// the report to stdout.
const indexSideCommand = "index-side"

func indexSide(args []string, stdout, stderr io.Writer) int {
	f := newFlags(indexSideCommand+" SIDE", "Started by compare index.", stdout, stderr)
	if status, ok := f.parse(args, 1); !ok {
		return status
	}
	return answer(f, "corpus", titles[index.Side(f.Arg(0))]+": ", func(c *index.Corpus, progress measure.Progress) (*index.Report, error) {
		return index.Measure(index.Side(f.Arg(0)), c, progress)
	})
}

// inIndexSide runs one side in a process of its own.
func inIndexSide(side index.Side, c *index.Corpus, stderr io.Writer) (*index.Report, error) {
	report, err := inChild[index.Report]([]string{indexSideCommand, string(side)}, c, stderr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", titles[side], err)
	}
	return report, nil
}

// report prints the indexComparison, and fails if answers differ.
func (f *flags) report(corpus *index.Corpus, goHeap, offHeap *index.Report, asJSON bool) int {
	difference := differ(corpus, goHeap, offHeap)
	c := indexComparison{
		goHeap.Figures, offHeap.Figures,
		corpus.Queries.Len(), difference == nil, corpus.Bytes, corpus.Documents.Len(),
	}
	var err error
	if asJSON {
		err = printJSON(f.stdout, c)
	} else {
		err = c.print(f.stdout)
	}
	if err := errors.Join(err, difference); err != nil {
		return f.fail(err)
	}
	return statusOK
}

// differ returns an error that names the first query with different answers; nil if all are equal.
func differ(c *index.Corpus, a, b *index.Report) error {
	if len(a.Answers) != len(b.Answers) {
		return fmt.Errorf("one side gave %d answers, the other %d", len(a.Answers), len(b.Answers))
	}
	for i := range a.Answers {
		if a.Answers[i] != b.Answers[i] {
			return fmt.Errorf("answers differ, first to query %d: %q", i, c.Queries.At(i))
		}
	}
	return nil
}

// goSource returns the folder with the source of the installed toolchain.
func goSource() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "src")
	if err != nil || checkFolder(dir) != nil {
		return "", errors.New("found no Go source tree (go env GOROOT); name a folder with -dir")
	}
	return dir, nil
}

func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %q", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%q is not a folder", dir)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
