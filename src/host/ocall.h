/*
 * The OCALL server: one table from enum ocall_nr to a function, one file per family (ocalls_*.c).
 * Tier: hosted, untrusted. Internal to src/host. Any host thread, each with its own block.
 *
 * The enclave is not this process's enemy, but a mistake in it should stay small: sizes are checked
 * against the data window, and a handle is accepted only if it is one of the three standard streams
 * or came out of OCALL_OPEN.
 */
#pragma once

#include <stdint.h>

#include "abi/ocall.h"
#include "host/thread.h"

/* ret of the block: >= 0 or negative errno. args are the block's own. */
typedef int64_t ocall_fn(struct host_thread *t, const uint64_t args[6]);

/* Serves the OCALL in t's block and writes ret (and out, data). -ENOSYS for an unknown number. */
void ocall_serve(struct host_thread *t);
/* "PREAD"; "?" for an unknown number. */
const char *ocall_name(uint32_t nr);

ocall_fn ocall_boot, ocall_exit, ocall_refuse, ocall_panic, ocall_log, ocall_audit;
ocall_fn ocall_thread_start, ocall_thread_exit, ocall_park, ocall_unpark, ocall_interrupt,
    ocall_yield, ocall_alarm;
ocall_fn ocall_clock, ocall_rusage;
ocall_fn ocall_open, ocall_close, ocall_read, ocall_write, ocall_pread, ocall_pwrite, ocall_lseek,
    ocall_fstat, ocall_getdents, ocall_ftruncate, ocall_fallocate, ocall_fsync, ocall_flock,
    ocall_fcntl_lock, ocall_set_nonblock, ocall_spill_open;
ocall_fn ocall_stat, ocall_readlink, ocall_mkdir, ocall_unlink, ocall_rename, ocall_link,
    ocall_symlink, ocall_chmod, ocall_chown, ocall_utimens;
ocall_fn ocall_isatty, ocall_ioctl;
ocall_fn ocall_poll;
ocall_fn ocall_net_nonblock;
ocall_fn ocall_net_socket, ocall_net_bind, ocall_net_listen, ocall_net_accept, ocall_net_connect,
    ocall_net_name, ocall_net_get_option, ocall_net_set_option, ocall_net_send, ocall_net_recv,
    ocall_net_shutdown, ocall_net_interfaces, ocall_net_send_many, ocall_net_recv_many;
ocall_fn ocall_epoll_create, ocall_epoll_change, ocall_epoll_wait, ocall_dup;
ocall_fn ocall_restrict, ocall_modify_type, ocall_remove;
ocall_fn ocall_tree_open, ocall_tree_spawn, ocall_tree_post, ocall_tree_taken, ocall_tree_wait,
    ocall_tree_room, ocall_tree_call, ocall_tree_serve, ocall_tree_nudge, ocall_tree_kill,
    ocall_tree_free, ocall_tree_bye, ocall_tree_give, ocall_tree_ask, ocall_tree_take;

/*
 * The path of size bytes at data[at], NUL-terminated in place (the byte after it is overwritten),
 * or NULL with *ret_error: -EINVAL (empty, not absolute, a NUL inside), -ENAMETOOLONG.
 */
const char *ocall_path(struct host_thread *t, uint64_t at, uint64_t size, int *ret_error);

struct pollfd;
/* poll(2) that an UNPARK, an interrupt or a host signal also ends, with -EINTR. deadline: monotonic ns. */
int64_t ocall_wait_fds(struct host_thread *t, struct pollfd *fds, uint64_t count,
                       uint64_t deadline);
