/* OCALLs on terminals, and the few ioctls of sockets. Only the requests named in the ABI, each with the size the kernel has for
 * it. */
#include "host/ocall.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "host/handle.h"

#define KERNEL_TERMIOS_SIZE 36 /* struct termios of <asm-generic/termbits.h>, not glibc's */

static const struct {
    uint64_t request;
    uint32_t in, out;
} requests[] = {
    { TCGETS, 0, KERNEL_TERMIOS_SIZE },
    { TCSETS, KERNEL_TERMIOS_SIZE, 0 },
    { TCSETSW, KERNEL_TERMIOS_SIZE, 0 },
    { TCSETSF, KERNEL_TERMIOS_SIZE, 0 },
    { TIOCGWINSZ, 0, sizeof(struct winsize) },
    { FIONREAD, 0, sizeof(int) },
    { TIOCGPGRP, 0, sizeof(pid_t) },
    { SIOCATMARK, 0, sizeof(int) },
    { TIOCOUTQ, 0, sizeof(int) },
};

int64_t ocall_isatty(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    return fd < 0 ? fd : isatty(fd);
}

int64_t ocall_ioctl(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        if (requests[i].request != args[1])
            continue;
        if (args[2] < requests[i].in || args[3] < requests[i].out)
            return -EINVAL;
        /* TCSETSW waits for the output to drain. */
        thread_block_begin_blind(t);
        int r = ioctl(fd, requests[i].request, t->data);
        int saved = errno;
        thread_block_end(t);
        return r < 0 ? -saved : r;
    }
    return -ENOTTY;
}
