package native

import (
	"debug/elf"
	"unsafe"
)

const (
	machine          = elf.EM_X86_64
	instructionAlign = 1
)

// syncCode does nothing: the caches of this machine are coherent.
func syncCode(start, end unsafe.Pointer) {}

// relocationOf translates the type of a relocation from the machine's number.
func relocationOf(kind uint32) relocation {
	switch elf.R_X86_64(kind) {
	case elf.R_X86_64_NONE:
		return nothing
	case elf.R_X86_64_RELATIVE:
		return relative
	case elf.R_X86_64_64, elf.R_X86_64_GLOB_DAT, elf.R_X86_64_JMP_SLOT:
		return symbolic
	case elf.R_X86_64_IRELATIVE:
		return indirect
	case elf.R_X86_64_DTPMOD64, elf.R_X86_64_DTPOFF64, elf.R_X86_64_TPOFF64, elf.R_X86_64_TLSDESC:
		return threadLocal
	}
	return unknown
}

// relocationName returns the name of the type of a relocation, for errors.
func relocationName(kind uint32) string { return elf.R_X86_64(kind).String() }
