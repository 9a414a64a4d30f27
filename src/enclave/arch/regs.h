/*
 * The program's general registers as the library OS holds them while it works for the program. Lies at
 * the top of the thread's runtime stack (system calls) or where a fault was taken. entry.S knows the
 * offsets. Tier: enclave.
 */
#pragma once

#define REGS_R15      0x00
#define REGS_R14      0x08
#define REGS_R13      0x10
#define REGS_R12      0x18
#define REGS_RBP      0x20
#define REGS_RBX      0x28
#define REGS_R11      0x30
#define REGS_R10      0x38
#define REGS_R9       0x40
#define REGS_R8       0x48
#define REGS_RAX      0x50
#define REGS_RCX      0x58
#define REGS_RDX      0x60
#define REGS_RSI      0x68
#define REGS_RDI      0x70
#define REGS_ORIG_RAX 0x78
#define REGS_RIP      0x80
#define REGS_RFLAGS   0x88
#define REGS_RSP      0x90
#define REGS_FULL     0x98
#define REGS_SIZE     0xa0

#ifndef __ASSEMBLER__
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct regs {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t orig_rax; /* system call number, or UINT64_MAX: not in a system call (no restart) */
    uint64_t rip, rflags, rsp;
    uint64_t full; /* non-zero: everything must be restored, rcx and r11 too (signal, sigreturn) */
};

static_assert(offsetof(struct regs, orig_rax) == REGS_ORIG_RAX, "regs");
static_assert(offsetof(struct regs, full) == REGS_FULL, "regs");
static_assert(sizeof(struct regs) == REGS_SIZE, "regs");
#endif
