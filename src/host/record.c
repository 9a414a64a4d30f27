#include "host/record.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "abi/tree.h"
#include "core/attr.h"
#include "host/log.h"
#include "host/tree.h"

#define TAG_SIZE 16u
#define TEXT_MAX 32u

static int g_fd = -1;
static pthread_once_t g_once = PTHREAD_ONCE_INIT;

static void open_once(void)
{
    const char *path = secure_getenv("SGXPY_RECORD_CHANNELS");
    if (!path || !*path)
        return;
    g_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (g_fd < 0)
        log_line("SGXPY_RECORD_CHANNELS: '%s' cannot be written: %m", path);
}

static bool is_on(void)
{
    pthread_once(&g_once, open_once);
    return g_fd >= 0;
}

/* In one piece: lines of several processes do not mix. */
static void put(const char *line, int size)
{
    if (write(g_fd, line, (size_t)size) != size) {
        log_line("SGXPY_RECORD_CHANNELS: the file cannot be written: %m");
        _exit(HOST_EXIT_ABORTED); /* a record that is not whole proves nothing */
    }
}

static int hex(char *to, const uint8_t *bytes, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        sprintf(to + 2 * i, "%02x", bytes[i]);
    return (int)(2 * size);
}

void record_post(const struct tree *tree, uint32_t slot, uint32_t direction)
{
    if (!is_on())
        return;
    const struct tree_slot *s = tree_slot_at(tree, slot);
    uint32_t sequence = __atomic_load_n(&s->way[direction].posted, __ATOMIC_SEQ_CST);
    uint32_t kind = __atomic_load_n(&s->kind, __ATOMIC_SEQ_CST);
    /* What is asked and answered uses one cell. */
    uint32_t number = kind == TREE_SLOT_SPAWN ? sequence % TREE_CELLS : 0;
    const struct tree_cell *cell = tree_cell_at(tree, slot, direction, number);
    uint32_t text = cell->size > TAG_SIZE ? cell->size - TAG_SIZE : 0;
    char line[256];
    int n = snprintf(line, sizeof(line), "post %u %u %u %u %u ", slot, kind, direction, sequence,
                     cell->size);
    n += hex(line + n, cell->bytes, TAG_SIZE);
    line[n++] = ' ';
    n += hex(line + n, cell->bytes + TAG_SIZE, text < TEXT_MAX ? text : TEXT_MAX);
    line[n++] = '\n';
    put(line, n);
}

void record_free(uint32_t slot)
{
    char line[32];
    if (is_on())
        put(line, snprintf(line, sizeof(line), "free %u\n", slot));
}
