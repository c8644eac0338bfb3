// Package copies keeps the copies of an inner loop equal but for the types that it calls. Go compiles a
// generic function, or a call through an interface, to calls that it cannot inline; so a loop that takes
// nanoseconds exists once for each type that it measures. One file has the loop as it is written, another
// the copies, and a test of the package calls Check, which makes the copies and compares:
//
//	go test ./...            # fails if a file of copies is old
//	go test -run NAME -update
package copies

import (
	"bytes"
	"flag"
	"go/format"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files of copies")

// Check fails the test unless file has the head of source up to the line that starts with from, and the
// rest once for each of replacements: pairs of an old and a new word, as in strings.NewReplacer.
func Check(t *testing.T, source, from, file string, replacements ...[]string) {
	t.Helper()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	head, body, found := strings.Cut(string(text), "\n"+from)
	if !found {
		t.Fatalf("%s has no line %q", source, from)
	}
	made := "// Code generated from " + source + " by " + t.Name() + ". DO NOT EDIT.\n\n" + head
	for _, words := range replacements {
		made += "\n" + strings.NewReplacer(words...).Replace(from+body)
	}
	want, err := format.Source([]byte(made))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s is not what %s makes: go test -run %s -update (%v)", file, source, t.Name(), err)
	}
}
