/*
 * What happens when the enclave is left without asking: stage 1 runs at CSSA 1 on the exception stack
 * and only decides where the thread goes on; everything else happens after ERESUME, at CSSA 0, on the
 * runtime stack. entry.S lists the races. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/layout.h"
#include "arch/regs.h"
#include "core/attr.h"

/* Built by stage 1 for fault_entry, 16-byte aligned. */
struct fault_frame {
    struct regs regs;
    uint64_t vector;     /* SGX_VECTOR_*, FAULT_INTERRUPT */
    uint64_t address;    /* #PF */
    uint64_t error_code; /* #PF */
    uint64_t reserved;
};
#define FAULT_INTERRUPT 256u

void exception_stage1(void);
/* True: the fault was in library OS code, go back there. */
bool fault_main(struct fault_frame *frame);
/* Work on the way back to the program; true: all registers must be restored. */
bool return_work(struct regs *regs);
NORETURN void full_restore(struct regs *regs);
void ocall_leave(void);
NORETURN void thread_leave(void);
void sys_entry(void);

/* Is rip the library OS's (image or stubs)? */
bool in_library_os(uint64_t rip);

/* Turns the `mov $nr, %eax` before the `syscall` at site into a jump to a stub, if it is safe to
 * (DESIGN: RAX equals imm32, no REX before, one 8-byte store within a cache line). */
void stub_patch(uint64_t site, uint64_t nr);
/* Does it lie where stubs are? Interrupts count them as the library OS's, faults as the program's. */
static inline bool in_stub(uint64_t rip)
{
    return rip >= LAYOUT_STUBS && rip < LAYOUT_STUBS_END;
}
/* Bytes of stubs from LAYOUT_STUBS on, all of which are there for good. */
uint64_t stubs_size(void);
/* A forked child, before its first stub: makes room for its parent's, to be copied to LAYOUT_STUBS. -EBADMSG. */
MUST_CHECK int stubs_adopt(uint64_t size);
