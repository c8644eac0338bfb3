// Package files measures files as memory: guard.MapFile beside os.ReadFile, bufio and ReadAt.
package files

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-9a6c551e/offheap/guard"
)

// fileSize is the bytes of the file that is read.
const fileSize = 256 << 20

var sum uint64

// add looks at one byte of each cache line.
func add(b []byte) {
	for i := 0; i < len(b); i += 64 {
		sum += uint64(b[i])
	}
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// large makes the file once for each benchmark.
func large(b *testing.B) *os.File {
	name := filepath.Join(b.TempDir(), "large")
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	f, err := os.Create(name)
	check(b, err)
	for range fileSize / len(chunk) {
		_, err := f.Write(chunk)
		check(b, err)
	}
	check(b, f.Sync()) // clean OS pages can be dropped
	b.Cleanup(func() { f.Close() })
	return f
}

// readers read the whole file.
var readers = map[string]func(b *testing.B, f *os.File){
	"MapFile": func(b *testing.B, f *os.File) { mapped(b, f, nil) },
	"MapFile,Sequential": func(b *testing.B, f *os.File) {
		mapped(b, f, func(r *guard.Region) error { return r.Advise(0, r.Size(), guard.Sequential) })
	},
	"MapFile,Random": func(b *testing.B, f *os.File) {
		mapped(b, f, func(r *guard.Region) error { return r.Advise(0, r.Size(), guard.Random) })
	},
	"MapFile,WillNeed": func(b *testing.B, f *os.File) {
		mapped(b, f, func(r *guard.Region) error { return r.Advise(0, r.Size(), guard.WillNeed) })
	},
	"MapFile,Prefetch": func(b *testing.B, f *os.File) {
		mapped(b, f, func(r *guard.Region) error { return r.Prefetch(0, r.Size()) })
	},
	"os.ReadFile": func(b *testing.B, f *os.File) {
		all, err := os.ReadFile(f.Name())
		check(b, err)
		add(all)
	},
	"bufio": func(b *testing.B, f *os.File) {
		_, err := f.Seek(0, io.SeekStart)
		check(b, err)
		r := bufio.NewReaderSize(f, 64<<10)
		for {
			part, err := r.Peek(64 << 10)
			add(part)
			if _, e := r.Discard(len(part)); err != nil || e != nil {
				return
			}
		}
	},
}

func mapped(b *testing.B, f *os.File, advise func(r *guard.Region) error) {
	r, err := guard.MapFile(f, guard.FileConfig{})
	check(b, err)
	if advise != nil {
		check(b, advise(r))
	}
	check(b, guard.Catch(func() { add(r.Bytes()) }))
	check(b, r.Close())
}

// BenchmarkReadAll reads a file of 256 MiB that is in RAM (warm) or on the disk (cold).
func BenchmarkReadAll(b *testing.B) {
	for _, cold := range []bool{false, true} {
		for name, read := range readers {
			kind := "warm/"
			if cold {
				kind = "cold/"
			}
			b.Run(kind+name, func(b *testing.B) {
				f := large(b)
				b.SetBytes(fileSize)
				for b.Loop() {
					if cold {
						b.StopTimer()
						check(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
						b.StartTimer()
					}
					read(b, f)
				}
			})
		}
	}
}

// BenchmarkReadRandom reads 4 KiB at random places of a file that is in RAM.
func BenchmarkReadRandom(b *testing.B) {
	f := large(b)
	r, err := guard.MapFile(f, guard.FileConfig{Populate: true})
	check(b, err)
	defer r.Close()
	var buf [4096]byte
	place := func() int { return rand.IntN(fileSize/4096) * 4096 }
	b.Run("MapFile", func(b *testing.B) {
		data := r.Bytes()
		for b.Loop() {
			copy(buf[:], data[place():])
		}
	})
	b.Run("Region.File", func(b *testing.B) {
		file := r.File()
		for b.Loop() {
			_, err := file.ReadAt(buf[:], int64(place()))
			check(b, err)
		}
	})
	b.Run("os.File", func(b *testing.B) {
		for b.Loop() {
			_, err := f.ReadAt(buf[:], int64(place()))
			check(b, err)
		}
	})
}

// BenchmarkAppend appends 64 MiB in records of 100 bytes to a new file, and closes it.
func BenchmarkAppend(b *testing.B) {
	const record, total = 100, 64 << 20 / 100 * 100
	text := bytes.Repeat([]byte("x"), record)
	create := func(b *testing.B) *os.File {
		f, err := os.Create(filepath.Join(b.TempDir(), "appended"))
		check(b, err)
		return f
	}
	b.Run("Grow", func(b *testing.B) {
		b.SetBytes(total)
		for b.Loop() {
			f := create(b)
			r, err := guard.MapFile(f, guard.FileConfig{Mode: guard.FileShared, Reserve: 1 << 30})
			check(b, err)
			var data []byte
			for n := 0; n < total; n += record {
				if n+record > len(data) {
					data, err = r.Grow(4 << 20)
					check(b, err)
				}
				copy(data[n:], text)
			}
			check(b, r.Close())
			check(b, f.Truncate(total))
			check(b, f.Close())
		}
	})
	b.Run("bufio.Writer", func(b *testing.B) {
		b.SetBytes(total)
		for b.Loop() {
			f := create(b)
			w := bufio.NewWriterSize(f, 64<<10)
			for n := 0; n < total; n += record {
				_, err := w.Write(text)
				check(b, err)
			}
			check(b, w.Flush())
			check(b, f.Close())
		}
	})
}
