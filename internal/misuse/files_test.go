package misuse

import (
	"errors"
	"io"
	"math"
	"os"

	"github.com/seed-9a6c551e/offheap/guard"
)

// file makes a file of 64 KiB, open for reading and writing.
func (w *world) file() *os.File {
	f, err := os.CreateTemp("", "offheap")
	w.must(err)
	w.then(func() error {
		f.Close()
		return os.Remove(f.Name())
	})
	w.must(f.Truncate(1 << 16))
	return f
}

// mapped maps a file. After the case it must be possible to close the region, if it is not closed.
func (w *world) mapped(f *os.File, c guard.FileConfig) *guard.Region {
	c.Name = "region"
	r, err := guard.MapFile(f, c)
	w.must(err)
	w.then(func() error {
		if err := r.Close(); !errors.Is(err, guard.ErrClosed) {
			return err
		}
		return nil
	})
	return r
}

// closedFile returns a region of a file that was closed.
func (w *world) closedFile() *guard.Region {
	r := w.mapped(w.file(), guard.FileConfig{Mode: guard.FileShared, Reserve: 1 << 20})
	w.must(r.Close())
	return r
}

// refusesFile expects the error of MapFile.
func refusesFile(what string) outcomes { return plainly(`error: guard: map file "region": ` + what) }

var fileMisuse = []misuse{
	{"no file", func(w *world) { w.mapped(nil, guard.FileConfig{}) }, plainly("error: guard: map file: there must be a file")},
	{"closed file", func(w *world) { f := w.file(); w.must(f.Close()); w.mapped(f, guard.FileConfig{}) }, refusesFile("file already closed")},
	{"folder", func(w *world) {
		f, err := os.Open(os.TempDir())
		w.must(err)
		w.then(f.Close)
		w.mapped(f, guard.FileConfig{})
	}, refusesFile("it is no regular file (d---------)")},
	{"pipe", func(w *world) {
		r, to, err := os.Pipe()
		w.must(err)
		w.then(func() error { return errors.Join(r.Close(), to.Close()) })
		w.mapped(r, guard.FileConfig{})
	}, refusesFile("it is no regular file (p---------)")},
	{"FileShared of a file for reading", func(w *world) {
		f, err := os.Open(w.file().Name())
		w.must(err)
		w.then(f.Close)
		w.mapped(f, guard.FileConfig{Mode: guard.FileShared})
	}, refusesFile("is it open for reading, and for writing if it is to be shared? permission denied")},
	{"no FileMode", func(w *world) { w.mapped(w.file(), guard.FileConfig{Mode: 9}) }, plainly("error: guard: map file: 9 is not a FileMode")},
	{"negative Offset", func(w *world) { w.mapped(w.file(), guard.FileConfig{Offset: -1}) },
		refusesFile("the Offset -1, Length # and Reserve 0 must not be negative")},
	{"Offset beyond the end", func(w *world) { w.mapped(w.file(), guard.FileConfig{Offset: 1<<16 + 1}) },
		refusesFile("0 bytes from offset 65537 on reach beyond the end of its 65536: unexpected EOF")},
	{"Length beyond the end", func(w *world) { w.mapped(w.file(), guard.FileConfig{Offset: 1, Length: 1 << 16}) },
		refusesFile("65536 bytes from offset 1 on reach beyond the end of its 65536: unexpected EOF")},
	{"Reserve below the length", func(w *world) { w.mapped(w.file(), guard.FileConfig{Reserve: 1}) },
		refusesFile("Reserve 1 is below the length of 65536")},
	{"Reserve of too many bytes", func(w *world) { w.mapped(w.file(), guard.FileConfig{Reserve: math.MaxInt64}) },
		refusesFile("9223372036854775807 bytes are more than addresses can hold: no memory")},
	{"store to FileRead", func(w *world) { poke(w.mapped(w.file(), guard.FileConfig{}).Bytes(), 1) },
		plainly(`fault: guard: write to memory that is mapped for reading in region "region": address 0xADDR, offset 1 of 65536`)},
	{"store to a file that became shorter", func(w *world) {
		f := w.file()
		r := w.mapped(f, guard.FileConfig{Mode: guard.FileShared})
		w.must(f.Truncate(0))
		poke(r.Bytes(), 1)
	}, plainly(`fault: guard: touch beyond the end of its file in region "region": address 0xADDR, offset 1 of 65536`)},
	{"touch before Offset", func(w *world) { peek(w.mapped(w.file(), guard.FileConfig{}).Bytes(), -1) },
		plainly(`fault: guard: underflow in region "region": address 0xADDR, 1 bytes before the first of 65536`)},
	{"touch behind the file", func(w *world) { peek(w.mapped(w.file(), guard.FileConfig{Reserve: 1 << 20}).Bytes(), 1<<16) },
		plainly(`fault: guard: overflow in region "region": address 0xADDR, 1 bytes beyond the last of 65536`)},
	{"touch after Close", func(w *world) {
		r := w.mapped(w.file(), guard.FileConfig{})
		b := r.Bytes()
		w.must(r.Close())
		peek(b, 100)
	}, plainly(`fault: guard: use after close in region "region": address 0xADDR, offset 100 of 65536`)},
	{"Close twice", func(w *world) { w.must(w.closedFile().Close()) }, plainly(`error: guard: close region "region": closed`)},
	{"Grow after Close", func(w *world) { _, err := w.closedFile().Grow(1); w.must(err) }, plainly(`error: guard: grow region "region": closed`)},
	{"Grow beyond Reserve", func(w *world) {
		_, err := w.mapped(w.file(), guard.FileConfig{Mode: guard.FileShared}).Grow(1)
		w.must(err)
	}, plainly(`error: guard: grow region "region": 1 bytes more do not fit into the 65536 reserved: no memory`)},
	{"Grow of no bytes", func(w *world) {
		b, err := w.mapped(w.file(), guard.FileConfig{Mode: guard.FileShared}).Grow(0)
		w.must(err)
		w.holds(len(b) == 1<<16, "nothing has changed")
	}, plainly(fine)},
	{"negative Grow", func(w *world) {
		_, err := w.mapped(w.file(), guard.FileConfig{Mode: guard.FileShared}).Grow(-1)
		w.must(err)
	}, plainly(`error: guard: grow region "region": -1 bytes must not be negative`)},
	{"Grow of FileRead beyond the end", func(w *world) {
		_, err := w.mapped(w.file(), guard.FileConfig{Reserve: 1 << 20}).Grow(1)
		w.must(err)
	}, plainly(`error: guard: grow region "region": the file has 65536 bytes, and 65537 are needed: unexpected EOF`)},
	{"Commit", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{}).Commit(0, 1<<16)) },
		plainly(`error: guard: commit region "region": the region shows a file`)},
	{"Decommit", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{}).Decommit(0, 1<<16)) },
		plainly(`error: guard: decommit region "region": the region shows a file`)},
	{"Discard", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{}).Discard(0, 1<<16)) },
		plainly(`error: guard: discard region "region": the region shows a file`)},
	{"Guard", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{}).Guard(0, 1<<16)) },
		plainly(`error: guard: guard region "region": the region shows a file`)},
	{"Unguard", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{}).Unguard(0, 1<<16)) },
		plainly(`error: guard: unguard region "region": the region shows a file`)},
	{"Move", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{}).Move(w.region(1<<16), 1<<16)) },
		plainly(`error: guard: move region "region": the region shows a file`)},
	{"Protect that makes FileRead writable", func(w *world) {
		w.must(w.mapped(w.file(), guard.FileConfig{}).Protect(0, 1<<16, guard.ReadWrite))
	}, plainly(`error: guard: protect region "region": the file was mapped for reading: permission denied`)},
	{"Protect of a part of an OS page", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{}).Protect(1, 5, guard.None)) },
		plainly(`error: guard: protect region "region": offset 1 and length 5 must be whole OS pages of # bytes, which begin 0 bytes before the region`)},
	{"Advise beyond the end", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{}).Advise(1, 1<<16, guard.Random)) },
		plainly(`error: guard: advise region "region": offset 1 and length 65536 are not inside its 65536 bytes`)},
	{"Advise after Close", func(w *world) { w.must(w.closedFile().Advise(0, 1, guard.Random)) }, plainly(`error: guard: advise region "region": closed`)},
	{"Sync of FilePrivate", func(w *world) { w.must(w.mapped(w.file(), guard.FileConfig{Mode: guard.FilePrivate}).Sync(0, 1, true)) },
		plainly(`error: guard: sync region "region": the region shows no shared file`)},
	{"Sync of no file", func(w *world) { w.must(w.region(1<<16).Sync(0, 1, true)) }, plainly(`error: guard: sync region "region": the region shows no shared file`)},
	{"Sync beyond the end", func(w *world) {
		w.must(w.mapped(w.file(), guard.FileConfig{Mode: guard.FileShared}).Sync(0, 1<<17, true))
	}, plainly(`error: guard: sync region "region": offset 0 and length 131072 are not inside its 65536 bytes`)},
	{"Sync after Close", func(w *world) { w.must(w.closedFile().Sync(0, 1, true)) }, plainly(`error: guard: sync region "region": closed`)},
	{"Prefetch of a file that became shorter", func(w *world) {
		f := w.file()
		r := w.mapped(f, guard.FileConfig{})
		w.must(f.Truncate(0))
		w.must(r.Prefetch(0, 1<<16))
	}, plainly(`error: guard: prefetch region "region": a part of it cannot be read, because the file is shorter or its disk fails: bad address`)},
	{"Prefetch after Close", func(w *world) { w.must(w.closedFile().Prefetch(0, 1)) }, plainly(`error: guard: prefetch region "region": closed`)},
	{"Lock after Close", func(w *world) { w.must(w.closedFile().Lock(0, 1)) }, plainly(`error: guard: lock region "region": closed`)},
	{"File: ReadAt after Close", func(w *world) {
		_, err := w.closedFile().File().ReadAt(make([]byte, 1), 0)
		w.must(err)
	}, plainly(`error: guard: read region "region": closed`)},
	{"File: WriteAt after Close", func(w *world) {
		_, err := w.closedFile().File().WriteAt(make([]byte, 1), 0)
		w.must(err)
	}, plainly(`error: guard: write region "region": closed`)},
	{"File: WriteAt to FileRead", func(w *world) {
		_, err := w.mapped(w.file(), guard.FileConfig{}).File().WriteAt(make([]byte, 1), 0)
		w.must(err)
	}, plainly(`error: guard: write region "region": the file was mapped for reading: permission denied`)},
	{"File: WriteAt beyond Reserve", func(w *world) {
		_, err := w.mapped(w.file(), guard.FileConfig{Mode: guard.FileShared}).File().WriteAt(make([]byte, 2), 1<<16-1)
		w.must(err)
	}, plainly(`error: guard: grow region "region": 1 bytes more do not fit into the 65536 reserved: no memory`)},
	{"File: ReadAt of a file that became shorter", func(w *world) {
		f := w.file()
		r := w.mapped(f, guard.FileConfig{})
		w.must(f.Truncate(0))
		_, err := r.File().ReadAt(make([]byte, 1), 1)
		w.mustNotReturnFault(err)
	}, plainly(`error: guard: read region "region": guard: touch beyond the end of its file in region "region": address 0xADDR, offset 1 of 65536`)},
	{"File: negative offsets", func(w *world) {
		_, err := w.mapped(w.file(), guard.FileConfig{}).File().ReadAt(make([]byte, 1), -1)
		w.must(err)
	}, plainly(`error: guard: read region "region": offset -1: invalid argument`)},
	{"File: Seek before the start", func(w *world) {
		_, err := w.mapped(w.file(), guard.FileConfig{}).File().Seek(-1, io.SeekStart)
		w.must(err)
	}, plainly(`error: guard: seek region "region": offset -1 from 0: invalid argument`)},
	{"File of a zero Region", func(w *world) { new(guard.Region).File() }, plainly("violation: guard.File: use of a zero value: guard.Reserve makes a Region")},
	{"zero File", func(w *world) {
		_, err := new(guard.File).ReadAt(make([]byte, 1), 0)
		w.must(err)
	}, plainly("violation: guard.File.ReadAt: use of a zero value: guard.Reserve makes a Region")},
	{"ReadAt of the end", func(w *world) {
		_, err := w.mapped(w.file(), guard.FileConfig{}).File().ReadAt(make([]byte, 1), 1<<16)
		w.holds(err == io.EOF, "it is the end")
	}, plainly(fine)},
	{"use after the file was closed and removed", func(w *world) {
		f := w.file()
		r := w.mapped(f, guard.FileConfig{Mode: guard.FileShared, Reserve: 1 << 20})
		w.must(errors.Join(f.Close(), os.Rename(f.Name(), f.Name()+".moved"), os.Rename(f.Name()+".moved", f.Name())))
		b, err := r.Grow(10)
		w.must(err)
		b[1<<16] = 1
		w.must(r.Sync(0, len(b), true))
	}, plainly(fine)},
}
