#include "go_asm.h"
#include "textflag.h"

// Offsets in the kernel's siginfo and ucontext (uapi asm/siginfo.h, asm/sigcontext.h).
#define info_code 8
#define info_addr 16
#define ctx_rdx 136
#define ctx_rax 144
#define ctx_rcx 152
#define ctx_rbx 128
#define ctx_rsp 160
#define ctx_rip 168
#define ctx_eflags 176

// The start of the runtime's g: the bounds of its stack.
#define g_stack_lo 0
#define g_stack_hi 8

// ENTER leaves the Block in BX and Args in R12, which the C ABI preserves, and fn in AX; Go's stack
// holds BP and Args. LEAVE is the way back.
#define ENTER \
	MOVQ b+0(FP), BX; \
	MOVQ fn+8(FP), AX; \
	MOVQ sp+16(FP), R11; \
	MOVQ a+24(FP), R12; \
	LEAQ -16(SP), SP; \
	MOVQ R12, 0(SP); \
	MOVQ BP, 8(SP); \
	MOVQ SP, (BX); \
	MOVQ R11, SP

#define LEAVE \
	MOVQ (BX), SP; \
	MOVQ $0, (BX); \
	MOVQ 0(SP), R12; \
	MOVQ 8(SP), BP; \
	LEAQ 16(SP), SP

// func Call(b *Block, fn, sp uintptr, a *Args)
TEXT ·Call(SB), NOSPLIT|NOFRAME, $0-32
	ENTER
	MOVQ Args_In+0(R12), DI
	MOVQ Args_In+8(R12), SI
	MOVQ Args_In+16(R12), DX
	MOVQ Args_In+24(R12), CX
	MOVQ Args_In+32(R12), R8
	MOVQ Args_In+40(R12), R9
	CALL AX
	LEAVE
	MOVQ AX, Args_Out(R12)
	RET

// func CallF(b *Block, fn, sp uintptr, a *Args)
TEXT ·CallF(SB), NOSPLIT|NOFRAME, $0-32
	ENTER
	MOVSD Args_In+0(R12), X0
	MOVSD Args_In+8(R12), X1
	MOVSD Args_In+16(R12), X2
	MOVSD Args_In+24(R12), X3
	MOVSD Args_In+32(R12), X4
	MOVSD Args_In+40(R12), X5
	MOVSD Args_In+48(R12), X6
	MOVSD Args_In+56(R12), X7
	CALL AX
	LEAVE
	MOVSD X0, Args_Out(R12)
	RET

// landing is where a thread goes on whose native code was stopped: in the frame of Call or CallF,
// with the Block in BX, the signal in AX, the address in DX and the instruction in CX. The code may
// have left the floating-point unit in any state.
TEXT landing<>(SB), NOSPLIT|NOFRAME, $0-0
	LDMXCSR mxcsr<>(SB)
	EMMS
	LEAVE
	MOVQ AX, Args_Signal(R12)
	MOVQ DX, Args_Addr(R12)
	MOVQ CX, Args_PC(R12)
	RET

// What Go and C start with: all exceptions masked, rounding to nearest.
DATA mxcsr<>+0(SB)/4, $0x1f80
GLOBL mxcsr<>(SB), RODATA|NOPTR, $4

// handler is called by the kernel, on the thread's signal stack, with the signal in DI, siginfo in
// SI, ucontext in DX. It uses AX, CX and R8 to R11, which are anybody's.
TEXT handler<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0-0
	CMPL info_code(SI), $0 // sent by a process
	JLE  chain
	MOVQ (TLS), R8
	TESTQ R8, R8 // not a thread of Go's
	JZ   chain
	MOVQ ctx_rsp(DX), R9
	CMPQ R9, g_stack_lo(R8)
	JB   native
	CMPQ R9, g_stack_hi(R8)
	JB   chain // Go code
native:
	MOVQ ·areas(SB), R10
area:
	TESTQ R10, R10
	JZ   search
	MOVQ R9, AX
	SUBQ Area_lo(R10), AX
	CMPQ AX, Area_size(R10)
	JB   cell
	MOVQ Area_next(R10), R10
	JMP  area
cell:
	MOVQ DX, R11
	XORL DX, DX
	DIVQ Area_stride(R10)
	MOVQ R11, DX
	IMULQ Area_step(R10), AX
	ADDQ Area_blocks(R10), AX
	MOVQ (AX), CX
	CMPQ CX, g_stack_lo(R8)
	JB   search
	CMPQ CX, g_stack_hi(R8)
	JB   found

	// The stack pointer is not where it should be. A goroutine runs native code on one stack
	// at most: it is the Block that points into the goroutine's own.
search:
	MOVQ ·areas(SB), R10
searchArea:
	TESTQ R10, R10
	JZ   chain
	MOVQ Area_blocks(R10), AX
	MOVQ Area_size(R10), R9
block:
	SUBQ Area_stride(R10), R9
	JB   areaDone
	MOVQ (AX), CX
	CMPQ CX, g_stack_lo(R8)
	JB   blockNext
	CMPQ CX, g_stack_hi(R8)
	JB   found
blockNext:
	ADDQ Area_step(R10), AX
	JMP  block
areaDone:
	MOVQ Area_next(R10), R10
	JMP  searchArea

found: // the Block in AX, Go's stack pointer in CX
	MOVQ AX, ctx_rbx(DX)
	MOVQ CX, ctx_rsp(DX)
	MOVQ ctx_rip(DX), R8
	MOVQ R8, ctx_rcx(DX)
	MOVQ info_addr(SI), R8
	MOVQ R8, ctx_rdx(DX)
	MOVL DI, R8
	MOVQ R8, ctx_rax(DX)
	LEAQ landing<>(SB), R8
	MOVQ R8, ctx_rip(DX)
	ANDQ $~0x40500, ctx_eflags(DX) // direction, trap and alignment-check flags
	RET

chain:
	MOVL DI, AX
	LEAQ ·old(SB), R8
	MOVQ (R8)(AX*8), AX
	JMP  AX

// func handlerAddr() uintptr
TEXT ·handlerAddr(SB), NOSPLIT, $0-8
	LEAQ handler<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET
