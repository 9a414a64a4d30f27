/*
 * trace_parse on any bytes. What it accepts can be printed, and its indexes lie inside. Checksums
 * are mended first, or no change would ever get past them.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/log.h"
#include "tracer/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static void check_process(const struct trace *t, size_t index)
{
    const struct trace_process *p = &t->processes[index];
    must(p->parent == TRACE_NO_PROCESS || p->parent < index);
    must(p->executable_path == TRACE_NO_PATH || p->executable_path < t->path_count);
    must(p->elf_interpreter == TRACE_NO_PATH || p->elf_interpreter < t->path_count);
    for (size_t i = 0; i < p->chain_count; i++)
        must(p->chain[i] < t->path_count);
    for (size_t i = 0; i < p->access_count; i++) {
        must(p->accesses[i].path < t->path_count);
        must(i == 0 || p->accesses[i - 1].path < p->accesses[i].path);
        must(trace_access_find(p, p->accesses[i].path) == &p->accesses[i]);
    }
    for (size_t i = 0; i < p->socket_count; i++)
        must(p->sockets[i].address_size <= 128 && memchr(p->sockets[i].text, 0, 160));
    must(!p->argv || !p->argv[p->argc]);
}

/* trace.h: 16 bytes, then records of u32 size, u32 checksum, payload. */
static void mend(uint8_t *data, size_t size)
{
    size_t at = 16;
    while (at + 8 <= size) {
        uint32_t payload;
        memcpy(&payload, data + at, sizeof(payload));
        if (payload > size - at - 8)
            return;
        uint32_t sum = log_checksum(data + at + 8, payload);
        memcpy(data + at + 4, &sum, sizeof(sum));
        at += 8 + payload;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = { 0 };
    struct trace *t = NULL;
    uint8_t *copy = malloc(size ? size : 1);
    must(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    mend(copy, size);
    int r = trace_parse("input", copy, size, &t, &err);
    free(copy);
    if (r < 0) {
        must(!t && err.text[0]);
        return 0;
    }
    for (size_t i = 0; i < t->process_count; i++)
        check_process(t, i);
    for (size_t i = 0; i < t->move_count; i++)
        must(t->moves[i].process < t->process_count && t->moves[i].from < t->path_count &&
             t->moves[i].to < t->path_count);
    for (size_t i = 0; i < t->path_count; i++)
        must(trace_path_find(t, t->paths[i].path) == i);
    static FILE *nowhere;
    if (!nowhere)
        nowhere = fopen("/dev/null", "we");
    must(nowhere != NULL);
    trace_print(nowhere, t);
    trace_free(t);
    return 0;
}
