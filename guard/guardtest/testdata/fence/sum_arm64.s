#include "textflag.h"

// func sum(p *byte, n int) (total int)
TEXT ·sum(SB), NOSPLIT, $0-24
	MOVD p+0(FP), R0
	MOVD n+8(FP), R1
	MOVD ZR, R2
loop:
	CBZ  R1, done
	MOVBU (R0), R3
	ADD  R3, R2
	ADD  $1, R0
	SUB  $1, R1
	B    loop
done:
	MOVD R2, total+16(FP)
	RET
