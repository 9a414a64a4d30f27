/* Where entry.S finds things; state.h asserts every line. Preprocessor only. */
#pragma once

#define SOFT_SLOT_SHIFT 16 /* a thread's slot: struct soft_thread, guard page, signal stack */
#define SOFT_SLOT_SIZE  (1 << SOFT_SLOT_SHIFT)
#define SOFT_SLOT_COUNT 1152 /* LAYOUT_THREADS_MAX and some */
#define SOFT_EXIT_SHIFT 3    /* one jmp of soft_exit_table a slot */

#define SOFT_SITES_MAX     64 /* ENCLU sites of the library OS */
#define SOFT_SITE_SIZE     16
#define SOFT_LEAF_SHIFT    3       /* one jmp of soft_leaf_table a site */
#define SOFT_STAGE_PAGES   32      /* EACCEPTCOPYs that wait for their page tables */
#define SOFT_ELRANGE_START 0x10000 /* below it nothing is ever mapped */

/* EPCM entries, see state.h */
#define EPCM_RWX      0x07
#define EPCM_PENDING  0x08
#define EPCM_MODIFIED 0x10
#define EPCM_PR       0x20
#define EPCM_TYPE     0xc0
#define EPCM_ABSENT   0x00
#define EPCM_TCS      0x40
#define EPCM_REG      0x80
#define EPCM_TRIM     0xc0
#define EPCM_LOCKED   0xff /* an EACCEPTCOPY is filling the page */
#define EPCM_AUGED    0x8b /* what EAUG makes: PT_REG, PENDING, R, W */

#define T_HOST_FS  0x00
#define T_HOST_GS  0x08
#define T_HOST_RSP 0x10
#define T_INT_FS   0x18
#define T_INT_GS   0x20
#define T_RET_FS   0x28
#define T_RET_GS   0x30
#define T_ENTRY    0x38
#define T_ENC_FS   0x40
#define T_ENC_GS   0x48
#define T_RDI      0x50
#define T_RSI      0x58
#define T_RDX      0x60
#define T_R8       0x68
#define T_R9       0x70
#define T_CSSA     0x78
#define T_TCS      0x80
#define T_RETURN   0x88
#define T_GPR      0x90
#define T_XSAVE    0x98
#define T_XFRM     0xa0
#define T_IRET     0xa8
#define T_PENDING  0xd0
#define T_POISON   0xd4
#define T_FLAGS    0xd8
#define T_JUNK     0xe0
#define T_STACK    0xfc0 /* RSP at every EENTER; little is ever pushed there */

/* t->poison: what this entry does besides (bits) */
#define SOFT_POISON_REGISTERS 1
#define SOFT_POISON_STEP      2

#define GPR_RAX     0
#define GPR_RCX     8
#define GPR_RDX     16
#define GPR_RBX     24
#define GPR_RSP     32
#define GPR_RBP     40
#define GPR_RSI     48
#define GPR_RDI     56
#define GPR_R8      64
#define GPR_R9      72
#define GPR_R10     80
#define GPR_R11     88
#define GPR_R12     96
#define GPR_R13     104
#define GPR_R14     112
#define GPR_R15     120
#define GPR_RFLAGS  128
#define GPR_RIP     136
#define GPR_URSP    144
#define GPR_URBP    152
#define GPR_FS_BASE 168
#define GPR_GS_BASE 176

/* What soft_enter_asm and soft_resume_asm return. */
#define SOFT_LEFT_EEXIT  0
#define SOFT_LEFT_AEX    1
#define SOFT_LEFT_CANCEL 2 /* ERESUME not done: an interrupt was pending */
#define SOFT_LEFT_FAULT  3 /* EENTER or ERESUME not done: #GP or #PF on the SSA */

#define SOFT_RFLAGS_AC   (1 << 18)
#define SOFT_RFLAGS_DF   (1 << 10)
#define SOFT_RFLAGS_TF   (1 << 8)
/* What IRET may load from an SSA: status, DF, NT, RF, AC, ID. (After an opt-out entry TF is void.)
 */
#define SOFT_RFLAGS_USER 0x254cd5
