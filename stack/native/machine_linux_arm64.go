package native

import (
	"debug/elf"
	"unsafe"
)

const (
	machine          = elf.EM_AARCH64
	instructionAlign = 4
)

// syncCode makes code that was written to [start, end) visible to instruction fetches, which do not go
// through the data cache. The memory must be readable.
//
//go:noescape
func syncCode(start, end unsafe.Pointer)

// relocationOf translates the type of a relocation from the machine's number.
func relocationOf(kind uint32) relocation {
	switch elf.R_AARCH64(kind) {
	case elf.R_AARCH64_NONE, elf.R_AARCH64_NULL:
		return nothing
	case elf.R_AARCH64_RELATIVE:
		return relative
	case elf.R_AARCH64_ABS64, elf.R_AARCH64_GLOB_DAT, elf.R_AARCH64_JUMP_SLOT:
		return symbolic
	case elf.R_AARCH64_IRELATIVE:
		return indirect
	case elf.R_AARCH64_TLS_DTPMOD64, elf.R_AARCH64_TLS_DTPREL64, elf.R_AARCH64_TLS_TPREL64, elf.R_AARCH64_TLSDESC:
		return threadLocal
	}
	return unknown
}

// relocationName returns the name of the type of a relocation, for errors.
func relocationName(kind uint32) string { return elf.R_AARCH64(kind).String() }
