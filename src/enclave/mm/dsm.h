/*
 * Shared memory between the enclaves of a tree: shared anonymous memory after a fork, and scratch files
 * mapped shared (/dev/shm, multiprocessing.shared_memory, sem_open). Tier: enclave.
 *
 * An object is a scratch file in the tree's root, with or without a name. Each of its pages is in one place:
 * at the hub (in the file), or with one process, accepted there at one address. So stores, loads and atomic
 * instructions just work; what moves is the page.
 *
 *   a page at the hub                          a page in a process that has the object
 *   -----------------                          ---------------------------------------
 *   HUB ──GET by P──► P                        absent ──fault──► wanted (busy; GET under way)
 *   P ──GET by Q: REVOKE to P──► P, revoked    wanted ──granted──► held ──fault of another mapping──► held there
 *   P [, revoked] ──GIVE by P──► HUB           wanted ──REVOKE──► wanted, revoked ──granted──► held, late
 *       (who waits looks again)                held ──REVOKE, held long enough──► giving (busy)
 *   P ──P ends without a word──► LOST          held ──REVOKE, too young──► held, late ──timer──► giving
 *   LOST ──GET──► -EIO (SIGBUS)                held ──munmap, mremap, exit──► giving
 *                                              giving ──GIVE answered──► absent
 *                                              absent ──REVOKE──► giving (nothing: it was given already, or never
 *                                                                 touched by who holds it by default)
 *
 *  - In a process a page is busy from before GET until it is accepted, and from before it is trimmed until GIVE is
 *    answered; busy pages wait for each other. So the hub never sees GET of a page from who is giving it, and GIVE
 *    from who does not hold the page changes nothing.
 *  - Every page of an object that was private to one process until then is that process's by default.
 *  - A holder keeps a page until who faulted for it comes to the library OS again, or HOLD_NS: so it runs its
 *    instruction. REVOKE before that is put off.
 *  - Futex words on such pages are waited for at the hub, by object and offset. A waiter is known there before
 *    it looks at the word, under a number of its own; HUB_EVENT_REVOKE with c = DSM_WAKE says that it was woken.
 *    Who leaves unwoken says so, and hears whether a wake was on the way.
 *
 * The root takes part by direct calls. Its hub thread takes pages from its program, and it alone gives to others.
 * As long as one process has a mapping it is as ever: a scratch file's in the root becomes distributed when
 * a second process opens or inherits it (or a second mapping of it is made), anonymous memory when it is forked.
 *
 * read(2) and write(2) of such a file call the pages of their range home first (dsm_serve_recall), and nobody gets
 * them until they are done. Gaps: private mappings of it take what the hub has when they are first touched. Shrinking a
 * file does not take pages away. Allowed (host) files are not distributed. PI futexes on shared memory are not there
 * (ENOSYS).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "mm/mm.h"
#include "mm/vma.h"
#include "thread/wait.h"
#include "tree/hub.h"
#include "vfs/file.h"

#define DSM_PAGES_MAX 14u /* of one GET or GIVE: HUB_DATA_MAX */

/* Requests; object: its number; who asks must have attached. */
enum dsm_op {
    /* clang-format off */
    DSM_NEW = HUB_MEM_FIRST, /* (size) -> object, attached; out[0] key, all pages the asker's by default */
    DSM_OPEN,    /* (file handle) -> object, attached; out[0] key. -ENODEV: no scratch file */
    DSM_ATTACH,  /* (object, key): -EACCES */
    DSM_DETACH,  /* (object, how many times it was attached): all pages were given before */
    DSM_GET,     /* blocking: (object, page, at most) -> pages granted; data: content, none: zeros. -EFAULT: behind
                    the end; -EIO: lost */
    DSM_GIVE,    /* (object, page, count, enum dsm_given); data: content */
    DSM_PREPARE, /* (object, offset, bitset, number): a futex waiter */
    DSM_CANCEL,  /* (object, number) -> 1: it was woken */
    DSM_WAKE_UP, /* (object, offset, at most, bitset) -> how many */
    /* clang-format on */
};
enum dsm_given { DSM_CONTENT = 0, DSM_ZEROS = 1, DSM_NOTHING = 2 };
/* c of HUB_EVENT_REVOKE */
enum dsm_event { DSM_GIVE_UP = 0, DSM_WAKE = 2 }; /* WAKE: b is the waiter's number */

/* --- a process's side: dsm/{maps,pages,futex}.c -------------------------------------------------------- */

/* Is there any distributed mapping? One load. */
extern uint32_t g_dsm_mappings;
static inline bool dsm_any(void)
{
    return __builtin_expect(g_dsm_mappings != 0, 0);
}

/* What a shared mapping of this file is to be made of: 0 and *ret with a reference, NULL: the file itself. -ENODEV,
 * -ENOMEM: it cannot be mapped. */
MUST_CHECK int dsm_open(struct file *file, struct file **ret);
/* The root: after a mapping was made of the file itself: distributed, if another process was faster. force: in
 * any case. */
int dsm_mapped(struct file *file, bool force);
/* Number of the object that a mapping's file stands for; 0: none. */
uint32_t dsm_number(const struct file *file);
/* The file behind it, or file itself. */
const struct file *dsm_backing(const struct file *file);
/* A fault on an absent page. file is referenced by the caller, no lock is held. MM_FAULT_DONE also if a signal
 * comes first. */
enum mm_fault dsm_fault(struct file *file, uint64_t page, uint64_t offset);
/* With the address space's lock held: the accepted pages of the range of this mapping are taken away, for
 * dsm_give_collected() without it. */
void dsm_collect(const struct vma *v, uint64_t start, uint64_t end);
void dsm_give_collected(void);
/* Recounts g_dsm_mappings; the lock is held. */
void dsm_recount(void);
/* HUB_EVENT_REVOKE. */
void dsm_revoke(const struct hub_event *event);
/* The process ends: gives all pages. */
void dsm_exit(void);

/* Fork: what can be shared with a child becomes distributed. -ENOMEM, -EAGAIN. */
MUST_CHECK int dsm_fork(void);
/* For mm/checkpoint.c. */
struct dsm_wire {
    uint64_t key, size;
    uint32_t object, file_flags;
};
bool dsm_describe(const struct file *file, struct dsm_wire *ret);
/* The child: attaches. backing: taken over, may be NULL. */
MUST_CHECK int dsm_adopt(const struct dsm_wire *wire, struct file *backing, struct file **ret);

/* Futexes: is the word on distributed memory? As thread/futex.h otherwise. */
struct dsm_word {
    uint32_t object;
    uint64_t offset;
};
bool dsm_word(const uint32_t *user, struct dsm_word *ret);
MUST_CHECK int dsm_futex_wait(const struct dsm_word *word, const uint32_t *user, uint32_t value,
                              uint32_t bitset, uint64_t deadline);
uint32_t dsm_futex_wake(const struct dsm_word *word, uint32_t max, uint32_t bitset);

/* --- the root's side: dsm/serve.c ---------------------------------------------------------------------- */

/* who: NULL is the root itself. file: a reference that stays the caller's. */
int64_t dsm_serve_new(struct peer *who, uint64_t size, uint64_t *ret_key);
int64_t dsm_serve_open(struct peer *who, struct file *file, uint64_t *ret_key);
/* The object of this file, if there is one; 0. */
uint32_t dsm_serve_known(const struct file *file);
int64_t dsm_serve_attach(struct peer *who, uint32_t object, uint64_t key);
void dsm_serve_detach(struct peer *who, uint32_t object, uint64_t count);
/* Pages granted; HUB_LATER: waiter is on the page's queue. *ret_zero: buf was not filled. */
int64_t dsm_serve_get(struct peer *who, uint32_t object, uint64_t page, uint64_t max,
                      struct waiter *waiter, uint8_t *buf, bool *ret_zero);
int64_t dsm_serve_give(struct peer *who, uint32_t object, uint64_t page, uint64_t count,
                       enum dsm_given given, const uint8_t *data);
int64_t dsm_serve_prepare(struct peer *who, uint32_t object, uint64_t offset, uint32_t bitset,
                          uint64_t number);
int64_t dsm_serve_cancel(struct peer *who, uint32_t object, uint64_t number);
int64_t dsm_serve_wake(struct peer *who, uint32_t object, uint64_t offset, uint32_t max,
                       uint32_t bitset);

/* Reading or writing a scratch file by system calls. */
struct dsm_io {
    /* A thread of the root's program, whose own pages stay (mm/shared.h); else the hub's thread */
    bool here;
    bool append; /* the offset is the file's end */
    uint64_t offset, size;
};
/* Is there any object? One load; never in other processes than the root. */
extern uint32_t g_dsm_objects;
static inline bool dsm_any_object(void)
{
    return __builtin_expect(__atomic_load_n(&g_dsm_objects, __ATOMIC_ACQUIRE) != 0, 0);
}
/* 0: the file is no object. > 0: no process holds pages of the range, and none gets one of this object (but io->here:
 * the root's own) until dsm_serve_recalled(that, io). HUB_LATER: waiter is told when to try again. */
int64_t dsm_serve_recall(struct file *file, const struct dsm_io *io, struct waiter *waiter);
void dsm_serve_recalled(uint32_t object, const struct dsm_io *io);
/* The root's program threads: the same, waiting. -ERESTARTSYS. */
int64_t dsm_recall_here(struct file *file, const struct dsm_io *io);

/* pages.c and maps.c, for serve.c on the hub's thread: takes a page from the root's program, once it has had it long
 * enough. False: it has none. The page stays busy, that the program does not ask for it before the hub knows where it is,
 * until dsm_taken_here(). */
bool dsm_take_here(uint32_t object, uint64_t page, uint8_t *buf);
void dsm_taken_here(void);
/* The root's mappings of this scratch file become the object's. True: there are some. */
bool dsm_convert_here(struct file *file, uint32_t object, uint64_t key);
