/*
 * /proc and /sys as far as programs need them, answered from the enclave's own knowledge. Tier:
 * enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/node.h"

/* Is path /proc, /sys, /dev or below one of them? */
bool builtin_path(const char *path, uint64_t size);
/* Fills fs, object, mode and number of place for such a path. */
MUST_CHECK int builtin_lookup(struct place *place);

/* Boot says what the program was started with: NUL-separated strings, auxv as raw pairs. Copied. */
MUST_CHECK int proc_set_cmdline(const char *text, uint64_t size);
MUST_CHECK int proc_set_environ(const char *text, uint64_t size);
MUST_CHECK int proc_set_auxv(const void *auxv, uint64_t size);
/* The canonical path of the program: /proc/self/exe. */
MUST_CHECK int proc_set_exe(const char *path, uint64_t size);

/* What other processes see of this one: struct ptable_view's label. Its size. */
uint32_t proc_label(char *buf, uint32_t room);
/* What boot said, to a forked child. */
struct tree_stream;
void proc_send(struct tree_stream *s);
MUST_CHECK int proc_receive(struct tree_stream *s);

/* For vfs/dev: a read-only file over a text, which it takes over (heap). */
MUST_CHECK int text_open(char *text, uint64_t size, const struct place *place, uint32_t flags,
                         struct file **ret);
/* Is place one of /proc/self/fd/N, /dev/fd/N, /dev/stdin...: then N, else -1. */
int magic_fd(const struct place *place);
