/*
 * The way into the enclave and out of it. Tier: hosted, untrusted.
 *
 * Entry points
 *   soft_enter_asm(t)    C calls it: EENTER. Returns SOFT_LEFT_... when control is back.
 *   soft_resume_asm(t)   C calls it: ERESUME. Likewise.
 *   soft_exit_table      EEXIT arrives here: one jmp a slot, so that RBX alone names the thread (FS,
 *                        GS and RSP are the enclave's to set, and no register is ours).
 *   soft_aex_landing     a signal handler that made an AEX returns here, RSP = host_rsp, host's FS/GS.
 *   soft_not_entered     a signal handler that found EENTER or ERESUME faulting returns here.
 *   soft_leaf_table      a rewritten ENCLU site jumps here, r11 = its entry (one jmp a site): EEXIT,
 *                        EACCEPT, EMODPE and EACCEPTCOPY in their common cases, without a trap.
 *   soft_signal_entry    the kernel calls it: handler of every signal the device knows.
 *
 * Register contract
 *   EENTER gives the enclave rax = CSSA, rbx = TCS, rcx = the exit table's entry of this thread, rdi,
 *   rsi, rdx, r8, r9 = as passed, rsp, rbp = the host's; FS and GS base from the TCS. All others are
 *   not trusted by the enclave, and are here whatever they happen to be.
 *   RSP is the same at every EENTER of a thread (t + T_STACK): the enclave leaves with the RSP and RBP
 *   of its entry, but an ERESUME in between may have been called from another depth of the host's
 *   stack, whose frames are found through the thread's block.
 *   EEXIT gives the host rbx and rsp. Others are not trusted; MXCSR and x87 control words are reloaded,
 *   DF and AC cleared.
 *
 * Race timeline: a signal in each of these makes the instruction atomic as follows (trap.c).
 *   soft_enter_begin..end    EENTER has not happened: FS and GS are set back to the host's, the
 *                            callback runs as outside the enclave, and the sequence starts again at
 *                            soft_enter_begin (needs r11 = t, rbp, and rsp, which the handler sets).
 *                            A synchronous fault here is #GP or #PF of EENTER: soft_not_entered.
 *   soft_resume_begin..end   ERESUME has not happened: the same with rdi = t and rsp = host_rsp, which
 *                            the handler sets. `pending` is looked at again, so an interrupt that came
 *                            in here is never lost. Memory is only read, the SSA stays as it was.
 *   soft_exit_begin..end     EEXIT has happened: FS and GS are set to the host's and the code goes on
 *                            (it only loads them once more).
 *   soft_leaf_table..end     A leaf of the enclave, still with its FS, GS and RSP. Before the
 *                            compare-and-swap on the EPCM it has not happened: back to the site.
 *                            After, it has: on behind the site. EACCEPTCOPY holds the device's lock
 *                            around that, and lets go of it either way. thunk_make_atomic().
 *   everywhere else outside ELRANGE the host's FS and GS are in place.
 *   In the handler itself all asynchronous signals are blocked, from the kernel's first instruction
 *   here to the end of rt_sigreturn; so FS and GS may be set before it.
 */
#include "softsgx/offsets.h"

    .text

    .macro save_host
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    sub $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    .endm

    .globl soft_enter_asm, soft_enter_begin, soft_enter_end
    .type soft_enter_asm, @function
soft_enter_asm:
    save_host
    mov %rdi, %r11
    mov %rsp, T_HOST_RSP(%r11)
    lea T_STACK(%r11), %rsp
    cmpl $0, T_POISON(%r11)
    jne poison_entry
soft_enter_begin:
    mov T_GPR(%r11), %rax
    mov %rsp, GPR_URSP(%rax)
    mov %rbp, GPR_URBP(%rax)
    mov T_ENC_GS(%r11), %r10
    wrgsbase %r10
    mov T_ENC_FS(%r11), %r10
    wrfsbase %r10
    mov T_CSSA(%r11), %rax
    mov T_TCS(%r11), %rbx
    mov T_RETURN(%r11), %rcx
    mov T_RDI(%r11), %rdi
    mov T_RSI(%r11), %rsi
    mov T_RDX(%r11), %rdx
    mov T_R8(%r11), %r8
    mov T_R9(%r11), %r9
    cmpl $0, T_POISON(%r11)
    jne 1f
    jmp *T_ENTRY(%r11)
1:  /* EENTER clears neither AC nor DF; the status flags are anything. */
    push T_FLAGS(%r11)
    popfq
    jmp *T_ENTRY(%r11)
soft_enter_end:
    .size soft_enter_asm, . - soft_enter_asm

    /* What EENTER does not pass: anything. */
poison_entry:
    testl $SOFT_POISON_REGISTERS, T_POISON(%r11)
    jz step_entry
    mov T_JUNK(%r11), %r10
    mov T_JUNK+8(%r11), %r12
    mov T_JUNK+16(%r11), %r13
    mov T_JUNK+24(%r11), %r14
    mov T_JUNK+32(%r11), %r15
    mov T_JUNK+40(%r11), %rbp
    fld1
    fldcw poison_fcw(%rip)
    testl $4, T_XFRM(%r11)
    jz 1f
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vbroadcastsd T_JUNK+48(%r11), %ymm\n
    .endr
1:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movups T_JUNK(%r11), %xmm\n
    .endr
    ldmxcsr poison_mxcsr(%rip)
step_entry:
    testl $SOFT_POISON_STEP, T_POISON(%r11)
    jz soft_enter_begin
    pushfq
    orl $SOFT_RFLAGS_TF, (%rsp)
    popfq
    jmp soft_enter_begin

    .globl soft_exit_table, soft_exit_begin, soft_exit_end
    .balign 16
soft_exit_begin:
soft_exit_table:
    .rept SOFT_SLOT_COUNT
    .balign (1 << SOFT_EXIT_SHIFT)
    jmp exit_common
    .endr
exit_common: /* rbx = the table's entry we came through */
    lea soft_exit_table(%rip), %rax
    sub %rax, %rbx
    shl $(SOFT_SLOT_SHIFT - SOFT_EXIT_SHIFT), %rbx
    add g_soft_arena(%rip), %rbx
    mov T_HOST_FS(%rbx), %rax
    wrfsbase %rax
    mov T_HOST_GS(%rbx), %rax
    wrgsbase %rax
soft_exit_end:
    lea T_STACK(%rbx), %rax
    cmp %rsp, %rax
    jne bad_rsp
    mov T_HOST_RSP(%rbx), %rsp
    xor %eax, %eax
    jmp leave

bad_rsp: /* on hardware the host would now run on whatever RSP is */
    mov T_HOST_RSP(%rbx), %rsp
    cld
    call soft_bad_rsp
    ud2

    .globl soft_aex_landing, soft_not_entered
soft_not_entered:
    mov $SOFT_LEFT_FAULT, %eax
    jmp leave
soft_aex_landing:
    mov $SOFT_LEFT_AEX, %eax
leave: /* rsp = host_rsp, eax = result, FS and GS the host's */
    cld
    pushfq
    testl $SOFT_RFLAGS_AC, (%rsp)
    jz 1f
    andl $~SOFT_RFLAGS_AC, (%rsp)
    popfq
    jmp 2f
1:  add $8, %rsp
2:  ldmxcsr (%rsp)
    fldcw 4(%rsp)
    add $8, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret

    .globl soft_resume_asm, soft_resume_begin, soft_resume_end
    .type soft_resume_asm, @function
soft_resume_asm:
    save_host
    mov %rsp, T_HOST_RSP(%rdi)
    testl $SOFT_POISON_STEP, T_POISON(%rdi)
    jz soft_resume_begin
    pushfq
    orl $SOFT_RFLAGS_TF, (%rsp)
    popfq
soft_resume_begin:
    cmpl $0, T_PENDING(%rdi)
    jne resume_cancel
    mov T_XFRM(%rdi), %eax
    mov T_XFRM+4(%rdi), %edx
    mov T_XSAVE(%rdi), %rsi
    xrstor64 (%rsi)
    mov T_GPR(%rdi), %rsi
    /* The device's own IRET frame: not in ELRANGE, and not on the signal stack either, where the
     * kernel would take us for a handler and push the next frame right below. */
    mov GPR_RIP(%rsi), %rax
    mov %rax, T_IRET(%rdi)
    mov %cs, %eax
    mov %rax, T_IRET+8(%rdi)
    mov GPR_RFLAGS(%rsi), %rax
    and $SOFT_RFLAGS_USER, %eax
    or $0x202, %eax
    testl $SOFT_POISON_STEP, T_POISON(%rdi)
    jz 1f
    or $SOFT_RFLAGS_TF, %eax
1:  mov %rax, T_IRET+16(%rdi)
    mov GPR_RSP(%rsi), %rax
    mov %rax, T_IRET+24(%rdi)
    mov %ss, %eax
    mov %rax, T_IRET+32(%rdi)
    mov GPR_FS_BASE(%rsi), %rax
    wrfsbase %rax
    mov GPR_GS_BASE(%rsi), %rax
    wrgsbase %rax
    mov GPR_RAX(%rsi), %rax
    mov GPR_RCX(%rsi), %rcx
    mov GPR_RDX(%rsi), %rdx
    mov GPR_RBX(%rsi), %rbx
    mov GPR_RBP(%rsi), %rbp
    mov GPR_R8(%rsi), %r8
    mov GPR_R9(%rsi), %r9
    mov GPR_R10(%rsi), %r10
    mov GPR_R11(%rsi), %r11
    mov GPR_R12(%rsi), %r12
    mov GPR_R13(%rsi), %r13
    mov GPR_R14(%rsi), %r14
    mov GPR_R15(%rsi), %r15
    lea T_IRET(%rdi), %rsp
    mov GPR_RDI(%rsi), %rdi
    mov GPR_RSI(%rsi), %rsi
    iretq
soft_resume_end:
resume_cancel:
    mov $SOFT_LEFT_CANCEL, %eax
    jmp leave
    .size soft_resume_asm, . - soft_resume_asm

/*
 * Leaves without a trap. In: eax = leaf, r11 = entry of soft_leaf_table; rbx, rcx, rdx as the leaf
 * defines; only rax, r8-r11 and flags may change. Whatever is not the common case is left to the trap:
 * with every register as it was, but r8-r10, to soft_leaf_trap.
 */
    .globl soft_leaf_table, soft_leaf_body, soft_leaf_trap, soft_leaf_trapped, soft_leaf_end
    .globl soft_accept_cas, soft_accept_end, soft_modpe_cas, soft_modpe_end
    .globl soft_copy_locked, soft_copy_cas, soft_copy_count, soft_copy_counted, soft_copy_released
    .globl soft_copy_refused, soft_copy_unlocked, soft_copy_end
    .globl soft_fast_accept, soft_fast_modpe, soft_fast_copy

    /* SECINFO at rbx: aligned, in ELRANGE, reserved bytes zero; its FLAGS to r9. If the EPCM forbids
     * reading it so do the page tables, and the fault undoes the leaf. */
    .macro load_secinfo
    test $63, %bl
    jnz soft_leaf_trap
    cmp $SOFT_ELRANGE_START, %rbx
    jb soft_leaf_trap
    cmp g_soft_size(%rip), %rbx
    jae soft_leaf_trap
    mov 8(%rbx), %r8
    or 16(%rbx), %r8
    or 24(%rbx), %r8
    or 32(%rbx), %r8
    or 40(%rbx), %r8
    or 48(%rbx), %r8
    or 56(%rbx), %r8
    jnz soft_leaf_trap
    mov (%rbx), %r9
    .endm
    .macro check_page reg, low
    test $0xfff, \low
    jnz soft_leaf_trap
    cmp $SOFT_ELRANGE_START, \reg
    jb soft_leaf_trap
    cmp g_soft_size(%rip), \reg
    jae soft_leaf_trap
    .endm
    /* r10 = &epcm[rcx >> 12], r8 = where the leaf goes on */
    .macro aim_epcm
    lea soft_leaf_table(%rip), %r10
    mov %r11, %r8
    sub %r10, %r8
    lea g_soft_sites(%rip), %r10
    mov (%r10,%r8), %r8
    add $SOFT_SITE_SIZE, %r8
    mov %rcx, %r10
    shr $12, %r10
    add g_soft_epcm(%rip), %r10
    .endm
    /* Success of a leaf that returns a code: RAX = 0, ZF = CF = PF = AF = OF = SF = 0. */
    .macro leaf_success
    mov $2, %eax
    test %eax, %eax
    mov $0, %eax
    .endm

    .balign 16
soft_leaf_table:
    .rept SOFT_SITES_MAX
    .balign (1 << SOFT_LEAF_SHIFT)
    jmp soft_leaf_body
    .endr
soft_leaf_body:
    cmp $4, %eax
    jne 1f
    /* EEXIT: only if RBX is what EENTER gave to some thread of ours. */
    lea soft_exit_table(%rip), %r8
    mov %rbx, %r9
    sub %r8, %r9
    cmp $(SOFT_SLOT_COUNT << SOFT_EXIT_SHIFT), %r9
    jae soft_leaf_trap
    test $((1 << SOFT_EXIT_SHIFT) - 1), %r9b
    jnz soft_leaf_trap
    jmp *%rbx
1:  cmp $5, %eax
    je soft_fast_accept
    cmp $7, %eax
    je soft_fast_copy
    cmp $6, %eax
    je soft_fast_modpe
soft_leaf_trap: /* INT3 costs a third of ENCLU's #UD where a hypervisor looks at every #UD */
    int3
soft_leaf_trapped:
    ud2

soft_fast_accept: /* PT_REG (pending, absent, restricted) and PT_TRIM, where the EPCM agrees */
    load_secinfo
    test $~(0xff00 | EPCM_RWX | EPCM_PENDING | EPCM_MODIFIED | EPCM_PR), %r9
    jnz soft_leaf_trap
    mov %r9d, %r8d
    and $(0xff00 | EPCM_MODIFIED), %r8d
    and $(EPCM_RWX | EPCM_PENDING | EPCM_MODIFIED), %r9d
    cmp $0x200, %r8d
    je 3f
    cmp $(0x400 | EPCM_MODIFIED), %r8d
    jne soft_leaf_trap
    test $EPCM_PENDING, %r9d
    jnz soft_leaf_trap
    or $(EPCM_TRIM - EPCM_REG), %r9d
3:  or $EPCM_REG, %r9d /* what the EPCM must say, but for PR */
    check_page %rcx, %ecx
    aim_epcm
    movzbl (%r10), %eax
    test %al, %al
    jnz 4f
    cmp $EPCM_AUGED, %r9b /* absent: the driver's EAUG and this leaf in one step */
    jne 2f
    jmp 5f
4:  xor %r9d, %eax
    test $(0xff & ~EPCM_PR), %al
    jnz 2f
    xor %r9d, %eax
5:  and $(0xff & ~(EPCM_PENDING | EPCM_MODIFIED)), %r9d
    lock cmpxchg %r9b, (%r10)
soft_accept_cas: /* ZF: done */
    jne 2f
    leaf_success
    jmp *%r8
soft_accept_end:
2:  mov $5, %eax
    jmp soft_leaf_trap

soft_fast_modpe: /* an accepted regular page */
    load_secinfo
    mov %r9d, %r8d
    and $3, %r8d
    cmp $2, %r8d /* W without R */
    je soft_leaf_trap
    test $~(0xff00 | EPCM_RWX), %r9
    jnz soft_leaf_trap
    check_page %rcx, %ecx
    aim_epcm
    and $EPCM_RWX, %r9d
    movzbl (%r10), %eax
    or %eax, %r9d
    cmp $EPCM_REG, %r9d /* neither pending, modified nor locked */
    jb 2f
    cmp $(EPCM_REG | EPCM_RWX), %r9d
    ja 2f
    lock cmpxchg %r9b, (%r10)
soft_modpe_cas: /* ZF: done */
    jne 2f
    jmp *%r8
soft_modpe_end:
2:  mov $6, %eax
    jmp soft_leaf_trap

/* To a pending or absent page, from a readable one, becoming PT_REG. The bytes go to the stage, under the device's
 * lock; the page tables let nobody to them before the device has put them where they belong (stage.c). */
soft_fast_copy:
    load_secinfo
    mov %r9d, %r8d
    and $3, %r8d
    cmp $2, %r8d
    je soft_leaf_trap
    mov %r9, %r8
    and $~EPCM_RWX, %r8
    cmp $0x200, %r8
    jne soft_leaf_trap
    check_page %rcx, %ecx
    check_page %rdx, %edx
    mov %rdx, %r10
    shr $12, %r10
    add g_soft_epcm(%rip), %r10
    movzbl (%r10), %r8d
    and $(EPCM_TYPE | EPCM_PENDING | EPCM_MODIFIED | 1), %r8d
    cmp $(EPCM_REG | 1), %r8d
    jne soft_leaf_trap
    xor %eax, %eax
    mov $1, %r8d
    lock cmpxchg %r8d, g_soft_lock(%rip)
soft_copy_locked: /* ZF: the lock is ours, up to soft_copy_released */
    jne 2f
    mov g_soft_stage_count(%rip), %r8d
    cmp $SOFT_STAGE_PAGES, %r8d
    jae 4f
    lea g_soft_stage_to(%rip), %r10
    mov %rcx, (%r10,%r8,8)
    shl $12, %r8
    add g_soft_stage(%rip), %r8
    xor %r10d, %r10d
3:  .irp n, 0,8,16,24,32,40,48,56 /* faults if the source is not in the page tables: undone, filled, again */
    mov \n(%rdx,%r10), %rax
    mov %rax, \n(%r8,%r10)
    .endr
    add $64, %r10
    cmp $4096, %r10
    jb 3b
    and $EPCM_RWX, %r9d
    or $EPCM_REG, %r9d
    mov %rcx, %r10
    shr $12, %r10
    add g_soft_epcm(%rip), %r10
    movzbl (%r10), %eax
    cmp $EPCM_AUGED, %al
    je 1f
    test %al, %al /* absent: the driver's EAUG and this leaf in one step */
    jnz 4f
1:  lock cmpxchg %r9b, (%r10)
soft_copy_cas: /* ZF: done */
    jne 4f
soft_copy_count:
    incl g_soft_stage_count(%rip)
soft_copy_counted:
    movl $0, g_soft_lock(%rip)
soft_copy_released:
    lea soft_leaf_table(%rip), %r10
    mov %r11, %r8
    sub %r10, %r8
    lea g_soft_sites(%rip), %r10
    mov (%r10,%r8), %r8
    add $SOFT_SITE_SIZE, %r8
    leaf_success
    jmp *%r8
soft_copy_refused:
4:  movl $0, g_soft_lock(%rip)
soft_copy_unlocked:
2:  mov $7, %eax
    jmp soft_leaf_trap
soft_copy_end:
soft_leaf_end:

    .globl soft_signal_entry
    .type soft_signal_entry, @function
soft_signal_entry: /* rdi, rsi, rdx = signal, siginfo, ucontext; rsp = 8 mod 16 */
    push %rbx
    mov %rsp, %rbx
    cmp g_soft_arena(%rip), %rbx
    jb 1f
    cmp g_soft_arena_end(%rip), %rbx
    jae 1f
    and $-SOFT_SLOT_SIZE, %rbx
    rdfsbase %rax
    mov %rax, T_INT_FS(%rbx)
    rdgsbase %rax
    mov %rax, T_INT_GS(%rbx)
    mov T_HOST_FS(%rbx), %rax
    wrfsbase %rax
    mov T_HOST_GS(%rbx), %rax
    wrgsbase %rax
    pushfq
    andl $~(SOFT_RFLAGS_AC | SOFT_RFLAGS_DF | SOFT_RFLAGS_TF), (%rsp)
    popfq
    mov %rbx, %rcx
    call soft_signal
    mov T_RET_FS(%rbx), %rax
    wrfsbase %rax
    mov T_RET_GS(%rbx), %rax
    wrgsbase %rax
    pop %rbx
    ret /* to the restorer: rt_sigreturn */
1:  /* a thread that never began: no enclave, and FS is the host's */
    xor %ecx, %ecx
    cld
    call soft_signal
    pop %rbx
    ret
    .size soft_signal_entry, . - soft_signal_entry

    .section .rodata
poison_mxcsr: .long 0xffc0 /* flush to zero, denormals are zero, round towards zero; masked */
poison_fcw:   .word 0x0c7f /* round towards zero, single precision; masked */

    .section .note.GNU-stack, "", @progbits
