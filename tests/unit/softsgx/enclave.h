/* The test enclave's map and commands; shared with enclave.S. Preprocessor only but for the end. */
#pragma once

#define TE_SIZE       0x40000000
#define TE_CODE       0x100000 /* RX, measured: test_enclave_begin..end */
#define TE_DATA       0x180000 /* RW, 16 pages */
#define TE_DATA_PAGES 16
#define TE_THREADS    0x200000
#define TE_STRIDE     0x20000
#define TE_TCS        0x0000
#define TE_SSA        0x1000 /* 2 frames of 4 pages */
#define TE_BLOCK      0xa000 /* FS and GS base */
#define TE_STACK      0x10000
#define TE_STACK_END  0x18000
#define TE_NSSA       2
#define TE_FRAME      0x4000

/* In the block page (GS). Everything that one level of entry saves is TE_LEVEL apart. */
#define B_SELF   0x00
#define B_RSP    0x40
#define B_RBP    0x48
#define B_RCX    0x50
#define B_LEVEL  0x100
#define B_RESULT 0x400 /* command's results: 64 qwords */

/* Commands, in rdi. rsi, rdx, r8, r9 are arguments. */
#define C_NOP      0
#define C_REGS     1 /* entry registers to B_RESULT: rax rbx rcx rdx rsi rdi rbp rsp r8..r15 rflags */
#define C_READ     2  /* result[0] = *(u64 *)rsi */
#define C_WRITE    3  /* *(u64 *)rsi = rdx */
#define C_CALL     4  /* call rsi */
#define C_ENCLU    5  /* eax = rsi, rbx = rdx, rcx = r8, rdx = r9; result = rax, flags */
#define C_STATE    6  /* sets every register, runs fault rsi, stores all registers: see .S */
#define C_SPIN     7  /* until *(u64 *)rsi != 0, checking every register; result[0] = mismatches */
#define C_SSA_RIP  8  /* nested: SSA[0].rip += rsi */
#define C_BAD_EXIT 9  /* EEXIT to rsi */
#define C_MANY     10 /* ENCLU[EACCEPT]: pages from rdx, secinfo r8, count r9; result = failures */
#define C_COPIES   11 /* ENCLU[EACCEPTCOPY]: source rsi, pages from rdx, secinfo r8, count r9 */
#define C_FSGS     12 /* result = fs base, gs base */
#define C_SSA_ZERO 13 /* nested: EXITINFO of SSA[0] = 0 */
#define C_TOUCH    14 /* writes one byte a page: from rsi, count rdx */
#define C_XRSTOR   15 /* nested: SSA[0]'s XSAVE header gets a reserved bit */
#define C_FETCH    16 /* jump to rsi; never comes back by itself */
#define C_COUNT    17

/* C_STATE faults */
#define F_NONE    0
#define F_SYSCALL 1
#define F_UD2     2
#define F_DIV     3
#define F_INT3    4
#define F_GP      5
#define F_CPUID   6
#define F_INT80   7
