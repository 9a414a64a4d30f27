#include "vfs/tmpfs/spill.h"

#include <asm/errno.h>

#include "arch/cpu.h"
#include "arch/crypto.h"
#include "arch/string.h"
#include "border/border.h"
#include "core/bytes.h"
#include "mm/heap.h"
#include "thread/lock.h"

#define NO_PLACE   UINT32_MAX
#define PUNCH_HOLE 3u /* FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE */

/* Authenticated with each chunk. */
struct about {
    uint64_t ino, chunk, size;
};

static struct lock g_lock; /* all below */
static bool g_open;
static int g_handle;
static struct aes_gcm g_gcm;
static uint64_t g_next_nonce;
static uint64_t *g_used;                /* bit: a place of the file */
static uint32_t g_used_words, g_lowest; /* words before this one are full */

static bool said_once(bool *said)
{
    return __atomic_exchange_n(said, true, __ATOMIC_RELAXED);
}

static int host_error(int64_t error, const char *what)
{
    static bool said;
    if (!said_once(&said))
        log_error("scratch files are larger than memory, and the host cannot %s what does not fit: "
                  "error %ld",
                  what, -error);
    return error == -ENOSPC || error == -EDQUOT || error == -EFBIG ? -ENOSPC : -EIO;
}

static int open_file(void)
{
    if (__atomic_load_n(&g_open, __ATOMIC_ACQUIRE))
        return 0;
    int64_t handle = border_call0(OCALL_SPILL_OPEN, 0x7fffffff);
    if (handle < 0) {
        (void)host_error(handle, "make a file for");
        return -ENOSPC;
    }
    lock_take(&g_lock);
    bool mine = !g_open;
    if (mine) {
        uint8_t key[AES_GCM_KEY_SIZE];
        cpu_random(key, sizeof(key));
        island_gcm_init(&g_gcm, key);
        bytes_wipe(key, sizeof(key));
        g_handle = (int)handle;
        __atomic_store_n(&g_open, true, __ATOMIC_RELEASE);
    }
    lock_drop(&g_lock);
    if (!mine)
        border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
    return 0;
}

/* --- places ---------------------------------------------------------------------------- */

static int place_new(uint32_t *ret)
{
    LOCKED(&g_lock);
    while (g_lowest < g_used_words && g_used[g_lowest] == UINT64_MAX)
        g_lowest++;
    if (g_lowest == g_used_words) {
        uint32_t words = g_used_words ? g_used_words * 2 : 64;
        if (words > SPILL_PLACES_MAX / 64)
            return -ENOSPC;
        uint64_t *used = heap_realloc(g_used, words * sizeof(*used));
        if (!used)
            return -ENOMEM;
        memset(used + g_used_words, 0, (words - g_used_words) * sizeof(*used));
        g_used = used;
        g_used_words = words;
    }
    uint32_t bit = (uint32_t)__builtin_ctzll(~g_used[g_lowest]);
    g_used[g_lowest] |= 1ull << bit;
    *ret = g_lowest * 64 + bit;
    return 0;
}

void spill_release(struct spilled *s)
{
    if (s->place == NO_PLACE)
        return;
    LOCKED(&g_lock);
    uint32_t word = s->place / 64;
    g_used[word] &= ~(1ull << s->place % 64);
    if (word < g_lowest)
        g_lowest = word;
    s->place = NO_PLACE;
}

static uint64_t offset_of(const struct spilled *s)
{
    return (uint64_t)s->place * SPILL_CHUNK;
}

void spill_free(struct spilled *list)
{
    while (list) {
        struct spilled *s = list;
        list = s->next;
        /* While it is ours still: nobody else may have written there. A host that cannot is its own
         * loss. */
        if (s->place != NO_PLACE)
            border_call4(OCALL_FALLOCATE, 0, (uint64_t)g_handle, PUNCH_HOLE, offset_of(s),
                         SPILL_CHUNK);
        spill_release(s);
        heap_free(s);
    }
}

/* --- content --------------------------------------------------------------------------- */

static void nonce_of(const struct spilled *s, uint8_t nonce[static AES_GCM_NONCE_SIZE])
{
    memset(nonce, 0, AES_GCM_NONCE_SIZE);
    memcpy(nonce, &s->nonce, sizeof(s->nonce));
}

static int write_all(const struct spilled *s, const uint8_t *data)
{
    for (uint32_t done = 0; done < s->size;) {
        uint32_t left = s->size - done;
        border_put(0, data + done, left);
        int64_t n = border_call3(OCALL_PWRITE, left, (uint64_t)g_handle, left, offset_of(s) + done);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return host_error(n < 0 ? n : -ENOSPC, "take");
        done += (uint32_t)n;
    }
    return 0;
}

int spill_write(uint64_t ino, uint64_t chunk, void *data, uint32_t size, struct spilled **ret)
{
    int status = open_file();
    if (status < 0)
        return status;
    struct spilled *s = heap_alloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (struct spilled){ .size = size, .place = NO_PLACE };
    status = place_new(&s->place);
    if (status == 0) {
        uint8_t nonce[AES_GCM_NONCE_SIZE];
        const struct about about = { ino, chunk, size };
        s->nonce = __atomic_fetch_add(&g_next_nonce, 1, __ATOMIC_RELAXED);
        nonce_of(s, nonce);
        island_gcm_seal(&g_gcm, nonce, &about, sizeof(about), data, size, data, s->tag);
        status = write_all(s, data);
    }
    if (status < 0) {
        spill_release(s);
        heap_free(s);
        return status;
    }
    *ret = s;
    return 0;
}

int spill_read(const struct spilled *s, uint64_t ino, uint64_t chunk, void *data)
{
    static bool said_read, said_open;
    for (uint32_t done = 0; done < s->size;) {
        uint32_t left = s->size - done;
        int64_t n = border_call3(OCALL_PREAD, left, (uint64_t)g_handle, left, offset_of(s) + done);
        if (n == -EINTR)
            continue;
        if (n <= 0) {
            memset(data, 0, s->size);
            if (!said_once(&said_read))
                log_error("the host does not give scratch data back: EIO (error %ld)", -n);
            return -EIO;
        }
        border_get((uint8_t *)data + done, 0, (uint64_t)n);
        done += (uint32_t)n;
    }
    uint8_t nonce[AES_GCM_NONCE_SIZE];
    const struct about about = { ino, chunk, s->size };
    nonce_of(s, nonce);
    if (island_gcm_open(&g_gcm, nonce, &about, sizeof(about), data, s->size, s->tag, data) == 0)
        return 0;
    memset(data, 0, s->size);
    if (!said_once(&said_open))
        log_error("scratch data that the host kept was changed or is an older version: EIO");
    return -EIO;
}
