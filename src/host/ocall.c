#include "host/ocall.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static const struct {
    ocall_fn *serve;
    const char *name;
} calls[OCALL_COUNT] = {
    [OCALL_BOOT] = { ocall_boot, "BOOT" },
    [OCALL_EXIT] = { ocall_exit, "EXIT" },
    [OCALL_REFUSE] = { ocall_refuse, "REFUSE" },
    [OCALL_PANIC] = { ocall_panic, "PANIC" },
    [OCALL_LOG] = { ocall_log, "LOG" },
    [OCALL_AUDIT] = { ocall_audit, "AUDIT" },
    [OCALL_THREAD_START] = { ocall_thread_start, "THREAD_START" },
    [OCALL_THREAD_EXIT] = { ocall_thread_exit, "THREAD_EXIT" },
    [OCALL_PARK] = { ocall_park, "PARK" },
    [OCALL_UNPARK] = { ocall_unpark, "UNPARK" },
    [OCALL_INTERRUPT] = { ocall_interrupt, "INTERRUPT" },
    [OCALL_YIELD] = { ocall_yield, "YIELD" },
    [OCALL_ALARM] = { ocall_alarm, "ALARM" },
    [OCALL_CLOCK] = { ocall_clock, "CLOCK" },
    [OCALL_RUSAGE] = { ocall_rusage, "RUSAGE" },
    [OCALL_OPEN] = { ocall_open, "OPEN" },
    [OCALL_CLOSE] = { ocall_close, "CLOSE" },
    [OCALL_READ] = { ocall_read, "READ" },
    [OCALL_WRITE] = { ocall_write, "WRITE" },
    [OCALL_PREAD] = { ocall_pread, "PREAD" },
    [OCALL_PWRITE] = { ocall_pwrite, "PWRITE" },
    [OCALL_LSEEK] = { ocall_lseek, "LSEEK" },
    [OCALL_FSTAT] = { ocall_fstat, "FSTAT" },
    [OCALL_STAT] = { ocall_stat, "STAT" },
    [OCALL_READLINK] = { ocall_readlink, "READLINK" },
    [OCALL_GETDENTS] = { ocall_getdents, "GETDENTS" },
    [OCALL_FTRUNCATE] = { ocall_ftruncate, "FTRUNCATE" },
    [OCALL_FALLOCATE] = { ocall_fallocate, "FALLOCATE" },
    [OCALL_FSYNC] = { ocall_fsync, "FSYNC" },
    [OCALL_FLOCK] = { ocall_flock, "FLOCK" },
    [OCALL_FCNTL_LOCK] = { ocall_fcntl_lock, "FCNTL_LOCK" },
    [OCALL_MKDIR] = { ocall_mkdir, "MKDIR" },
    [OCALL_UNLINK] = { ocall_unlink, "UNLINK" },
    [OCALL_RENAME] = { ocall_rename, "RENAME" },
    [OCALL_LINK] = { ocall_link, "LINK" },
    [OCALL_SYMLINK] = { ocall_symlink, "SYMLINK" },
    [OCALL_CHMOD] = { ocall_chmod, "CHMOD" },
    [OCALL_CHOWN] = { ocall_chown, "CHOWN" },
    [OCALL_UTIMENS] = { ocall_utimens, "UTIMENS" },
    [OCALL_ISATTY] = { ocall_isatty, "ISATTY" },
    [OCALL_IOCTL] = { ocall_ioctl, "IOCTL" },
    [OCALL_POLL] = { ocall_poll, "POLL" },
    [OCALL_SET_NONBLOCK] = { ocall_set_nonblock, "SET_NONBLOCK" },
    [OCALL_RESTRICT] = { ocall_restrict, "RESTRICT" },
    [OCALL_MODIFY_TYPE] = { ocall_modify_type, "MODIFY_TYPE" },
    [OCALL_REMOVE] = { ocall_remove, "REMOVE" },
    [OCALL_TREE_OPEN] = { ocall_tree_open, "TREE_OPEN" },
    [OCALL_TREE_SPAWN] = { ocall_tree_spawn, "TREE_SPAWN" },
    [OCALL_TREE_POST] = { ocall_tree_post, "TREE_POST" },
    [OCALL_TREE_TAKEN] = { ocall_tree_taken, "TREE_TAKEN" },
    [OCALL_TREE_WAIT] = { ocall_tree_wait, "TREE_WAIT" },
    [OCALL_TREE_ROOM] = { ocall_tree_room, "TREE_ROOM" },
    [OCALL_TREE_CALL] = { ocall_tree_call, "TREE_CALL" },
    [OCALL_TREE_SERVE] = { ocall_tree_serve, "TREE_SERVE" },
    [OCALL_TREE_NUDGE] = { ocall_tree_nudge, "TREE_NUDGE" },
    [OCALL_TREE_KILL] = { ocall_tree_kill, "TREE_KILL" },
    [OCALL_TREE_FREE] = { ocall_tree_free, "TREE_FREE" },
    [OCALL_SPILL_OPEN] = { ocall_spill_open, "SPILL_OPEN" },
    [OCALL_TREE_BYE] = { ocall_tree_bye, "TREE_BYE" },
    [OCALL_TREE_GIVE] = { ocall_tree_give, "TREE_GIVE" },
    [OCALL_TREE_ASK] = { ocall_tree_ask, "TREE_ASK" },
    [OCALL_TREE_TAKE] = { ocall_tree_take, "TREE_TAKE" },
    [OCALL_NET_SOCKET] = { ocall_net_socket, "NET_SOCKET" },
    [OCALL_NET_NONBLOCK] = { ocall_net_nonblock, "NET_NONBLOCK" },
    [OCALL_NET_BIND] = { ocall_net_bind, "NET_BIND" },
    [OCALL_NET_LISTEN] = { ocall_net_listen, "NET_LISTEN" },
    [OCALL_NET_ACCEPT] = { ocall_net_accept, "NET_ACCEPT" },
    [OCALL_NET_CONNECT] = { ocall_net_connect, "NET_CONNECT" },
    [OCALL_NET_NAME] = { ocall_net_name, "NET_NAME" },
    [OCALL_NET_GET_OPTION] = { ocall_net_get_option, "NET_GET_OPTION" },
    [OCALL_NET_SET_OPTION] = { ocall_net_set_option, "NET_SET_OPTION" },
    [OCALL_NET_SEND] = { ocall_net_send, "NET_SEND" },
    [OCALL_NET_RECV] = { ocall_net_recv, "NET_RECV" },
    [OCALL_NET_SEND_MANY] = { ocall_net_send_many, "NET_SEND_MANY" },
    [OCALL_NET_RECV_MANY] = { ocall_net_recv_many, "NET_RECV_MANY" },
    [OCALL_NET_SHUTDOWN] = { ocall_net_shutdown, "NET_SHUTDOWN" },
    [OCALL_NET_INTERFACES] = { ocall_net_interfaces, "NET_INTERFACES" },
    [OCALL_EPOLL_CREATE] = { ocall_epoll_create, "EPOLL_CREATE" },
    [OCALL_EPOLL_CHANGE] = { ocall_epoll_change, "EPOLL_CHANGE" },
    [OCALL_EPOLL_WAIT] = { ocall_epoll_wait, "EPOLL_WAIT" },
    [OCALL_DUP] = { ocall_dup, "DUP" },
};

const char *ocall_name(uint32_t nr)
{
    return nr < OCALL_COUNT && calls[nr].name ? calls[nr].name : "?";
}

void ocall_serve(struct host_thread *t)
{
    struct ocall_block *block = t->block;
    uint32_t nr = block->nr;
    if (nr < OCALL_COUNT && calls[nr].serve) {
        t->counts[nr]++;
        block->ret = calls[nr].serve(t, block->args);
    } else {
        block->ret = -ENOSYS;
    }
    if (t->host->tamper)
        t->host->tamper(t->host->tamper_arg, t->index, block);
}

const char *ocall_path(struct host_thread *t, uint64_t at, uint64_t size, int *ret_error)
{
    if (size >= PATH_MAX) {
        *ret_error = -ENAMETOOLONG;
        return NULL;
    }
    /* One byte is left for the NUL. */
    if (size == 0 || at > OCALL_DATA_SIZE || size >= OCALL_DATA_SIZE - at) {
        *ret_error = -EINVAL;
        return NULL;
    }
    char *path = (char *)t->data + at;
    if (path[0] != '/' || memchr(path, '\0', size)) {
        *ret_error = -EINVAL;
        return NULL;
    }
    path[size] = '\0';
    return path;
}
