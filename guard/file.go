package guard

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// File reads and writes the bytes of a region with errors in the place of faults. Region.File makes one. It is an
// io.Reader, io.Writer, io.ReaderAt, io.WriterAt and io.Seeker, with offsets from the base of the region. It is not
// closed: the region is. The zero File panics with a *Violation.
//
// Any number of goroutines may call ReadAt and WriteAt, if the bytes that are written are nobody else's at that moment.
// Read, Write and Seek share a position, and are for one goroutine at a time.
//
// A read or write that meets memory which cannot be accessed copies the OS pages before it, says how many bytes these are,
// and returns an error that wraps the *Fault: Truncated after the file became shorter, FileFailed if the disk is full or
// fails (with syscall.ENOSPC, where the file system says so), Decommitted, Guarded or UseAfterClose.
//
// Cost: some 10 ns more than copying the bytes; a fault takes some microseconds.
type File struct {
	r   *Region
	pos int64
}

var (
	_ io.ReadWriteSeeker = (*File)(nil)
	_ io.ReaderAt        = (*File)(nil)
	_ io.WriterAt        = (*File)(nil)
)

// File returns a File for the bytes of the region, with its position at the base. Regions of anonymous memory have it,
// too.
func (r *Region) File() *File {
	r.made("File")
	return &File{r: r}
}

// ReadAt reads len(p) bytes from an offset. Where the region has fewer, it reads them and returns io.EOF.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	r := f.r.made("File.ReadAt")
	size := int64(r.Size())
	switch {
	case !r.IsOpen():
		return 0, f.errorf("read", ErrClosed)
	case off < 0:
		return 0, f.errorf("read", fmt.Errorf("offset %d: %w", off, fs.ErrInvalid))
	case len(p) == 0:
		return 0, nil
	case off >= size:
		return 0, io.EOF
	}
	part := p[:min(int64(len(p)), size-off)]
	if n, err = f.copy("read", part, unsafe.Slice((*byte)(unsafe.Add(r.Base(), off)), len(part)), int(off)); err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt writes p at an offset. Where the region is too small it grows, as far as it can (Region.Grow), and bytes
// between its old end and off read zero. A file that is mapped for reading is an error that wraps fs.ErrPermission.
func (f *File) WriteAt(p []byte, off int64) (n int, err error) {
	r := f.r.made("File.WriteAt")
	switch {
	case !r.IsOpen():
		return 0, f.errorf("write", ErrClosed)
	case off < 0:
		return 0, f.errorf("write", fmt.Errorf("offset %d: %w", off, fs.ErrInvalid))
	case !r.Writable():
		return 0, f.errorf("write", fmt.Errorf("the file was mapped for reading: %w", fs.ErrPermission))
	case len(p) == 0:
		return 0, nil
	case off > maxInt-int64(len(p)):
		return 0, f.errorf("write", fmt.Errorf("offset %d is more than addresses can hold: %w", off, ErrNoMemory))
	}
	if err := r.GrowTo(int(off) + len(p)); err != nil {
		return 0, err
	}
	to := unsafe.Slice((*byte)(unsafe.Add(r.Base(), off)), len(p))
	return f.copy("write", to, p, int(off))
}

const maxInt = int64(^uint(0) >> 1)

// copy copies between the region, where the bytes lie at off, and a slice as long. done is how many bytes it copied.
func (f *File) copy(op string, to, from []byte, off int) (done int, err error) {
	if region.Catch(func() { copy(to, from) }) == nil {
		return len(to), nil
	}
	// An OS page at a time, to know how far it gets. The memory's, not the slice's: a file may end in the middle of the
	// copy.
	page, at := PageSize(), int(uintptr(f.r.Base())%uintptr(PageSize()))+off
	for done < len(to) {
		n := min(page-(at+done)%page, len(to)-done)
		move := func() { copy(to[done:done+n], from[done:done+n]) }
		fault := region.Catch(move)
		if fault != nil && fault.Kind == FileFailed && op == "write" {
			// The file system says why, and may have space by now.
			why := f.r.r.Space(off+done, n)
			if why == nil {
				fault = region.Catch(move)
			} else if !errors.Is(why, errors.ErrUnsupported) {
				return done, f.errorf(op, fmt.Errorf("%w: %w", (*Fault)(fault), why))
			}
		}
		if fault != nil {
			return done, f.errorf(op, (*Fault)(fault))
		}
		done += n
	}
	return done, nil
}

func (f *File) errorf(op string, err error) error {
	return fmt.Errorf("guard: %s region %q: %w", op, f.r.Name(), err)
}

// Read reads from the position on, and moves it behind what was read.
func (f *File) Read(p []byte) (n int, err error) {
	n, err = f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Write writes at the position, as WriteAt does, and moves it behind what was written.
func (f *File) Write(p []byte) (n int, err error) {
	n, err = f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// Seek moves the position, as io.Seeker says. It may lie beyond the end of the region, and not before its base.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	base := int64(0)
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = f.pos
	case io.SeekEnd:
		base = int64(f.r.made("File.Seek").Size())
	default:
		return f.pos, f.errorf("seek", fmt.Errorf("whence %d: %w", whence, fs.ErrInvalid))
	}
	if offset < -base || offset > 0 && base > 1<<62-offset {
		return f.pos, f.errorf("seek", fmt.Errorf("offset %d from %d: %w", offset, base, fs.ErrInvalid))
	}
	f.pos = base + offset
	return f.pos, nil
}
