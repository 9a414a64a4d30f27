/*
 * Program threads on thread areas. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "arch/thread.h"
#include "core/attr.h"
#include "process/process.h" /* process_pid() */

/* The first thread, at boot: marks area 0 used, allots tid = pid. */
void threads_init(void);
/* The thread with this tid, NULL. */
struct thread *thread_by_tid(int32_t tid);
/* Calls fn for each used thread, under the threads' lock. */
void threads_each(void (*fn)(struct thread *thread, void *arg), void *arg);
uint32_t threads_used(void);
/* A free area for a new thread: tid, name, signal mask set, all else zero; start is the caller's to
 * fill. -EAGAIN: none left (logged once), -ENOMEM. */
MUST_CHECK int thread_new(struct thread **ret);
/* A thread of the library OS itself on a free area: runs main, which never returns, at CSSA 0 on its runtime
 * stack. It is no thread of the program: not counted, not found, takes no signals. -EAGAIN, -ENOMEM. */
MUST_CHECK int thread_start_service(void (*main)(void), struct thread **ret);
/* Undoes thread_new if it was not started. */
void thread_drop(struct thread *thread);
/* Lets the host enter it. -EAGAIN: it cannot; thread_drop it. */
MUST_CHECK int thread_start(struct thread *thread);
/* All others end, as in exec: each at its next return to the program. Were there any? */
bool threads_end_others(void);
/* Ends the calling thread: robust list, clear_child_tid with futex wake, then the area is free. */
NORETURN void thread_exit(int status);
