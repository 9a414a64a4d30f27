/*
 * Instructions as functions. Tier: enclave. Nothing here allocates or can fail but where said.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "core/attr.h"

static inline uint64_t cpu_tsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return ((uint64_t)hi << 32) | lo;
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause");
}

static inline uint64_t cpu_fs_base(void)
{
    uint64_t base;
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

static inline void cpu_set_fs_base(uint64_t base)
{
    __asm__ volatile("wrfsbase %0" : : "r"(base) : "memory");
}

/* MXCSR and the x87 control word: what of the floating-point state a new thread inherits. */
struct cpu_fp_control {
    uint32_t mxcsr;
    uint16_t fcw;
};

static inline struct cpu_fp_control cpu_fp_control(void)
{
    struct cpu_fp_control control;
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(control.mxcsr), "=m"(control.fcw));
    return control;
}

/* control must come from cpu_fp_control(). */
static inline void cpu_set_fp_control(struct cpu_fp_control control)
{
    __asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(control.mxcsr), "m"(control.fcw));
}

/*
 * What of the program's registers lies neither in struct regs nor in memory: vectors, x87, MXCSR and the FS
 * base. They live in the CPU while the library OS works for the program, so both calls may stand anywhere in
 * a system call; what cpu_state_load puts in place survives OCALLs and goes out with full_restore().
 */
#define CPU_XSAVE_SIZE 2688 /* as entry.S */
struct cpu_state {
    uint8_t ALIGNED(64) xsave[CPU_XSAVE_SIZE];
    uint64_t fs_base;
    uint64_t reserved[7];
};
/* The whole struct is written: no bytes of the stack leave with it. */
void cpu_state_save(struct cpu_state *ret);
/* A state that came from elsewhere, whatever it holds, so that loading it cannot fault: components this
 * enclave does not have become initial, reserved bits go, a base that is no address becomes 0. */
void cpu_state_sanitize(struct cpu_state *state);
/* state must come from cpu_state_save or cpu_state_sanitize. */
void cpu_state_load(const struct cpu_state *state);

/* Is a page all zeros? As fast as memory. page: 64-byte aligned, size a multiple of 64. */
MUST_CHECK bool cpu_all_zero(const void *page, uint64_t size);

/* Random bytes from RDRAND through SHA-256 conditioning-free use; panics when the CPU gives none. */
void cpu_random(void *buf, size_t size);

/* SHA-256 islands: save and restore the vector registers that the CPU's SHA instructions use.
 * Library OS code must call these instead of core/sha256.h where speed matters. */
struct sha256;
void island_sha256_update(struct sha256 *hash, const void *data, uint64_t size);
/* The leaf of a trusted file's chunk (abi/manifest.h): SHA-256(0x00, le64 index, le32 size, data). */
void island_leaf(uint64_t index, const void *data, uint32_t size, uint8_t ret[static 32]);
/* The leaves of two whole chunks next to each other, in little more time than one. */
void island_leaf_pair(uint64_t index, const void *data, const void *next_data,
                      uint8_t ret[static 32], uint8_t ret_next[static 32]);

/* ENCLU leaves used at run time; rax as the leaf returns it (0 or an SGX error code). */
uint64_t enclu_eaccept(const struct sgx_secinfo *secinfo, uint64_t page);
uint64_t enclu_eacceptcopy(const struct sgx_secinfo *secinfo, uint64_t page, const void *source);
void enclu_emodpe(const struct sgx_secinfo *secinfo, uint64_t page);
/* Operands in the enclave, aligned as SGX_ALIGN_... says. report_data: SGX_REPORTDATA_SIZE bytes. */
void enclu_ereport(const struct sgx_targetinfo *target, const uint8_t *report_data,
                   struct sgx_report *ret);
uint64_t enclu_egetkey(const struct sgx_keyrequest *request, uint8_t *ret_key);
