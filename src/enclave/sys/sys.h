/*
 * System calls: one function per call, sys_NAME, in the file of its family; sys/table.c knows them all.
 * Result: as the kernel's (negative errno). Arguments are the program's raw registers: pointers are
 * looked at through mm/uaccess.h only. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "arch/regs.h"
#include "arch/thread.h"

struct sysargs {
    uint64_t a[6];
    struct regs *regs; /* the program's registers, for the calls that change them */
};

typedef int64_t sys_fn(const struct sysargs *args);

struct sys_entry {
    const char *name;   /* "openat" */
    sys_fn *fn;         /* NULL: ENOSYS, logged once */
    const char *format; /* for --strace: one letter per argument: d int, x hex, p pointer, s string,
                           f descriptor, l size; e.g. "fsxx" */
};
extern const struct sys_entry g_sys_table[];
extern const uint32_t g_sys_count;

/* From entry.S: does the call in regs, leaves the result in regs->rax. */
void sys_dispatch(struct regs *regs);
