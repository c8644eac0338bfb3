package fields

import (
	"bytes"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard/guardtest"
)

// FuzzPlain does not find it: the byte behind the end is somebody's, and seldom a space.
//
//	go test -run xxx -fuzz FuzzPlain ./guard/guardtest/testdata/fields
func FuzzPlain(f *testing.F) {
	f.Add([]byte("a line of fields"))
	f.Fuzz(func(t *testing.T, line []byte) { check(t, line) })
}

// FuzzFenced is the same with one line more, and finds it within seconds.
//
//	go test -run xxx -fuzz FuzzFenced ./guard/guardtest/testdata/fields
func FuzzFenced(f *testing.F) {
	f.Add([]byte("a line of fields"))
	f.Fuzz(func(t *testing.T, line []byte) { check(t, guardtest.Fence(t, line)) })
}

// FuzzHarmless shows what a fence costs: it finds nothing, since there is nothing to find.
func FuzzHarmless(f *testing.F) {
	f.Add([]byte("a line of fields"))
	f.Fuzz(func(t *testing.T, line []byte) {
		line = guardtest.Fence(t, line)
		if len(line) > 0 && line[len(line)-1] == ' ' {
			return
		}
		check(t, line)
	})
}

func check(t *testing.T, line []byte) {
	for _, c := range line {
		if c >= 0x80 || c < ' ' {
			return // bytes.Fields has other spaces, too
		}
	}
	if got, want := Count(line), len(bytes.Fields(line)); got != want {
		t.Errorf("%d fields in %q, want %d", got, line, want)
	}
}
