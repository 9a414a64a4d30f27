/*
 * Paths: what a name leads to, and which file system answers for it. Tier: enclave.
 *
 * The closed world (DESIGN 5, 6). A canonical path belongs to
 *  - /proc, /sys, /dev and below: built-in (vfs/proc, vfs/dev);
 *  - its manifest record, if it has one: trusted, named (vfs/trusted), allowed (vfs/host), scratch
 *    (vfs/tmpfs), absent;
 *  - else the nearest ancestor's record that is SUBTREE: scratch or allowed;
 *  - else nobody: it is absent and cannot be created.
 * A record stands under its resolved path and symlinks are records, so a path found in the
 * manifest's index is canonical and needs no walk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"
#include "vfs/kstat.h"

#define PATH_BUF 4096 /* PATH_MAX: with the NUL */

struct fs;
struct listing;

/* Where a path led. A value on the caller's stack; place_done() drops what it refers to. */
struct place {
    const struct fs *fs; /* who answers, or would hold it if it were created; NULL: nobody */
    void *object;        /* tmpfs: referenced inode, NULL if absent. proc, dev: the entry */
    void *dir;       /* tmpfs: referenced inode of the directory that the path's last name is in */
    uint32_t record; /* the manifest record of this very path, or MANIFEST_NONE */
    uint32_t mode;   /* st_mode; only the type is always right. 0: absent */
    int32_t number;  /* proc: which descriptor, thread or CPU */
    bool quiet;      /* absent, and the manifest says so: no audit line */
    bool slash;      /* the path ended in "/" */
    uint8_t last;    /* WALK_NAME: enum place_last */
    uint32_t path_size;
    const char *path; /* canonical, NUL-terminated: the manifest's bytes or the caller's buffer */
};

/* What the path's last component is: only a real name can be made, removed or renamed. */
enum place_last { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_ROOT };

/* A file system. Functions get places of their own only; NULL: EROFS for changes, EINVAL for the
 * rest. Paths are those of the place. */
struct fs {
    const char *name;
    uint32_t magic; /* statfs */
    int (*stat)(const struct place *place, struct kstat *ret);
    /* Into library OS memory, no NUL; the length. */
    int64_t (*readlink)(const struct place *place, char *buf, uint64_t size);
    /* Something that exists and is no directory. */
    int (*open)(const struct place *place, uint32_t flags, struct file **ret);
    int (*list)(const struct place *dir, struct listing *listing);
    /* Something that does not exist. */
    int (*create)(const struct place *place, uint32_t mode, uint32_t flags, struct file **ret);
    int (*mkdir)(const struct place *place, uint32_t mode);
    /* A FIFO's or socket's name: mode with its type. */
    int (*mknod)(const struct place *place, uint32_t mode);
    int (*symlink)(const struct place *place, const char *target, uint32_t size);
    int (*link)(const struct place *old, const struct place *new);
    int (*unlink)(const struct place *place);
    int (*rmdir)(const struct place *place);
    int (*rename)(const struct place *old, const struct place *new, uint32_t flags);
    int (*chmod)(const struct place *place, uint32_t mode);
    int (*chown)(const struct place *place, uint32_t uid, uint32_t gid); /* -1: keep */
    /* Nanoseconds since 1970; UTIME_OMIT_NS keeps. */
    int (*utimens)(const struct place *place, int64_t atime, int64_t mtime);
    int (*truncate)(const struct place *place, uint64_t size);
};
#define UTIME_OMIT_NS INT64_MIN

extern const struct fs g_trusted_fs, g_host_fs, g_tmpfs_fs, g_proc_fs, g_dev_fs;

/* --- path.c ---------------------------------------------------------------------------- */
#define WALK_NOFOLLOW 1u /* a symlink at the end is the place */
#define WALK_CREATE   2u /* absent at the end is fine: ret->mode == 0 */
#define WALK_EMPTY    4u /* AT_EMPTY_PATH */
#define WALK_NAME     8u /* the last name itself is meant: not followed, "." and ".." not resolved */

/* Follows a path of the program. buf holds ret->path if the manifest does not. Errors as Linux. */
MUST_CHECK int place_at(int dirfd, const char *user_path, uint32_t flags, char buf[static PATH_BUF],
                        struct place *ret);
/* The same for a path in library OS memory. */
MUST_CHECK int place_at_kernel(int dirfd, const char *path, uint64_t size, uint32_t flags,
                               char buf[static PATH_BUF], struct place *ret);
/* Is all that is met on the way along this path measured (trusted, named), up to its end or to where there is nothing? Then
 * nobody in this run can make it mean something else. No audit lines. */
bool path_is_measured(const char *path, uint64_t size);
/* What an open file refers to; its path is copied to buf. -EBADF if no file system knows it. */
MUST_CHECK int place_of_file(struct file *file, char buf[static PATH_BUF], struct place *ret);
void place_done(struct place *place);
/* The root: where a canonical path leads in its scratch files, no symlink followed; fs NULL: it has no scratch there.
 * path stays the caller's and must have a NUL. -ENOENT, -ENOTDIR: an ancestor is no directory. */
MUST_CHECK int place_scratch(const char *path, uint32_t size, struct place *ret);
/* Who owns what is below a directory record that has no record itself. */
enum domain { DOMAIN_NONE, DOMAIN_SCRATCH, DOMAIN_ALLOWED };
enum domain domain_of(uint32_t record);

/* fs->stat and the like with their defaults. */
MUST_CHECK int place_stat(const struct place *place, struct kstat *ret);
/* EROFS, with its audit line. */
int place_readonly(const struct place *place);
/* The checking half of every change: 0, or why this place cannot be changed. */
MUST_CHECK int place_changeable(const struct place *place);

/* --- audit.c: one line per event and path ---------------------------------------------- */
void audit_once(int event, int error, const char *path, uint64_t size);

/* --- open.c ---------------------------------------------------------------------------- */
/* Opens what is there; flags as open(2), without O_CREAT. */
MUST_CHECK int place_open(struct place *place, uint32_t flags, struct file **ret);
MUST_CHECK int vfs_open_at(int dirfd, const char *user_path, uint32_t flags, uint32_t mode,
                           struct file **ret);
MUST_CHECK struct file *cwd_get(void);
void cwd_set(struct file *dir); /* takes over the reference */
/* As chdir, for the library OS. -ENOENT, -ENOTDIR, -EACCES. */
MUST_CHECK int cwd_enter(const char *path, uint32_t size);
/* process_current()->fs: working directory and umask. NULL: no memory. */
struct fs_state;
MUST_CHECK struct fs_state *fs_state_copy(struct fs_state *from);
void fs_state_free(struct fs_state *fs); /* NULL is fine */
uint32_t umask_get(void);
uint32_t umask_set(uint32_t mask);

/* --- dir.c: open directories ----------------------------------------------------------- */
/* The names of one directory, taken when it is first read (and again after rewinding). */
struct listing {
    char *bytes; /* packed struct linux_dirent64 */
    uint32_t size, room, count;
    bool built;
};
/* Adds a name unless it is there already. -ENOMEM. */
MUST_CHECK int listing_add(struct listing *listing, const char *name, uint32_t size, uint64_t ino,
                           uint8_t type);
/* Without looking for an equal name. */
MUST_CHECK int listing_append(struct listing *listing, const char *name, uint32_t size,
                              uint64_t ino, uint8_t type);
MUST_CHECK int listing_records(struct listing *listing, uint32_t record);
extern const struct file_ops g_dir_ops, g_path_ops;
MUST_CHECK int dir_open(const struct place *place, uint32_t flags, struct file **ret);
/* The place of a g_dir_ops or g_path_ops file, owned by the file. */
const struct place *dir_place(const struct file *file);

/* --- file.c ---------------------------------------------------------------------------- */
/* Keeps a path for the file's life: the manifest's bytes as they are, else a copy. */
MUST_CHECK int file_set_path(struct file *file, const char *path, uint32_t size);
/* Where an offset at pos goes by lseek in a file of size bytes. */
int64_t seek_to(int64_t pos, int64_t offset, int whence, uint64_t size);
/* lseek over [0, size] for files whose size the enclave knows. */
int64_t file_seek(struct file *file, int64_t offset, int whence, uint64_t size);
/* Takes up to size bytes' worth of *pos below limit, so that two readers of one description never
 * get the same bytes; give back what was not used. */
uint64_t pos_take(struct file *file, uint64_t *pos, uint64_t size, uint64_t limit,
                  uint64_t *ret_offset);
void pos_give_back(struct file *file, uint64_t *pos, uint64_t unused);
/* The description's own offset. */
void pos_set(struct file *file, uint64_t value);
uint64_t pos_get(struct file *file);

/* --- permissions ----------------------------------------------------------------------- */
/* R_OK 4, W_OK 2, X_OK 1 for the one identity there is. */
bool may_access(const struct kstat *stat, uint32_t want);
