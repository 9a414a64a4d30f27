/*
 * The library OS's threads, signals and waiting, hosted: pthreads play the enclave's threads (GS
 * points at their thread block), and the host's part (OCALLs), the manifest, the heap and program
 * memory are fakes. Program memory is the test's own; addresses below THR_BAD_LIMIT fault.
 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/manifest.h"
#include "arch/regs.h"
#include "arch/thread.h"
#include "process/spawn.h"
#include "sys/sys.h"

#define THR_AREAS     24
#define THR_BAD_LIMIT 0x10000u

/* cmocka group set-up: makes the calling thread the enclave's main thread. */
int thr_setup(void **state);

/* Does a system call as the calling thread. */
int64_t thr_call(sys_fn *fn, ...);
#define CALL(fn, ...) thr_call(fn, ##__VA_ARGS__, 0ull, 0ull, 0ull, 0ull, 0ull, 0ull)
#define PTR(p)        ((uint64_t)(uintptr_t)(p))
#define NUM(n)        ((uint64_t)(n))

/* A new thread of the program, running fn(arg); its tid. Join waits as pthread_join does. */
struct thr {
    uint32_t tid_word;
    int32_t tid;
    struct thread *thread;
};
void thr_start(struct thr *thr, void (*fn)(void *), void *arg);
void thr_join(struct thr *thr);
void thr_sleep_ms(unsigned ms);
/* Waits until the thread sleeps in OCALL_PARK or OCALL_POLL. */
void thr_wait_parked(const struct thread *thread);

/* What the host does. */
void thr_host_signal(int number);       /* as the runtime: word in the block, then an interrupt */
extern uint64_t g_thr_parks;            /* OCALL_PARK and OCALL_POLL made so far */
extern uint64_t g_thr_interrupts;       /* OCALL_INTERRUPT */
extern int64_t g_thr_clock_skew;        /* ns added to the host's monotonic clock */
extern bool g_thr_park_returns_at_once; /* a host that never sleeps */
extern bool g_thr_distributes; /* all memory becomes distributed when a futex word is looked at */
extern const uint32_t *g_thr_distributed; /* only this word is distributed; NULL: each */
extern uint64_t g_thr_clock_calls;
extern bool g_thr_clock_lies;   /* OCALL_CLOCK answers anything */
extern int64_t g_thr_poll_lie;  /* not 0: what OCALL_POLL returns, all events set */
extern bool g_thr_epoll_twice;  /* OCALL_EPOLL_WAIT gives each event twice */
extern int g_thr_epoll_refused; /* so many OCALL_EPOLL_CREATE fail */

/* The last audit line. */
extern int g_thr_audit_event;
extern char g_thr_audit_path[64];

/* What the library OS would do with other processes, and what it was told to. */
extern struct thr_spawns {
    int pid_error, exec_result; /* of spawn_pid, spawn_exec */
    int32_t last_pid;           /* pids are 201, 202, ... */
    int32_t ended_pid, status;  /* spawn_pid_exit */
    unsigned ended;
    int32_t exec_pid;
    bool exec_replaced;
    struct fork_wish fork_wish;
    int exit_signal;
    int32_t forgot_pid;
    int32_t told_pid, told; /* the last signal for another process */
    int copies;             /* tables alive */
    unsigned state_loads;   /* of what had been saved */
    jmp_buf back;           /* where full_restore goes, */
    struct regs regs;       /* with these */
} g_thr_spawns;
extern struct manifest_node g_thr_node;

/* Runs fn expecting the process to be killed or to exit: the signal, or 1000 + status; -1 if it
 * lived. Only in the main test thread. */
int thr_dies(void (*fn)(void *), void *arg);

/* Files made in the test: the descriptor table is the fakes'. */
int thr_fd_count(void);
