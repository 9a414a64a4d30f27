/*
 * Audit lines, once per event and path: a program that probes the same name a thousand times is one
 * line. The set is bounded; when it is full, it begins anew, so that a path may be told again but none is left out.
 * Tier: enclave.
 */
#include "arch/string.h"
#include "border/border.h"
#include "core/path_hash.h"
#include "thread/lock.h"
#include "vfs/node.h"

#define SEEN_SLOTS 4096u
#define SEEN_MAX   3072u

static struct lock g_lock;
static uint64_t g_seen[SEEN_SLOTS]; /* 0: free */
static uint32_t g_seen_count;

static bool first_time(uint64_t hash)
{
    LOCKED(&g_lock);
    uint64_t slot = hash & (SEEN_SLOTS - 1);
    for (; g_seen[slot]; slot = (slot + 1) & (SEEN_SLOTS - 1))
        if (g_seen[slot] == hash)
            return false;
    if (g_seen_count >= SEEN_MAX) {
        memset(g_seen, 0, sizeof(g_seen));
        g_seen_count = 0;
        slot = hash & (SEEN_SLOTS - 1);
    }
    g_seen[slot] = hash;
    g_seen_count++;
    return true;
}

void audit_once(int event, int error, const char *path, uint64_t size)
{
    uint64_t hash =
        (manifest_path_hash(path, size) + (uint64_t)(uint32_t)event * 0x9e3779b97f4a7c15ull) | 1;
    if (first_time(hash))
        audit((enum ocall_audit_event)event, error, 0, path, size);
}
