/*
 * The stage: EACCEPTCOPY's thunk leaves a page's bytes here, and the EPCM has its entry at once;
 * what is left for later is to put them where the page tables find them, many by one system call.
 * Nobody can tell: a page in the stage was pending, so the page tables forbid every access, and
 * whoever takes the device's lock to open them (or to look at memory in any other way) empties the
 * stage first. Tier: hosted, untrusted; runs in signal handlers.
 */
#include "softsgx/state.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

uint8_t *g_soft_stage;
uint64_t g_soft_stage_to[SOFT_STAGE_PAGES];
volatile uint32_t g_soft_stage_count;

/* A page made by userfaultfd is not cleared before it is written. Registered for write protection,
 * of which there is none: other faults are as before. */
static int uffd_open(const struct softsgx *s)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (fd < 0)
        return -1;
    struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
    struct uffdio_register all = { .range = { SOFT_ELRANGE_START, s->size - SOFT_ELRANGE_START },
                                   .mode = UFFDIO_REGISTER_MODE_WP };
    if (ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &all) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

int stage_open(struct softsgx *s)
{
    void *p = mmap(NULL, SOFT_STAGE_PAGES * SGX_PAGE_SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    g_soft_stage = p;
    s->uffd = uffd_open(s);
    return 0;
}

void stage_close(struct softsgx *s)
{
    if (g_soft_stage)
        (void)munmap(g_soft_stage, SOFT_STAGE_PAGES * SGX_PAGE_SIZE);
    g_soft_stage = NULL;
    g_soft_stage_count = 0;
    if (s->uffd >= 0)
        (void)close(s->uffd);
    s->uffd = -1;
}

static void put(struct softsgx *s, uint64_t to, const uint8_t *from, uint64_t size)
{
    uint64_t done = 0;
    if (s->uffd >= 0) {
        struct uffdio_copy copy = { .dst = to, .src = (uint64_t)from, .len = size };
        (void)syscall(SYS_ioctl, s->uffd, UFFDIO_COPY, &copy);
        done = copy.copy > 0 ? (uint64_t)copy.copy : 0;
    }
    while (done < size) { /* no userfaultfd, or a page is there already */
        long n = syscall(SYS_pwrite64, s->mem_fd, from + done, size - done, to + done);
        if (n <= 0 &&
            force_open(s, true, to + done, (void *)(uintptr_t)(from + done), size - done) == 0)
            return;
        if (n <= 0) {
            static const char text[] = "software SGX device: no memory for accepted pages\n";
            (void)!write(2, text, sizeof(text) - 1);
            abort();
        }
        done += (uint64_t)n;
    }
}

void stage_flush(struct softsgx *s)
{
    uint32_t count = g_soft_stage_count;
    for (uint32_t first = 0, next; first < count; first = next) {
        for (next = first + 1; next < count; next++)
            if (g_soft_stage_to[next] != g_soft_stage_to[next - 1] + SGX_PAGE_SIZE)
                break;
        put(s, g_soft_stage_to[first], g_soft_stage + first * SGX_PAGE_SIZE,
            (next - first) * SGX_PAGE_SIZE);
    }
    g_soft_stage_count = 0;
}
