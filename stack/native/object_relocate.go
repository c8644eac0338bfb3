package native

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// relocation is what is to be done to a word. The machine's own numbers for it are in relocationOf.
type relocation uint8

const (
	unknown     relocation = iota
	nothing                // a place that the linker left empty
	relative               // it becomes the object's base and the addend
	symbolic               // it becomes the symbol's address and the addend
	indirect               // what a function of the object returns, which is not called here
	threadLocal            // the place of a thread-local variable
)

var errIndirect = errors.New("it has indirect functions (IFUNC)")

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

// placed is an object in memory.
type placed struct {
	*dynamic
	memory []byte
	bias   uint64 // from the file's addresses to those in memory
}

// relocate fills in all addresses, for the segments as they lie in r.
func (d *dynamic) relocate(r *region.Region) error {
	p := placed{d, r.Bytes(), uint64(uintptr(r.Base())) - d.im.low()}
	if err := p.relocatePacked(); err != nil {
		return err
	}
	for _, rel := range d.relocations {
		if err := p.relocateOne(rel); err != nil {
			return err
		}
	}
	return nil
}

func (p placed) relocateOne(rel elf.Rela64) error {
	kind := elf.R_TYPE64(rel.Info)
	value := p.bias
	switch relocationOf(kind) {
	case nothing:
		return nil
	case relative:
	case symbolic:
		var err error
		if value, err = p.address(elf.R_SYM64(rel.Info)); err != nil {
			return err
		}
	case indirect:
		return errIndirect
	case threadLocal:
		return errThreadLocal
	default:
		return fmt.Errorf("it has a relocation that is not known here (%s)", relocationName(kind))
	}
	word, err := p.word(rel.Off)
	if err == nil {
		binary.LittleEndian.PutUint64(word, value+uint64(rel.Addend))
	}
	return err
}

// address returns where a symbol is in memory.
func (p placed) address(index uint32) (uint64, error) {
	if uint64(index) >= uint64(len(p.symbols)) {
		return 0, fmt.Errorf("a relocation names symbol %d of %d", index, len(p.symbols))
	}
	s := p.symbols[index]
	switch section := elf.SectionIndex(s.Shndx); {
	case section == elf.SHN_UNDEF:
		return 0, nil // weak: readSymbols has seen to it
	case elf.ST_TYPE(s.Info) == elf.STT_GNU_IFUNC:
		return 0, errIndirect
	case elf.ST_TYPE(s.Info) == elf.STT_TLS:
		return 0, errThreadLocal
	case section == elf.SHN_ABS:
		return s.Value, nil
	}
	return p.bias + s.Value, nil
}

// word returns the memory of a word to be relocated.
func (p placed) word(addr uint64) ([]byte, error) {
	for _, s := range p.im.segments {
		if s.prot == guard.ReadWrite && s.holds(addr, 8) {
			return p.memory[addr-p.im.low():][:8], nil
		}
	}
	return nil, fmt.Errorf("a relocation at address %#x is not in a writable segment", addr)
}

// relocatePacked adds the base to the words that the table names: an even entry is the address of
// one; the bits of an odd one, but for the lowest, stand for the 63 words that follow.
func (p placed) relocatePacked() error {
	var next uint64
	for _, entry := range p.packed {
		if entry&1 == 0 {
			if err := p.addBase(entry); err != nil {
				return err
			}
			next = entry + 8
			continue
		}
		for at, bits := next, entry>>1; bits != 0; at, bits = at+8, bits>>1 {
			if bits&1 != 0 {
				if err := p.addBase(at); err != nil {
					return err
				}
			}
		}
		next += 63 * 8
	}
	return nil
}

func (p placed) addBase(addr uint64) error {
	word, err := p.word(addr)
	if err == nil {
		binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)+p.bias)
	}
	return err
}
