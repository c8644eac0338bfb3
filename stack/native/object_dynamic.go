package native

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-9a6c551e/offheap/guard"
)

// dynamic has the tables that the dynamic section of an object points to.
type dynamic struct {
	im          *image
	tags        map[elf.DynTag]uint64
	names       string // names of symbols and libraries, each ended by a NUL
	symbols     []elf.Sym64
	relocations []elf.Rela64
	packed      []uint64 // relative relocations, packed: see relocatePacked
}

// Tags that debug/elf has no name for.
const (
	dtRelrSize  elf.DynTag = 35
	dtRelr      elf.DynTag = 36
	dtRelrEntry elf.DynTag = 37
)

// dynamic reads the dynamic section and its tables. It refuses objects that need something that LoadObject
// does not do.
func (im *image) dynamic() (*dynamic, error) {
	entries, err := table[elf.Dyn64]("dynamic section", im.read, im.dyn.Vaddr, im.dyn.Filesz)
	if err != nil {
		return nil, err
	}
	d := &dynamic{im: im, tags: map[elf.DynTag]uint64{}}
	var libraries []uint64
	for _, e := range entries {
		tag := elf.DynTag(e.Tag)
		if tag == elf.DT_NULL {
			break
		}
		if tag == elf.DT_NEEDED {
			libraries = append(libraries, e.Val)
		}
		d.tags[tag] = e.Val
	}
	names, err := im.read("names", d.tags[elf.DT_STRTAB], d.tags[elf.DT_STRSZ])
	if err != nil {
		return nil, err
	}
	d.names = string(names)
	if err := d.refuse(libraries); err != nil {
		return nil, err
	}
	if err := d.readSymbols(); err != nil {
		return nil, err
	}
	return d, d.readRelocations()
}

// refuse returns an error if the object needs libraries or something else that LoadObject does not do.
func (d *dynamic) refuse(libraries []uint64) error {
	if len(libraries) > 0 {
		return fmt.Errorf("it needs libraries: %s", d.list(libraries))
	}
	for _, tag := range []elf.DynTag{elf.DT_INIT, elf.DT_FINI, elf.DT_INIT_ARRAYSZ, elf.DT_FINI_ARRAYSZ, elf.DT_PREINIT_ARRAYSZ} {
		if d.tags[tag] != 0 {
			return fmt.Errorf("it has constructors or destructors (%v)", tag)
		}
	}
	flags := elf.DynFlag(d.tags[elf.DT_FLAGS])
	_, inCode := d.tags[elf.DT_TEXTREL]
	switch {
	case inCode || flags&elf.DF_TEXTREL != 0:
		return errors.New("it has relocations in code (compile with -fPIC)")
	case flags&elf.DF_STATIC_TLS != 0:
		return errThreadLocal
	}
	for tag, size := range map[elf.DynTag]any{elf.DT_SYMENT: elf.Sym64{}, elf.DT_RELAENT: elf.Rela64{}, dtRelrEntry: uint64(0)} {
		if got, found := d.tags[tag]; found && got != uint64(binary.Size(size)) {
			return fmt.Errorf("its tables have entries of %d bytes (%v)", got, tag)
		}
	}
	if kind, found := d.tags[elf.DT_PLTREL]; d.tags[elf.DT_RELSZ] != 0 || found && kind != uint64(elf.DT_RELA) {
		return errors.New("it has relocations without addends (DT_REL)")
	}
	return nil
}

// name returns the name that begins at offset off of the names.
func (d *dynamic) name(off uint64) string {
	if off >= uint64(len(d.names)) {
		return "(no name)"
	}
	name, _, _ := strings.Cut(d.names[off:], "\x00")
	return name
}

// list returns names for an error: at most 10, and each cut to 100 bytes.
func (d *dynamic) list(offsets []uint64) string {
	const most = 10
	var b strings.Builder
	for i, off := range offsets {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(offsets)-most)
			break
		}
		fmt.Fprintf(&b, ", %.100s", d.name(off))
	}
	return strings.TrimPrefix(b.String(), ", ")
}

// readSymbols reads the symbol table. Symbols that are undefined must be weak.
func (d *dynamic) readSymbols() error {
	n, err := d.countSymbols()
	if err != nil {
		return err
	}
	d.symbols, err = table[elf.Sym64]("symbols", d.im.read, d.tags[elf.DT_SYMTAB], n*elf.Sym64Size)
	if err != nil {
		return err
	}
	var undefined []uint64
	for i, s := range d.symbols {
		if i > 0 && elf.SectionIndex(s.Shndx) == elf.SHN_UNDEF && elf.ST_BIND(s.Info) != elf.STB_WEAK {
			undefined = append(undefined, uint64(s.Name))
		}
	}
	if len(undefined) > 0 {
		return fmt.Errorf("it needs symbols: %s", d.list(undefined))
	}
	return nil
}

// countSymbols returns the length of the symbol table. Only the hash tables over the symbols tell it.
func (d *dynamic) countSymbols() (uint64, error) {
	if addr, found := d.tags[elf.DT_HASH]; found {
		// The table begins with the number of buckets and the number of symbols.
		head, err := table[uint32]("hash table", d.im.read, addr, 8)
		if err != nil {
			return 0, err
		}
		return uint64(head[1]), nil
	}
	addr, found := d.tags[elf.DT_GNU_HASH]
	if !found {
		return 0, errors.New("it has no hash table over its symbols")
	}
	// The table begins with the number of buckets, the first symbol that is hashed, the words of the filter,
	// and its shift.
	head, err := table[uint32]("hash table", d.im.read, addr, 16)
	if err != nil {
		return 0, err
	}
	addr += 16 + 8*uint64(head[2])
	buckets, err := table[uint32]("hash buckets", d.im.read, addr, 4*uint64(head[0]))
	if err != nil {
		return 0, err
	}
	first, last := uint64(head[1]), uint64(0)
	for _, b := range buckets {
		last = max(last, uint64(b))
	}
	if last < first {
		return 0, errors.New("it exports no symbols")
	}
	// A bucket holds the first symbol of its chain. The last symbol is the end of the last chain; an odd hash
	// marks the end of a chain.
	addr += 4 * uint64(head[0])
	for ; ; last++ {
		hash, err := table[uint32]("hash chain", d.im.read, addr+4*(last-first), 4)
		if err != nil || hash[0]&1 != 0 {
			return last + 1, err
		}
	}
}

// functions returns the functions that the object exports, as distances from the region's base.
func (d *dynamic) functions() map[string]uintptr {
	all := map[string]uintptr{}
	for _, s := range d.symbols {
		section := elf.SectionIndex(s.Shndx)
		if section != elf.SHN_UNDEF && section != elf.SHN_ABS && elf.ST_BIND(s.Info) != elf.STB_LOCAL &&
			elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Value%instructionAlign == 0 && d.executable(s.Value) {
			all[d.name(uint64(s.Name))] = uintptr(s.Value - d.im.low())
		}
	}
	return all
}

// executable reports whether an address of the file lies in an executable segment.
func (d *dynamic) executable(addr uint64) bool {
	for _, s := range d.im.segments {
		if s.prot == guard.ReadExecute && s.holds(addr, 1) {
			return true
		}
	}
	return false
}
