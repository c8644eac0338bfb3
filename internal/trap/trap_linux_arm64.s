#include "go_asm.h"
#include "textflag.h"

// Offsets in the kernel's siginfo and ucontext (uapi asm-generic/siginfo.h, asm/sigcontext.h).
#define info_code 8
#define info_addr 16
#define ctx_r0 184
#define ctx_r1 192
#define ctx_r2 200
#define ctx_r3 208
#define ctx_r19 336
#define ctx_r28 408
#define ctx_sp 432
#define ctx_pc 440

// The frame of Call and CallF on Go's stack.
#define frame 32
#define frame_g 16

// ENTER leaves the Block in R19, which the C ABI preserves, fn in R9 and args in R12; Go's stack holds
// the frame pointer, the way back, and the goroutine. LEAVE is the way back.
#define ENTER \
	MOVD b+0(FP), R19; \
	MOVD fn+8(FP), R9; \
	MOVD sp+16(FP), R10; \
	MOVD args+24(FP), R12; \
	SUB  $frame, RSP; \
	STP  (R29, R30), 0(RSP); \
	MOVD g, frame_g(RSP); \
	MOVD RSP, R11; \
	MOVD R11, (R19); \
	MOVD R10, RSP

#define LEAVE \
	MOVD (R19), R11; \
	MOVD R11, RSP; \
	MOVD ZR, (R19); \
	LDP  0(RSP), (R29, R30); \
	MOVD frame_g(RSP), g; \
	ADD  $frame, RSP

// func Call(b *Block, fn, sp uintptr, args *[6]uintptr) (out uintptr, stop Stop)
TEXT ·Call(SB), NOSPLIT|NOFRAME, $0-72
	ENTER
	LDP  0(R12), (R0, R1)
	LDP  16(R12), (R2, R3)
	LDP  32(R12), (R4, R5)
	CALL (R9)
	LEAVE
	MOVD R0, out+32(FP)
	MOVD ZR, stop_Signal+40(FP)
	RET

// func CallF(b *Block, fn, sp uintptr, args *[8]float64) (out float64, stop Stop)
TEXT ·CallF(SB), NOSPLIT|NOFRAME, $0-72
	ENTER
	FLDPD 0(R12), (F0, F1)
	FLDPD 16(R12), (F2, F3)
	FLDPD 32(R12), (F4, F5)
	FLDPD 48(R12), (F6, F7)
	CALL (R9)
	LEAVE
	FMOVD F0, out+32(FP)
	MOVD ZR, stop_Signal+40(FP)
	RET

// landing is where a thread goes on whose native code was stopped: in the frame of Call or CallF,
// with the Block in R19, the signal in R0, the address in R1, the instruction in R2 and the signal's
// code in R3. The code may have left the floating-point unit in any state.
TEXT landing<>(SB), NOSPLIT|NOFRAME, $0-72
	MSR  ZR, FPCR
	LEAVE
	MOVD R0, stop_Signal+40(FP)
	MOVD R3, stop_Code+48(FP)
	MOVD R1, stop_Addr+56(FP)
	MOVD R2, stop_PC+64(FP)
	RET

// handler is called by the kernel, on the thread's signal stack, with the signal in R0, siginfo in
// R1, ucontext in R2, the way back in R30.
TEXT handler<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0-0
	MOVD $·looking(SB), R15
enter:
	LDAXR (R15), R11
	ADD   $1, R11
	STLXR R11, (R15), R12
	CBNZ  R12, enter
	MOVD ctx_sp(R2), R9
	MOVD ·areas(SB), R10
area:
	CBZ  R10, nobody
	ADD  $Area_size, R10, R11
	LDAR (R11), R12 // first: an area that is used again gets its size last
	MOVD Area_lo(R10), R11
	SUB  R11, R9, R11
	CMP  R12, R11
	BLO  cell
	MOVD Area_next(R10), R10
	B    area
cell:
	MOVD Area_stride(R10), R12
	UDIV R12, R11, R11
	MOVD Area_step(R10), R12
	MUL  R12, R11, R11
	MOVD Area_blocks(R10), R12
	ADD  R12, R11, R11
	MOVD (R11), R12
	CBZ  R12, nobody // no native code here: a thread of C's may use the stack

	// The Block in R11, Go's stack pointer in R12. Go's handler needs the goroutine.
	MOVD frame_g(R12), g
	MOVW info_code(R1), R13
	CMPW $0, R13
	BLE  nobody // sent by a process
	CMPW $11, R0 // SIGSEGV
	BEQ  found
	CMPW $7, R0 // SIGBUS
	BEQ  found
	CMPW $8, R0 // SIGFPE
	BEQ  found
	CMPW $5, R0 // SIGTRAP
	BEQ  found
	CMPW $4, R0 // SIGILL
	BNE  nobody
found:
	MOVD R11, ctx_r19(R2)
	MOVD R12, ctx_sp(R2)
	MOVD g, ctx_r28(R2) // a signal may come before landing has it
	MOVD ctx_pc(R2), R13
	MOVD R13, ctx_r2(R2)
	MOVD info_addr(R1), R13
	MOVD R13, ctx_r1(R2)
	MOVW info_code(R1), R13
	MOVD R13, ctx_r3(R2)
	MOVWU R0, R13
	MOVD R13, ctx_r0(R2)
	MOVD $landing<>(SB), R13
	MOVD R13, ctx_pc(R2)
leave:
	LDAXR (R15), R11
	SUB   $1, R11
	STLXR R11, (R15), R12
	CBNZ  R12, leave
	RET

nobody:
	LDAXR (R15), R11
	SUB   $1, R11
	STLXR R11, (R15), R12
	CBNZ  R12, nobody
	CMPW  $11, R0 // SIGSEGV
	BEQ   touch
	CMPW  $7, R0 // SIGBUS
	BNE   chain
touch:
	MOVW info_code(R1), R13
	CMPW $0, R13
	BLE  chain // sent by a process
	MOVD RSP, R13
	SUB  $(80+(text__size+15)&~15), R13 // by way of a register: the linker counts what RSP moves by
	MOVD R13, RSP
	STP  (R0, R1), 48(RSP)
	STP  (R2, R30), 64(RSP)
	MOVD info_addr(R1), R13
	MOVD R13, 8(RSP)
	MOVD ctx_pc(R2), R13
	MOVD R13, 16(RSP)
	MOVWU R0, R13
	MOVD R13, 24(RSP)
	MOVD ctx_r28(R2), R13 // the goroutine, if this is Go code
	MOVD R13, 32(RSP)
	MOVD RSP, R13
	ADD  $80, R13
	MOVD R13, 40(RSP)
	MOVD $·onFault(SB), R13
	CALL (R13) // func(addr, pc, sig uintptr, g unsafe.Pointer, t *text)
	LDP  48(RSP), (R0, R1)
	LDP  64(RSP), (R2, R30)
	MOVD RSP, R13
	ADD  $(80+(text__size+15)&~15), R13
	MOVD R13, RSP
chain:
	MOVWU R0, R13
	MOVD $·old(SB), R12
	MOVD (R12)(R13<<3), R12
	B    (R12)

// func take(word *uint32) bool
TEXT ·take(SB), NOSPLIT, $0-9
	MOVD word+0(FP), R0
	MOVD $1, R1
again:
	LDAXRW (R0), R2
	CBNZW  R2, taken
	STLXRW R1, (R0), R3
	CBNZW  R3, again
	MOVB   R1, ret+8(FP)
	RET
taken:
	CLREX
	MOVB ZR, ret+8(FP)
	RET

// func drop(word *uint32)
TEXT ·drop(SB), NOSPLIT, $0-8
	MOVD  word+0(FP), R0
	STLRW ZR, (R0)
	RET

// func getg() unsafe.Pointer
TEXT ·getg(SB), NOSPLIT, $0-8
	MOVD g, ret+0(FP)
	RET

// func handlerAddr() uintptr
TEXT ·handlerAddr(SB), NOSPLIT, $0-8
	MOVD $handler<>(SB), R0
	MOVD R0, ret+0(FP)
	RET
