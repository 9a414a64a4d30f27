/* Builds the test enclave on the software device, in one call. Aborts on anything unexpected. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those above. */
#include <cmocka.h>

#include "softsgx/state.h"

#include "enclave.h"

extern const char test_enclave_begin[], test_enclave_end[], test_site_exit[], test_site_leaf[],
    test_site_many[], test_site_copies[];
extern const uint32_t test_fault_at[];

struct fixture {
    struct softsgx *s;
    struct sgx_sigstruct sigstruct;
    uint32_t threads;
};

/* Set before fixture_create: single_step too. */
extern bool g_fixture_single_step;
/* The options every fixture gets besides its own: poison if SOFTSGX_POISON is set. */
struct softsgx_options fixture_options(void);
void fixture_secs(struct sgx_secs *ret);
/* Opens and creates; fixture_add adds all pages; fixture_sign makes a right SIGSTRUCT. */
void fixture_create(struct fixture *f);
void fixture_add(struct fixture *f, uint32_t threads);
void fixture_sign(struct fixture *f);
/* Signature, Q1 and Q2 over what stands in sig. */
void fixture_resign(struct sgx_sigstruct *sig);
/* All of it, EINIT, sites rewritten if jumps, and this thread begun. */
void fixture_up(struct fixture *f, uint32_t threads, bool jumps);
void fixture_down(struct fixture *f);

uint64_t te_thread(uint32_t index);
struct softsgx_run te_run(uint32_t thread, uint64_t command, uint64_t rsi, uint64_t rdx,
                          uint64_t r8, uint64_t r9);
/* softsgx_enter, softsgx_resume, and on through what a hostile host adds under poison: interrupts
 * and page faults that are the page tables' alone. They must succeed. */
void te_enter(struct fixture *f, struct softsgx_run *run);
void te_resume(struct fixture *f, struct softsgx_run *run);
/* Enters and wants an EEXIT. */
void te_do(struct fixture *f, uint32_t thread, uint64_t command, uint64_t rsi, uint64_t rdx,
           uint64_t r8, uint64_t r9);
uint64_t te_result(struct fixture *f, uint32_t thread, uint32_t index);
uint64_t te_peek(struct fixture *f, uint64_t address);
void te_poke(struct fixture *f, uint64_t address, uint64_t value);
/* Runs one ENCLU leaf in the enclave; RAX. */
uint64_t te_enclu(struct fixture *f, uint32_t leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx);
/* EACCEPT of address with these SECINFO flags; RAX. */
uint64_t te_accept(struct fixture *f, uint64_t address, uint64_t secinfo_flags);
void te_secinfo(struct fixture *f, uint64_t flags); /* at TE_DATA */
