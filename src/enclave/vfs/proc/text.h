/* Texts that grow, and files over them. Tier: enclave. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

struct text {
    char *bytes; /* heap; NUL after size */
    uint64_t size, room;
    bool failed; /* no memory: nothing more is added */
};

/* proc_pid_stat(5), 52 fields. */
struct stat_line {
    int32_t pid, parent, pgid, sid;
    const char *comm;
    char state;
    uint32_t threads;
    uint64_t size, pages; /* mapped bytes, resident pages */
};
void text_stat_line(struct text *t, const struct stat_line *line);
/* Of another process of the tree (others.c). */
void text_other_cmdline(struct text *t, int pid);
void text_other_comm(struct text *t, int pid);
void text_other_stat(struct text *t, int pid);
void text_other_status(struct text *t, int pid);
/* The path of its program, no NUL; its size, -ENOENT: it has ended. */
int other_exe(int pid, char *buf, uint64_t size);

void text_put(struct text *t, const void *bytes, uint64_t size);
/* A line of at most 511 bytes. */
void text_add(struct text *t, const char *fmt, ...) PRINTF(2, 3);
