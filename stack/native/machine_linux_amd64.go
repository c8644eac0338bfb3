package native

import (
	"debug/elf"
	"unsafe"
)

const (
	machine          = elf.EM_X86_64
	instructionAlign = 1
)

// syncCode does nothing: this machine sees to it that what was written is what is executed.
func syncCode(start, end unsafe.Pointer) {}

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

func relocationName(kind uint32) string { return elf.R_X86_64(kind).String() }
