package guard_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// replaceAll replaces a word by another as long, in place, and returns how often.
func replaceAll(text []byte, old, new string) (n int) {
	for at := 0; ; n++ {
		i := bytes.Index(text[at:], []byte(old))
		if i < 0 {
			return n
		}
		at += i + copy(text[at+i:], new)
	}
}

// edit replaces words in a file in place, and appends a line. No byte of the file is read or written by a call.
func edit(name, old, new, line string) (replaced int, err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := guard.MapFile(f, guard.FileConfig{Mode: guard.FileShared, Reserve: 1 << 28})
	if err != nil {
		return 0, err
	}
	// Others may make the file shorter meanwhile: then it is an error, and the program goes on.
	err = guard.Catch(func() { replaced = replaceAll(r.Bytes(), old, new) })
	if err == nil {
		size := r.Size()
		var text []byte
		if text, err = r.Grow(len(line)); err == nil { // or there is no space on the disk
			copy(text[size:], line)
			err = r.Sync(0, r.Size(), true)
		}
	}
	return replaced, errors.Join(err, r.Close())
}

// An editor's job: words are replaced in place, and a line is added at the end.
func ExampleMapFile() {
	dir, err := os.MkdirTemp("", "editor")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "text")
	if err := os.WriteFile(name, []byte("the cat and the cow\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	n, err := edit(name, "the", "one", "THE END\n")
	text, _ := os.ReadFile(name)
	fmt.Printf("%d, %v\n%s", n, err, text)
	// Output:
	// 2, <nil>
	// one cat and one cow
	// THE END
}

// TestEditLargeText does the editor's job on a text of 100 MB (10 MB in short tests).
func TestEditLargeText(t *testing.T) {
	size := 100_000_000
	if testing.Short() {
		size /= 10
	}
	const line = "a word, another word, and some more text so that not all of it changes\n"
	name := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(name, []byte(strings.Repeat(line, size/len(line))), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := edit(name, "word", "WORD", "THE END\n")
	if err != nil || n != 2*(size/len(line)) {
		t.Fatalf("%d words, %v", n, err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := guard.MapFile(f, guard.FileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b := r.Bytes(); bytes.Count(b, []byte("WORD")) != n || bytes.Contains(b, []byte("word")) || !bytes.HasSuffix(b, []byte("changes\nTHE END\n")) || len(b) != size/len(line)*len(line)+8 {
		t.Errorf("%d bytes", len(b))
	}
}

// user is a record of fixed size, as database files have: no pointers, and the same layout everywhere.
type user struct {
	ID    uint64
	Score int32
	Name  [20]byte
}

// A reader of records looks at those it needs, in a file that may be larger than memory.
func ExampleMapFile_records() {
	f, err := os.CreateTemp("", "records")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	fmt.Fprint(f, "a header of 27 bytes ......")
	for i := range 10_000 {
		u := user{ID: uint64(i), Score: int32(i % 97)}
		copy(u.Name[:], fmt.Sprintf("user %d", i))
		if err := binary.Write(f, binary.LittleEndian, u); err != nil {
			log.Fatal(err)
		}
	}

	r, err := guard.MapFile(f, guard.FileConfig{Offset: 27}) // any offset
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if err := r.Advise(0, r.Size(), guard.Random); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		log.Fatal(err)
	}
	const each = int(unsafe.Sizeof(user{}))
	record := func(i int) (u user) {
		b := r.Bytes()[i*each:][:each]
		u.ID, u.Score = binary.LittleEndian.Uint64(b), int32(binary.LittleEndian.Uint32(b[8:]))
		copy(u.Name[:], b[12:])
		return u
	}
	var u user
	if err := guard.Catch(func() { u = record(9_876) }); err != nil { // the file is shorter by now
		log.Fatal(err)
	}
	fmt.Println(r.Size()/each, "records:", u.ID, u.Score, string(bytes.TrimRight(u.Name[:], "\x00")))

	// The same through calls, with errors in the place of faults.
	if err := binary.Read(r.File(), binary.LittleEndian, &u); err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.ID, string(bytes.TrimRight(u.Name[:], "\x00")))
	// Output:
	// 10000 records: 9876 79 user 9876
	// 0 user 0
}

// TestMapTextSegment maps the machine code of this program, as the system's loader does: for reading, and private.
func TestMapTextSegment(t *testing.T) {
	f, err := os.Open("/proc/self/exe")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no /proc/self/exe here")
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	program, err := elf.NewFile(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range program.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_X == 0 {
			continue
		}
		text, err := guard.MapFile(f, guard.FileConfig{Name: "text", Offset: int64(p.Off), Length: int64(p.Filesz)})
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, p.Filesz)
		if _, err := p.ReadAt(want, 0); err != nil || !bytes.Equal(text.Bytes(), want) {
			t.Errorf("the text differs: %v", err)
		}
		var fault *guard.Fault
		if err := guard.Catch(func() { text.Bytes()[0] = 0xcc }); !errors.As(err, &fault) || fault.Kind != guard.ReadOnly {
			t.Errorf("a store to machine code: %v", err)
		}
		if err := text.Protect(0, text.Size(), guard.ReadExecute); err != nil && !errors.Is(err, fs.ErrPermission) { // a folder of no programs
			t.Error(err)
		}
		if err := text.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("the program has no text")
}
