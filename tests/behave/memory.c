/* mmap, munmap, mprotect, mremap, madvise, brk, msync, mincore: addresses, contents, errors. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void *map(size_t size, int prot)
{
    return mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void show(const char *what, long r)
{
    printf("%s: %ld %s\n", what, r, r < 0 ? strerror(errno) : "");
}

static void failed(const char *what, void *r)
{
    printf("%s: %d %s\n", what, r == MAP_FAILED, r == MAP_FAILED ? strerror(errno) : "");
}

int main(void)
{
    char *p = map(16 * PAGE, PROT_READ | PROT_WRITE);
    memset(p, 1, 16 * PAGE);
    show("hole", munmap(p + 4 * PAGE, 4 * PAGE));
    show("again", munmap(p + 4 * PAGE, 4 * PAGE));
    char *q = mmap(p + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("fixed %d zero %d\n", q == p + 4 * PAGE, q[0] == 0 && q[4 * PAGE - 1] == 0);
    q = mmap(p + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
             0);
    failed("noreplace", q);
    show("protect over a hole",
         (munmap(p + 12 * PAGE, PAGE), mprotect(p + 11 * PAGE, 3 * PAGE, PROT_READ)));
    show("protect", mprotect(p, 3 * PAGE, PROT_READ));
    show("protect back", mprotect(p, 3 * PAGE, PROT_READ | PROT_WRITE));
    p[0] = 9;
    show("none", mprotect(p + PAGE, PAGE, PROT_NONE));
    show("rw again", mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE));
    printf("kept %d %d\n", p[0], p[PAGE]);

    char *grown = mremap(p, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    printf("grown %d %d %d\n", grown != MAP_FAILED, grown[0], grown[40 * PAGE]);
    char *shrunk = mremap(grown, 64 * PAGE, 2 * PAGE, 0);
    printf("shrunk in place %d %d\n", shrunk == grown, shrunk[PAGE]);
    char *small = map(2 * PAGE, PROT_READ | PROT_WRITE);
    mmap(small + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    failed("cannot grow in place", mremap(small, PAGE, 2 * PAGE, 0));

    char *advised = map(8 * PAGE, PROT_READ | PROT_WRITE);
    memset(advised, 5, 8 * PAGE);
    show("dontneed", madvise(advised + PAGE, 2 * PAGE, MADV_DONTNEED));
    printf("%d %d %d\n", advised[0], advised[PAGE], advised[3 * PAGE]);
    show("bad advice", madvise(advised, PAGE, 9999));
    show("unaligned", madvise(advised + 1, PAGE, MADV_DONTNEED));
    show("munmap unaligned", munmap(advised + 1, PAGE));
    show("munmap nothing", munmap(advised, 0));
    failed("mmap 0", mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    failed("bad fd", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 77, 0));

    char *start = sbrk(0);
    printf("brk %d\n", sbrk(100000) == start && (char *)sbrk(0) == start + 100000);
    memset(start, 3, 100000);
    sbrk(-100000);
    sbrk(100000);
    printf("brk shrunk and grown: %d\n", start[90000]);

    int fd = open("/proc/self/exe", O_RDONLY);
    char magic[4], *file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    printf("private file %d\n", memcmp(file,
                                       "\x7f"
                                       "ELF",
                                       4) == 0);
    file[0] = 'X';
    printf("own copy %d\n", pread(fd, magic, 4, 0) == 4 && magic[0] == 0x7f && file[0] == 'X');
    failed("shared write of a read-only file",
           mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    failed("offset that wraps", mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, -PAGE));
    failed("offset near the end",
           mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, INT64_MAX & -PAGE));
    failed("unaligned offset", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100));
    close(fd);
    printf("after close %d\n", file[1] == 'E');

    uint8_t code[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42,%eax; ret */
    char *run = map(PAGE, PROT_READ | PROT_WRITE);
    memcpy(run, code, sizeof(code));
    show("make executable", mprotect(run, PAGE, PROT_READ | PROT_EXEC));
    printf("ran: %d\n", ((int (*)(void))run)());
    char *shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared[PAGE] = 8;
    show("msync", msync(shared, 2 * PAGE, MS_SYNC));
    printf("%d\n", shared[PAGE]);
    return 0;
}
