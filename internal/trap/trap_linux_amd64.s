#include "go_asm.h"
#include "textflag.h"

// Offsets in the kernel's siginfo and ucontext (uapi asm/siginfo.h, asm/sigcontext.h).
#define info_code 8
#define info_addr 16
#define ctx_rsi 112
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

// ENTER leaves the Block in BX and Go's stack pointer in R12, which the C ABI preserves, fn in AX and
// args in R10. LEAVE is the way back: by R12 and not by the Block, which would be a load that waits for
// the store (1 ns).
#define ENTER \
	MOVQ b+0(FP), BX; \
	MOVQ fn+8(FP), AX; \
	MOVQ sp+16(FP), R11; \
	MOVQ args+24(FP), R10; \
	LEAQ -8(SP), SP; \
	MOVQ BP, 0(SP); \
	MOVQ SP, R12; \
	MOVQ R12, (BX); \
	MOVQ R11, SP

#define LEAVE \
	MOVQ R12, SP; \
	MOVQ $0, (BX); \
	MOVQ 0(SP), BP; \
	LEAQ 8(SP), SP

// func Call(b *Block, fn, sp uintptr, args *[6]uintptr) (out uintptr, stop Stop)
TEXT ·Call(SB), NOSPLIT|NOFRAME, $0-72
	ENTER
	MOVQ 0(R10), DI
	MOVQ 8(R10), SI
	MOVQ 16(R10), DX
	MOVQ 24(R10), CX
	MOVQ 32(R10), R8
	MOVQ 40(R10), R9
	CALL AX
	LEAVE
	MOVQ AX, out+32(FP)
	MOVQ $0, stop_Signal+40(FP)
	RET

// func CallF(b *Block, fn, sp uintptr, args *[8]float64) (out float64, stop Stop)
TEXT ·CallF(SB), NOSPLIT|NOFRAME, $0-72
	ENTER
	MOVSD 0(R10), X0
	MOVSD 8(R10), X1
	MOVSD 16(R10), X2
	MOVSD 24(R10), X3
	MOVSD 32(R10), X4
	MOVSD 40(R10), X5
	MOVSD 48(R10), X6
	MOVSD 56(R10), X7
	CALL AX
	LEAVE
	MOVSD X0, out+32(FP)
	MOVQ $0, stop_Signal+40(FP)
	RET

// landing is where a thread goes on whose native code was stopped: in the frame of Call or CallF,
// with the Block in BX, the signal in AX, its code in SI, the address in DX and the instruction in CX.
// The code may have left the floating-point unit in any state, with an exception pending too, so what
// resets it must not wait for that.
TEXT landing<>(SB), NOSPLIT|NOFRAME, $0-72
	LDMXCSR mxcsr<>(SB)
	BYTE $0xdb; BYTE $0xe3 // FNINIT
	MOVQ (BX), R12
	LEAVE
	MOVQ AX, stop_Signal+40(FP)
	MOVQ SI, stop_Code+48(FP)
	MOVQ DX, stop_Addr+56(FP)
	MOVQ CX, stop_PC+64(FP)
	RET

// What Go and C start with: all exceptions masked, rounding to nearest.
DATA mxcsr<>+0(SB)/4, $0x1f80
GLOBL mxcsr<>(SB), RODATA|NOPTR, $4

// handler is called by the kernel, on the thread's signal stack, with the signal in DI, siginfo in
// SI, ucontext in DX. It may use all registers: the kernel gives the thread back those in ucontext.
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
	JB   goCode
native:
	LOCK
	INCQ ·looking(SB)
	MOVQ ·areas(SB), R10
area:
	TESTQ R10, R10
	JZ   search
	MOVQ Area_size(R10), CX // first: an area that is used again gets its size last
	MOVQ R9, AX
	SUBQ Area_lo(R10), AX
	CMPQ AX, CX
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
	JZ   nobody
	MOVQ Area_size(R10), R9
	MOVQ Area_blocks(R10), AX
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
	MOVLQSX info_code(SI), R8
	MOVQ R8, ctx_rsi(DX)
	MOVL DI, R8
	MOVQ R8, ctx_rax(DX)
	LEAQ landing<>(SB), R8
	MOVQ R8, ctx_rip(DX)
	ANDQ $~0x40500, ctx_eflags(DX) // direction, trap and alignment-check flags
	LOCK
	DECQ ·looking(SB)
	RET

nobody:
	LOCK
	DECQ ·looking(SB)
chain:
	MOVL DI, AX
	LEAQ ·old(SB), R8
	MOVQ (R8)(AX*8), AX
	JMP  AX

goCode:
	CMPL DI, $11 // SIGSEGV
	JEQ  touch
	CMPL DI, $7 // SIGBUS
	JNE  chain
touch:
	LEAQ -(64+text__size)(SP), SP // LEAQ, so that the linker does not count it
	MOVQ DI, 40(SP)
	MOVQ SI, 48(SP)
	MOVQ DX, 56(SP)
	MOVQ info_addr(SI), AX
	MOVQ AX, 0(SP)
	MOVQ ctx_rip(DX), AX
	MOVQ AX, 8(SP)
	MOVL DI, AX
	MOVQ AX, 16(SP)
	MOVQ R8, 24(SP)
	LEAQ 64(SP), AX
	MOVQ AX, 32(SP)
	LEAQ ·onFault(SB), AX
	CALL AX // func(addr, pc, sig uintptr, g unsafe.Pointer, t *text)
	MOVQ 40(SP), DI
	MOVQ 48(SP), SI
	MOVQ 56(SP), DX
	LEAQ (64+text__size)(SP), SP
	JMP  chain

// func take(word *uint32) bool
TEXT ·take(SB), NOSPLIT, $0-9
	MOVQ word+0(FP), BX
	XORL AX, AX
	MOVL $1, CX
	LOCK
	CMPXCHGL CX, 0(BX)
	SETEQ ret+8(FP)
	RET

// func drop(word *uint32)
TEXT ·drop(SB), NOSPLIT, $0-8
	MOVQ word+0(FP), BX
	XORL AX, AX
	XCHGL AX, 0(BX)
	RET

// func getg() unsafe.Pointer
TEXT ·getg(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET

// func handlerAddr() uintptr
TEXT ·handlerAddr(SB), NOSPLIT, $0-8
	LEAQ handler<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET
