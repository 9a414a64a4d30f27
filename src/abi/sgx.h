/*
 * What the SGX architecture lays down: leaf numbers, error codes, data structures. Types and
 * constants only. Tier: abi (freestanding; stdint.h and stddef.h only).
 *
 * Source: Intel SDM volume 3D. Chapter numbers move between editions, so every citation names the
 * section's title; the numbers in brackets are those of editions that call "Enclave Access Control
 * and Data Structures" chapter 37 and "SGX Instruction References" chapter 40.
 *
 * All integers are little-endian. Every structure is free of implicit padding and every offset is
 * asserted. Alignments that the CPU demands of operands are constants (SGX_ALIGN_...), not
 * attributes of the types, so that a structure may stand inside another or in a file.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SGX_ASSERT_AT(type, field, at) \
    _Static_assert(offsetof(struct type, field) == (at), #type "." #field)
#define SGX_ASSERT_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)

/* Sizes */

#define SGX_PAGE_SIZE       4096u
#define SGX_PAGE_SHIFT      12
#define SGX_PAGE_MASK       (~(uint64_t)(SGX_PAGE_SIZE - 1))
#define SGX_EXTEND_SIZE     256u /* EEXTEND measures this many bytes */
#define SGX_EXTEND_COUNT    (SGX_PAGE_SIZE / SGX_EXTEND_SIZE)
#define SGX_HASH_SIZE       32u /* SHA-256: MRENCLAVE, MRSIGNER */
#define SGX_MAC_SIZE        16u /* AES-128-CMAC */
#define SGX_KEY_SIZE        16u /* EGETKEY's output */
#define SGX_KEYID_SIZE      32u
#define SGX_CPUSVN_SIZE     16u
#define SGX_MODULUS_SIZE    384u /* RSA-3072 */
#define SGX_CONFIGID_SIZE   64u
#define SGX_REPORTDATA_SIZE 64u

/* Operand alignments, bytes. A violation is #GP(0). */
#define SGX_ALIGN_PAGEINFO   32u
#define SGX_ALIGN_SECINFO    64u
#define SGX_ALIGN_EINITTOKEN 512u
#define SGX_ALIGN_TARGETINFO 512u
#define SGX_ALIGN_REPORTDATA 128u
#define SGX_ALIGN_REPORT     512u
#define SGX_ALIGN_KEYREQUEST 512u
#define SGX_ALIGN_KEY        16u

/* ENCLS and ENCLU leaves, in EAX ("SGX Instruction References" [40.1]) */

#define SGX_ECREATE 0x00u
#define SGX_EADD    0x01u
#define SGX_EINIT   0x02u
#define SGX_EREMOVE 0x03u
#define SGX_EDBGRD  0x04u
#define SGX_EDBGWR  0x05u
#define SGX_EEXTEND 0x06u
#define SGX_ELDB    0x07u
#define SGX_ELDU    0x08u
#define SGX_EBLOCK  0x09u
#define SGX_EPA     0x0Au
#define SGX_EWB     0x0Bu
#define SGX_ETRACK  0x0Cu
#define SGX_EAUG    0x0Du
#define SGX_EMODPR  0x0Eu
#define SGX_EMODT   0x0Fu

#define SGX_EREPORT     0x00u
#define SGX_EGETKEY     0x01u
#define SGX_EENTER      0x02u
#define SGX_ERESUME     0x03u
#define SGX_EEXIT       0x04u
#define SGX_EACCEPT     0x05u
#define SGX_EMODPE      0x06u
#define SGX_EACCEPTCOPY 0x07u
#define SGX_EDECCSSA    0x09u

/* Error codes, in RAX with ZF set ("Error Codes" [40.1.3]) */

#define SGX_SUCCESS                  0u
#define SGX_INVALID_SIG_STRUCT       1u   /* EINIT */
#define SGX_INVALID_ATTRIBUTE        2u   /* EINIT, EGETKEY */
#define SGX_BLKSTATE                 3u   /* EBLOCK */
#define SGX_INVALID_MEASUREMENT      4u   /* EINIT */
#define SGX_NOTBLOCKABLE             5u   /* EBLOCK */
#define SGX_PG_INVLD                 6u   /* EBLOCK, ETRACKC */
#define SGX_EPC_PAGE_CONFLICT        7u   /* formerly SGX_LOCKFAIL */
#define SGX_INVALID_SIGNATURE        8u   /* EINIT */
#define SGX_MAC_COMPARE_FAIL         9u   /* ELDB, ELDU */
#define SGX_PAGE_NOT_BLOCKED         10u  /* EWB */
#define SGX_NOT_TRACKED              11u  /* EWB, EACCEPT */
#define SGX_VA_SLOT_OCCUPIED         12u  /* EWB */
#define SGX_CHILD_PRESENT            13u  /* EWB, EREMOVE */
#define SGX_ENCLAVE_ACT              14u  /* EREMOVE */
#define SGX_ENTRYEPOCH_LOCKED        15u  /* EBLOCK */
#define SGX_INVALID_EINITTOKEN       16u  /* EINIT */
#define SGX_PREV_TRK_INCMPL          17u  /* ETRACK */
#define SGX_PG_IS_SECS               18u  /* EBLOCK */
#define SGX_PAGE_ATTRIBUTES_MISMATCH 19u  /* EACCEPT, EACCEPTCOPY */
#define SGX_PAGE_NOT_MODIFIABLE      20u  /* EMODPR, EMODT */
#define SGX_PAGE_NOT_DEBUGGABLE      21u  /* EDBGRD, EDBGWR */
#define SGX_INVALID_COUNTER          25u  /* EINCVIRTCHILD, EDECVIRTCHILD */
#define SGX_PG_NONEPC                26u  /* ERDINFO */
#define SGX_TRACK_NOT_REQUIRED       27u  /* ETRACKC */
#define SGX_INVALID_CPUSVN           32u  /* EINIT, EGETKEY */
#define SGX_INVALID_ISVSVN           64u  /* EGETKEY */
#define SGX_UNMASKED_EVENT           128u /* EINIT */
#define SGX_INVALID_KEYNAME          256u /* EGETKEY */

/* ATTRIBUTES ("ATTRIBUTES" [37.7.1]) */

struct sgx_attributes {
    uint64_t flags; /* 0: SGX_ATTR_... */
    uint64_t xfrm;  /* 8: SGX_XFRM_..., XCR0 inside the enclave */
};
SGX_ASSERT_AT(sgx_attributes, flags, 0);
SGX_ASSERT_AT(sgx_attributes, xfrm, 8);
SGX_ASSERT_SIZE(sgx_attributes, 16);

#define SGX_ATTR_INIT          (UINT64_C(1) << 0) /* set by EINIT only */
#define SGX_ATTR_DEBUG         (UINT64_C(1) << 1)
#define SGX_ATTR_MODE64BIT     (UINT64_C(1) << 2)
#define SGX_ATTR_PROVISIONKEY  (UINT64_C(1) << 4)
#define SGX_ATTR_EINITTOKENKEY (UINT64_C(1) << 5)
#define SGX_ATTR_CET           (UINT64_C(1) << 6)
#define SGX_ATTR_KSS           (UINT64_C(1) << 7)
#define SGX_ATTR_AEXNOTIFY     (UINT64_C(1) << 10)
#define SGX_ATTR_RESERVED                                                            \
    (~(SGX_ATTR_INIT | SGX_ATTR_DEBUG | SGX_ATTR_MODE64BIT | SGX_ATTR_PROVISIONKEY | \
       SGX_ATTR_EINITTOKENKEY | SGX_ATTR_CET | SGX_ATTR_KSS | SGX_ATTR_AEXNOTIFY))

/* XFRM ("ATTRIBUTES" [37.7.1], "Processor Extended States and XSAVE" [41.7]); bits as in XCR0 */
#define SGX_XFRM_X87      (UINT64_C(1) << 0)
#define SGX_XFRM_SSE      (UINT64_C(1) << 1)
#define SGX_XFRM_LEGACY   (SGX_XFRM_X87 | SGX_XFRM_SSE) /* must both be set */
#define SGX_XFRM_AVX      (UINT64_C(1) << 2)
#define SGX_XFRM_BNDREGS  (UINT64_C(1) << 3)
#define SGX_XFRM_BNDCSR   (UINT64_C(1) << 4)
#define SGX_XFRM_OPMASK   (UINT64_C(1) << 5)
#define SGX_XFRM_ZMM_HI   (UINT64_C(1) << 6)
#define SGX_XFRM_HI16_ZMM (UINT64_C(1) << 7)
#define SGX_XFRM_AVX512   (SGX_XFRM_OPMASK | SGX_XFRM_ZMM_HI | SGX_XFRM_HI16_ZMM)
#define SGX_XFRM_PKRU     (UINT64_C(1) << 9)
#define SGX_XFRM_AMX      (UINT64_C(3) << 17)

/* MISCSELECT ("SECS.MISCSELECT Field" [37.7.2]) */
#define SGX_MISC_EXINFO   (UINT32_C(1) << 0) /* #PF and #GP are reported in SSA.MISC */
#define SGX_MISC_CPINFO   (UINT32_C(1) << 1)
#define SGX_MISC_RESERVED (~(SGX_MISC_EXINFO | SGX_MISC_CPINFO))

/* SECS ("SGX Enclave Control Structure" [37.7]) */

struct sgx_secs {
    uint64_t size;                        /*   0: bytes, a power of two */
    uint64_t base;                        /*   8: linear address, aligned to size */
    uint32_t ssa_frame_size;              /*  16: pages */
    uint32_t misc_select;                 /*  20 */
    uint64_t cet_leg_bitmap_offset;       /*  24 */
    uint8_t cet_attributes;               /*  32 */
    uint8_t reserved1[15];                /*  33 */
    struct sgx_attributes attributes;     /*  48 */
    uint8_t mrenclave[SGX_HASH_SIZE];     /*  64: kept by ECREATE, EADD, EEXTEND, EINIT */
    uint8_t reserved2[32];                /*  96 */
    uint8_t mrsigner[SGX_HASH_SIZE];      /* 128: set by EINIT */
    uint8_t reserved3[32];                /* 160 */
    uint8_t config_id[SGX_CONFIGID_SIZE]; /* 192: with KSS */
    uint16_t isv_prod_id;                 /* 256: set by EINIT */
    uint16_t isv_svn;                     /* 258: set by EINIT */
    uint16_t config_svn;                  /* 260: with KSS */
    uint8_t reserved4[3834];              /* 262 */
};
SGX_ASSERT_AT(sgx_secs, size, 0);
SGX_ASSERT_AT(sgx_secs, base, 8);
SGX_ASSERT_AT(sgx_secs, ssa_frame_size, 16);
SGX_ASSERT_AT(sgx_secs, misc_select, 20);
SGX_ASSERT_AT(sgx_secs, cet_leg_bitmap_offset, 24);
SGX_ASSERT_AT(sgx_secs, cet_attributes, 32);
SGX_ASSERT_AT(sgx_secs, reserved1, 33);
SGX_ASSERT_AT(sgx_secs, attributes, 48);
SGX_ASSERT_AT(sgx_secs, mrenclave, 64);
SGX_ASSERT_AT(sgx_secs, reserved2, 96);
SGX_ASSERT_AT(sgx_secs, mrsigner, 128);
SGX_ASSERT_AT(sgx_secs, reserved3, 160);
SGX_ASSERT_AT(sgx_secs, config_id, 192);
SGX_ASSERT_AT(sgx_secs, isv_prod_id, 256);
SGX_ASSERT_AT(sgx_secs, isv_svn, 258);
SGX_ASSERT_AT(sgx_secs, config_svn, 260);
SGX_ASSERT_AT(sgx_secs, reserved4, 262);
SGX_ASSERT_SIZE(sgx_secs, 4096);

/* TCS ("Thread Control Structure" [37.8]) */

struct sgx_tcs {
    uint64_t stage;         /*  0: the CPU's: 0 inactive, 1 active; 0 at EADD */
    uint64_t flags;         /*  8: SGX_TCS_... */
    uint64_t ossa;          /* 16: offset of the SSA stack from the enclave's base, page-aligned */
    uint32_t cssa;          /* 24: SSA frame the next AEX takes; 0 at EADD */
    uint32_t nssa;          /* 28: count of SSA frames */
    uint64_t oentry;        /* 32: offset of the entry point */
    uint64_t aep;           /* 40: the CPU's: asynchronous exit pointer of EENTER; 0 at EADD */
    uint64_t ofs_base;      /* 48: offset that becomes the FS base, page-aligned */
    uint64_t ogs_base;      /* 56: offset that becomes the GS base, page-aligned */
    uint32_t fs_limit;      /* 64: low 12 bits must be set in a 32-bit enclave */
    uint32_t gs_limit;      /* 68 */
    uint64_t ocet_ssa;      /* 72: with CET */
    uint64_t prev_ssp;      /* 80: with CET */
    uint8_t reserved[4008]; /* 88: 0 at EADD */
};
SGX_ASSERT_AT(sgx_tcs, stage, 0);
SGX_ASSERT_AT(sgx_tcs, flags, 8);
SGX_ASSERT_AT(sgx_tcs, ossa, 16);
SGX_ASSERT_AT(sgx_tcs, cssa, 24);
SGX_ASSERT_AT(sgx_tcs, nssa, 28);
SGX_ASSERT_AT(sgx_tcs, oentry, 32);
SGX_ASSERT_AT(sgx_tcs, aep, 40);
SGX_ASSERT_AT(sgx_tcs, ofs_base, 48);
SGX_ASSERT_AT(sgx_tcs, ogs_base, 56);
SGX_ASSERT_AT(sgx_tcs, fs_limit, 64);
SGX_ASSERT_AT(sgx_tcs, gs_limit, 68);
SGX_ASSERT_AT(sgx_tcs, ocet_ssa, 72);
SGX_ASSERT_AT(sgx_tcs, prev_ssp, 80);
SGX_ASSERT_AT(sgx_tcs, reserved, 88);
SGX_ASSERT_SIZE(sgx_tcs, 4096);

/* TCS.FLAGS ("TCS.FLAGS" [37.8.1]) */
#define SGX_TCS_DBGOPTIN  (UINT64_C(1) << 0) /* not in the measurement's reach: EDBGWR only */
#define SGX_TCS_AEXNOTIFY (UINT64_C(1) << 1)

/* SSA frame ("State Save Area Frame" [37.9]): XSAVE area at its start; the MISC region (EXINFO)
 * right below the GPR area; the GPR area at its end. */

struct sgx_gprsgx {
    uint64_t rax;        /*   0 */
    uint64_t rcx;        /*   8 */
    uint64_t rdx;        /*  16 */
    uint64_t rbx;        /*  24 */
    uint64_t rsp;        /*  32 */
    uint64_t rbp;        /*  40 */
    uint64_t rsi;        /*  48 */
    uint64_t rdi;        /*  56 */
    uint64_t r8;         /*  64 */
    uint64_t r9;         /*  72 */
    uint64_t r10;        /*  80 */
    uint64_t r11;        /*  88 */
    uint64_t r12;        /*  96 */
    uint64_t r13;        /* 104 */
    uint64_t r14;        /* 112 */
    uint64_t r15;        /* 120 */
    uint64_t rflags;     /* 128 */
    uint64_t rip;        /* 136 */
    uint64_t ursp;       /* 144: RSP outside, saved by EENTER, put back by an AEX */
    uint64_t urbp;       /* 152: RBP outside, likewise */
    uint32_t exit_info;  /* 160: SGX_EXIT_... */
    uint8_t reserved[3]; /* 164 */
    uint8_t aex_notify;  /* 167: bit 0 */
    uint64_t fs_base;    /* 168 */
    uint64_t gs_base;    /* 176 */
};
SGX_ASSERT_AT(sgx_gprsgx, rax, 0);
SGX_ASSERT_AT(sgx_gprsgx, rcx, 8);
SGX_ASSERT_AT(sgx_gprsgx, rdx, 16);
SGX_ASSERT_AT(sgx_gprsgx, rbx, 24);
SGX_ASSERT_AT(sgx_gprsgx, rsp, 32);
SGX_ASSERT_AT(sgx_gprsgx, rbp, 40);
SGX_ASSERT_AT(sgx_gprsgx, rsi, 48);
SGX_ASSERT_AT(sgx_gprsgx, rdi, 56);
SGX_ASSERT_AT(sgx_gprsgx, r8, 64);
SGX_ASSERT_AT(sgx_gprsgx, r9, 72);
SGX_ASSERT_AT(sgx_gprsgx, r10, 80);
SGX_ASSERT_AT(sgx_gprsgx, r11, 88);
SGX_ASSERT_AT(sgx_gprsgx, r12, 96);
SGX_ASSERT_AT(sgx_gprsgx, r13, 104);
SGX_ASSERT_AT(sgx_gprsgx, r14, 112);
SGX_ASSERT_AT(sgx_gprsgx, r15, 120);
SGX_ASSERT_AT(sgx_gprsgx, rflags, 128);
SGX_ASSERT_AT(sgx_gprsgx, rip, 136);
SGX_ASSERT_AT(sgx_gprsgx, ursp, 144);
SGX_ASSERT_AT(sgx_gprsgx, urbp, 152);
SGX_ASSERT_AT(sgx_gprsgx, exit_info, 160);
SGX_ASSERT_AT(sgx_gprsgx, reserved, 164);
SGX_ASSERT_AT(sgx_gprsgx, aex_notify, 167);
SGX_ASSERT_AT(sgx_gprsgx, fs_base, 168);
SGX_ASSERT_AT(sgx_gprsgx, gs_base, 176);
SGX_ASSERT_SIZE(sgx_gprsgx, 184);

/* EXITINFO ("EXITINFO", "VECTOR Field Definition" [37.9.1.1, 37.9.1.2]). All zero unless VALID. */
#define SGX_EXIT_VECTOR_MASK   UINT32_C(0x000000FF)
#define SGX_EXIT_TYPE_MASK     UINT32_C(0x00000700)
#define SGX_EXIT_TYPE_SHIFT    8
#define SGX_EXIT_VALID         (UINT32_C(1) << 31)
#define SGX_EXIT_TYPE_HARDWARE 3u /* #DE, #DB, #BR, #UD, #GP, #PF, #MF, #AC, #XM */
#define SGX_EXIT_TYPE_SOFTWARE 6u /* #BP */
#define SGX_EXIT_INFO(type, vector) \
    (SGX_EXIT_VALID | ((uint32_t)(type) << SGX_EXIT_TYPE_SHIFT) | (uint32_t)(vector))

#define SGX_VECTOR_DE 0u
#define SGX_VECTOR_DB 1u
#define SGX_VECTOR_BP 3u
#define SGX_VECTOR_BR 5u
#define SGX_VECTOR_UD 6u
#define SGX_VECTOR_GP 13u /* only with MISC_EXINFO */
#define SGX_VECTOR_PF 14u /* only with MISC_EXINFO */
#define SGX_VECTOR_MF 16u
#define SGX_VECTOR_AC 17u
#define SGX_VECTOR_XM 19u
#define SGX_VECTOR_CP 21u /* only with MISC_CPINFO */

/* EXINFO ("EXINFO Structure" [37.9.2.1]) */
struct sgx_exinfo {
    uint64_t maddr;    /*  0: #PF: the faulting linear address; #GP: 0 */
    uint32_t errcd;    /*  8: SGX_PFEC_... or #GP's error code */
    uint32_t reserved; /* 12 */
};
SGX_ASSERT_AT(sgx_exinfo, maddr, 0);
SGX_ASSERT_AT(sgx_exinfo, errcd, 8);
SGX_ASSERT_AT(sgx_exinfo, reserved, 12);
SGX_ASSERT_SIZE(sgx_exinfo, 16);

/* "Page Fault Error Codes" [37.9.2.2] */
#define SGX_PFEC_P   (UINT32_C(1) << 0)  /* the page was present */
#define SGX_PFEC_W   (UINT32_C(1) << 1)  /* a write */
#define SGX_PFEC_U   (UINT32_C(1) << 2)  /* user mode: always set */
#define SGX_PFEC_I   (UINT32_C(1) << 4)  /* an instruction fetch */
#define SGX_PFEC_PK  (UINT32_C(1) << 5)  /* a protection key */
#define SGX_PFEC_SGX (UINT32_C(1) << 15) /* the EPCM refused */

/* SECINFO ("Security Information" [37.11]) */

struct sgx_secinfo {
    uint64_t flags;       /* 0: SGX_SECINFO_... */
    uint8_t reserved[56]; /* 8 */
};
SGX_ASSERT_AT(sgx_secinfo, flags, 0);
SGX_ASSERT_AT(sgx_secinfo, reserved, 8);
SGX_ASSERT_SIZE(sgx_secinfo, 64);

#define SGX_SECINFO_R        (UINT64_C(1) << 0)
#define SGX_SECINFO_W        (UINT64_C(1) << 1)
#define SGX_SECINFO_X        (UINT64_C(1) << 2)
#define SGX_SECINFO_RWX      (SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_X)
#define SGX_SECINFO_PENDING  (UINT64_C(1) << 3)
#define SGX_SECINFO_MODIFIED (UINT64_C(1) << 4)
#define SGX_SECINFO_PR       (UINT64_C(1) << 5)
#define SGX_SECINFO_PT_SHIFT 8
#define SGX_SECINFO_PT_MASK  (UINT64_C(0xFF) << SGX_SECINFO_PT_SHIFT)
#define SGX_SECINFO_RESERVED (~(UINT64_C(0x3F) | SGX_SECINFO_PT_MASK))

/* Page types ("PAGE_TYPE Field Definition" [37.11.2]) */
#define SGX_PT_SECS      0u
#define SGX_PT_TCS       1u
#define SGX_PT_REG       2u
#define SGX_PT_VA        3u
#define SGX_PT_TRIM      4u
#define SGX_PT_SS_FIRST  5u
#define SGX_PT_SS_REST   6u
#define SGX_SECINFO_TCS  ((uint64_t)SGX_PT_TCS << SGX_SECINFO_PT_SHIFT)
#define SGX_SECINFO_REG  ((uint64_t)SGX_PT_REG << SGX_SECINFO_PT_SHIFT)
#define SGX_SECINFO_TRIM ((uint64_t)SGX_PT_TRIM << SGX_SECINFO_PT_SHIFT)

/* PAGEINFO ("Page Information" [37.10]) */
struct sgx_pageinfo {
    uint64_t linaddr; /*  0: linear address in ELRANGE */
    uint64_t srcpge;  /*  8: address of the content */
    uint64_t secinfo; /* 16: address of a SECINFO (or PCMD) */
    uint64_t secs;    /* 24: address of the SECS, or 0 */
};
SGX_ASSERT_AT(sgx_pageinfo, linaddr, 0);
SGX_ASSERT_AT(sgx_pageinfo, srcpge, 8);
SGX_ASSERT_AT(sgx_pageinfo, secinfo, 16);
SGX_ASSERT_AT(sgx_pageinfo, secs, 24);
SGX_ASSERT_SIZE(sgx_pageinfo, 32);

/* SIGSTRUCT ("Enclave Signature Structure" [37.13]). The signature covers 0..127 and 900..1027. */

struct sgx_sigstruct {
    uint8_t header[16];                    /*    0: SGX_SIG_HEADER1 */
    uint32_t vendor;                       /*   16: 0, or 0x8086 for Intel's own */
    uint32_t date;                         /*   20: BCD yyyymmdd */
    uint8_t header2[16];                   /*   24: SGX_SIG_HEADER2 */
    uint32_t sw_defined;                   /*   40 */
    uint8_t reserved1[84];                 /*   44 */
    uint8_t modulus[SGX_MODULUS_SIZE];     /*  128: little-endian */
    uint32_t exponent;                     /*  512: 3 */
    uint8_t signature[SGX_MODULUS_SIZE];   /*  516: little-endian */
    uint32_t misc_select;                  /*  900 */
    uint32_t misc_mask;                    /*  904 */
    uint8_t cet_attributes;                /*  908 */
    uint8_t cet_attributes_mask;           /*  909 */
    uint8_t reserved2[2];                  /*  910 */
    uint8_t isv_family_id[16];             /*  912: with KSS */
    struct sgx_attributes attributes;      /*  928 */
    struct sgx_attributes attributes_mask; /*  944 */
    uint8_t enclave_hash[SGX_HASH_SIZE];   /*  960: MRENCLAVE */
    uint8_t reserved3[16];                 /*  992 */
    uint8_t isv_ext_prod_id[16];           /* 1008: with KSS */
    uint16_t isv_prod_id;                  /* 1024 */
    uint16_t isv_svn;                      /* 1026 */
    uint8_t reserved4[12];                 /* 1028 */
    uint8_t q1[SGX_MODULUS_SIZE];          /* 1040: floor(signature^2 / modulus) */
    uint8_t q2[SGX_MODULUS_SIZE];          /* 1424: floor((signature^3 - q1 * signature *
                                            *       modulus) / modulus) */
};
SGX_ASSERT_AT(sgx_sigstruct, header, 0);
SGX_ASSERT_AT(sgx_sigstruct, vendor, 16);
SGX_ASSERT_AT(sgx_sigstruct, date, 20);
SGX_ASSERT_AT(sgx_sigstruct, header2, 24);
SGX_ASSERT_AT(sgx_sigstruct, sw_defined, 40);
SGX_ASSERT_AT(sgx_sigstruct, reserved1, 44);
SGX_ASSERT_AT(sgx_sigstruct, modulus, 128);
SGX_ASSERT_AT(sgx_sigstruct, exponent, 512);
SGX_ASSERT_AT(sgx_sigstruct, signature, 516);
SGX_ASSERT_AT(sgx_sigstruct, misc_select, 900);
SGX_ASSERT_AT(sgx_sigstruct, misc_mask, 904);
SGX_ASSERT_AT(sgx_sigstruct, cet_attributes, 908);
SGX_ASSERT_AT(sgx_sigstruct, cet_attributes_mask, 909);
SGX_ASSERT_AT(sgx_sigstruct, reserved2, 910);
SGX_ASSERT_AT(sgx_sigstruct, isv_family_id, 912);
SGX_ASSERT_AT(sgx_sigstruct, attributes, 928);
SGX_ASSERT_AT(sgx_sigstruct, attributes_mask, 944);
SGX_ASSERT_AT(sgx_sigstruct, enclave_hash, 960);
SGX_ASSERT_AT(sgx_sigstruct, reserved3, 992);
SGX_ASSERT_AT(sgx_sigstruct, isv_ext_prod_id, 1008);
SGX_ASSERT_AT(sgx_sigstruct, isv_prod_id, 1024);
SGX_ASSERT_AT(sgx_sigstruct, isv_svn, 1026);
SGX_ASSERT_AT(sgx_sigstruct, reserved4, 1028);
SGX_ASSERT_AT(sgx_sigstruct, q1, 1040);
SGX_ASSERT_AT(sgx_sigstruct, q2, 1424);
SGX_ASSERT_SIZE(sgx_sigstruct, 1808);

#define SGX_SIG_HEADER1                                                                           \
    {                                                                                             \
        0x06, 0x00, 0x00, 0x00, 0xE1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, \
            0x00                                                                                  \
    }
#define SGX_SIG_HEADER2                                                                           \
    {                                                                                             \
        0x01, 0x01, 0x00, 0x00, 0x60, 0x00, 0x00, 0x00, 0x60, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, \
            0x00                                                                                  \
    }
#define SGX_SIG_EXPONENT     3u
#define SGX_SIG_VENDOR_INTEL 0x8086u
#define SGX_SIG_SIGNED1_SIZE 128u /* first signed part starts at 0 */
#define SGX_SIG_SIGNED2_AT   900u
#define SGX_SIG_SIGNED2_SIZE 128u

/* EINITTOKEN ("EINIT Token Structure" [37.14]). All zero where launch control is flexible. */
struct sgx_einittoken {
    uint32_t valid;                             /*   0: bit 0 */
    uint8_t reserved1[44];                      /*   4 */
    struct sgx_attributes attributes;           /*  48 */
    uint8_t mrenclave[SGX_HASH_SIZE];           /*  64 */
    uint8_t reserved2[32];                      /*  96 */
    uint8_t mrsigner[SGX_HASH_SIZE];            /* 128 */
    uint8_t reserved3[32];                      /* 160 */
    uint8_t cpu_svn_le[SGX_CPUSVN_SIZE];        /* 192 */
    uint16_t isv_prod_id_le;                    /* 208 */
    uint16_t isv_svn_le;                        /* 210 */
    uint8_t cet_masked_attributes_le;           /* 212 */
    uint8_t reserved4[23];                      /* 213 */
    uint32_t masked_misc_select_le;             /* 236 */
    struct sgx_attributes masked_attributes_le; /* 240 */
    uint8_t key_id[SGX_KEYID_SIZE];             /* 256 */
    uint8_t mac[SGX_MAC_SIZE];                  /* 288: over 0..191 */
};
SGX_ASSERT_AT(sgx_einittoken, valid, 0);
SGX_ASSERT_AT(sgx_einittoken, reserved1, 4);
SGX_ASSERT_AT(sgx_einittoken, attributes, 48);
SGX_ASSERT_AT(sgx_einittoken, mrenclave, 64);
SGX_ASSERT_AT(sgx_einittoken, reserved2, 96);
SGX_ASSERT_AT(sgx_einittoken, mrsigner, 128);
SGX_ASSERT_AT(sgx_einittoken, reserved3, 160);
SGX_ASSERT_AT(sgx_einittoken, cpu_svn_le, 192);
SGX_ASSERT_AT(sgx_einittoken, isv_prod_id_le, 208);
SGX_ASSERT_AT(sgx_einittoken, isv_svn_le, 210);
SGX_ASSERT_AT(sgx_einittoken, cet_masked_attributes_le, 212);
SGX_ASSERT_AT(sgx_einittoken, reserved4, 213);
SGX_ASSERT_AT(sgx_einittoken, masked_misc_select_le, 236);
SGX_ASSERT_AT(sgx_einittoken, masked_attributes_le, 240);
SGX_ASSERT_AT(sgx_einittoken, key_id, 256);
SGX_ASSERT_AT(sgx_einittoken, mac, 288);
SGX_ASSERT_SIZE(sgx_einittoken, 304);

/* TARGETINFO ("Report Target Info" [37.16]) */
struct sgx_targetinfo {
    uint8_t mrenclave[SGX_HASH_SIZE];     /*   0: of the enclave that will check the REPORT */
    struct sgx_attributes attributes;     /*  32 */
    uint8_t cet_attributes;               /*  48 */
    uint8_t reserved1[1];                 /*  49 */
    uint16_t config_svn;                  /*  50 */
    uint32_t misc_select;                 /*  52 */
    uint8_t reserved2[8];                 /*  56 */
    uint8_t config_id[SGX_CONFIGID_SIZE]; /*  64 */
    uint8_t reserved3[384];               /* 128 */
};
SGX_ASSERT_AT(sgx_targetinfo, mrenclave, 0);
SGX_ASSERT_AT(sgx_targetinfo, attributes, 32);
SGX_ASSERT_AT(sgx_targetinfo, cet_attributes, 48);
SGX_ASSERT_AT(sgx_targetinfo, reserved1, 49);
SGX_ASSERT_AT(sgx_targetinfo, config_svn, 50);
SGX_ASSERT_AT(sgx_targetinfo, misc_select, 52);
SGX_ASSERT_AT(sgx_targetinfo, reserved2, 56);
SGX_ASSERT_AT(sgx_targetinfo, config_id, 64);
SGX_ASSERT_AT(sgx_targetinfo, reserved3, 128);
SGX_ASSERT_SIZE(sgx_targetinfo, 512);

/* REPORT ("Report" [37.15]). The MAC covers 0..383. */
struct sgx_report {
    uint8_t cpu_svn[SGX_CPUSVN_SIZE];         /*   0 */
    uint32_t misc_select;                     /*  16 */
    uint8_t cet_attributes;                   /*  20 */
    uint8_t reserved1[11];                    /*  21 */
    uint8_t isv_ext_prod_id[16];              /*  32 */
    struct sgx_attributes attributes;         /*  48 */
    uint8_t mrenclave[SGX_HASH_SIZE];         /*  64 */
    uint8_t reserved2[32];                    /*  96 */
    uint8_t mrsigner[SGX_HASH_SIZE];          /* 128 */
    uint8_t reserved3[32];                    /* 160 */
    uint8_t config_id[SGX_CONFIGID_SIZE];     /* 192 */
    uint16_t isv_prod_id;                     /* 256 */
    uint16_t isv_svn;                         /* 258 */
    uint16_t config_svn;                      /* 260 */
    uint8_t reserved4[42];                    /* 262 */
    uint8_t isv_family_id[16];                /* 304 */
    uint8_t report_data[SGX_REPORTDATA_SIZE]; /* 320 */
    uint8_t key_id[SGX_KEYID_SIZE];           /* 384: wear-out value of the REPORT key */
    uint8_t mac[SGX_MAC_SIZE];                /* 416 */
};
SGX_ASSERT_AT(sgx_report, cpu_svn, 0);
SGX_ASSERT_AT(sgx_report, misc_select, 16);
SGX_ASSERT_AT(sgx_report, cet_attributes, 20);
SGX_ASSERT_AT(sgx_report, reserved1, 21);
SGX_ASSERT_AT(sgx_report, isv_ext_prod_id, 32);
SGX_ASSERT_AT(sgx_report, attributes, 48);
SGX_ASSERT_AT(sgx_report, mrenclave, 64);
SGX_ASSERT_AT(sgx_report, reserved2, 96);
SGX_ASSERT_AT(sgx_report, mrsigner, 128);
SGX_ASSERT_AT(sgx_report, reserved3, 160);
SGX_ASSERT_AT(sgx_report, config_id, 192);
SGX_ASSERT_AT(sgx_report, isv_prod_id, 256);
SGX_ASSERT_AT(sgx_report, isv_svn, 258);
SGX_ASSERT_AT(sgx_report, config_svn, 260);
SGX_ASSERT_AT(sgx_report, reserved4, 262);
SGX_ASSERT_AT(sgx_report, isv_family_id, 304);
SGX_ASSERT_AT(sgx_report, report_data, 320);
SGX_ASSERT_AT(sgx_report, key_id, 384);
SGX_ASSERT_AT(sgx_report, mac, 416);
SGX_ASSERT_SIZE(sgx_report, 432);

#define SGX_REPORT_MAC_COVERS 384u

/* KEYREQUEST ("Key Request" [37.17]) */
struct sgx_keyrequest {
    uint16_t key_name;                     /*  0: SGX_KEY_... */
    uint16_t key_policy;                   /*  2: SGX_KEYPOLICY_... */
    uint16_t isv_svn;                      /*  4 */
    uint8_t cet_attributes_mask;           /*  6 */
    uint8_t reserved1[1];                  /*  7 */
    uint8_t cpu_svn[SGX_CPUSVN_SIZE];      /*  8 */
    struct sgx_attributes attributes_mask; /* 24 */
    uint8_t key_id[SGX_KEYID_SIZE];        /* 40 */
    uint32_t misc_mask;                    /* 72 */
    uint16_t config_svn;                   /* 76 */
    uint8_t reserved2[434];                /* 78 */
};
SGX_ASSERT_AT(sgx_keyrequest, key_name, 0);
SGX_ASSERT_AT(sgx_keyrequest, key_policy, 2);
SGX_ASSERT_AT(sgx_keyrequest, isv_svn, 4);
SGX_ASSERT_AT(sgx_keyrequest, cet_attributes_mask, 6);
SGX_ASSERT_AT(sgx_keyrequest, reserved1, 7);
SGX_ASSERT_AT(sgx_keyrequest, cpu_svn, 8);
SGX_ASSERT_AT(sgx_keyrequest, attributes_mask, 24);
SGX_ASSERT_AT(sgx_keyrequest, key_id, 40);
SGX_ASSERT_AT(sgx_keyrequest, misc_mask, 72);
SGX_ASSERT_AT(sgx_keyrequest, config_svn, 76);
SGX_ASSERT_AT(sgx_keyrequest, reserved2, 78);
SGX_ASSERT_SIZE(sgx_keyrequest, 512);

#define SGX_KEY_EINITTOKEN     0u
#define SGX_KEY_PROVISION      1u
#define SGX_KEY_PROVISION_SEAL 2u
#define SGX_KEY_REPORT         3u
#define SGX_KEY_SEAL           4u

#define SGX_KEYPOLICY_MRENCLAVE    0x0001u
#define SGX_KEYPOLICY_MRSIGNER     0x0002u
#define SGX_KEYPOLICY_NOISVPRODID  0x0004u
#define SGX_KEYPOLICY_CONFIGID     0x0008u
#define SGX_KEYPOLICY_ISVFAMILYID  0x0010u
#define SGX_KEYPOLICY_ISVEXTPRODID 0x0020u
#define SGX_KEYPOLICY_RESERVED     0xFFC0u

/*
 * The profile: what this project chooses among what the architecture allows. Part of every
 * measurement, so a change here changes every MRENCLAVE.
 */
#define PROFILE_NSSA           2u /* program, and the exception stage above it */
#define PROFILE_SSA_FRAME_SIZE 4u /* pages */
#define PROFILE_SSA_SIZE       (PROFILE_NSSA * PROFILE_SSA_FRAME_SIZE * SGX_PAGE_SIZE)
#define PROFILE_MISC_SELECT    SGX_MISC_EXINFO

/* Where the parts of one SSA frame of the profile stand, bytes from the frame's start. */
#define PROFILE_SSA_FRAME_BYTES (PROFILE_SSA_FRAME_SIZE * SGX_PAGE_SIZE)
#define PROFILE_SSA_XSAVE_AT    0u
#define PROFILE_SSA_GPR_AT      (PROFILE_SSA_FRAME_BYTES - 184u)
#define PROFILE_SSA_EXINFO_AT   (PROFILE_SSA_GPR_AT - 16u)

/* x87, SSE, AVX and AVX-512 where the machine has them; no MPX, PKRU, AMX. The mask leaves the AVX
 * and AVX-512 bits free. */
#define PROFILE_XFRM      (SGX_XFRM_LEGACY | SGX_XFRM_AVX | SGX_XFRM_AVX512) /* 0xE7 */
#define PROFILE_XFRM_MASK (~(SGX_XFRM_AVX | SGX_XFRM_AVX512))
_Static_assert(PROFILE_XFRM == 0xE7, "template");
