//go:build !linux || !(amd64 || arm64)

package native

import (
	"debug/elf"
	"unsafe"
)

const (
	machine          = elf.EM_NONE
	instructionAlign = 1
)

// None of these is called: see checkSupported.

func syncCode(start, end unsafe.Pointer)  {}
func relocationOf(kind uint32) relocation { return unknown }
func relocationName(kind uint32) string   { return "" }
