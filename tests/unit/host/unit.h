/* What the tests of this folder share. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/ocall.h"
#include "host/thread.h"

/* One OCALL served on t, as the enclave would make it. */
static inline int64_t serve(struct host_thread *t, uint32_t nr, const uint64_t args[6])
{
    t->block->nr = nr;
    memcpy(t->block->args, args, sizeof(t->block->args));
    ocall_serve(t);
    return t->block->ret;
}
#define SERVE(t, nr, ...) serve(t, nr, (const uint64_t[6]){ __VA_ARGS__ })

/* Puts text at data[at] without its NUL; returns its size. */
static inline uint64_t put_text(struct host_thread *t, uint64_t at, const char *text)
{
    memcpy(t->data + at, text, strlen(text));
    return strlen(text);
}
