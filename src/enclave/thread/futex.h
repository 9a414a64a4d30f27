/*
 * Futexes: waiting for words of program memory. docs: futex(2). Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

#define FUTEX_ANY UINT32_MAX /* bitset that matches all */

/*
 * Waits until futex_wake names user with a common bit, if *user is value. deadline: monotonic ns,
 * OCALL_NEVER. 0, -EAGAIN (other value), -ETIMEDOUT, -EINTR (signal), -EFAULT.
 */
MUST_CHECK int futex_wait(const uint32_t *user, uint32_t value, uint32_t bitset, uint64_t deadline);
/* Wakes up to max waiters, oldest first; how many. Never touches *user. */
uint32_t futex_wake(const uint32_t *user, uint32_t max, uint32_t bitset);
/* Wakes wake_max waiters of user and moves up to move_max others to target; how many were woken and
 * moved. */
uint32_t futex_requeue(const uint32_t *user, const uint32_t *target, uint32_t wake_max,
                       uint32_t move_max, uint32_t *ret_moved);
/* All waiters for words in [start, end) look again, as if woken. */
void futex_wake_range(uint64_t start, uint64_t end);
/* Priority inheritance as a protocol, without priorities: the word holds the owner's tid. */
MUST_CHECK int futex_lock_pi(uint32_t *user, uint64_t deadline, bool only_try);
MUST_CHECK int futex_unlock_pi(uint32_t *user);
/* A thread ends: hands on what its robust list (address of struct robust_list_head) says it held.
 */
void futex_robust_exit(uint64_t list, uint32_t tid);
