/*
 * The software SGX device: the architecture's state machine in user space, written from the Intel
 * SDM volume 3D leaf by leaf. It gives no protection against the host. Tier: hosted, untrusted;
 * used through src/host/device/device.h only, whose contracts hold here word for word.
 *
 * The files: encls_build.c (ECREATE, EADD, EEXTEND, EINIT), encls_dynamic.c (EAUG, EMODPR, EMODT,
 * EREMOVE as the driver uses them), enclu_entry.c (EENTER, EEXIT, AEX, ERESUME), enclu_crypto.c
 * (EREPORT, EGETKEY), enclu_dynamic.c (EACCEPT, EACCEPTCOPY, EMODPE), epcm.c (EPCM and page
 * tables), trap.c (host signals), sites.c (jump exits), poison.c, thread.c, entry.S. README.md
 * tells how they meet.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "core/attr.h"
#include "util/err.h"

struct softsgx;

struct softsgx_options {
    bool poison;
    bool single_step;
};

enum softsgx_exit { SOFTSGX_EEXIT, SOFTSGX_EXCEPTION, SOFTSGX_INTERRUPT, SOFTSGX_LOST };

struct softsgx_run {
    uint64_t tcs;
    uint64_t rdi, rsi, rdx, r8, r9;
    enum softsgx_exit exit;
    uint32_t vector;
    uint64_t error_code;
    uint64_t address;
};

struct softsgx_stats {
    uint64_t enters, resumes, exits_jump, exits_trap, aex, faults_filled, enclu_traps,
        syscall_traps;
};

typedef bool softsgx_signal_fn(int signal, const siginfo_t *info, bool in_enclave, void *arg);

/* NULL if this machine can run the device, else why not (a static string). */
const char *softsgx_missing(void);

/* One device per process: -EBUSY for a second one. Takes over SIGSEGV, SIGILL, SIGBUS, SIGFPE,
 * SIGTRAP and SIGSYS until softsgx_close. */
MUST_CHECK int softsgx_open(const struct softsgx_options *options, struct softsgx **ret,
                            struct err *err);
void softsgx_close(struct softsgx *s);

MUST_CHECK int softsgx_create(struct softsgx *s, const struct sgx_secs *secs, struct err *err);
MUST_CHECK int softsgx_add(struct softsgx *s, uint64_t offset, const void *content,
                           uint64_t page_count, uint64_t secinfo_flags, bool measured,
                           struct err *err);
MUST_CHECK int softsgx_init(struct softsgx *s, const struct sgx_sigstruct *sigstruct,
                            uint32_t *ret_sgx_error, struct err *err);
MUST_CHECK int softsgx_enclu_sites(struct softsgx *s, const uint64_t *addresses, size_t count,
                                   struct err *err);

MUST_CHECK int softsgx_enter(struct softsgx *s, struct softsgx_run *run);
MUST_CHECK int softsgx_resume(struct softsgx *s, struct softsgx_run *run);

MUST_CHECK int softsgx_thread_begin(struct softsgx *s, struct err *err);
void softsgx_thread_end(struct softsgx *s);

/*
 * As device_on_signal. What a callback returns outside the enclave is kept for one thing: if it
 * returned true since the last softsgx_enter at CSSA 0, the next softsgx_resume of this thread
 * gives SOFTSGX_INTERRUPT at once. So a signal between the caller's last look and ERESUME is never
 * lost.
 */
MUST_CHECK int softsgx_on_signal(struct softsgx *s, int signal, softsgx_signal_fn *callback,
                                 void *arg, struct err *err);

MUST_CHECK int softsgx_restrict(struct softsgx *s, uint64_t offset, uint64_t page_count,
                                uint64_t secinfo_permissions, uint64_t *ret_done);
MUST_CHECK int softsgx_modify_type(struct softsgx *s, uint64_t offset, uint64_t page_count,
                                   uint64_t page_type, uint64_t *ret_done);
MUST_CHECK int softsgx_remove(struct softsgx *s, uint64_t offset, uint64_t page_count,
                              uint64_t *ret_done);

void softsgx_stats(const struct softsgx *s, struct softsgx_stats *ret);
