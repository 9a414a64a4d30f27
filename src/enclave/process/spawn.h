/*
 * Starting other processes. Each is a new enclave in a new host process, admitted by attestation
 * (tree/attest.h). docs/process-tree.md draws the protocol. Tier: enclave.
 *
 *   spawn_exec    a vfork child becomes another program: the new enclave is built directly
 *   spawn_exec    with replace: exec in place: the new enclave takes over the pid, this one ends
 *   spawn_fork    a new enclave of this measurement goes on with a copy of memory
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/regs.h"
#include "core/attr.h"
#include "process/process.h"
#include "tree/stream.h"

/* A program to start, resolved: all in library OS memory. */
struct program {
    char *executable; /* canonical path of the ELF file */
    uint32_t argc, envc;
    char **argv, **envp;                /* argv after shebang rewriting */
    const struct manifest_child *child; /* the edge that admits it */
    const char *execfn;                 /* AT_EXECFN: the path as given to exec */
};
/* process/program.c: path, argv and envp from program memory. Follows shebangs (4 levels), derives the key
 * (core/program_key.h), finds the edge. -EACCES with an audit line where the manifest has none; else errors as
 * execve(2): ENOENT, EACCES, ENOEXEC, E2BIG, EFAULT, ENAMETOOLONG, ELOOP. program_done frees. */
MUST_CHECK int program_resolve(int dirfd, uint64_t user_path, uint32_t walk, uint64_t user_argv,
                               uint64_t user_envp, struct program *ret);
void program_done(struct program *program);

/* Starts it for `process` (a vfork child that got `pid` from spawn_pid, or with replace the enclave's own
 * process). 0: it runs; with replace there is no return on success. Nothing was started on failure:
 * -EACCES (not admitted), -EAGAIN, -ENOMEM, -EIO. */
MUST_CHECK int spawn_exec(struct process *process, const struct program *program, bool replace);
/* A new pid, child of this process, for a vfork child; exit_signal as ptable_new(). -EINVAL, -EAGAIN, -ENOMEM. */
MUST_CHECK int32_t spawn_pid(int exit_signal);
/* It is given back: nothing ran under it. */
void spawn_pid_forget(int32_t pid);
/* A vfork child ends without exec. status as wait4 gives it. */
void spawn_pid_exit(int32_t pid, int32_t status);
/* What fork(2)'s like, clone(2), may ask for besides; addresses of the program or 0. */
struct fork_wish {
    uint64_t child_settid, child_cleartid;
    uint64_t tls, stack; /* a new FS base, a new rsp */
    uint64_t pidfd;      /* where its pidfd is to go (ipc/pidfd.h) */
    int exit_signal;
};
/* fork(2): regs as the child is to go on with (rax 0). The child's pid, or as spawn_pid(), -EMFILE, -EFAULT. */
MUST_CHECK int32_t spawn_fork(const struct regs *regs, const struct fork_wish *wish);

/* The child's side, from boot(): speaks with the parent, then starts or goes on with the program. */
NORETURN void spawn_child_main(uint32_t spawn_slot, uint32_t control_slot);
