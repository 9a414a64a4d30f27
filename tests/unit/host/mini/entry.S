/*
 * A small enclave for tests of the untrusted runtime on a real device: enough to make OCALLs and to
 * take exceptions. Not hardened in any way.
 *
 * Thread block (GS), after what the layout writes: 0x40 state (0 new, 1 in an OCALL, 2 running), 0x48 and
 * 0x50 the host's rsp and rbp, 0x58 where EEXIT goes, 0x60 the stack during an OCALL, 0x68 the OCALL
 * block, 0x70 how often the exception stage ran.
 */
#define EEXIT 4

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

    .text
    .globl enclave_entry
enclave_entry:
    cld
    test %rax, %rax
    jnz exception
    mov %gs:0x40, %r10
    mov %rsp, %gs:0x48
    mov %rbp, %gs:0x50
    mov %rcx, %gs:0x58
    movq $2, %gs:0x40
    cmp $1, %r10
    jne first
    mov %gs:0x60, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
first:
    mov %rdi, %gs:0x68
    mov %gs:0, %rax
    lea 0x16000(%rax), %rsp
    mov %gs:8, %rsi
    xor %ebp, %ebp
    call mini_main
    ud2

/* void mini_leave(void): makes the OCALL that stands in the block. */
    .globl mini_leave
mini_leave:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %gs:0x60
    movq $1, %gs:0x40
    mov %gs:0x48, %rsp
    mov %gs:0x50, %rbp
    mov %gs:0x58, %rbx
    mov $EEXIT, %eax
    ENCLU_SITE

/* CSSA 1: counts, and steps over a ud2 of ours (frame 0's RIP at the end of its GPR area). */
exception:
    mov %rcx, %rbx
    lock incq %gs:0x70
    mov %gs:0, %rax
    /* frame 0 ends 4 pages after the SSA's start, 8 pages below the thread block */
    lea -0x8000 + 0x4000 - 184(%rax), %rax
    mov 136(%rax), %r8
    cmpl $0x80000306, 160(%rax)     /* #UD, reported */
    jne 1f
    cmpw $0x0b0f, (%r8)             /* and not a stale report */
    jne 1f
    add $2, %r8
    mov %r8, 136(%rax)
    movl $0, 160(%rax)
1:  mov $EEXIT, %eax
    ENCLU_SITE

    .section .note.GNU-stack, "", @progbits
