package region

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// FileConfig says how OpenFile maps a file. guard.FileConfig documents the fields that it has, too.
type FileConfig struct {
	Name     string
	Offset   int64
	Length   int64
	Prot     vm.Prot // Read or ReadWrite
	Shared   bool    // stores go to the file, if Prot allows them
	Reserve  int64
	Populate bool
	Near     uintptr

	// Memory says that the file is memory and has no disk: its bytes are charged to the budget.
	Memory bool

	Skip int
}

// backing is the file that a region shows. All but growing is fixed when the region is opened.
//
//	file    ├──────────┬──────┬───────────────────────┬───┤
//	                   at     at+skew = Offset        end of the file
//	region             base   the user's first byte   size       room
type backing struct {
	f       *os.File // a descriptor of our own
	fd      int      // of f, for the signal handler
	at      int64    // offset in the file of the region's base, a multiple of the OS page
	skew    uintptr  // from base to the user's first byte, less than an OS page
	prot    vm.Prot
	shared  bool // not a copy
	charged bool
	tag     uint32     // of all its stretches, but for private ones
	growing sync.Mutex // held by Grow, which may wait for a disk
}

// takesStores tells whether stores to the region go to the file.
func (b *backing) takesStores() bool { return b.shared && b.prot == vm.ReadWrite }

var errBacked = errors.New("the region shows a file")

// OpenFile maps a file into a region of its own: it is guard.MapFile.
func OpenFile(f *os.File, c FileConfig) (*Region, error) {
	if f == nil {
		return nil, errors.New("guard: map file: there must be a file")
	}
	if c.Name == "" {
		c.Name = baseName(f)
	}
	r, err := openFile(f, c)
	if err != nil {
		return nil, fmt.Errorf("guard: map file %q: %w", c.Name, noMemory(err))
	}
	return r, nil
}

// baseName returns the last element of a file's name.
func baseName(f *os.File) string {
	if info, err := f.Stat(); err == nil {
		return info.Name()
	}
	return "file"
}

func openFile(f *os.File, c FileConfig) (r *Region, err error) {
	own, err := duplicate(f)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			own.Close()
		}
	}()
	size, err := regularSize(own)
	if err != nil {
		return nil, err
	}
	if c.Length == 0 {
		c.Length = max(size-c.Offset, 0)
	}
	page := int64(PageSize())
	skew := c.Offset % page
	switch {
	case c.Offset < 0 || c.Length < 0 || c.Reserve < 0:
		return nil, fmt.Errorf("the Offset %d, Length %d and Reserve %d must not be negative", c.Offset, c.Length, c.Reserve)
	case c.Offset > size || c.Length > size-c.Offset:
		return nil, fmt.Errorf("%d bytes from offset %d on reach beyond the end of its %d: %w", c.Length, c.Offset, size, io.ErrUnexpectedEOF)
	case c.Reserve > 0 && c.Reserve < c.Length:
		return nil, fmt.Errorf("Reserve %d is below the length of %d", c.Reserve, c.Length)
	case max(c.Length, c.Reserve) > maxSize-page:
		return nil, fmt.Errorf("%d bytes are more than addresses can hold: %w", max(c.Length, c.Reserve), ErrNoMemory)
	}
	room, data := max(skew+max(c.Length, c.Reserve), 1), uintptr(0)
	if c.Length > 0 {
		data = alignUp(uintptr(skew+c.Length), uintptr(page))
	}
	charged := int64(0)
	if c.Memory || !c.Shared && c.Prot == vm.ReadWrite {
		charged = int64(data)
		if err := charge(charged, false); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				refund(charged)
			}
		}()
	}
	rec, err := reserve(int(room), c.Near)
	if err != nil {
		if !errors.Is(err, ErrNoMemory) {
			err = fmt.Errorf("%d bytes%s: %v: %w", room, addressLimit(), err, ErrNoMemory)
		}
		return nil, err
	}
	rec.backing = &backing{f: own, fd: int(own.Fd()), at: c.Offset - skew, skew: uintptr(skew), prot: c.Prot, shared: c.Shared, charged: c.Memory || !c.Shared && c.Prot == vm.ReadWrite, tag: rec.newAnonVMA()}
	rec.data, rec.used = data, data
	rec.describe(Config{Name: c.Name, Skip: c.Skip + 2}, nil)
	rec.report.Base, rec.report.Size = uintptr(rec.base)+uintptr(skew), uintptr(c.Length)
	if err = rec.mapBacking(0, data); err == nil && c.Populate {
		err = rec.populateFile(0, data)
	}
	if err != nil {
		release([]*record{rec})
		return nil, noMemory(err)
	}
	rec.charge.Store(charged)
	r = rec.open(Config{})
	r.base = unsafe.Add(rec.base, skew)
	r.size.Store(c.Length)
	return r, nil
}

// duplicate returns a file of our own for the same open file.
func duplicate(f *os.File) (own *os.File, err error) {
	err = control(f, func(fd int) error {
		other, err := vm.Duplicate(fd)
		if err == nil {
			own = os.NewFile(uintptr(other), f.Name())
		}
		return err
	})
	return own, err
}

// control calls do with the descriptor of a file, which nobody closes meanwhile.
func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if conn.Control(func(fd uintptr) { err = do(int(fd)) }) != nil {
		return os.ErrClosed // there is no other reason
	}
	return err
}

// regularSize returns the bytes of a file; it is an error if it is a folder, a pipe or a device.
func regularSize(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("it is no regular file (%v)", info.Mode().Type())
	}
	return info.Size(), nil
}

// mapBacking maps [lo, hi) of the region from its file. Caller holds rec.mu, or nobody else has rec yet.
func (rec *record) mapBacking(lo, hi uintptr) error {
	if lo == hi {
		return nil
	}
	b := rec.backing
	restore := rec.saveBooks(lo, hi)
	err := rec.changeBooks(lo, hi, func() {
		tag := b.tag
		if b.prot == vm.ReadWrite && !b.shared {
			tag = rec.newAnonVMA() // stores make it a mapping of its own
			rec.fixBoundaries(lo)
		}
		rec.committed = rec.committed.set(span{lo, hi, b.prot, tag})
		rec.files = rec.files.set(span{off: lo, end: hi})
	}, restore)
	if err != nil {
		return err
	}
	err = control(b.f, func(fd int) error {
		return vm.MapFile(unsafe.Add(rec.base, lo), hi-lo, fd, b.at+int64(lo), b.prot, b.shared)
	})
	if err != nil {
		rec.correctBooks(lo, hi, restore)
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("is it open for reading, and for writing if it is to be shared? %w", err)
		}
	}
	return err
}

// growFile is Grow for a region that shows a file.
func (r *Region) growFile(n int, missing func(size int) int) ([]byte, error) {
	rec, b := r.rec, r.rec.backing
	page := uintptr(PageSize())
	most := int64(0)
	if b.charged {
		most = int64(alignUp(uintptr(n), page) + page)
		if err := charge(most, false); err != nil {
			return nil, err
		}
	}
	b.growing.Lock()
	defer b.growing.Unlock()
	used := uintptr(0)
	defer func() { refund(most - int64(used)) }()
	size := uintptr(r.Size())
	n = missing(int(size))
	if uintptr(n) > rec.room-b.skew-size {
		return nil, rec.full(n)
	}
	end := b.skew + size + uintptr(n)
	undo, err := b.extend(b.at+int64(b.skew+size), b.at+int64(end))
	if err != nil {
		return nil, err
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	lo, hi := rec.data, max(rec.data, alignUp(end, page))
	if n == 0 {
		hi = lo
	}
	if rec.state != stateOpen {
		err = ErrClosed
	} else if err = rec.mapBacking(lo, hi); err == nil {
		if b.charged {
			used = hi - lo
			rec.charge.Add(int64(used))
		}
		rec.used = max(rec.used, hi)
		r.setSize(hi, int(size)+n)
		return r.Bytes(), nil
	}
	return nil, errors.Join(err, undo())
}

// extend makes the file reach to an offset, and sets space aside from another offset on. undo makes it as long as it was.
func (b *backing) extend(from, to int64) (undo func() error, err error) {
	undo = func() error { return nil }
	was, err := regularSize(b.f)
	switch {
	case err != nil:
		return undo, closed(err)
	case from == to:
		return undo, nil
	case !b.takesStores() && was >= to:
		return undo, nil
	case !b.takesStores():
		return undo, fmt.Errorf("the file has %d bytes, and %d are needed: %w", was, to, io.ErrUnexpectedEOF)
	}
	// A file system that is full may have made the file longer, and kept space for a part of it.
	if was < to {
		undo = func() error { return vm.Truncate(b.f, was) }
	}
	err = b.allocate(from, to-from)
	if errors.Is(err, vm.ErrUnsupported) {
		if err = nil; was < to {
			err = vm.WriteZeroes(b.f, was, to-was)
		}
	}
	if err != nil {
		return undo, errors.Join(fmt.Errorf("space for %d bytes: %w", to-from, closed(err)), undo())
	}
	return undo, nil
}

// allocate has the file system set space aside.
func (b *backing) allocate(at, n int64) error {
	return control(b.f, func(fd int) error { return vm.Allocate(fd, at, n) })
}

// closed returns ErrClosed in the place of the error that the region's file is closed.
func closed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return ErrClosed
	}
	return err
}

// fileKind returns why a touch of the region's file faults. Caller holds rec.mu.
func (rec *record) fileKind(off uintptr, prot vm.Prot) Kind {
	b := rec.backing
	start := off &^ uintptr(PageSize()-1)
	size, err := regularSize(b.f)
	switch {
	case prot == vm.None:
		return Protected
	case err == nil && b.at+int64(start) >= size:
		return Truncated
	case prot == vm.ReadWrite || err != nil || vm.BeyondFile(unsafe.Add(rec.base, start)):
		return FileFailed
	}
	return ReadOnly
}

// Space sets disk space aside for bytes that the region has already, and returns the error that a store there would have
// met. It is for stores that faulted with FileFailed.
func (r *Region) Space(off, n int) error {
	b := r.rec.backing
	if b == nil || !b.takesStores() {
		return vm.ErrUnsupported
	}
	return closed(b.allocate(b.at+int64(b.skew)+int64(off), int64(n)))
}

// Writable tells whether the region's memory may be written to, as far as its file decides that.
func (r *Region) Writable() bool { return r.rec.backing == nil || r.rec.backing.prot == vm.ReadWrite }

// changeAny is change for calls that regions with a file allow, too: there off and n are any, and the range grows to
// whole OS pages.
func (r *Region) changeAny(op string, off, n int, f func(rec *record, lo, hi uintptr) error) error {
	b := r.rec.backing
	if b == nil {
		return r.change(op, off, n, f)
	}
	lo, hi, err := r.fileSpan(op, off, n)
	if err != nil {
		return err
	}
	return r.underLock(op, lo, hi, f)
}

// fileSpan returns the OS pages of a range of a region with a file.
func (r *Region) fileSpan(op string, off, n int) (lo, hi uintptr, err error) {
	size := r.Size()
	if off < 0 || n < 0 || off > size || n > size-off {
		return 0, 0, r.errorf(op, fmt.Errorf("offset %d and length %d are not inside its %d bytes", off, n, size))
	}
	if n == 0 {
		return 0, 0, nil
	}
	page, skew := uintptr(PageSize()), r.rec.backing.skew
	return (skew + uintptr(off)) &^ (page - 1), alignUp(skew+uintptr(off+n), page), nil
}

// protectable returns an error if Protect must not change the range: a region with a file takes whole OS pages, but for
// both its ends, and no protection that lets stores reach a file that was mapped for reading.
func (r *Region) protectable(off, n int, prot vm.Prot) error {
	b := r.rec.backing
	if b == nil {
		return nil
	}
	page := PageSize()
	start, end := int(b.skew)+off, int(b.skew)+off+n
	switch {
	case off > 0 && start%page != 0 || off+n < r.Size() && end%page != 0:
		return fmt.Errorf("offset %d and length %d must be whole OS pages of %d bytes, which begin %d bytes before the region", off, n, page, b.skew)
	case prot == vm.ReadWrite && b.prot != vm.ReadWrite:
		return fmt.Errorf("the file was mapped for reading: %w", fs.ErrPermission)
	}
	return nil
}

// Sync is guard.Region.Sync.
func (r *Region) Sync(off, n int, wait bool) error {
	b := r.rec.backing
	if b == nil || !b.shared {
		return r.errorf("sync", errors.New("the region shows no shared file"))
	}
	return r.unlocked("sync", off, n, func(p unsafe.Pointer, lo, hi uintptr) error {
		if wait {
			return vm.Sync(p, hi-lo)
		}
		return control(b.f, func(fd int) error { return vm.StartSync(p, hi-lo, fd, b.at+int64(lo)) })
	})
}

// Prefetch is guard.Region.Prefetch.
func (r *Region) Prefetch(off, n int) error {
	if r.rec.backing == nil {
		return r.change("prefetch", off, n, func(rec *record, lo, hi uintptr) error {
			if !rec.committed.all(lo, hi, vm.ReadWrite) {
				return errors.New("not all of it is committed, readable and writable")
			}
			return rec.populate(lo, hi)
		})
	}
	return r.unlocked("prefetch", off, n, func(_ unsafe.Pointer, lo, hi uintptr) error {
		return r.rec.populateFile(lo, hi)
	})
}

// unlocked calls f for OS pages of an open region with a file, without a lock: f may wait for a disk. After Close, or
// while it happens, f meets addresses in quarantine, for which the kernel has an error.
func (r *Region) unlocked(op string, off, n int, f func(p unsafe.Pointer, lo, hi uintptr) error) error {
	lo, hi, err := r.fileSpan(op, off, n)
	if err != nil {
		return err
	}
	if !r.IsOpen() {
		return r.errorf(op, ErrClosed)
	}
	if lo == hi {
		return nil
	}
	if err = f(unsafe.Add(r.rec.base, lo), lo, hi); err == nil {
		return nil
	}
	if !r.IsOpen() {
		err = ErrClosed
	}
	return r.errorf(op, noMemory(closed(err)))
}

// populateFile brings [lo, hi) of the file into RAM, by reads.
func (rec *record) populateFile(lo, hi uintptr) error {
	if lo == hi {
		return nil
	}
	p, n := unsafe.Add(rec.base, lo), hi-lo
	err := vm.PopulateRead(p, n)
	if errors.Is(err, vm.ErrUnsupported) {
		if fault := Catch(func() { touchAll(p, n) }); fault != nil {
			err = syscall.EFAULT
		} else {
			err = nil
		}
	}
	if err == syscall.EFAULT {
		return fmt.Errorf("a part of it cannot be read, because the file is shorter or its disk fails: %w", err)
	}
	return err
}

// touchAll reads a byte of each OS page.
func touchAll(p unsafe.Pointer, n uintptr) (sum byte) {
	for off := uintptr(0); off < n; off += uintptr(PageSize()) {
		sum += *(*byte)(unsafe.Add(p, off))
	}
	touched.Store(uint32(sum))
	return sum
}

var touched atomic.Uint32 // so that the reads are not left out
