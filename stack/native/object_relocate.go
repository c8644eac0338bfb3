package native

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// relocation is a way to compute the value of a word. Each machine has its own numbers for these ways:
// see relocationOf.
type relocation uint8

const (
	unknown     relocation = iota
	nothing                // the word stays as it is
	relative               // base of the object + addend
	symbolic               // address of the symbol + addend
	indirect               // result of a function of the object; refused
	threadLocal            // place of a thread-local variable; refused
)

var errIndirect = errors.New("it has indirect functions (IFUNC)")

// readRelocations reads the tables of relocations.
func (d *dynamic) readRelocations() (err error) {
	for _, x := range []struct{ at, size elf.DynTag }{{elf.DT_RELA, elf.DT_RELASZ}, {elf.DT_JMPREL, elf.DT_PLTRELSZ}} {
		if d.tags[x.size] == 0 {
			continue
		}
		more, err := table[elf.Rela64]("relocations", d.im.read, d.tags[x.at], d.tags[x.size])
		if err != nil {
			return err
		}
		d.relocations = append(d.relocations, more...)
	}
	if size := d.tags[dtRelrSize]; size != 0 {
		d.packed, err = table[uint64]("packed relocations", d.im.read, d.tags[dtRelr], size)
	}
	return err
}

// relocator writes addresses into an object that is mapped.
type relocator struct {
	*dynamic
	memory []byte
	bias   uint64 // distance from an address of the file to the address in memory
}

// relocate writes all addresses into the segments, which are mapped in r.
func (d *dynamic) relocate(r *region.Region) error {
	w := relocator{d, r.Bytes(), uint64(uintptr(r.Base())) - d.im.low()}
	if err := w.relocatePacked(); err != nil {
		return err
	}
	for _, rel := range d.relocations {
		if err := w.relocateOne(rel); err != nil {
			return err
		}
	}
	return nil
}

// relocateOne writes the word of one relocation.
func (r relocator) relocateOne(rel elf.Rela64) error {
	kind := elf.R_TYPE64(rel.Info)
	value := r.bias
	switch relocationOf(kind) {
	case nothing:
		return nil
	case relative:
	case symbolic:
		var err error
		if value, err = r.address(elf.R_SYM64(rel.Info)); err != nil {
			return err
		}
	case indirect:
		return errIndirect
	case threadLocal:
		return errThreadLocal
	default:
		return fmt.Errorf("it has a relocation that is not known here (%s)", relocationName(kind))
	}
	word, err := r.word(rel.Off)
	if err == nil {
		binary.LittleEndian.PutUint64(word, value+uint64(rel.Addend))
	}
	return err
}

// address returns the address of a symbol in memory.
func (r relocator) address(index uint32) (uint64, error) {
	if uint64(index) >= uint64(len(r.symbols)) {
		return 0, fmt.Errorf("a relocation names symbol %d of %d", index, len(r.symbols))
	}
	s := r.symbols[index]
	switch section := elf.SectionIndex(s.Shndx); {
	case section == elf.SHN_UNDEF:
		return 0, nil // a weak symbol: readSymbols refuses others
	case elf.ST_TYPE(s.Info) == elf.STT_GNU_IFUNC:
		return 0, errIndirect
	case elf.ST_TYPE(s.Info) == elf.STT_TLS:
		return 0, errThreadLocal
	case section == elf.SHN_ABS:
		return s.Value, nil
	}
	return r.bias + s.Value, nil
}

// word returns the 8 bytes in memory of a word at an address of the file.
func (r relocator) word(addr uint64) ([]byte, error) {
	for _, s := range r.im.segments {
		if s.prot == guard.ReadWrite && s.holds(addr, 8) {
			return r.memory[addr-r.im.low():][:8], nil
		}
	}
	return nil, fmt.Errorf("a relocation at address %#x is not in a writable segment", addr)
}

// relocatePacked adds the bias to the words that the packed table names. An even entry is the address of a
// word. An odd entry is a bitmap of the next 63 words; its lowest bit stands for none of them.
func (r relocator) relocatePacked() error {
	var next uint64
	for _, entry := range r.packed {
		if entry&1 == 0 {
			if err := r.addBias(entry); err != nil {
				return err
			}
			next = entry + 8
			continue
		}
		for at, bits := next, entry>>1; bits != 0; at, bits = at+8, bits>>1 {
			if bits&1 != 0 {
				if err := r.addBias(at); err != nil {
					return err
				}
			}
		}
		next += 63 * 8
	}
	return nil
}

// addBias adds the bias to one word.
func (r relocator) addBias(addr uint64) error {
	word, err := r.word(addr)
	if err == nil {
		binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)+r.bias)
	}
	return err
}
