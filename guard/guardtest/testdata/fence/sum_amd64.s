#include "textflag.h"

// func sum(p *byte, n int) (total int)
TEXT ·sum(SB), NOSPLIT, $0-24
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	XORL AX, AX
loop:
	TESTQ CX, CX
	JZ   done
	MOVBLZX (SI), DX
	ADDQ DX, AX
	INCQ SI
	DECQ CX
	JMP  loop
done:
	MOVQ AX, total+16(FP)
	RET
