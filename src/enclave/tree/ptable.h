/*
 * The tree's process table, in the root's enclave: who is whose child, groups, sessions, who has ended and
 * who waits for whom; as wait(2), kill(2), setpgid(2), setsid(2), credentials(7) say. Pure bookkeeping under
 * one lock; whoever must be told is told through ptable_tell. Tier: enclave.
 *
 * A process: born (ptable_new) -> running -> zombie (ptable_exit) -> gone (reaped by its parent's wait, or
 * at once where the parent ignores SIGCHLD or has SA_NOCLDWAIT). Children of one that ends are the nearest
 * living ancestor's that is a subreaper (prctl(2)), else init's (pid 1, which is nobody here): they reap themselves.
 *
 * The first session is the root's and has the host's terminal; one made by setsid has none until its leader takes a
 * pseudo terminal, of which the table knows session and foreground group (struct ptable_tty). A running process may be stopped; SIGCONT lets it go on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "signal/signal.h"
#include "thread/wait.h"

#define PTABLE_ROOT_PID  100 /* not 1: programs take that for init */
#define PTABLE_PID_LIMIT 32768

/* The root's own entry. limit: processes alive or unreaped at once, the root included. */
void ptable_init(uint32_t limit);
/* A child of parent, in its group and session: its pid. exit_signal: what tells the parent of its end (clone(2)),
 * 0: nothing; SIGCHLD again once it execs or is orphaned. -EINVAL: no signal. -EAGAIN: the limit is reached (one
 * log_error line naming --processes the first time); -ENOMEM. Pids are not reused soon. */
MUST_CHECK int32_t ptable_new(int32_t parent, int exit_signal);
/* It has an enclave of its own from now on, and its parent's label unless it has one. Until then a thread of its parent
 * plays it, and it goes with its parent: false, it has gone. */
bool ptable_started(int32_t pid);
/* Is it a child of this one that has not been started, and has not ended? */
bool ptable_unborn(int32_t pid, int32_t parent);
/* It never ran: as if it had not been. */
void ptable_forget(int32_t pid);
/* status as wait4 gives it. Tells the parent (its exit signal with the siginfo: value is the status), and those
 * children that asked for PDEATHSIG. A pid that is not there or has ended: nothing. */
void ptable_exit(int32_t pid, int32_t status, uint64_t user_us, uint64_t system_us);
/* It has become another program: its parent may not move it to another group any more. */
void ptable_execed(int32_t pid);
/* A stop signal has stopped it, as it says; its parent is told. -EPERM: it may not, as nobody could let it go on (an
 * orphaned group, but for SIGSTOP). -ESRCH. */
MUST_CHECK int ptable_stopped(int32_t pid, int signal);
/* It goes on. The sender of SIGCONT has told that already, mostly: then nothing. */
void ptable_continued(int32_t pid);
/* What the parent of this process does with its children's ends: SIGCHLD ignored or SA_NOCLDWAIT. */
void ptable_set_nowait(int32_t pid, bool nowait);

#define PTABLE_CONTINUED 0xffff /* as wait4 gives it */
/* The CLD_ code of a status, and what goes with it in siginfo. */
int ptable_child_code(int32_t status, int32_t *ret_value);

struct ptable_waited {
    int32_t pid, status;
    uint64_t user_us, system_us;
};
/* idtype, id, options as waitid(2) (P_ALL, P_PID, P_PGID; WEXITED, WNOWAIT, WSTOPPED, WCONTINUED, __WALL,
 * __WCLONE; __WNOTHREAD is accepted). 0: *ret is one of self's children (pid 0: none ready and WNOHANG). -EAGAIN: none yet:
 * wait on ptable_queue(self). -ECHILD. */
MUST_CHECK int ptable_wait(int32_t self, int idtype, int32_t id, int options,
                           struct ptable_waited *ret);
struct waitq *ptable_queue(int32_t self);

/* A process by its birth, which tells it from another one that gets its pid later. 0: there is no such pid. */
uint64_t ptable_born(int32_t pid);
/* Waited for (or never run), a zombie, neither. */
enum ptable_life { PTABLE_GONE, PTABLE_ENDED, PTABLE_ALIVE };
enum ptable_life ptable_life(int32_t pid, uint64_t born);
/* Woken when this process ends (and others do). */
struct waitq *ptable_end_queue(int32_t pid);

/* Nobody of the tree: who may signal all of it. */
#define PTABLE_OUTSIDE 0
/* kill(2) by process `self` (or PTABLE_OUTSIDE) with info (pid, uid, number, code set); number 0 only looks. Permission is
 * always there: one identity. Each target gets ptable_tell. */
MUST_CHECK int ptable_kill(int32_t self, int32_t pid, const struct signal_info *info);
int ptable_setpgid(int32_t self, int32_t pid, int32_t pgid);
int32_t ptable_getpgid(int32_t self, int32_t pid);
int32_t ptable_setsid(int32_t self);
int32_t ptable_getsid(int32_t self, int32_t pid);
/* What others see of a process in /proc. */
struct ptable_view {
    int32_t parent, pgid, sid;
    uint32_t label_size;
    char state; /* as in /proc/PID/stat: S, T, Z */
    uint8_t reserved[7];
};
#define PTABLE_LABEL_MAX 4096u
/* What its parent said that it is: path of its program, name, arguments, each with its NUL; cut off at
 * PTABLE_LABEL_MAX. -ENOMEM, -ESRCH. */
int ptable_set_label(int32_t pid, const char *bytes, uint32_t size);
/* ret_label: as much as fits; that of its parent while it has none. -ESRCH. */
int ptable_view(int32_t pid, struct ptable_view *ret, char *ret_label, uint32_t room);
int32_t ptable_next(int32_t pid);     /* the lowest from pid on, zombies included; 0: none */
int32_t ptable_getppid(int32_t self); /* the root's parent: 1 */
int ptable_pdeathsig(int32_t self, int signal);
/* PR_SET_CHILD_SUBREAPER and PR_GET_: not inherited. */
int ptable_set_subreaper(int32_t self, bool on);
int ptable_get_subreaper(int32_t self); /* 0, 1; -ESRCH */

/* --- terminals: ioctl_tty(2), credentials(7) ------------------------------------------------------------ */
#define PTABLE_TTY_NONE (-2)
#define PTABLE_TTY_HOST (-1)
/* A terminal's session and foreground group (0: none); part of what the terminal is, under the table's lock. */
struct ptable_tty {
    int32_t number; /* of /dev/pts; PTABLE_TTY_HOST */
    int32_t sid, pgrp;
};
/* Opened without O_NOCTTY: the controlling terminal of a session's leader that has none, if it is nobody's. */
void ptable_tty_opened(int32_t self, struct ptable_tty *tty);
/* TIOCSCTTY; steal: though it is another session's. -EPERM. */
int ptable_tty_set(int32_t self, struct ptable_tty *tty, bool steal);
/* TIOCNOTTY: if self leads the session, nobody of it has one any more, and the foreground group gets SIGHUP and SIGCONT.
 * -ENOTTY. */
int ptable_tty_leave(int32_t self, const struct ptable_tty *tty);
/* May self read (SIGTTIN), or write or change it (SIGTTOU)? ignored: it ignores or blocks the signal. -ERESTARTSYS: its
 * group has been told; -EIO: it never may. */
MUST_CHECK int ptable_tty_check(int32_t self, const struct ptable_tty *tty, int signal,
                                bool ignored);
/* Which one is self's; PTABLE_TTY_. */
int32_t ptable_tty_number(int32_t self);
/* TIOCGPGRP; session: TIOCGSID. any: also where it is not self's. -ENOTTY. */
int32_t ptable_tty_get(int32_t self, const struct ptable_tty *tty, bool session, bool any);
/* TIOCSPGRP. -EINVAL, -ENOTTY, -ESRCH, -EPERM. */
int ptable_tty_set_pgrp(int32_t self, struct ptable_tty *tty, int32_t pgid);
/* To the foreground group. */
void ptable_tty_signal(const struct ptable_tty *tty, int signal);
/* The other end has gone: SIGHUP and SIGCONT to the session's leader (and to the foreground group when that ends). */
void ptable_tty_hangup(struct ptable_tty *tty);
/* Its memory goes. */
void ptable_tty_gone(struct ptable_tty *tty);
/* The host's terminal. */
int32_t ptable_tty_pgrp(void);
int ptable_set_tty_pgrp(int32_t self, int32_t pgid);

uint32_t ptable_alive(void);

/* A signal for a process of the table: hub.c delivers it (SIGKILL: kills). Called without the lock. */
void ptable_tell(int32_t pid, const struct signal_info *info);
