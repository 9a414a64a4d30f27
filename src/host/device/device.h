/*
 * The one interface to an SGX device: what the Linux driver's ioctls and vDSO give, no more. Two
 * backends: the kernel's driver, and the software SGX device (src/softsgx). A host process holds one
 * enclave at most (ELRANGE starts at 0). Tier: hosted, untrusted.
 *
 * Threads: device_add/init are called by one thread; enter/resume by any thread, each with its own
 * TCS; the page operations by any thread at any time after device_init.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "core/attr.h"
#include "util/err.h"

struct device;

enum device_kind { DEVICE_AUTO, DEVICE_KERNEL, DEVICE_SOFT };

struct device_options {
    enum device_kind kind;
    bool poison;      /* soft only: scramble whatever hardware does not preserve (docs) */
    bool single_step; /* soft only, tests: an AEX at every instruction of entry and exit paths */
};

/* What a run would take and why, for `doctor`: one line each, static strings. ret_why may be NULL. */
enum device_kind device_choose(enum device_kind wanted, const char **ret_why);

/* -ENODEV where the wanted backend is not there. Free with device_close (NULL is fine). */
MUST_CHECK int device_open(const struct device_options *options, struct device **ret,
                           struct err *err);
void device_close(struct device *device);
bool device_is_soft(const struct device *device);

/* ECREATE: reserves ELRANGE [0, secs->size), of which the first 64 KiB stay unmapped. */
MUST_CHECK int device_create(struct device *device, const struct sgx_secs *secs, struct err *err);

/* EADD of page_count pages at offset, with EEXTEND of all 16 chunks of each if measured. content is
 * page_count pages, or NULL for zeros. Ascending calls are not required, ascending is measured. */
MUST_CHECK int device_add(struct device *device, uint64_t offset, const void *content,
                          uint64_t page_count, uint64_t secinfo_flags, bool measured,
                          struct err *err);

/* EINIT. On an SGX error code: -EPERM, *ret_sgx_error (may be NULL) and a message naming it. */
MUST_CHECK int device_init(struct device *device, const struct sgx_sigstruct *sigstruct,
                           uint32_t *ret_sgx_error, struct err *err);

/*
 * ENCLU sites of the library OS: each is 16 bytes, `0f 01 d7` then padding NOPs, and clobbers rax,
 * r8-r11 and flags besides what the leaf defines. A software device may rewrite their bytes in memory
 * (never what is measured) into jumps; the kernel backend ignores them. EEXIT sites never return to
 * the padding. -EINVAL for bytes that differ. After device_init, before the first enter.
 */
MUST_CHECK int device_enclu_sites(struct device *device, const uint64_t *addresses, size_t count,
                                  struct err *err);

enum device_exit {
    DEVICE_EEXIT = 0, /* the enclave left with EEXIT; target holds RBX as the enclave set it */
    /* AEX by an exception: vector, error_code, address. State is in the SSA */
    DEVICE_EXCEPTION = 1,
    DEVICE_INTERRUPT = 2, /* AEX by a signal whose callback returned true */
    DEVICE_LOST = 3,      /* the enclave is gone (fork, power): nothing more can be entered */
};

/* One thread's way in; the registers are passed to and taken from the enclave as they are. */
struct device_run {
    uint64_t tcs; /* address of the TCS page */
    uint64_t rdi, rsi, rdx, r8, r9;
    enum device_exit exit;
    uint32_t vector;     /* SGX exit vector, SDM "EXITINFO" */
    uint64_t error_code; /* #PF error code */
    uint64_t address;    /* #PF linear address */
};

/* EENTER / ERESUME on run->tcs. 0, and run->exit says how control came back; -EINVAL for a #GP that
 * the CPU would raise (busy or bad TCS, CSSA at NSSA, CSSA 0 for resume). Between calls the caller
 * holds the pairing: after EXCEPTION or INTERRUPT it enters (CSSA 1) and then resumes. */
MUST_CHECK int device_enter(struct device *device, struct device_run *run);
MUST_CHECK int device_resume(struct device *device, struct device_run *run);

/* Each host thread that enters: before its first enter, and once after its last. Sets the alternate
 * signal stack, Syscall User Dispatch and CPUID faulting of this thread. */
MUST_CHECK int device_thread_begin(struct device *device, struct err *err);
void device_thread_end(struct device *device);

/*
 * Host signals. Handlers that may interrupt the enclave must be installed here: the device's entry
 * restores the host's FS base, clears AC and DF and performs the AEX before callback runs (on the
 * alternate stack, async-signal-safe code only). in_enclave: this signal took the thread out of its
 * enclave. Returning true then makes device_enter/resume return DEVICE_INTERRUPT; false resumes.
 * Outside the enclave the value is ignored. Synchronous faults inside are the device's own.
 */
typedef bool device_signal_fn(int signal, const siginfo_t *info, bool in_enclave, void *arg);
MUST_CHECK int device_on_signal(struct device *device, int signal, device_signal_fn *callback,
                                void *arg, struct err *err);

/* SGX2 page operations of the driver (SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, _MODIFY_TYPES,
 * _REMOVE_PAGES; <asm/sgx.h>). 0 or negative errno; *ret_done pages were done (may be short).
 * EAUG has no call: it happens when the enclave touches or accepts a page that is not there. */
MUST_CHECK int device_restrict(struct device *device, uint64_t offset, uint64_t page_count,
                               uint64_t secinfo_permissions, uint64_t *ret_done);
MUST_CHECK int device_modify_type(struct device *device, uint64_t offset, uint64_t page_count,
                                  uint64_t page_type, uint64_t *ret_done);
MUST_CHECK int device_remove(struct device *device, uint64_t offset, uint64_t page_count,
                             uint64_t *ret_done);

/* Counters for --stats: enters, resumes, exits by jump and by trap, AEX by vector, page faults that
 * only filled page tables. */
struct device_stats {
    uint64_t enters, resumes, exits_jump, exits_trap, aex, faults_filled, enclu_traps,
        syscall_traps;
};
void device_stats(const struct device *device, struct device_stats *ret);
