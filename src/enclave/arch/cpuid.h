/*
 * CPUID, which is #UD in an enclave, answered from a fixed, measured template: an x86-64-v3 machine
 * with AES and SHA, intersected with what this enclave's XFRM allows. Unknown leaves are zero. Tier:
 * enclave.
 */
#pragma once

#include "abi/sgx.h"

/* Takes leaf and subleaf from rax and rcx of the saved registers, puts eax, ebx, ecx, edx there. */
void cpuid_answer(struct sgx_gprsgx *gpr);
/* XCR0 inside the enclave: SECS.XFRM. */
uint64_t cpu_xfrm(void);
