/*
 * What a parent tells its child over the spawn channel, in this order (process/spawn.c writes,
 * process/child.c reads). docs/process-tree.md. Tier: enclave.
 *
 *   struct wire_head; cwd
 *   exec:  how many signals wait with their siginfo (WIRE_INFOS_MAX), struct signal_info each
 *   exec:  executable, execfn, argc and arguments, envc and variables
 *   fork:  struct wire_fork; struct cpu_state; dispositions; /proc/self's texts
 *   both:  open files and descriptors (vfs/share.h)
 *   fork:  memory (mm/checkpoint.h)
 * and back: one message, an int32_t: 0, or the negative errno for which the child did not start.
 */
#pragma once

#include <stdint.h>

#include "arch/regs.h"
#include "arch/thread.h"
#include "sys/limits.h"
#include "tree/attest.h"

#define WIRE_EXEC 1u
#define WIRE_FORK 2u

#define WIRE_INFOS_MAX 64u

struct wire_head {
    uint32_t kind;
    int32_t pid;
    struct attest_ticket ticket; /* of the child's control channel */
    uint32_t umask;
    uint32_t fd_limit;
    uint64_t mask;    /* blocked signals */
    uint64_t ignored; /* exec: dispositions that stay */
    uint64_t pending; /* exec: signals that wait */
    struct limits limits;
    uint64_t cpus_off[THREAD_CPU_WORDS];
};

struct wire_fork {
    struct regs regs;
    uint64_t child_settid, child_cleartid, tls; /* 0: none; tls 0: as it is */
    uint64_t stack_base, stack_size;            /* sigaltstack */
    uint32_t stack_flags;
    uint32_t reserved;
    char name[16];
};
