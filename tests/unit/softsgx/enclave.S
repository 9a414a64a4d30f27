/*
 * A tiny enclave for the device's tests: position-independent, copied to TE_CODE. Entry at its first
 * byte; CSSA 0 and 1 alike take a command in rdi. Sites of ENCLU are 16 bytes each, as device.h says.
 */
#include "enclave.h"

    .text
    .balign 4096
    .globl test_enclave_begin, test_enclave_end
    .globl test_site_exit, test_site_leaf, test_site_many, test_site_copies, test_fault_at

    .macro ENCLU_SITE
    .byte 0x0f, 0x01, 0xd7
    .rept 13
    nop
    .endr
    .endm

test_enclave_begin:
entry:
    cmp $C_REGS, %edi
    je 2f
1:  cld
    /* level's save area: r10 = rax * B_LEVEL */
    mov %rax, %r10
    shl $8, %r10
    mov %rsp, %gs:B_RSP(%r10)
    mov %rbp, %gs:B_RBP(%r10)
    mov %rcx, %gs:B_RCX(%r10)
    mov %r10, %rbp
    /* stack: level 1 takes the upper half */
    mov %gs:B_SELF, %rsp
    add $(TE_STACK_END - TE_BLOCK), %rsp
    mov %rax, %rcx
    shl $14, %rcx
    sub %rcx, %rsp
    push $2 /* AC, DF and status flags */
    popfq
    push %rbp
    fninit
    cmp $C_COUNT, %rdi
    jae leave
    lea table(%rip), %rax
    movslq (%rax,%rdi,4), %rcx
    add %rax, %rcx
    jmp *%rcx

2:  mov %rax, %gs:B_RESULT
    mov %rbx, %gs:B_RESULT+8
    mov %rcx, %gs:B_RESULT+16
    mov %rdx, %gs:B_RESULT+24
    mov %rsi, %gs:B_RESULT+32
    mov %rdi, %gs:B_RESULT+40
    mov %rbp, %gs:B_RESULT+48
    mov %rsp, %gs:B_RESULT+56
    mov %r8, %gs:B_RESULT+64
    mov %r9, %gs:B_RESULT+72
    mov %r10, %gs:B_RESULT+80
    mov %r11, %gs:B_RESULT+88
    mov %r12, %gs:B_RESULT+96
    mov %r13, %gs:B_RESULT+104
    mov %r14, %gs:B_RESULT+112
    mov %r15, %gs:B_RESULT+120
    jmp 1b

    .balign 4
table:
    .long do_nop - table, do_nop - table, do_read - table, do_write - table, do_call - table
    .long do_enclu - table, do_state - table, do_spin - table, do_ssa_rip - table
    .long do_bad_exit - table, do_many - table, do_copies - table, do_fsgs - table
    .long do_ssa_zero - table, do_touch - table, do_xrstor - table, do_fetch - table

leave:
    pop %r10
    mov %gs:B_RSP(%r10), %rsp
    mov %gs:B_RCX(%r10), %rbx
    mov %gs:B_RBP(%r10), %rbp
leave_to_rbx:
    mov $4, %eax
    .balign 16
test_site_exit:
    ENCLU_SITE
    ud2

do_nop:
    jmp leave
do_read:
    mov (%rsi), %rax
    mov %rax, %gs:B_RESULT
    jmp leave
do_write:
    mov %rdx, (%rsi)
    jmp leave
do_call:
    call *%rsi
    mov %rax, %gs:B_RESULT
    jmp leave
do_fetch:
    jmp *%rsi
do_fsgs:
    rdfsbase %rax
    mov %rax, %gs:B_RESULT
    rdgsbase %rax
    mov %rax, %gs:B_RESULT+8
    jmp leave
do_bad_exit:
    pop %r10
    mov %rsi, %rbx
    mov %gs:B_RSP(%r10), %rsp
    mov %gs:B_RBP(%r10), %rbp
    jmp leave_to_rbx
do_touch:
1:  test %rdx, %rdx
    jz leave
    movb $0x5a, (%rsi)
    add $4096, %rsi
    dec %rdx
    jmp 1b

do_enclu: /* the thunk may clobber rax, r8-r11 and flags: all else is checked */
    mov %rsi, %rax
    mov %rdx, %rbx
    mov %r8, %rcx
    mov %r9, %rdx
    mov $0x51, %rsi
    mov $0x52, %rdi
    mov $0x54, %r12
    mov $0x55, %r13
    mov $0x56, %r14
    mov $0x57, %r15
    mov %rbx, %gs:B_RESULT+32
    mov %rcx, %gs:B_RESULT+40
    mov %rdx, %gs:B_RESULT+48
    movq %rsi, %xmm5
    .balign 16
test_site_leaf:
    ENCLU_SITE
    mov %rax, %gs:B_RESULT
    pushfq
    pop %rax
    mov %rax, %gs:B_RESULT+8
    xor %eax, %eax
    xor $0x51, %rsi
    xor $0x52, %rdi
    xor $0x54, %r12
    xor $0x55, %r13
    xor $0x56, %r14
    xor $0x57, %r15
    or %rsi, %rax
    or %rdi, %rax
    or %r12, %rax
    or %r13, %rax
    or %r14, %rax
    or %r15, %rax
    movq %xmm5, %rsi
    xor $0x51, %rsi
    or %rsi, %rax
    xor %gs:B_RESULT+32, %rbx
    or %rbx, %rax
    xor %gs:B_RESULT+40, %rcx
    or %rcx, %rax
    xor %gs:B_RESULT+48, %rdx
    or %rdx, %rax
    mov %rax, %gs:B_RESULT+16
    jmp leave

do_many:
    mov %r8, %rbx
    mov %rdx, %rcx
    mov %r9, %r12
    xor %r13, %r13
1:  test %r12, %r12
    jz 2f
    mov $5, %eax
    .balign 16
test_site_many:
    ENCLU_SITE
    test %rax, %rax
    setne %al
    movzx %al, %eax
    add %rax, %r13
    add $4096, %rcx
    dec %r12
    jmp 1b
2:  mov %r13, %gs:B_RESULT
    jmp leave

do_copies:
    mov %r8, %rbx
    mov %rdx, %rcx
    mov %rsi, %rdx
    mov %r9, %r12
    xor %r13, %r13
1:  test %r12, %r12
    jz 2f
    mov $7, %eax
    .balign 16
test_site_copies:
    ENCLU_SITE
    test %rax, %rax
    setne %al
    movzx %al, %eax
    add %rax, %r13
    add $4096, %rcx
    dec %r12
    jmp 1b
2:  mov %r13, %gs:B_RESULT
    jmp leave

    /* Nested: SSA[0]'s GPR area, from the block page. */
do_ssa_rip:
    mov %gs:B_SELF, %rax
    add %rsi, (TE_SSA - TE_BLOCK + TE_FRAME - 184 + 136)(%rax)
    jmp leave
do_ssa_zero:
    mov %gs:B_SELF, %rax
    movl $0, (TE_SSA - TE_BLOCK + TE_FRAME - 184 + 160)(%rax)
    jmp leave
do_xrstor:
    mov %gs:B_SELF, %rax
    movq $1, (TE_SSA - TE_BLOCK + 512 + 16)(%rax)
    jmp leave

    /* Every register to a known value, a fault, every register out again. */
    .macro ALL_GPR op
    \op 0x1111111111111101, rax, 0
    \op 0x1111111111111102, rbx, 1
    \op 0x1111111111111103, rcx, 2
    \op 0x1111111111111104, rdx, 3
    \op 0x1111111111111105, rsi, 4
    \op 0x1111111111111106, rdi, 5
    \op 0x1111111111111107, rbp, 6
    \op 0x1111111111111109, r8, 8
    \op 0x111111111111110a, r9, 9
    \op 0x111111111111110b, r10, 10
    \op 0x111111111111110c, r11, 11
    \op 0x111111111111110d, r12, 12
    \op 0x111111111111110e, r13, 13
    \op 0x111111111111110f, r14, 14
    .endm
    .macro SET_GPR value, reg, at
    movabs $\value, %\reg
    .endm
    .macro GET_GPR value, reg, at
    mov %\reg, %gs:(B_RESULT + 8 * \at)
    .endm

do_state:
    mov %rsi, %r15
    lea vectors(%rip), %rax
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovups (32 * \n)(%rax), %ymm\n
    .endr
    fldpi
    ldmxcsr state_mxcsr(%rip)
    ALL_GPR SET_GPR
    push $0x8d7 /* CF PF AF ZF SF OF, not DF, AC */
    popfq
    lea -8(%rsp), %rsp
    jmp *%gs:B_RESULT+320 /* the fault's address, set by the test (no flags are touched) */
test_fault_at: /* offsets of the faults, F_NONE first */
    .long f_none - test_enclave_begin, f_syscall - test_enclave_begin, f_ud2 - test_enclave_begin
    .long f_div - test_enclave_begin, f_int3 - test_enclave_begin, f_gp - test_enclave_begin
    .long f_cpuid - test_enclave_begin, f_int80 - test_enclave_begin
f_none:
    jmp state_out
f_syscall:
    syscall
    jmp state_out
f_ud2:
    ud2
    jmp state_out
f_div: /* 2 bytes; rdx:rax / 0 would need a zero: r15 is one in this command */
    div %r15d
    nop
    jmp state_out
f_int3:
    int3
    nop
    jmp state_out
f_gp: /* 0x1111... is no canonical address */
    mov (%rbx), %bl
    jmp state_out
f_cpuid:
    cpuid
    jmp state_out
f_int80:
    int $0x80
    jmp state_out
state_out:
    mov %rsp, %gs:B_RESULT+56
    pushfq
    popq %gs:B_RESULT+120
    ALL_GPR GET_GPR
    stmxcsr %gs:B_RESULT+128
    fstpt %gs:B_RESULT+136
    xor %ebx, %ebx
    lea vectors(%rip), %rax
    sub $32, %rsp
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovups %ymm\n, (%rsp)
    .irp k, 0,8,16,24
    mov (32 * \n + \k)(%rax), %rcx
    xor \k(%rsp), %rcx
    or %rcx, %rbx
    .endr
    .endr
    add $32, %rsp
    mov %rbx, %gs:B_RESULT+160
    lea 8(%rsp), %rsp
    jmp leave

do_spin: /* rsi: flag. xmm and GPR patterns must survive whatever interrupts */
    lea vectors(%rip), %rax
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovups (32 * \n)(%rax), %ymm\n
    .endr
    xor %r15, %r15
    mov $0x22, %rbx
    mov $0x23, %rcx
    mov $0x24, %rdx
    mov $0x25, %rdi
    mov $0x26, %rbp
    mov $0x28, %r8
    mov $0x29, %r9
    mov $0x2a, %r10
    mov $0x2b, %r11
    mov $0x2c, %r12
    mov $0x2d, %r13
    mov $0, %r14
1:  inc %r14
    cmp $0x22, %rbx
    jne 3f
    cmp $0x23, %rcx
    jne 3f
    cmp $0x24, %rdx
    jne 3f
    cmp $0x25, %rdi
    jne 3f
    cmp $0x26, %rbp
    jne 3f
    cmp $0x28, %r8
    jne 3f
    cmp $0x29, %r9
    jne 3f
    cmp $0x2a, %r10
    jne 3f
    cmp $0x2b, %r11
    jne 3f
    cmp $0x2c, %r12
    jne 3f
    cmp $0x2d, %r13
    jne 3f
    vmovq %xmm7, %rax
    cmp vectors+32*7(%rip), %rax
    jne 3f
    vextracti128 $1, %ymm15, %xmm6
    vmovq %xmm6, %rax
    cmp vectors+32*15+16(%rip), %rax
    jne 3f
    vmovups vectors+32*6(%rip), %ymm6
2:  cmpq $0, (%rsi)
    je 1b
    mov %r15, %gs:B_RESULT
    mov %r14, %gs:B_RESULT+8
    jmp leave
3:  inc %r15
    jmp 2b

    .balign 32
vectors:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    .quad 0x5000000000000000 + \n, 0x5100000000000000 + \n
    .quad 0x5200000000000000 + \n, 0x5300000000000000 + \n
    .endr
state_mxcsr:
    .long 0x3f80
test_enclave_end:
    .section .note.GNU-stack, "", @progbits
