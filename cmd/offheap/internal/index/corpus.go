package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

const (
	// maxFile is the size, in bytes, of the largest file that is indexed.
	maxFile = 64 << 20

	// probe is the number of bytes at a file's start that must not be zero if it is text.
	probe = 8 << 10
)

// Corpus is a tree of text files and the queries drawn from them.
type Corpus struct {
	Dir       string
	Documents List // paths below Dir
	Bytes     int64
	Skipped   int // files and folders that could not be read
	Queries   List
}

// ErrNothing is wrapped by the error of Survey if a folder has no text to index.
var ErrNothing = errors.New("no text")

// Survey finds the text files below dir and draws queries from them. A text file is a regular file of
// 1 byte to 64 MiB without a zero byte in its first 8 KiB. dir may be a link; links below it are not
// followed. Files that cannot be read are counted in Skipped; if no text is left, the error wraps
// ErrNothing.
func Survey(dir string, queries int, progress measure.Progress) (*Corpus, error) {
	real, err := filepath.EvalSymlinks(dir) // a walk does not follow links, not even the first
	if err != nil {
		return nil, err
	}
	c := &Corpus{Dir: real}
	if err := c.walk(); err != nil {
		return nil, err
	}
	frequencies := newSketch()
	if err := c.sift(frequencies, progress); err != nil {
		return nil, err
	}
	if c.Documents.Len() == 0 {
		return nil, fmt.Errorf("%s: %w in its files", dir, ErrNothing)
	}
	return c, c.draw(queries, frequencies, progress)
}

// walk lists the regular files in Documents.
func (c *Corpus) walk() error {
	info, err := os.Stat(c.Dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: not a folder", c.Dir)
	}
	return filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path == c.Dir:
			return err
		case err != nil:
			c.Skipped++
		case d.Type().IsRegular():
			name, err := filepath.Rel(c.Dir, path)
			if err != nil {
				return err
			}
			c.Documents.add([]byte(name))
		}
		return nil
	})
}

// sift removes from Documents the files that are not text, and counts in how many documents each word
// occurs.
func (c *Corpus) sift(frequencies *sketch, progress measure.Progress) error {
	files := c.Documents
	c.Documents = List{}
	r := reader{dir: c.Dir}
	for i := range files.Len() {
		progress("looking at files", i, files.Len())
		text, err := r.read(files.At(i))
		switch {
		case errors.Is(err, errLarge) || len(text) == 0 && err == nil:
			continue
		case err != nil:
			c.Skipped++
			continue
		case bytes.IndexByte(text[:min(len(text), probe)], 0) >= 0:
			continue
		}
		c.Documents.add(files.At(i))
		c.Bytes += int64(len(text))
		for _, word := range words(text) {
			frequencies.see(word, uint32(c.Documents.Len()))
		}
	}
	return nil
}

var errLarge = errors.New("file is too large")

// reader reads one file after the other into the same memory.
type reader struct {
	dir  string
	text []byte
}

// read returns the contents of a file below dir, valid until the next read.
func (r *reader) read(name []byte) ([]byte, error) {
	f, err := os.Open(filepath.Join(r.dir, string(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r.text = r.text[:0]
	for {
		if len(r.text) > maxFile {
			return nil, errLarge
		}
		if len(r.text) == cap(r.text) {
			r.text = append(r.text, make([]byte, 1<<20)...)[:len(r.text)]
		}
		n, err := f.Read(r.text[len(r.text):cap(r.text)])
		r.text = r.text[:len(r.text)+n]
		if err == io.EOF {
			return r.text, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// List is a list of byte strings in two slices without pointers. Its fields are
// exported for encoding. The zero List is empty.
type List struct {
	Text []byte
	Ends []int // the end of each element in Text
}

// Len returns the number of elements.
func (l *List) Len() int { return len(l.Ends) }

// At returns element i, a part of Text.
func (l *List) At(i int) []byte {
	start := 0
	if i > 0 {
		start = l.Ends[i-1]
	}
	return l.Text[start:l.Ends[i]]
}

func (l *List) add(element []byte) {
	l.Text = append(l.Text, element...)
	l.Ends = append(l.Ends, len(l.Text))
}
