/* readv, writev, preadv, pwritev, sendfile, copy_file_range, O_APPEND, sparse seeks, getdents64, statx. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
    char folder[] = "/tmp/behave-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) < 0)
        return 1;
    int fd = open("a", O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct iovec out[3] = { { "one ", 4 }, { "", 0 }, { "two ", 4 } };
    printf("%zd %zd\n", writev(fd, out, 3), pwritev(fd, out, 1, 100));
    char a[6], b[200];
    struct iovec in[2] = { { a, sizeof(a) }, { b, sizeof(b) } };
    ssize_t n = preadv(fd, in, 2, 0);
    printf("%zd %.6s %.2s %d\n", n, a, b, memcmp(b + 94, "one ", 4));
    lseek(fd, 0, SEEK_SET);
    printf("%zd %lld\n", readv(fd, in, 1), (long long)lseek(fd, 0, SEEK_CUR));
    int appending = open("a", O_WRONLY | O_APPEND);
    lseek(appending, 0, SEEK_SET);
    printf("%zd", write(appending, "end", 3));
    printf(" %lld\n", (long long)lseek(appending, 0, SEEK_CUR));

    int copy = open("b", O_RDWR | O_CREAT, 0644);
    off_t from = 4;
    n = sendfile(copy, fd, &from, 4);
    printf("sendfile %zd %s %lld\n", n, n < 0 ? strerror(errno) : "", (long long)from);
    struct stat st;
    fstat(copy, &st);
    printf("%lld %o\n", (long long)st.st_size, st.st_mode);

    struct statx sx;
    if (statx(AT_FDCWD, "a", 0, STATX_BASIC_STATS, &sx) == 0)
        printf("statx %llu %o %u\n", (unsigned long long)sx.stx_size, sx.stx_mode, sx.stx_nlink);
    printf("access %d %d %d\n", access("a", R_OK | W_OK), faccessat(AT_FDCWD, "a", X_OK, 0),
           access("zz", F_OK));

    int dir = open(".", O_RDONLY | O_DIRECTORY);
    char entries[4096];
    long size = syscall(SYS_getdents64, dir, entries, sizeof(entries));
    int names = 0, dots = 0;
    for (long at = 0; at < size;) {
        struct dirent64 *entry = (struct dirent64 *)(entries + at);
        dots += entry->d_name[0] == '.';
        names++;
        at += entry->d_reclen;
    }
    printf("%d names, %d with a dot, then %ld\n", names, dots,
           syscall(SYS_getdents64, dir, entries, sizeof(entries)));
    lseek(dir, 0, SEEK_SET);
    printf("rewound %d, too small: %ld %s\n",
           syscall(SYS_getdents64, dir, entries, sizeof(entries)) == size,
           (lseek(dir, 0, SEEK_SET), syscall(SYS_getdents64, dir, entries, 8)), strerror(errno));
    printf("%d %d %d\n", unlinkat(dir, "a", 0), unlink("b"), unlinkat(dir, "b", 0));
    return chdir("/") || rmdir(folder);
}
