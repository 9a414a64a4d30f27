/* Scratch larger than memory, over a host that keeps what it is given, or does not. */
#include "vfs_fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "core/attr.h"
#include "core/manifest_view.h"

#define KIB       1024u
#define CHUNK     (64 * KIB)
#define MEMORY    (1024 * KIB) /* half of the heap size */
#define FILE_SIZE (4096 * KIB)

extern struct manifest_view g_manifest;

/* --- the host -------------------------------------------------------------------------- */

enum lie {
    HONEST,
    FLIP,    /* a bit of what it kept */
    OLDER,   /* what lay there before */
    SWAPPED, /* another chunk */
    NOTHING, /* end of file */
    CUT,     /* the end comes early */
    READ_ERROR,
    TOO_MUCH, /* says more than it was asked for */
    WRITE_ERROR,
    FULL,
    PIECES, /* honest, but a little at a time */
    NO_FILE,
};

#define HOST_MAX (16u << 20)
static enum lie g_lie;
static uint8_t *g_now, *g_before; /* the file, and what each chunk was before its last change */
static uint64_t g_end, g_writes;
static const char *g_secret;        /* must not be seen */
static uint8_t g_firsts[65536][16]; /* first block of each write of a whole chunk */

static int64_t host_write(const uint64_t a[6])
{
    CHECK(a[2] + a[1] <= HOST_MAX, "the host's file grows: %llu", (unsigned long long)a[2]);
    if (g_lie == WRITE_ERROR || g_lie == FULL)
        return g_lie == FULL ? -ENOSPC : -EIO;
    if (g_secret)
        CHECK(!memmem(g_fake_window, a[1], g_secret, strlen(g_secret)), "plaintext at the host");
    uint64_t n = g_lie == PIECES && a[1] > 20000 ? 20000 : a[1];
    if (a[2] % CHUNK == 0) {
        memcpy(g_before + a[2], g_now + a[2], CHUNK);
        memcpy(g_firsts[g_writes++ % ARRAY_SIZE(g_firsts)], g_fake_window, 16);
    }
    memcpy(g_now + a[2], g_fake_window, n);
    if (a[2] + n > g_end)
        g_end = a[2] + n;
    return (int64_t)n;
}

static int64_t host_read(const uint64_t a[6])
{
    uint64_t n = a[2] >= g_end ? 0 : g_end - a[2] < a[1] ? g_end - a[2] : a[1];
    const uint8_t *from = g_now + a[2];
    switch (g_lie) {
    case READ_ERROR: return -EIO;
    case NOTHING: return 0;
    case CUT: n = a[2] % CHUNK ? 0 : 5000; break;
    case PIECES: n = n > 30000 ? 30000 : n; break;
    case OLDER: from = g_before + a[2]; break;
    case SWAPPED: from = g_now + (a[2] ? 0 : CHUNK); break;
    default: break;
    }
    memcpy(g_fake_window, from, n);
    if (g_lie == FLIP)
        g_fake_window[n / 2] ^= 4;
    return g_lie == TOO_MUCH ? (int64_t)n + 1 : (int64_t)n;
}

static bool hook(enum ocall_nr nr, const uint64_t a[6], int64_t *ret)
{
    if (nr == OCALL_SPILL_OPEN)
        *ret = g_lie == NO_FILE ? -EACCES : 4242;
    else if (nr == OCALL_PWRITE && a[0] == 4242)
        *ret = host_write(a);
    else if (nr == OCALL_PREAD && a[0] == 4242)
        *ret = host_read(a);
    else if (nr == OCALL_FALLOCATE && a[0] == 4242)
        *ret = memset(g_now + a[2], 0, a[3]) ? 0 : -1;
    else
        return false;
    return true;
}

static void start(void)
{
    fake_add(&(struct fake_record){ "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE, S_IFDIR | 01777,
                                    NULL, 0, false });
    fake_start("/tmp");
    ((struct manifest_node *)(uintptr_t)g_manifest.node)->heap_size = 2 * MEMORY;
    g_now = calloc(2, HOST_MAX);
    g_before = g_now + HOST_MAX;
    g_fake_hook = hook;
    g_lie = HONEST;
}

/* --- files ----------------------------------------------------------------------------- */

static int64_t make(const char *path)
{
    int64_t fd = SYS(open, U(path), O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0, "%s: %lld", path, (long long)fd);
    return fd;
}

static void fill(uint8_t *buf, uint64_t size, uint64_t seed)
{
    for (uint64_t i = 0; i < size; i += 8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memcpy(buf + i, &seed, 8);
    }
}

static void put(int64_t fd, uint64_t chunk, uint64_t seed)
{
    static _Thread_local uint8_t buf[CHUNK];
    fill(buf, CHUNK, seed);
    CHECK_EQ(SYS(pwrite64, U(fd), U(buf), CHUNK, chunk * CHUNK), CHUNK, "chunk %d", (int)chunk);
}

/* 0, or what pread says; -1000: another content. */
static int64_t look(int64_t fd, uint64_t chunk, uint64_t seed)
{
    static _Thread_local uint8_t buf[CHUNK], want[CHUNK];
    memset(buf, 0xee, CHUNK);
    fill(want, CHUNK, seed);
    int64_t n = SYS(pread64, U(fd), U(buf), CHUNK, chunk * CHUNK);
    if (n < 0) {
        for (unsigned i = 0; i < CHUNK; i++)
            CHECK_EQ(buf[i], 0xee, "byte %u of what failed", i);
        return n;
    }
    CHECK_EQ(n, CHUNK, "whole");
    return memcmp(buf, want, CHUNK) == 0 ? 0 : -1000;
}

/* 64 chunks in 1 MiB of memory, each written twice. */
static int64_t big_file(const char *path)
{
    int64_t fd = make(path);
    for (uint64_t version = 1; version <= 2; version++)
        for (uint64_t i = 0; i < FILE_SIZE / CHUNK; i++)
            put(fd, i, version * 1000 + i);
    return fd;
}

static void sizes_body(void)
{
    start();
    uint64_t before = g_fake_heap_used;
    int64_t fd = big_file("a");
    CHECK(g_writes >= 2 * (FILE_SIZE - MEMORY) / CHUNK, "%d chunks spilled", (int)g_writes);
    CHECK(g_fake_heap_used - before < MEMORY + 256 * KIB, "%d bytes in memory",
          (int)(g_fake_heap_used - before));
    for (uint64_t i = 0; i < FILE_SIZE / CHUNK; i++)
        CHECK_EQ(look(fd, i, 2000 + i), 0, "chunk %d", (int)i);
    CHECK(g_fake_heap_used - before < MEMORY + 256 * KIB, "after reading: %d",
          (int)(g_fake_heap_used - before));
    struct stat st;
    CHECK_EQ(SYS(fstat, U(fd), U(&st)), 0, "fstat");
    CHECK_EQ(st.st_blocks, FILE_SIZE / 512, "blocks");
    CHECK_EQ(g_fake_errors, 0, "nothing to complain of");

    /* Equal content is never equal at the host. */
    for (uint64_t i = 0; i < g_writes; i++)
        for (uint64_t j = i + 1; j < g_writes; j++)
            CHECK(memcmp(g_firsts[i], g_firsts[j], 16) != 0, "writes %d, %d", (int)i, (int)j);

    /* All goes with the file, at the host, too. */
    CHECK_EQ(SYS(rename, U("a"), U("b")), 0, "rename");
    CHECK_EQ(SYS(unlink, U("b")), 0, "unlink");
    CHECK_EQ(look(fd, 7, 2007), 0, "without a name");
    CHECK_EQ(SYS(close, U(fd)), 0, "close");
    CHECK(g_fake_heap_used - before < 64 * KIB, "%d bytes are left",
          (int)(g_fake_heap_used - before));
    for (uint64_t i = 0; i < FILE_SIZE; i += 4 * KIB)
        CHECK_EQ(g_now[i], 0, "the host has %d still", (int)i);
    for (unsigned i = 0; i < 8;
         i++) { /* or else the host's file grows beyond what host_write takes */
        fd = big_file("c");
        CHECK_EQ(SYS(close, U(fd)), 0, "close");
    }
    CHECK(g_end <= FILE_SIZE + MEMORY, "places are used again: %d", (int)g_end);
}

static void secret_body(void)
{
    static uint8_t buf[CHUNK];
    start();
    g_secret = "MARKER";
    for (unsigned i = 0; i + 6 <= CHUNK; i += 6)
        memcpy(buf + i, "MARKER", 6);
    int64_t fd = make("a");
    for (uint64_t i = 0; i < FILE_SIZE / CHUNK; i++)
        CHECK_EQ(SYS(write, U(fd), U(buf), CHUNK), CHUNK, "write");
    CHECK(g_writes > 10, "%d writes", (int)g_writes);
    for (uint64_t i = 0; i < g_writes; i++)
        for (uint64_t j = i + 1; j < g_writes; j++)
            CHECK(memcmp(g_firsts[i], g_firsts[j], 16) != 0, "one key stream twice: %d, %d", (int)i,
                  (int)j);
}

static const struct {
    const char *name;
    enum lie lie;
    int64_t want, unchecked; /* by pread; by an enclave that does not check tags */
} attacks[] = {
    { "bit flip", FLIP, -EIO, -1000 },
    { "older version", OLDER, -EIO, -1000 },
    { "another chunk", SWAPPED, -EIO, -1000 },
    { "nothing", NOTHING, -EIO, -EIO },
    { "cut short", CUT, -EIO, -EIO },
    { "read error", READ_ERROR, -EIO, -EIO },
    { "too much", TOO_MUCH, -EIO, -EIO },
    { "in pieces", PIECES, 0, 0 },
    { "honest", HONEST, 0, 0 },
};
static unsigned g_attack;

static void attack(bool checked)
{
    start();
    g_lie = attacks[g_attack].lie == PIECES ? PIECES : HONEST;
    int64_t fd = big_file("a");
    g_fake_no_tags = !checked;
    g_lie = attacks[g_attack].lie;
    int64_t want = checked ? attacks[g_attack].want : attacks[g_attack].unchecked;
    CHECK_EQ(look(fd, 3, 2003), want, "%s, %s", attacks[g_attack].name,
             checked ? "checked" : "unchecked");
    if (want == -EIO) {
        CHECK_EQ(look(fd, 4, 2004), -EIO, "%s: the next one", attacks[g_attack].name);
        CHECK_EQ(g_fake_errors, 1, "%s: one line", attacks[g_attack].name);
        CHECK_EQ(SYS(ftruncate, U(fd), 3 * CHUNK + 5), -EIO, "%s: what stays in part",
                 attacks[g_attack].name);
        uint8_t byte = 1; /* a write into it does not lose the rest */
        CHECK_EQ(SYS(pwrite64, U(fd), U(&byte), 1, 3 * CHUNK), -EIO, "%s", attacks[g_attack].name);
        g_lie = HONEST;
        CHECK_EQ(look(fd, 3, 2003), 0, "%s: nothing was lost", attacks[g_attack].name);
        CHECK_EQ(look(fd, FILE_SIZE / CHUNK - 1, 2063), 0, "%s: what is in memory",
                 attacks[g_attack].name);
    }
}

static void checked_body(void)
{
    attack(true);
}

static void unchecked_body(void)
{
    attack(false);
}

static const struct {
    const char *name;
    enum lie lie;
    int error;
} failures[] = {
    { "disk full", FULL, -ENOSPC },
    { "write error", WRITE_ERROR, -EIO },
    { "no file", NO_FILE, -ENOSPC },
};

static void full_body(void)
{
    start();
    static uint8_t buf[CHUNK];
    uint64_t done = 0;
    int64_t n;
    int64_t fd = make("a");
    g_lie = failures[g_attack].lie;
    fill(buf, CHUNK, 0);
    while ((n = SYS(pwrite64, U(fd), U(buf), CHUNK, done)) > 0 && done < FILE_SIZE)
        done += (uint64_t)n;
    CHECK_EQ(n, failures[g_attack].error, "%s", failures[g_attack].name);
    CHECK(done >= MEMORY && done < MEMORY + 2 * CHUNK, "%d bytes fit", (int)done);
    CHECK_EQ(g_fake_errors, 1, "%s: one line", failures[g_attack].name);
    for (uint64_t i = 0; i < done / CHUNK; i++)
        CHECK_EQ(look(fd, i, 0), 0, "%s: chunk %d", failures[g_attack].name, (int)i);
    if (failures[g_attack].lie != NO_FILE)
        g_lie = HONEST;
    CHECK_EQ(SYS(ftruncate, U(fd), 0), 0, "truncate");
    put(fd, 2, 2);
    CHECK_EQ(look(fd, 2, 2), 0, "room again");
}

/* A full disk does not keep what was written from being read. */
static void full_reading_body(void)
{
    start();
    int64_t fd = big_file("a");
    g_lie = FULL;
    for (uint64_t i = 0; i < FILE_SIZE / CHUNK; i++)
        CHECK_EQ(look(fd, i, 2000 + i), 0, "chunk %d", (int)i);
}

/* Three files against arrays: everything that moves bytes, at random. */
#define MODEL      3u
#define MODEL_SIZE (1536 * KIB)

static void model_body(void)
{
    static uint8_t model[MODEL][MODEL_SIZE], buf[MODEL_SIZE];
    uint64_t size[MODEL] = { 0 };
    int64_t fd[MODEL];
    start();
    srand(7);
    for (unsigned i = 0; i < MODEL; i++)
        fd[i] = make((const char *[]){ "a", "b", "c" }[i]);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned f = (unsigned)rand() % MODEL;
        uint64_t at = (uint64_t)rand() % MODEL_SIZE, n = (uint64_t)rand() % 20000;
        if (n > MODEL_SIZE - at)
            n = MODEL_SIZE - at;
        if (step % 1000 == 0)
            g_lie = step % 2000 ? PIECES : HONEST;
        switch (rand() % 20) {
        case 0: /* shorter or longer */
            if (rand() % 4)
                at = at * 3 / 4 + MODEL_SIZE / 4;
            if (rand() % 3 == 0)
                at = at / (4 * KIB) * (4 * KIB);
            CHECK_EQ(SYS(ftruncate, U(fd[f]), at), 0, "truncate");
            if (at < size[f])
                memset(model[f] + at, 0, size[f] - at);
            size[f] = at;
            break;
        case 1: /* punch a hole */
            if (!n)
                break;
            CHECK_EQ(SYS(fallocate, U(fd[f]), 3, at, n), 0, "punch");
            memset(model[f] + at, 0, n);
            break;
        case 2: { /* what it says is a hole is one */
            if (at >= size[f])
                break;
            int64_t hole = SYS(lseek, U(fd[f]), at, SEEK_HOLE);
            int64_t data = SYS(lseek, U(fd[f]), at, SEEK_DATA);
            CHECK(hole == (int64_t)at || data == (int64_t)at, "hole %d data %d at %d", (int)hole,
                  (int)data, (int)at);
            uint64_t end = data < 0 ? size[f] : (uint64_t)data;
            for (uint64_t i = at; i < end; i++)
                CHECK_EQ(model[f][i], 0, "step %u: a hole at %d", step, (int)i);
            break;
        }
        case 3:
        case 4:
        case 5:
        case 6:
        case 7:
        case 8:
        case 9:
            fill(buf, n + 8, step);
            CHECK_EQ(SYS(pwrite64, U(fd[f]), U(buf), n, at), (long long)n, "write");
            memcpy(model[f] + at, buf, n);
            if (n && at + n > size[f])
                size[f] = at + n;
            break;
        default: {
            uint64_t want = at >= size[f] ? 0 : size[f] - at < n ? size[f] - at : n;
            CHECK_EQ(SYS(pread64, U(fd[f]), U(buf), n, at), (long long)want, "read");
            CHECK(memcmp(buf, model[f] + at, want) == 0, "step %u: file %u at %d", step, f,
                  (int)at);
            break;
        }
        }
    }
    CHECK(g_writes > 1000, "only %d chunks were spilled", (int)g_writes);
    CHECK_EQ(g_fake_errors, 0, "nothing to complain of");
}

/* Threads share files, each its own chunks; one truncates and fills another file all the time. */
#define THREADS 3u

static void *work(void *arg)
{
    uint64_t self = (uint64_t)arg;
    int64_t fd = SYS(open, U("a"), O_RDWR, 0);
    uint64_t version[FILE_SIZE / CHUNK] = { 0 };
    unsigned random = (unsigned)self;
    for (unsigned step = 0; step < 1500; step++) {
        uint64_t chunk = (uint64_t)rand_r(&random) % (FILE_SIZE / CHUNK / THREADS) * THREADS + self;
        if (version[chunk])
            CHECK_EQ(look(fd, chunk, version[chunk]), 0, "thread %d, step %u", (int)self, step);
        if (rand_r(&random) % 2)
            put(fd, chunk, version[chunk] = step * 8 + self + 1);
        if (self == 0) {
            int64_t other = make("b");
            for (uint64_t i = 0; i < 4; i++)
                put(other, i, i);
            CHECK_EQ(SYS(ftruncate, U(other), CHUNK / 2), 0, "truncate");
            SYS(close, U(other));
        }
    }
    return NULL;
}

static void threads_body(void)
{
    pthread_t threads[THREADS];
    start();
    SYS(close, U(make("a")));
    for (uint64_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, work, (void *)i), 0, "a thread");
    for (uint64_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(g_writes > 100, "only %d chunks were spilled", (int)g_writes);
}

static void test_attacks(void **state UNUSED)
{
    for (g_attack = 0; g_attack < ARRAY_SIZE(attacks); g_attack++) {
        vfs_child(checked_body);
        vfs_child(unchecked_body);
    }
}

static void test_full(void **state UNUSED)
{
    for (g_attack = 0; g_attack < ARRAY_SIZE(failures); g_attack++)
        vfs_child(full_body);
}

#define CASE(name)                               \
    static void test_##name(void **state UNUSED) \
    {                                            \
        vfs_child(name##_body);                  \
    }
CASE(sizes)
CASE(secret)
CASE(full_reading)
CASE(model)
CASE(threads)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),        cmocka_unit_test(test_secret),
        cmocka_unit_test(test_attacks),      cmocka_unit_test(test_full),
        cmocka_unit_test(test_full_reading), cmocka_unit_test(test_model),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
