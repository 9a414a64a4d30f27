/*
 * Memory on its way into a forked child. Parent and child are two processes here, each with the program's
 * addresses to itself; mm/ and the stream are real, the EPCM and the channel are fakes.
 */
#include "mm/checkpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/layout.h"
#include "abi/manifest.h"
#include "abi/sgx.h"
#include "arch/cpu.h"
#include "arch/exception.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/pages.h"
#include "mm/vma.h"
#include "mm_fakes.h"
#include "thread/threads.h"
#include "vfs/file.h"

#define PAGE LAYOUT_PAGE
#define RW   (PROT_READ | PROT_WRITE)

static const struct manifest_file g_record = { .class = MANIFEST_TRUSTED, .flags = MANIFEST_EXEC };
static char g_path[] = "/lib/it";
static const struct file_ops g_ops = { .name = "test" };
static struct file g_file = { .ops = &g_ops, .refs = 1, .record = &g_record, .path = g_path };
static uint8_t ALIGNED(4096) g_chunk[MANIFEST_CHUNK_SIZE];

struct file *file_ref(struct file *file)
{
    file->refs++;
    return file;
}
void file_unref(struct file *file)
{
    if (file)
        file->refs--;
}
int chunk_get(struct file *file UNUSED, uint64_t index, struct chunk **ret UNUSED,
              const void **ret_data, uint32_t *ret_size)
{
    memset(g_chunk, (int)index + 1, sizeof(g_chunk));
    *ret_data = g_chunk;
    *ret_size = sizeof(g_chunk);
    return 0;
}
void chunk_put(struct chunk *chunk UNUSED)
{
}
int vfs_open_kernel(const char *path, uint64_t size, struct file **ret)
{
    if (size != strlen(g_path) || memcmp(path, g_path, size) != 0)
        return -ENOENT;
    *ret = file_ref(&g_file);
    return 0;
}
int32_t share_number(const struct share *share UNUSED, const struct file *file UNUSED)
{
    return -1;
}
struct file *share_file(uint32_t number UNUSED)
{
    return NULL;
}

/* More than one: every page is copied under the lock. */
static uint32_t g_threads = 1;
uint32_t threads_used(void)
{
    return g_threads;
}

static uint64_t g_stubs;
uint64_t stubs_size(void)
{
    return g_stubs;
}
int stubs_adopt(uint64_t size)
{
    if (size > PAGE || g_stubs)
        return -EBADMSG;
    g_stubs = size;
    return 0;
}

/* Nothing is distributed here: test_dsm.c. */
uint32_t g_dsm_mappings;
bool hub_is_here(void)
{
    return true;
}
int dsm_open(struct file *file UNUSED, struct file **ret)
{
    *ret = NULL;
    return 0;
}
int dsm_mapped(struct file *file UNUSED, bool force UNUSED)
{
    return -ENODEV;
}
uint32_t dsm_number(const struct file *file UNUSED)
{
    return 0;
}
const struct file *dsm_backing(const struct file *file)
{
    return file;
}
enum mm_fault dsm_fault(struct file *file UNUSED, uint64_t page UNUSED, uint64_t offset UNUSED)
{
    return MM_FAULT_BUS;
}
void dsm_collect(const struct vma *v UNUSED, uint64_t start UNUSED, uint64_t end UNUSED)
{
}
void dsm_give_collected(void)
{
}
void dsm_recount(void)
{
}
int dsm_fork(void)
{
    return 0;
}
bool dsm_describe(const struct file *file UNUSED, struct dsm_wire *ret UNUSED)
{
    return false;
}
int dsm_adopt(const struct dsm_wire *wire UNUSED, struct file *backing UNUSED,
              struct file **ret UNUSED)
{
    return -EACCES;
}

/* --- the channel: messages over a pipe, or from a recorded buffer ------------------------------------ */

static int g_pipe[2];
static uint8_t *g_record_bytes;
static uint64_t g_record_size, g_record_at;
static bool g_recorded;
static uint32_t g_messages;

int channel_send(struct channel *channel UNUSED, const void *data, uint32_t size)
{
    assert_int_equal(mm_lock()->word, 0);
    assert_in_range(size, 1, TREE_MESSAGE_MAX);
    if (write(g_pipe[1], &size, sizeof(size)) != sizeof(size))
        return -EPIPE;
    for (uint32_t at = 0; at < size;) {
        ssize_t n = write(g_pipe[1], (const uint8_t *)data + at, size - at);
        if (n <= 0)
            return -EPIPE;
        at += (uint32_t)n;
    }
    return 0;
}

static bool get(void *to, uint32_t size)
{
    for (uint32_t at = 0; at < size;) {
        ssize_t n = read(g_pipe[0], (uint8_t *)to + at, size - at);
        if (n <= 0)
            return false;
        at += (uint32_t)n;
    }
    return true;
}

int64_t channel_receive(struct channel *channel UNUSED, void *buf, uint32_t room, bool i UNUSED)
{
    uint32_t size;
    if (g_recorded) {
        uint64_t left = g_record_size - g_record_at;
        size = left < room ? (uint32_t)left : room;
        memcpy(buf, g_record_bytes + g_record_at, size);
        g_record_at += size;
        return size ? (int64_t)size : -EPIPE;
    }
    if (!get(&size, sizeof(size)) || size > room || !get(buf, size))
        return -EPIPE;
    g_messages++;
    if (g_record_bytes && g_record_size + size <= 64u << 20) {
        memcpy(g_record_bytes + g_record_size, buf, size);
        g_record_size += size;
    }
    return size;
}

/* --- the two processes ---------------------------------------------------------------------------- */

static int64_t map(uint64_t at, uint64_t pages, int prot, int flags, struct file *file,
                   uint64_t offset)
{
    int64_t r = mm_map(at, pages * PAGE, prot, flags | MAP_FIXED | (file ? 0 : MAP_ANONYMOUS), file,
                       offset);
    assert_int_equal(r, at);
    return r;
}

static void touch(uint64_t at, uint64_t error_code)
{
    assert_int_equal(mm_fault(at, error_code), MM_FAULT_DONE);
}

/* Write of a byte in a page of the program. */
static void put(uint64_t at, uint8_t value)
{
    touch(at, SGX_PFEC_W);
    *(uint8_t *)at = value;
}

#define ANON   0xa0000000ull  /* 64 pages RW */
#define TEXT   0x30000000ull  /* trusted, R X, never writable */
#define DATA   0x30100000ull  /* trusted, was writable, now R */
#define HIDDEN 0xa1000000ull  /* PROT_NONE with content */
#define SHARED 0xa2000000ull  /* shared anonymous */
#define EMPTY  0x140000000ull /* a gigabyte never touched */
#define BIG    0xb0000000ull

static void fill_parent(uint64_t big_pages)
{
    mm_set_brk(0x401000);
    assert_int_equal(mm_brk(0x405010), 0x405010);
    put(0x402000, 7);
    map(ANON, 64, RW, MAP_PRIVATE, NULL, 0);
    put(ANON + 3 * PAGE + 5, 1);
    put(ANON + 4 * PAGE + 4095, 2);
    put(ANON + 40 * PAGE, 3);
    map(TEXT, 20, PROT_READ | PROT_EXEC, MAP_PRIVATE, &g_file, 0);
    touch(TEXT, SGX_PFEC_I);
    map(DATA, 4, RW, MAP_PRIVATE, &g_file, PAGE);
    put(DATA, 9);
    assert_int_equal(mm_protect(DATA, 2 * PAGE, PROT_READ), 0);
    map(HIDDEN, 2, RW, MAP_PRIVATE, NULL, 0);
    put(HIDDEN + PAGE, 11);
    assert_int_equal(mm_protect(HIDDEN, 2 * PAGE, PROT_NONE), 0);
    map(SHARED, 2, RW, MAP_SHARED, NULL, 0);
    put(SHARED, 12);
    map(EMPTY, 1u << 18, RW, MAP_PRIVATE, NULL, 0);
    if (big_pages) {
        map(BIG, big_pages, RW, MAP_PRIVATE, NULL, 0);
        for (uint64_t i = 0; i < big_pages; i++) {
            if (!page_state(BIG + i * PAGE))
                touch(BIG + i * PAGE, SGX_PFEC_W);
            memset((void *)(BIG + i * PAGE), (int)(i % 255) + 1, PAGE);
        }
    }
    /* Two can be sent. */
    static const uint64_t hints[] = {
        TEXT + 5 * PAGE, UINT64_MAX,   TEXT + 3 * PAGE, TEXT + 19 * PAGE,    DATA,
        ANON + 3 * PAGE, SHARED,       TEXT + 3 * PAGE, TEXT + 7 * PAGE + 8, 0,
        EMPTY,           HIDDEN + PAGE
    };
    for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
        g_hints[g_hint_count++] = hints[i];
    memcpy((void *)LAYOUT_STUBS, "stubs", 6);
    g_stubs = 16;
}

static NORETURN void parent_main(uint64_t big_pages)
{
    struct tree_stream s;
    (void)close(g_pipe[0]);
    mm_fakes_boot();
    fill_parent(big_pages);
    if (tree_stream_open(&s, NULL) < 0)
        _exit(1);
    struct timespec from, to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    mm_checkpoint_send(&s, NULL);
    int error = tree_stream_done(&s);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    if (big_pages)
        print_message("%lu MiB sent in %.1f ms\n", (unsigned long)(big_pages >> 8),
                      (double)(to.tv_sec - from.tv_sec) * 1e3 +
                          (double)(to.tv_nsec - from.tv_nsec) / 1e6);
    /* The parent's own pages are as before. */
    uint8_t hidden = page_state(HIDDEN + PAGE);
    _exit(error || hidden != PAGE_ACCEPTED || g_epcm[(HIDDEN + PAGE) / PAGE] != 0x80);
}

static pid_t start_parent(uint64_t big_pages)
{
    assert_int_equal(pipe(g_pipe), 0);
    pid_t pid = fork();
    if (pid == 0)
        parent_main(big_pages);
    (void)close(g_pipe[1]);
    return pid;
}

static void ended_well(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int receive(void)
{
    struct tree_stream s;
    mm_fakes_boot();
    assert_int_equal(tree_stream_open(&s, NULL), 0);
    mm_checkpoint_receive(&s);
    return tree_stream_done(&s);
}

static void expect(uint64_t page, uint8_t perms)
{
    assert_int_equal(page_state(page), PAGE_ACCEPTED | perms);
    assert_int_equal(g_epcm[page / PAGE], 0x80 | perms);
}

static void check_child(uint64_t big_pages)
{
    const uint8_t r = SGX_SECINFO_R, rw = SGX_SECINFO_R | SGX_SECINFO_W;
    char *text;
    uint64_t size;
    assert_int_equal(mm_maps_text(&text, &size), 0);
    text[size - 1] = 0;
    assert_non_null(strstr(text, "30100000-30102000 r--p"));
    assert_non_null(strstr(text, "30102000-30104000 rw-p"));
    assert_non_null(strstr(text, "/lib/it"));
    assert_non_null(strstr(text, "a2000000-a2002000 ---s")); /* not silently private */
    free(text);
    assert_int_equal(mm_brk(0), 0x405010);
    assert_int_equal(*(uint8_t *)0x402000, 7);
    expect(ANON + 3 * PAGE, rw);
    assert_int_equal(*(uint8_t *)(ANON + 3 * PAGE + 5), 1);
    assert_int_equal(*(uint8_t *)(ANON + 4 * PAGE + 4095), 2);
    assert_int_equal(*(uint8_t *)(ANON + 40 * PAGE), 3);
    assert_int_equal(page_state(ANON + 60 * PAGE), 0); /* never touched by the parent */
    /* Verified text comes from the file again, with the mapping's permissions. */
    assert_int_equal(page_state(TEXT), 0);
    /* But for what children need at once, and what they need comes page by page. */
    for (uint64_t i = 1; i < 20; i++)
        assert_int_equal(page_state(TEXT + i * PAGE) != 0, i == 3 || i == 5);
    expect(TEXT + 3 * PAGE, SGX_SECINFO_R | SGX_SECINFO_X);
    assert_int_equal(*(uint8_t *)(TEXT + 5 * PAGE), 1);
    g_hint_count = 0;
    touch(TEXT, SGX_PFEC_I);
    expect(TEXT, SGX_SECINFO_R | SGX_SECINFO_X);
    assert_int_equal(page_state(TEXT + PAGE), 0);
    assert_int_equal(g_hint_count, 1);
    assert_int_equal(g_hints[0], TEXT);
    assert_int_equal(*(uint8_t *)TEXT, 1);
    /* The rest of the chunk came along in the parent: relocated or not, it was sent. */
    expect(DATA, r);
    expect(DATA + 3 * PAGE, rw);
    assert_int_equal(*(uint8_t *)DATA, 9);
    assert_int_equal(*(uint8_t *)(DATA + 1), 1);
    assert_int_equal(mm_protect(DATA, PAGE, RW), 0);
    expect(HIDDEN + PAGE, 0);
    assert_int_equal(*(uint8_t *)(HIDDEN + PAGE), 11);
    assert_int_equal(page_state(EMPTY), 0);
    assert_true(mm_mapped(EMPTY, 1u << 30));
    assert_string_equal((const char *)LAYOUT_STUBS, "stubs");
    assert_int_equal(g_stubs, 16);
    for (uint64_t i = 0; i < big_pages; i++) {
        assert_int_equal(*(uint8_t *)(BIG + i * PAGE), i % 255 + 1);
        assert_int_equal(*(uint8_t *)(BIG + i * PAGE + 4095), i % 255 + 1);
    }
}

static void test_child_is_like_parent(void **state UNUSED)
{
    g_record_bytes = malloc(64u << 20);
    pid_t parent = start_parent(0);
    assert_int_equal(receive(), 0);
    ended_well(parent);
    check_child(0);
    /* Six pages with content and what lay in the one chunk: all in a handful of messages. */
    assert_in_range(g_messages, 1, 4);
}

/* What a hostile or broken parent may send ends in an error or in mappings, never in our memory. */
static void mutate(void)
{
    int refused = 0;
    for (int round = 0; round < 400; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            (void)freopen("/dev/null", "w", stderr);
            g_recorded = true;
            srand((unsigned)round);
            uint64_t count = 1 + (uint64_t)rand() % 3;
            for (uint64_t i = 0; i < count; i++) {
                /* Mostly the heads: content is whatever it is. */
                uint64_t limit = rand() % 3 ? 1200 : g_record_size;
                g_record_bytes[(uint64_t)rand() % limit] = (uint8_t)rand();
            }
            if (rand() % 8 == 0)
                g_record_size = (uint64_t)rand() % g_record_size;
            int r = receive();
            _exit(r < 0 ? 1 : 0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
            fail_msg("round %d: status %x", round, (unsigned)status);
        refused += WEXITSTATUS(status);
    }
    assert_in_range(refused, 100, 399);
}

static void large(void)
{
    const uint64_t pages = (64u << 8) + 5;
    free(g_record_bytes);
    g_record_bytes = NULL;
    pid_t parent = start_parent(pages);
    assert_int_equal(receive(), 0);
    ended_well(parent);
    check_child(pages);
}

static void test_large(void **state UNUSED)
{
    large();
}

static void test_large_with_threads(void **state UNUSED)
{
    g_threads = 2;
    large();
}

/* In a process of its own: an enclave receives once. */
static void alone(const struct CMUnitTest test)
{
    const struct CMUnitTest tests[] = { test };
    pid_t pid = fork();
    if (pid == 0)
        _exit(cmocka_run_group_tests(tests, NULL, NULL));
    ended_well(pid);
}

static void test_large_alone(void **state UNUSED)
{
    alone((struct CMUnitTest)cmocka_unit_test(test_large));
    alone((struct CMUnitTest)cmocka_unit_test(test_large_with_threads));
}

static void test_mutations_of_a_record(void **state UNUSED)
{
    g_record_bytes =
        mmap(NULL, 64u << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t *size = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t parent = start_parent(0);
        int r = receive();
        *size = g_record_size;
        ended_well(parent);
        _exit(r != 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    g_record_size = *size;
    uint8_t *copy = malloc(g_record_size);
    memcpy(copy, g_record_bytes, g_record_size);
    g_record_bytes = copy; /* each round's own */
    mutate();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutations_of_a_record),
        cmocka_unit_test(test_large_alone),
        cmocka_unit_test(test_child_is_like_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
