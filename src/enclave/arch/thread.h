/*
 * The thread block: one page per TCS, measured as zeros but for its first two words, and reached
 * through GS for as long as the thread is in the enclave. Everything the library OS knows of a thread
 * hangs here. Tier: enclave. entry.S knows the offsets of the first part.
 */
#pragma once

#define THREAD_SELF          0x00
#define THREAD_INDEX         0x08
#define THREAD_STATE         0x10
#define THREAD_HOST_RSP      0x18
#define THREAD_HOST_RBP      0x20
#define THREAD_CANARY        0x28
#define THREAD_HOST_TARGET   0x30
#define THREAD_STACK_TOP     0x38
#define THREAD_EXC_TOP       0x40
#define THREAD_OCALL_RSP     0x48
#define THREAD_RESTORE_RIP   0x50
#define THREAD_RESTORE_FRAME 0x58
#define THREAD_SCRATCH       0x60
#define THREAD_WORK          0x68
#define THREAD_TRAPPED       0x70

/* THREAD_STATE */
#define THREAD_STATE_NEW     0 /* never entered, or its thread ended */
#define THREAD_STATE_RUNNING 1
#define THREAD_STATE_OCALL   2 /* left by ocall_leave, comes back by EENTER */
#define THREAD_STATE_DEAD    3 /* nothing enters any more */
/* Being filled for a new thread: nothing enters before it is NEW again. */
#define THREAD_STATE_FILLED  4

/* THREAD_WORK: bits that make the way back to the program take the slow path. */
#define THREAD_WORK_SIGNAL 1 /* something for signal_deliver() */
#define THREAD_WORK_EXIT   2 /* the process is ending: leave at once */
#define THREAD_WORK_FULL   4 /* regs.full is set */

#ifndef __ASSEMBLER__
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "arch/cpu.h"
#include "arch/regs.h"

struct waiter;
struct hub_line;
struct process;
struct stream_rights;

/* The parts of a thread that other modules own. Zero at birth. */
struct thread_signal {
    uint64_t mask;                   /* blocked: bit (n - 1) */
    uint64_t pending;                /* directed at this thread; atomic */
    uint64_t saved_mask;             /* of sigsuspend, ppoll, pselect, epoll_pwait */
    bool have_saved_mask;            /* restored by the signal's return, or at system call exit */
    uint64_t stack_base, stack_size; /* sigaltstack */
    uint32_t stack_flags;
    uint64_t wait_set; /* of sigtimedwait: these wake the thread though blocked; atomic */
    void *private;     /* signal/ may hang queue data here */
};

#define THREAD_CPU_WORDS 16 /* 1,024 CPUs */

struct thread {
    /* --- known to entry.S ------------------------------------------------------------------ */
    uint64_t self;
    uint64_t index;
    uint64_t state;
    uint64_t host_rsp, host_rbp;
    uint64_t canary;
    uint64_t host_target;
    uint64_t stack_top; /* struct regs of a system call lies right below */
    uint64_t exc_top;
    uint64_t ocall_rsp;
    uint64_t restore_rip;
    uint64_t restore_frame;
    uint64_t scratch;
    uint64_t work;    /* THREAD_WORK_*; atomic */
    uint64_t trapped; /* address of the `syscall` that trapped, 0: came through a stub */
    /* --- border ----------------------------------------------------------------------------- */
    struct ocall_block *block; /* outside ELRANGE; checked once at first entry */
    /* --- life ------------------------------------------------------------------------------- */
    bool used;             /* allotted to a program thread; under thread/'s lock */
    bool start_wanted;     /* thread_start() asked for this first entry */
    int32_t tid;           /* as the program sees it; the main thread's is the pid */
    void (*service)(void); /* the library OS's own thread: what it runs, for ever */
    struct hub_line
        *hub_line;           /* tree/hub_client.c: its channel to the hub, if it ever needed one */
    struct process *process; /* whose calls it makes (process/process.h); NULL: the enclave's own */
    uint64_t clear_child_tid, robust_list;
    uint64_t fs_base;  /* FS for the first return of a new thread */
    struct regs start; /* registers of a new thread's first return */
    struct cpu_fp_control start_fp;
    char name[16]; /* PR_SET_NAME */
    uint64_t cpus_off
        [THREAD_CPU_WORDS]; /* sched_setaffinity: what it took away; remembered, nothing more */
    /* --- waiting (thread/wait.c) ------------------------------------------------------------ */
    uint32_t wake;   /* atomic: set by thread_unpark, consumed by thread_park */
    uint32_t parked; /* atomic: 1 while it may be inside OCALL_PARK or OCALL_POLL */
    /* --- signals ---------------------------------------------------------------------------- */
    struct thread_signal signal;
    /* --- counters --------------------------------------------------------------------------- */
    uint64_t scratch_fault, scratch_fault_count; /* stage 1: faults of our own code in a row */
    uint64_t syscall_count, trap_count, fault_count, ocall_count;
    /* --- work for others (vfs/remote/serve.c) ------------------------------------------------- */
    bool kernel_buffers; /* "program memory" of file operations is the library OS's: mm/uaccess.c */
    /* Copies with a stream's mutex: a page that another process holds is -EFAULT now. */
    bool holds_stream;
    bool never_block; /* what would wait is -EAGAIN, whatever the file's flags say: ipc/ */
    uint8_t moves;    /* how deep in moving sockets that are in one another: ipc/unix.c */
    bool drops;       /* in the middle of stream_rights_drop() (ipc/pipe.c): */
    struct stream_rights *dropped; /* what it does next */
};

static_assert(offsetof(struct thread, canary) == THREAD_CANARY, "thread");
static_assert(offsetof(struct thread, stack_top) == THREAD_STACK_TOP, "thread");
static_assert(offsetof(struct thread, trapped) == THREAD_TRAPPED, "thread");
static_assert(sizeof(struct thread) <= 4096, "thread block page");

/* The thread that runs. */
static inline struct thread *current(void)
{
    struct thread *t;
    __asm__("mov %%gs:%c1, %0" : "=r"(t) : "i"(THREAD_SELF));
    return t;
}

/* Thread area index -> its block; index < params->thread_count is the caller's to check. */
struct thread *thread_at(uint32_t index);
#endif
