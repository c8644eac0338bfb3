#include "textflag.h"

// func syncCode(start, end unsafe.Pointer)
//
// CTR_EL0 holds the size of the smallest line of each cache, as the binary logarithm of the number of its
// 4-byte words: bits 3 to 0 for instructions, bits 19 to 16 for data.
TEXT ·syncCode(SB), NOSPLIT, $0-16
	MOVD	start+0(FP), R0
	MOVD	end+8(FP), R1
	MRS	CTR_EL0, R2
	MOVD	$4, R3

	// Write the data lines back to the point where both caches meet.
	UBFX	$16, R2, $4, R4
	LSL	R4, R3, R5
	NEG	R5, R6
	AND	R6, R0, R7
clean:
	DC	CVAU, R7
	ADD	R5, R7
	CMP	R1, R7
	BLO	clean
	DSB	$11 // ISH

	// Then drop the instruction lines of all processors, so that they are fetched again.
	AND	$15, R2, R4
	LSL	R4, R3, R5
	NEG	R5, R6
	AND	R6, R0, R7
invalidate:
	SYS	$0x37520, R7 // IC IVAU, which the assembler does not know
	ADD	R5, R7
	CMP	R1, R7
	BLO	invalidate
	DSB	$11 // ISH
	ISB	$15
	RET
