package native

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// image is the file of a shared object and the addresses that its parts ask for. These addresses are the
// file's own, before relocation. All tables are read from the file with ReadAt, before any part is mapped.
// Of debug/elf only the constants and struct types are used: its reader looks at section headers, which
// loading does not need, and damaged ones make it panic.
type image struct {
	file     *os.File
	bytes    uint64    // size of the file
	segments []segment // sorted by address; no two share an OS page
	align    uint64    // largest alignment that a segment asks for; an OS page at least
	dyn      *elf.Prog64
	relro    *elf.Prog64 // memory that is read-only after relocation; nil if there is none
}

// segment is a part of the file that is mapped into memory. Invariant: Off+Filesz <= image.bytes, Filesz <=
// Memsz, and Vaddr+Memsz <= maxAddress.
type segment struct {
	elf.Prog64
	prot guard.Prot
}

const (
	// maxAddress is above every address of a process on either machine. Sums of addresses and sizes below it
	// do not overflow.
	maxAddress = 1 << 48

	// maxTable is the largest table that is read into the Go heap, in bytes: 2.8 million relocations.
	maxTable = 64 << 20

	// maxAlign is the largest alignment of a segment. A region of this size or more has this alignment.
	maxAlign = 2 << 20
)

var errIrregular = errors.New("it is not a regular file")

// openImage reads the headers of a file and checks its segments.
func openImage(file *os.File) (*image, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	im := &image{file: file, bytes: uint64(info.Size()), align: uint64(guard.PageSize())}
	headers, err := im.headers()
	if err != nil {
		return nil, err
	}
	for _, h := range headers {
		if err := im.add(h); err != nil {
			return nil, err
		}
	}
	switch {
	case len(im.segments) == 0:
		return nil, errors.New("it has nothing to load")
	case im.dyn == nil:
		return nil, errors.New("it has no dynamic section")
	}
	return im, nil
}

// headers returns the program headers of the file. Any file but a shared object for this machine is an
// error.
func (im *image) headers() ([]elf.Prog64, error) {
	ident, err := im.readFile("ELF header", 0, elf.EI_NIDENT)
	switch {
	case err != nil || !bytes.HasPrefix(ident, []byte(elf.ELFMAG)):
		return nil, errors.New("it is not an ELF file")
	case elf.Class(ident[elf.EI_CLASS]) != elf.ELFCLASS64:
		return nil, fmt.Errorf("it is %v, not %v", elf.Class(ident[elf.EI_CLASS]), elf.ELFCLASS64)
	case elf.Data(ident[elf.EI_DATA]) != elf.ELFDATA2LSB:
		return nil, fmt.Errorf("it is %v, not %v", elf.Data(ident[elf.EI_DATA]), elf.ELFDATA2LSB)
	case elf.Version(ident[elf.EI_VERSION]) != elf.EV_CURRENT:
		return nil, fmt.Errorf("it is of ELF version %d", ident[elf.EI_VERSION])
	}
	all, err := table[elf.Header64]("ELF header", im.readFile, 0, uint64(binary.Size(elf.Header64{})))
	if err != nil {
		return nil, err
	}
	h := all[0]
	switch {
	case elf.Type(h.Type) != elf.ET_DYN:
		return nil, fmt.Errorf("it is %v, not a shared object (%v)", elf.Type(h.Type), elf.ET_DYN)
	case elf.Machine(h.Machine) != machine:
		return nil, fmt.Errorf("it is for %v, and this machine is %v", elf.Machine(h.Machine), machine)
	case int(h.Phentsize) != binary.Size(elf.Prog64{}):
		return nil, fmt.Errorf("its program headers have %d bytes each", h.Phentsize)
	}
	return table[elf.Prog64]("program headers", im.readFile, h.Phoff, uint64(h.Phnum)*uint64(h.Phentsize))
}

// add adds the part of the file that a program header describes, or refuses it.
func (im *image) add(h elf.Prog64) error {
	switch elf.ProgType(h.Type) {
	case elf.PT_LOAD:
		if h.Memsz == 0 && h.Filesz == 0 {
			return nil
		}
		s, err := im.segment(h)
		if err != nil {
			return fmt.Errorf("segment %d: %w", len(im.segments), err)
		}
		im.segments = append(im.segments, s)
	case elf.PT_DYNAMIC:
		im.dyn = &h
	case elf.PT_GNU_RELRO:
		im.relro = &h
	case elf.PT_TLS:
		return errThreadLocal
	case elf.PT_GNU_STACK:
		if elf.ProgFlag(h.Flags)&elf.PF_X != 0 {
			return errors.New("it asks for an executable stack (link with -z noexecstack)")
		}
	}
	return nil
}

var errThreadLocal = errors.New("it has thread-local variables")

// segment checks a program header against the file and the segment before it.
func (im *image) segment(h elf.Prog64) (segment, error) {
	page := uint64(guard.PageSize())
	align := max(h.Align, page)
	s := segment{h, guard.None}
	switch {
	case h.Filesz > im.bytes || h.Off > im.bytes-h.Filesz:
		return s, fmt.Errorf("%d bytes at offset %d are not inside the file of %d", h.Filesz, h.Off, im.bytes)
	case h.Filesz > h.Memsz:
		return s, fmt.Errorf("%d bytes of the file do not fit into %d bytes of memory", h.Filesz, h.Memsz)
	case h.Memsz > maxAddress || h.Vaddr > maxAddress-h.Memsz:
		return s, fmt.Errorf("%d bytes at address %#x are more than addresses can hold", h.Memsz, h.Vaddr)
	case h.Align&(h.Align-1) != 0:
		return s, fmt.Errorf("its alignment %d is no power of two", h.Align)
	case align > maxAlign:
		return s, fmt.Errorf("its alignment %d is more than %d", h.Align, maxAlign)
	case h.Filesz > 0 && (h.Vaddr-h.Off)%align != 0:
		return s, fmt.Errorf("address %#x and file offset %#x differ modulo the alignment %d", h.Vaddr, h.Off, align)
	case len(im.segments) > 0 && roundDown(h.Vaddr, page) < roundUp(im.segments[len(im.segments)-1].end(), page):
		return s, fmt.Errorf("address %#x is not behind the OS pages of the segment before", h.Vaddr)
	}
	im.align = max(im.align, align)
	flags := elf.ProgFlag(h.Flags)
	switch writable, executable := flags&elf.PF_W != 0, flags&elf.PF_X != 0; {
	case writable && executable:
		return s, errors.New("it asks to be writable and executable at once")
	case writable:
		s.prot = guard.ReadWrite
	case h.Memsz > h.Filesz:
		return s, errors.New("it has zeroed memory that is not writable")
	case executable:
		s.prot = guard.ReadExecute
	case flags&elf.PF_R != 0:
		s.prot = guard.Read
	}
	return s, nil
}

func (s segment) end() uint64 { return s.Vaddr + s.Memsz }

// holds reports whether [addr, addr+n) lies inside the segment.
func (s segment) holds(addr, n uint64) bool {
	return addr >= s.Vaddr && addr <= s.end() && n <= s.end()-addr
}

// roundDown and roundUp return the next multiple of to, which is a power of two.
func roundDown(n, to uint64) uint64 { return n &^ (to - 1) }
func roundUp(n, to uint64) uint64   { return roundDown(n+to-1, to) }

// low returns the file's address that is loaded to the base of the region.
func (im *image) low() uint64 { return roundDown(im.segments[0].Vaddr, im.align) }

// size returns the bytes to reserve for the region.
func (im *image) size() uint64 {
	page := uint64(guard.PageSize())
	size := roundUp(im.segments[len(im.segments)-1].end(), page) - im.low()
	if im.align > page {
		size = max(size, maxAlign)
	}
	return size
}

// mapInto maps the segments into a region.
func (im *image) mapInto(r *region.Region) error {
	page, low := uint64(guard.PageSize()), im.low()
	for _, s := range im.segments {
		start, end := roundDown(s.Vaddr, page), roundUp(s.end(), page)
		fromFile := start
		if s.Filesz > 0 {
			fromFile = roundUp(s.Vaddr+s.Filesz, page)
		}
		if err := r.MapFile(int(start-low), int(fromFile-start), im.file, int64(roundDown(s.Off, page)), s.prot); err != nil {
			return err
		}
		if err := r.Commit(int(fromFile-low), int(end-fromFile)); err != nil {
			return err
		}
		if s.Memsz > s.Filesz && s.Filesz > 0 { // the segment goes on with zeroes, the OS page with the file's next bytes
			clear(r.Bytes()[s.Vaddr+s.Filesz-low : fromFile-low])
		}
	}
	return nil
}

// protectRelocated makes the range read-only that the file writes to by relocation alone. As linkers
// expect, the OS page where the range begins is part of it, and the OS page where it ends is not, unless
// the range fills it.
func (im *image) protectRelocated(r *region.Region) error {
	if im.relro == nil {
		return nil
	}
	page := uint64(guard.PageSize())
	h := *im.relro
	for _, s := range im.segments {
		if s.prot == guard.ReadWrite && h.Vaddr >= s.Vaddr && h.Vaddr < s.end() && h.Memsz <= roundUp(s.end(), page)-h.Vaddr {
			start, end := roundDown(h.Vaddr, page), roundDown(h.Vaddr+h.Memsz, page)
			return r.Protect(int(start-im.low()), int(max(end, start)-start), guard.Read)
		}
	}
	return fmt.Errorf("what should be read-only after relocation, %d bytes at %#x, is not in a writable segment", h.Memsz, h.Vaddr)
}

// readFile reads n bytes of the file from offset off. what names them in errors.
func (im *image) readFile(what string, off, n uint64) ([]byte, error) {
	switch {
	case n > im.bytes || off > im.bytes-n:
		return nil, fmt.Errorf("its %s, %d bytes at offset %d, are not inside the file of %d", what, n, off, im.bytes)
	case n > maxTable:
		return nil, fmt.Errorf("its %s have %d bytes, which is more than %d", what, n, maxTable)
	}
	data := make([]byte, n)
	_, err := im.file.ReadAt(data, int64(off))
	return data, err
}

// read reads n bytes from the file's address addr. what names them in errors.
func (im *image) read(what string, addr, n uint64) ([]byte, error) {
	for _, s := range im.segments {
		if addr >= s.Vaddr && n <= s.Filesz && addr-s.Vaddr <= s.Filesz-n {
			return im.readFile(what, s.Off+addr-s.Vaddr, n)
		}
	}
	return nil, fmt.Errorf("its %s, %d bytes at address %#x, are not inside a segment's part of the file", what, n, addr)
}

// table reads n bytes from at, by readFile or read, and decodes them as a table of T.
func table[T any](what string, read func(what string, at, n uint64) ([]byte, error), at, n uint64) ([]T, error) {
	var entry T
	each := uint64(binary.Size(entry))
	if n%each != 0 {
		return nil, fmt.Errorf("its %s have %d bytes, which is no multiple of %d", what, n, each)
	}
	data, err := read(what, at, n)
	if err != nil {
		return nil, err
	}
	entries := make([]T, n/each)
	_, err = binary.Decode(data, binary.LittleEndian, entries)
	return entries, err
}
