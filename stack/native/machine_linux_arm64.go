package native

import (
	"debug/elf"
	"unsafe"
)

const (
	machine          = elf.EM_AARCH64
	instructionAlign = 4
)

// syncCode makes what was written to [start, end) what is executed there: instructions do not come
// through the data cache. The memory must be readable.
//
//go:noescape
func syncCode(start, end unsafe.Pointer)

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

func relocationName(kind uint32) string { return elf.R_AARCH64(kind).String() }
