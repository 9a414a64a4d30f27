/*
 * Executable mappings of files: by mmap, and by mprotect of one that was not.
 *
 * expect: mapped-exec by-mmap
 * expect: mapped-exec by-mprotect
 * refuse: mapped-exec not-executable
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void *map(const char *name, int protection)
{
    int fd = open(name, O_RDWR | O_CREAT, 0755);
    if (ftruncate(fd, 8192) < 0)
        return NULL;
    void *p = mmap(NULL, 8192, protection, MAP_PRIVATE, fd, 0);
    close(fd);
    return p;
}

int main(void)
{
    void *a = map("by-mmap", PROT_READ | PROT_EXEC);
    void *b = map("by-mprotect", PROT_READ);
    void *c = map("not-executable", PROT_READ | PROT_WRITE);
    int r = mprotect((char *)b + 4096, 4096, PROT_READ | PROT_EXEC);
    munmap(b, 8192);
    printf("%d %d %d\n", a != MAP_FAILED, c != MAP_FAILED, r);
    return 0;
}
