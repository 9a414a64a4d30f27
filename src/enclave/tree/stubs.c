/* Parts that are not there yet: weak, so that each goes as the real one comes. */
#include <asm/errno.h>

#include "border/border.h"
#include "mm/checkpoint.h"
#include "process/spawn.h"
#include "tree/attest.h"
#include "tree/hub.h"
#include "tree/ptable.h"
#include "vfs/share.h"
#include "mm/dsm.h"
#include "vfs/remote/remote.h"

#define STUB __attribute__((weak))
STUB int64_t hub_files(struct hub_job *job UNUSED) { return -ENOSYS; }
STUB int64_t hub_memory(struct hub_job *job UNUSED) { return -ENOSYS; }
STUB void hub_files_drop(struct peer *peer UNUSED) {}
STUB void hub_memory_drop(struct peer *peer UNUSED) {}
STUB void dsm_revoke(const struct hub_event *event UNUSED) {}
STUB void remote_ready(uint32_t handle UNUSED) {}
STUB int share_prepare(int32_t pid UNUSED, struct fd_table *table UNUSED, bool all UNUSED, struct share **ret UNUSED) { return -ENOSYS; }
STUB const int32_t *share_handles(const struct share *share UNUSED, uint32_t *ret_count) { *ret_count = 0; return 0; }
STUB void share_send(struct share *share UNUSED, struct tree_stream *s UNUSED) {}
STUB void share_done(struct share *share UNUSED, bool sent UNUSED) {}
STUB void share_receive(struct tree_stream *s UNUSED) {}
STUB struct file *share_file(uint32_t number UNUSED) { return 0; }
STUB void share_received_done(void) {}
STUB int32_t share_number(const struct share *share UNUSED, const struct file *file UNUSED) { return -1; }
STUB void mm_checkpoint_send(struct tree_stream *s UNUSED, const struct share *share UNUSED) {}
STUB void mm_checkpoint_receive(struct tree_stream *s UNUSED) {}
STUB void attest_self(void) {}
STUB const uint8_t *attest_mrenclave(void) { return 0; }
STUB int attest_child(uint32_t slot UNUSED, const struct attest_edge *edge UNUSED, struct channel *ret UNUSED) { return -ENOSYS; }
STUB void attest_parent(uint32_t slot UNUSED, struct channel *ret UNUSED, bool *self UNUSED) { panic("not there"); }
STUB void ptable_init(uint32_t limit UNUSED) {}
STUB int32_t ptable_new(int32_t parent UNUSED) { return -ENOSYS; }
STUB void ptable_forget(int32_t pid UNUSED) {}
STUB void ptable_exit(int32_t pid UNUSED, int32_t s UNUSED, uint64_t u UNUSED, uint64_t y UNUSED) {}
STUB int ptable_wait(int32_t self UNUSED, int t UNUSED, int32_t id UNUSED, int o UNUSED, struct ptable_waited *ret UNUSED) { return -ECHILD; }
STUB struct waitq *ptable_queue(int32_t self UNUSED) { return 0; }
STUB int ptable_kill(int32_t self UNUSED, int32_t pid UNUSED, const struct signal_info *info UNUSED) { return -ESRCH; }
STUB int ptable_setpgid(int32_t self UNUSED, int32_t pid UNUSED, int32_t pgid UNUSED) { return 0; }
STUB int32_t ptable_getpgid(int32_t self UNUSED, int32_t pid UNUSED) { return self; }
STUB int32_t ptable_setsid(int32_t self UNUSED) { return self; }
STUB int32_t ptable_getsid(int32_t self UNUSED, int32_t pid UNUSED) { return self; }
STUB int32_t ptable_getppid(int32_t self UNUSED) { return 1; }
STUB int ptable_pdeathsig(int32_t self UNUSED, int signal UNUSED) { return 0; }
STUB int32_t ptable_tty_pgrp(void) { return PTABLE_ROOT_PID; }
STUB int ptable_set_tty_pgrp(int32_t self UNUSED, int32_t pgid UNUSED) { return 0; }
