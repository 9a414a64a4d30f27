/*
 * Resolving a path as the kernel would for another process: component by component, symlink by
 * symlink, from that process's root and current directory. Tier: hosted. Single-threaded.
 *
 * Directories, symlinks and existing files are remembered as nodes of a tree, so that walking a
 * known directory costs no system call. What the traced tree changes must be told to
 * resolver_forget. Absences are never remembered. Nothing below /proc is remembered either: there
 * /proc/PID of the asking process is spelled /proc/self, and a magic link (exe, cwd, root, fd/N)
 * leads where readlink says, if that is a path.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "core/attr.h"

#define RESOLVE_PATH_MAX  8192 /* bytes of a canonical path, with its NUL */
#define RESOLVE_LINKS_MAX 40   /* as Linux */

struct resolve_node;
struct resolver;

/* Where a walk starts. Paths are canonical, as the recorder itself sees them. */
struct resolve_start {
    const char *root; /* "/" unless the process called chroot */
    const char *base; /* for relative names: cwd or the directory of dirfd */
    pid_t tgid, tid;  /* whose /proc/self and /proc/thread-self */
};

struct resolved {
    char path[RESOLVE_PATH_MAX]; /* canonical, as far as it exists; the rest as it was asked */
    size_t size;                 /* strlen(path) */
    int error;                   /* 0; else ENOENT, ENOTDIR, ELOOP, EACCES, ENAMETOOLONG... */
    struct resolve_node *node;   /* of path; NULL below /proc, or if a parent is missing */
    bool stat_known;             /* st was read now (error 0 only) */
    struct stat st;              /* lstat of path, or stat behind a magic link */
};

enum { RESOLVE_NOFOLLOW = 1u << 0 };

/* Told of every symlink that is followed, in order: link is the walk's state at the link. */
typedef void resolve_link_fn(void *arg, const struct resolved *link);

/* NULL without memory. */
struct resolver *resolver_new(void);
void resolver_free(struct resolver *r);

/* Resolves name; the outcome, also a failure, is in *ret. An empty name is ENOENT. */
void resolver_walk(struct resolver *r, const struct resolve_start *start, const char *name,
                   unsigned flags, resolve_link_fn *on_link, void *arg, struct resolved *ret);

/* What stands at this node may have changed: it is looked at again. A directory or symlink (or
 * NULL: anything) makes everything be looked at again, since paths lead through it. */
void resolver_forget(struct resolver *r, struct resolve_node *node);

/* A number that the user keeps at each node; 0 at first. */
uint32_t resolve_node_tag(const struct resolve_node *node);
void resolve_node_set_tag(struct resolve_node *node, uint32_t tag);

/* Spells /proc/self as /proc/TGID, so that this process can open it. Returns path or buf. */
const char *resolve_real_path(const char *path, pid_t tgid, char *buf, size_t size);
