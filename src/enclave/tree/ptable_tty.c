/*
 * Terminals as the process table knows them (ptable.h): whose controlling terminal one is, its
 * session and its foreground group. Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/signal.h>

#include "tree/ptable.h"
#include "tree/ptable_entries.h"

static void note_group(struct tells *tells, int32_t pgid, int number)
{
    for (struct entry *e = pgid ? ptable_first() : NULL; e; e = ptable_after(e))
        if (e->pgid == pgid && !e->zombie)
            ptable_note(tells, e, number);
}

/* It is nobody's controlling terminal any more. */
static void forget_tty(struct ptable_tty *tty)
{
    for (struct entry *e = ptable_first(); e; e = ptable_after(e))
        if (e->tty == tty)
            e->tty = NULL;
    tty->sid = tty->pgrp = 0;
}

void ptable_tty_gone(struct ptable_tty *tty)
{
    LOCKED(&g_ptable.lock);
    forget_tty(tty);
}

void ptable_tty_lost(struct entry *leader, bool ends, struct tells *tells)
{
    struct ptable_tty *tty = leader->tty;
    if (leader->pid != leader->sid || tty == &g_ptable.host_tty)
        return;
    if (tty) {
        note_group(tells, tty->pgrp, SIGHUP);
        if (!ends)
            note_group(tells, tty->pgrp, SIGCONT);
        forget_tty(tty);
    } else if (ends) {
        note_group(tells, leader->old_pgrp, SIGHUP);
        note_group(tells, leader->old_pgrp, SIGCONT);
    }
}

static bool leads(const struct entry *e)
{
    return e->pid == e->sid;
}

/* A process of the terminal's session that is in its background. */
static bool in_background(const struct entry *e, const struct ptable_tty *tty)
{
    return e->tty == tty && tty->pgrp && e->pgid != tty->pgrp;
}

static void set_tty(struct entry *leader, struct ptable_tty *tty)
{
    leader->tty = tty;
    leader->old_pgrp = 0;
    tty->sid = leader->sid;
    tty->pgrp = leader->pgid;
}

void ptable_tty_opened(int32_t self, struct ptable_tty *tty)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(self);
    if (e && leads(e) && !e->tty && !tty->sid)
        set_tty(e, tty);
}

int ptable_tty_set(int32_t self, struct ptable_tty *tty, bool steal)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(self);
    if (e && leads(e) && e->sid == tty->sid)
        return 0;
    if (!e || !leads(e) || e->tty || (tty->sid && !steal))
        return -EPERM;
    forget_tty(tty);
    set_tty(e, tty);
    return 0;
}

int ptable_tty_leave(int32_t self, const struct ptable_tty *tty)
{
    struct tells tells = { .count = 0 };
    lock_take(&g_ptable.lock);
    struct entry *e = ptable_find(self);
    int ret = e && e->tty == tty ? 0 : -ENOTTY;
    if (ret == 0) {
        ptable_tty_lost(e, false, &tells);
        e->tty = NULL;
    }
    lock_drop(&g_ptable.lock);
    ptable_tell_all(&tells);
    return ret;
}

int ptable_tty_check(int32_t self, const struct ptable_tty *tty, int signal, bool ignored)
{
    struct tells tells = { .count = 0 };
    int ret = 0;
    lock_take(&g_ptable.lock);
    const struct entry *e = ptable_find(self);
    if (e && in_background(e, tty)) {
        ret = -ERESTARTSYS;
        if (ignored)
            ret = signal == SIGTTIN ? -EIO : 0;
        else if (ptable_orphaned(e->pgid))
            ret = -EIO;
        else
            note_group(&tells, e->pgid, signal);
    }
    lock_drop(&g_ptable.lock);
    ptable_tell_all(&tells);
    return ret;
}

int32_t ptable_tty_number(int32_t self)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    const struct entry *e = ptable_find(self);
    return e && e->tty ? e->tty->number : PTABLE_TTY_NONE;
}

int32_t ptable_tty_get(int32_t self, const struct ptable_tty *tty, bool session, bool any)
{
    LOCKED(&g_ptable.lock);
    const struct entry *e = ptable_find(self);
    if ((!any && (!e || e->tty != tty)) || (session && !tty->sid))
        return -ENOTTY;
    return session ? tty->sid : tty->pgrp;
}

int ptable_tty_set_pgrp(int32_t self, struct ptable_tty *tty, int32_t pgid)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    const struct entry *me = ptable_find(self);
    if (pgid < 0)
        return -EINVAL;
    if (!me || me->tty != tty || me->sid != tty->sid)
        return -ENOTTY;
    if (!ptable_group_exists(pgid, 0))
        return -ESRCH;
    if (!ptable_group_exists(pgid, me->sid))
        return -EPERM;
    tty->pgrp = pgid;
    return 0;
}

void ptable_tty_signal(const struct ptable_tty *tty, int signal)
{
    struct tells tells = { .count = 0 };
    lock_take(&g_ptable.lock);
    note_group(&tells, tty->pgrp, signal);
    lock_drop(&g_ptable.lock);
    ptable_tell_all(&tells);
}

void ptable_tty_hangup(struct ptable_tty *tty)
{
    struct tells tells = { .count = 0 };
    lock_take(&g_ptable.lock);
    for (struct entry *e = ptable_first(); e; e = ptable_after(e)) {
        if (e->tty != tty || !leads(e) || e->zombie)
            continue;
        e->old_pgrp = tty->pgrp;
        ptable_note(&tells, e, SIGHUP);
        ptable_note(&tells, e, SIGCONT);
    }
    forget_tty(tty);
    lock_drop(&g_ptable.lock);
    ptable_tell_all(&tells);
}

int32_t ptable_tty_pgrp(void)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    return g_ptable.host_tty.pgrp;
}

int ptable_set_tty_pgrp(int32_t self, int32_t pgid)
{
    return ptable_tty_set_pgrp(self, &g_ptable.host_tty, pgid);
}
