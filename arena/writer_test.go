package arena

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

var _ interface {
	io.Writer
	io.StringWriter
	io.ByteWriter
} = (*Writer)(nil)

// TestWriter compares with a bytes.Buffer, with other allocations in between.
func TestWriter(t *testing.T) {
	a := opened(t, Config{})
	for range 50 {
		w, want := NewWriter(a), &bytes.Buffer{}
		if w.Bytes() != nil || w.String() != "" || w.Len() != 0 {
			t.Fatal("a new Writer has written something")
		}
		for range 200 {
			switch rand.IntN(6) {
			case 0:
				New[uint64](a)
			case 1:
				w.WriteByte('x')
				want.WriteByte('x')
			case 2:
				w.WriteString("")
			case 3:
				fmt.Fprintf(w, "%d", want.Len())
				fmt.Fprintf(want, "%d", want.Len())
			case 4:
				s := string(bytes.Repeat([]byte("ab"), rand.IntN(100)))
				if n, err := w.WriteString(s); n != len(s) || err != nil {
					t.Fatal(n, err)
				}
				want.WriteString(s)
			case 5:
				if n, err := io.Copy(w, bytes.NewReader([]byte("copied"))); n != 6 || err != nil {
					t.Fatal(n, err)
				}
				want.WriteString("copied")
			}
			if got := w.Bytes(); !bytes.Equal(got, want.Bytes()) || cap(got) != len(got) || w.String() != want.String() || w.Len() != want.Len() {
				t.Fatalf("%q, want %q", got, want)
			}
		}
		if rand.IntN(4) == 0 {
			a.Reset()
		}
	}
}

// TestWriterGrowsInPlace: alone in its arena, a Writer takes no more than its bytes.
func TestWriterGrowsInPlace(t *testing.T) {
	a := opened(t, Config{})
	w := NewWriter(a)
	for range 10_000 {
		w.WriteString("0123456789")
	}
	if live := a.Stats().Live; live != 100_000 {
		t.Errorf("%d bytes live for 100000", live)
	}
	if n := testing.AllocsPerRun(100, func() { w.WriteByte('x'); w.WriteString("text"); w.Write(w.Bytes()[:3]) }); n != 0 {
		t.Errorf("a Write allocates %v times on the Go heap", n)
	}
}

// TestWriterAfterRewind: bytes that are still there can be written to, bytes that were freed are
// noticed, and Reset makes the Writer good again.
func TestWriterAfterRewind(t *testing.T) {
	a := opened(t, Config{Name: "a"})
	w := NewWriter(a)
	refused := func(what string) {
		t.Helper()
		for name, f := range map[string]func(){
			"Write": func() { w.Write(nil) }, "WriteString": func() { w.WriteString("x") }, "WriteByte": func() { w.WriteByte('x') },
			"Bytes": func() { w.Bytes() }, "String": func() { _ = w.String() },
		} {
			var v *guard.Violation
			if err := panicOf(f); !errors.As(err, &v) || v.Op != "arena.Writer."+name {
				t.Errorf("%s %s: %v", name, what, err)
			}
		}
	}
	begin := a.Mark()
	New[uint64](a)
	a.Rewind(begin) // frees nothing of an empty Writer
	w.WriteString("before")
	for range 100 {
		m := a.Mark()
		New[[10]uint64](a)
		a.Rewind(m)
		if w.String() != "before" {
			t.Fatal(w.String())
		}
	}
	m := a.Mark()
	w.WriteString(" and after")
	New[[10]uint64](a)
	if w.String() != "before and after" {
		t.Fatal(w.String())
	}
	a.Rewind(m)
	refused("after Rewind")
	MakeSlice[byte](a, 1000, 1000)
	refused("after Rewind and reuse")
	w.Reset()
	w.WriteString("again")
	kept := w.String()
	w.Reset()
	w.WriteString("and again")
	if kept != "again" || w.String() != "and again" {
		t.Errorf("%q, %q", kept, w.String())
	}
	a.Reset()
	refused("after Reset")
	w.Reset()
	w.WriteString("new")
	if w.String() != "new" {
		t.Error(w.String())
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	refused("after Close")
}

// TestTryForms: what does not fit is an error, and changes nothing.
func TestTryForms(t *testing.T) {
	a := opened(t, Config{Limit: 10_000})
	large := make([]byte, 20_000)
	w := NewWriter(a)
	w.WriteString("text")
	before, tail := a.top, a.tail
	for name, try := range map[string]func() (int, error){
		"TryString":   func() (int, error) { s, err := TryString(a, string(large)); return len(s), err },
		"TryClone":    func() (int, error) { s, err := TryClone(a, large); return cap(s), err },
		"TryAppend":   func() (int, error) { s, err := TryAppend(a, w.Bytes(), large...); return cap(s), err },
		"Write":       func() (int, error) { return w.Write(large) },
		"WriteString": func() (int, error) { return w.WriteString(string(large)) },
	} {
		if n, err := try(); n != 0 || !errors.Is(err, guard.ErrNoMemory) || a.top != before || a.tail != tail {
			t.Errorf("%s: %d, %v, top %d, before %d", name, n, err, a.top, before)
		}
	}
	if w.String() != "text" {
		t.Errorf("%q", w.String())
	}
	s, err := TryString(a, "ok")
	b, err2 := TryClone(a, []byte("ok"))
	c, err3 := TryAppend(a, b, b...)
	d, err4 := TryClone[int](a, nil)
	if s != "ok" || string(b) != "ok" || string(c) != "okok" || d != nil || err != nil || err2 != nil || err3 != nil || err4 != nil {
		t.Error(s, b, c, d, err, err2, err3, err4)
	}
}
