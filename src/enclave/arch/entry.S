/*
 * Every way into and out of the enclave. Tier: enclave.
 *
 * Entry points
 *   enclave_entry      EENTER. rax = CSSA, rbx = TCS, rcx = where EEXIT must go, rdi = OCALL block (looked
 *                      at on the first entry of this TCS only), rsp and rbp = host's. Other registers,
 *                      flags and vectors are the host's and not trusted.
 *                      The case is told by CSSA and the thread block's state, by nothing from outside:
 *                        CSSA 0, NEW      first entry of this TCS        -> thread_first()
 *                        CSSA 0, OCALL    an OCALL comes back            -> returns from ocall_leave()
 *                        CSSA 1           an exception or an interrupt   -> exception_stage1(), EEXIT
 *                        else             the host lies: sent back at once
 *                      Before all that: is the image where it was linked? MRENCLAVE does not bind ELRANGE's
 *                      base, and elsewhere every absolute address, from the stacks on, would name the
 *                      host's memory.
 *   sys_entry          from a stub, or resumed here by stage 1 for a trapped `syscall`: rax = number,
 *                      rcx = return address, all else the program's, including rsp and flags.
 *   fault_entry        resumed here by stage 1: rdi = rsp = struct fault_frame on the runtime stack.
 *
 * Registers. GS = thread block while in the enclave. FS belongs to the program and is saved around
 * OCALLs only. Library OS code uses general registers only, so vectors stay the program's but for the
 * islands, which put back what they use.
 *
 * Ways out
 *   ocall_leave        saves callee-saved registers, FS and the extended state on the runtime stack,
 *                      scrubs everything, EEXIT. rsp and rbp are put back to the host's: EEXIT does not.
 *   stage 1            EEXIT with everything scrubbed; the host ERESUMEs.
 *
 * Races. An interrupt (AEX, then an entry at CSSA 1) can come at every instruction.
 *   A. in program code: stage 1 moves it to fault_entry, which delivers signals.
 *   B. in the library OS: stage 1 sets THREAD_WORK and resumes. The work is looked at on the way back
 *      to the program (sysret_window, restore_window) and by thread_park before it sleeps.
 *   C. between that look and the program's first instruction, i.e. inside sysret_window ..
 *      sysret_window_end or restore_window .. restore_window_end: nothing in those ranges changes memory
 *      that they read, so stage 1 sends the thread back to the start of the range, which looks again.
 *   D. in the stubs: as B; sys_entry follows.
 *   E. in enclave_entry before the state is RUNNING, in ocall_leave after it is OCALL: as B.
 */
#include "arch/regs.h"
#include "arch/thread.h"

#define EEXIT 4
#define XSAVE_SIZE 2688          /* x87, SSE, AVX, AVX-512 in the standard format */
#define SAVE_RBP  XSAVE_SIZE      /* behind it: the frame's rbp */
#define SAVE_SIZE (XSAVE_SIZE + 64)

/* Offsets from the thread block to the stacks' tops (abi/layout.h, checked in arch/exception.c). */
#define STACK_TOP_FROM_BLOCK 0x16000
#define EXC_TOP_FROM_BLOCK   0x4000

/* An ENCLU site: 16 bytes that a software device may rewrite (host/device/device.h). */
.macro ENCLU_SITE
    .p2align 4
771:
    enclu
    nop
    nopl 0(%rax)
    nopl 0x200(%rax)
    nop
    nop
    .if . - 771b != 16
    .error "site is not 16 bytes"
    .endif
    .pushsection .enclu_sites, "a"
    .quad 771b
    .popsection
.endm

.macro SCRUB_GENERAL
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r11d, %r11d
    xor %r12d, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
.endm

/* All of the registers that rdi points at, flags included, then on at THREAD_RESTORE_RIP. */
.macro LOAD_REGS_AND_GO
    mov REGS_R15(%rdi), %r15
    mov REGS_R14(%rdi), %r14
    mov REGS_R13(%rdi), %r13
    mov REGS_R12(%rdi), %r12
    mov REGS_RBP(%rdi), %rbp
    mov REGS_RBX(%rdi), %rbx
    mov REGS_R11(%rdi), %r11
    mov REGS_R10(%rdi), %r10
    mov REGS_R9(%rdi), %r9
    mov REGS_R8(%rdi), %r8
    mov REGS_RAX(%rdi), %rax
    mov REGS_RCX(%rdi), %rcx
    mov REGS_RDX(%rdi), %rdx
    mov REGS_RSI(%rdi), %rsi
    pushq REGS_RFLAGS(%rdi)
    popfq
    mov REGS_RSP(%rdi), %rsp
    mov REGS_RDI(%rdi), %rdi
    jmp *%gs:THREAD_RESTORE_RIP
.endm

    .text
    .p2align 6
    .globl enclave_entry
    .type enclave_entry, @function
enclave_entry:
    cld
    lea enclave_entry(%rip), %r10
    cmp $enclave_entry, %r10
    jne .Lmoved
    test %rax, %rax
    jnz .Lentry_exception
    mov %gs:THREAD_STATE, %r10
    cmp $THREAD_STATE_OCALL, %r10
    jne .Lentry_first

.Lentry_ocall_return:
    mov %rsp, %gs:THREAD_HOST_RSP
    mov %rbp, %gs:THREAD_HOST_RBP
    mov %rcx, %gs:THREAD_HOST_TARGET
    mov %gs:THREAD_OCALL_RSP, %rsp
    movq $THREAD_STATE_RUNNING, %gs:THREAD_STATE
    pushq $2                    /* AC and all else off */
    popfq
    mov $-1, %eax
    mov $-1, %edx
    xrstor64 (%rsp)
    mov SAVE_RBP(%rsp), %rsp
    pop %rax
    wrfsbase %rax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

.Lentry_first:
    /* rax is 0, i.e. NEW. Atomic: thread/threads.c takes an area for filling in the same way. */
    mov $THREAD_STATE_RUNNING, %r10d
    lock cmpxchg %r10, %gs:THREAD_STATE
    jne .Lsent_back
    mov %gs:THREAD_SELF, %rax
    mov %rsp, %gs:THREAD_HOST_RSP
    mov %rbp, %gs:THREAD_HOST_RBP
    mov %rcx, %gs:THREAD_HOST_TARGET
    lea STACK_TOP_FROM_BLOCK(%rax), %rsp
    mov %rsp, %gs:THREAD_STACK_TOP
    pushq $2
    popfq
    mov $-1, %eax
    mov $-1, %edx
    xrstor64 g_extended_init(%rip)
    xor %ebp, %ebp
    call thread_first           /* does not return */

.Lsent_back:                    /* every register is the host's own still, or scrubbed */
    mov %rcx, %rbx
    SCRUB_GENERAL
    mov $EEXIT, %eax
    ENCLU_SITE
    ud2

.Lmoved:                        /* at CSSA 0 and 1: until no SSA frame is left */
    ud2
    jmp .Lmoved

.Lentry_exception:
    mov %rsp, %r8
    mov %gs:THREAD_SELF, %rax
    lea EXC_TOP_FROM_BLOCK(%rax), %rsp
    push %r8
    push %rbp
    push %rcx
    pushq $2
    popfq
    xor %ebp, %ebp
    sub $8, %rsp
    call exception_stage1
    add $8, %rsp
    pop %rbx
    pop %rbp
    pop %rax
    mov %rax, %rsp
    SCRUB_GENERAL
    mov $EEXIT, %eax
    ENCLU_SITE
    ud2
    .size enclave_entry, . - enclave_entry

/* void ocall_leave(void): returns when the host enters again. */
    .p2align 4
    .globl ocall_leave
    .type ocall_leave, @function
ocall_leave:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    rdfsbase %rax
    push %rax
    mov %rsp, %rbp
    sub $SAVE_SIZE, %rsp
    and $-64, %rsp
    mov %rbp, SAVE_RBP(%rsp)
    xor %eax, %eax
    mov %rax, 512(%rsp)         /* the XSAVE header */
    mov %rax, 520(%rsp)
    mov %rax, 528(%rsp)
    mov %rax, 536(%rsp)
    mov %rax, 544(%rsp)
    mov %rax, 552(%rsp)
    mov %rax, 560(%rsp)
    mov %rax, 568(%rsp)
    mov $0xe7, %eax
    xor %edx, %edx
    xsave64 (%rsp)
    mov %rsp, %gs:THREAD_OCALL_RSP
    mov $-1, %eax
    mov $-1, %edx
    xrstor64 g_extended_init(%rip)
    movq $THREAD_STATE_OCALL, %gs:THREAD_STATE
    mov %gs:THREAD_HOST_TARGET, %rbx
    mov %gs:THREAD_HOST_RSP, %rsp
    mov %gs:THREAD_HOST_RBP, %rbp
    SCRUB_GENERAL
    mov $EEXIT, %eax
    ENCLU_SITE
    ud2
    .size ocall_leave, . - ocall_leave

/* NORETURN void thread_leave(void): the last OCALL of a thread; its TCS may be entered as NEW again. */
    .p2align 4
    .globl thread_leave
    .type thread_leave, @function
thread_leave:
    mov $-1, %eax
    mov $-1, %edx
    xrstor64 g_extended_init(%rip)
    mov %gs:THREAD_HOST_TARGET, %rbx
    mov %gs:THREAD_HOST_RSP, %rsp
    mov %gs:THREAD_HOST_RBP, %rbp
    SCRUB_GENERAL
    mov $EEXIT, %eax
    movq $THREAD_STATE_NEW, %gs:THREAD_STATE
    ENCLU_SITE
    ud2
    .size thread_leave, . - thread_leave

/* --- system calls ---------------------------------------------------------------------------- */
    .p2align 6
    .globl sys_entry
    .type sys_entry, @function
sys_entry:
    mov %rsp, %gs:THREAD_SCRATCH
    mov %gs:THREAD_STACK_TOP, %rsp
    pushq $0
    pushq %gs:THREAD_SCRATCH
    pushfq
    push %rcx
    push %rax
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    testl $0x40500, REGS_RFLAGS(%rsp)   /* AC, DF, TF */
    jnz .Lodd_flags
.Lflags_fine:
    mov %rsp, %rdi
    call sys_dispatch

    .globl sysret_window, sysret_window_end
sysret_window:
    mov %gs:THREAD_STACK_TOP, %rsp
    lea -REGS_SIZE(%rsp), %rsp
    cmpq $0, %gs:THREAD_WORK
    jne .Lsysret_slow
    mov REGS_R15(%rsp), %r15
    mov REGS_R14(%rsp), %r14
    mov REGS_R13(%rsp), %r13
    mov REGS_R12(%rsp), %r12
    mov REGS_RBP(%rsp), %rbp
    mov REGS_RBX(%rsp), %rbx
    mov REGS_R10(%rsp), %r10
    mov REGS_R9(%rsp), %r9
    mov REGS_R8(%rsp), %r8
    mov REGS_RAX(%rsp), %rax
    mov REGS_RDX(%rsp), %rdx
    mov REGS_RSI(%rsp), %rsi
    mov REGS_RDI(%rsp), %rdi
    mov REGS_RIP(%rsp), %rcx
    mov REGS_RFLAGS(%rsp), %r11
    mov REGS_RSP(%rsp), %rsp
    jmp *%rcx
sysret_window_end:

.Lodd_flags:
    lock orq $4, %gs:THREAD_WORK        /* THREAD_WORK_FULL: flags must be put back */
    movq $1, REGS_FULL(%rsp)
    pushq $2
    popfq
    jmp .Lflags_fine

.Lsysret_slow:
    mov %rsp, %rdi
    mov %rsp, %rbx
    call return_work            /* signals, exit; true: everything must be restored */
    test %al, %al
    jz sysret_window
    mov %rbx, %rdi
    jmp full_restore
    .size sys_entry, . - sys_entry

/* --- faults and interrupts ------------------------------------------------------------------- */
    .p2align 4
    .globl fault_entry
    .type fault_entry, @function
fault_entry:
    mov %rdi, %rbx
    xor %ebp, %ebp
    call fault_main             /* true: goes back into the library OS */
    mov %rbx, %rdi
    test %al, %al
    jnz nested_restore
    jmp full_restore
    .size fault_entry, . - fault_entry

/* NORETURN void full_restore(struct regs *regs): to the program, every register. */
    .p2align 4
    .globl full_restore, restore_window, restore_window_end
    .type full_restore, @function
full_restore:
    mov %rdi, %gs:THREAD_RESTORE_FRAME
restore_window:
    mov %gs:THREAD_RESTORE_FRAME, %rdi
    mov %rdi, %rsp
    testq $3, %gs:THREAD_WORK   /* signal, exit */
    jne .Lrestore_slow
.Lrestore_all:
    lock andq $~4, %gs:THREAD_WORK
    mov REGS_RIP(%rdi), %rax
    mov %rax, %gs:THREAD_RESTORE_RIP
    LOAD_REGS_AND_GO
restore_window_end:

.Lrestore_slow:
    mov %rdi, %rbx
    call return_work
    mov %rbx, %rdi
    jmp full_restore
    .size full_restore, . - full_restore

/* As full_restore, to library OS code that faulted on program memory. Work waits for the way back to
 * the program. An interrupt inside needs no restart, but RESTORE_RIP must survive it: it does, stage 1
 * leaves library OS code where it is. */
    .p2align 4
    .globl nested_restore
nested_restore:
    mov REGS_RIP(%rdi), %rax
    mov %rax, %gs:THREAD_RESTORE_RIP
    mov %rdi, %rsp
    LOAD_REGS_AND_GO

/* --- program memory -------------------------------------------------------------------------- */
/* A fault between user_code and user_code_end that cannot be mended goes on at user_fault: -EFAULT. */
    .p2align 4
    .globl user_code, user_code_end, user_fault
user_code:
/* int user_copy(void *dst, const void *src, uint64_t size): either side may be the program's. */
    .globl user_copy
    .type user_copy, @function
user_copy:
    mov %rdx, %rcx
    cmp $16, %rdx
    ja 2f
    test $8, %dl
    jz 1f
    mov (%rsi), %rax
    mov %rax, (%rdi)
    add $8, %rsi
    add $8, %rdi
    sub $8, %rcx
1:  cmp $8, %rcx
    je 3f
2:  test $7, %cl                /* whole words, as the window wants them (border.c), by words */
    jnz 4f
    shr $3, %rcx
    rep movsq
    xor %eax, %eax
    ret
4:  rep movsb
    xor %eax, %eax
    ret
3:  mov (%rsi), %rax
    mov %rax, (%rdi)
    xor %eax, %eax
    ret
/* int user_clear(void *dst, uint64_t size) */
    .globl user_clear
user_clear:
    mov %rsi, %rcx
    xor %eax, %eax
    rep stosb
    ret
/* int64_t user_strncpy(char *dst, const char *src, uint64_t max): length, or max if there is no NUL.
 * Eight bytes at a time where they lie in one page. */
    .globl user_strncpy
user_strncpy:
    xor %ecx, %ecx
    mov $0x0101010101010101, %r8
    mov $0x8080808080808080, %r9
1:  lea 8(%rcx), %rax
    cmp %rdx, %rax
    ja 3f
    lea (%rsi,%rcx), %rax
    and $0xfff, %eax
    cmp $0xff8, %eax
    ja 3f
    mov (%rsi,%rcx), %rax
    mov %rax, (%rdi,%rcx)
    mov %rax, %r10
    sub %r8, %rax
    not %r10
    and %r10, %rax
    and %r9, %rax
    jnz 2f
    add $8, %rcx
    jmp 1b
2:  bsf %rax, %rax
    shr $3, %eax
    add %rcx, %rax
    ret
3:  cmp %rdx, %rcx
    je 4f
    movzbl (%rsi,%rcx), %eax
    mov %al, (%rdi,%rcx)
    test %al, %al
    jz 4f
    inc %rcx
    test $7, %cl
    jz 1b
    jmp 3b
4:  mov %rcx, %rax
    ret
/* int user_load(const uint32_t *src, uint32_t *ret) */
    .globl user_load
user_load:
    mov (%rdi), %eax
    mov %eax, (%rsi)
    xor %eax, %eax
    ret
/* int user_store(uint32_t *dst, uint32_t value) */
    .globl user_store
user_store:
    mov %esi, (%rdi)
    xor %eax, %eax
    ret
/* int user_cmpxchg(uint32_t *dst, uint32_t expected, uint32_t desired, uint32_t *ret_old) */
    .globl user_cmpxchg
user_cmpxchg:
    mov %esi, %eax
    lock cmpxchg %edx, (%rdi)
    mov %eax, (%rcx)
    xor %eax, %eax
    ret
/* int user_touch(const void *page, int write): reads a byte, or rewrites it unchanged. */
    .globl user_touch
user_touch:
    test %esi, %esi
    jnz 1f
    mov (%rdi), %al
    xor %eax, %eax
    ret
1:  lock orb $0, (%rdi)
    xor %eax, %eax
    ret
user_fault:
    mov $-14, %rax
    ret
user_code_end:

/* --- ENCLU leaves ---------------------------------------------------------------------------- */
/* uint64_t enclu_eaccept(const struct sgx_secinfo *, uint64_t page) */
    .p2align 4
    .globl enclu_eaccept
enclu_eaccept:
    push %rbx
    mov %rdi, %rbx
    mov %rsi, %rcx
    mov $5, %eax
    ENCLU_SITE
    pop %rbx
    ret
/* uint64_t enclu_eacceptcopy(const struct sgx_secinfo *, uint64_t page, const void *source) */
    .p2align 4
    .globl enclu_eacceptcopy
enclu_eacceptcopy:
    push %rbx
    mov %rdi, %rbx
    mov %rsi, %rcx
    mov $7, %eax
    ENCLU_SITE
    pop %rbx
    ret
/* void enclu_emodpe(const struct sgx_secinfo *, uint64_t page) */
    .p2align 4
    .globl enclu_emodpe
enclu_emodpe:
    push %rbx
    mov %rdi, %rbx
    mov %rsi, %rcx
    mov $6, %eax
    ENCLU_SITE
    pop %rbx
    ret

/* void enclu_ereport(const struct sgx_targetinfo *, const uint8_t *report_data, struct sgx_report *) */
    .p2align 4
    .globl enclu_ereport
enclu_ereport:
    push %rbx
    mov %rdi, %rbx
    mov %rsi, %rcx
    xor %eax, %eax
    ENCLU_SITE
    pop %rbx
    ret
/* uint64_t enclu_egetkey(const struct sgx_keyrequest *, uint8_t *ret_key) */
    .p2align 4
    .globl enclu_egetkey
enclu_egetkey:
    push %rbx
    mov %rdi, %rbx
    mov %rsi, %rcx
    mov $1, %eax
    ENCLU_SITE
    pop %rbx
    ret

/* Initial extended state: XSTATE_BV 0, so XRSTOR puts everything into its initial configuration. */
    .section .rodata
    .p2align 6
    .globl g_extended_init
g_extended_init:
    .short 0x37f
    .zero 22
    .long 0x1f80, 0xffff
    .zero 512 - 32
    .zero 64
    .zero XSAVE_SIZE - 576
    .section .note.GNU-stack, "", @progbits
