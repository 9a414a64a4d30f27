#include "manifest/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/manifest_leaf.h"
#include "util/dpkg.h"
#include "util/fs.h"

void manifest_hex(const uint8_t hash[static MANIFEST_HASH_SIZE], char ret[static 65])
{
    for (int i = 0; i < MANIFEST_HASH_SIZE; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

int manifest_unreadable(const char *path, int code, struct err *err)
{
    char user[64];
    struct passwd entry, *found = NULL;
    char buf[4096];
    if (getpwuid_r(geteuid(), &entry, buf, sizeof(buf), &found) == 0 && found)
        snprintf(user, sizeof(user), "'%s'", found->pw_name);
    else
        snprintf(user, sizeof(user), "%u", geteuid());
    err_set(err, code, "'%s' cannot be opened by user %s: %s", path, user, strerror(-code));
    return err ? err_exit(err, 4) : code;
}

static int changed(const char *path, const char *what, struct err *err)
{
    return err_set(err, -ESTALE,
                   "'%s' changed since it was traced: %s; trace it again (run: --retrace)", path,
                   what);
}

/* Opens f and compares type and size. */
static int open_file(const struct cascade_file *f, int *ret, struct stat *st, struct err *err)
{
    CLEANUP(close_p) int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return changed(f->path, "it is gone", err);
    if (fd < 0 && errno == ELOOP)
        return changed(f->path, "it is a symlink now", err);
    if (fd < 0)
        return manifest_unreadable(f->path, -errno, err);
    if (fstat(fd, st) < 0)
        return manifest_unreadable(f->path, -errno, err);
    if (!S_ISREG(st->st_mode))
        return changed(f->path, "it is no regular file any more", err);
    if ((uint64_t)st->st_size != f->size) {
        char what[80];
        snprintf(what, sizeof(what), "%llu bytes then, %lld now", (unsigned long long)f->size,
                 (long long)st->st_size);
        return changed(f->path, what, err);
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *ret = TAKE_FD(fd);
    return 0;
}

/* Reads all chunks of fd; whole and leaves may be NULL. */
static int hash_chunks(int fd, const struct cascade_file *f, uint8_t *whole,
                       uint8_t (*leaves)[MANIFEST_HASH_SIZE], struct err *err)
{
    static __thread uint8_t chunk[MANIFEST_CHUNK_SIZE];
    struct sha256 all;
    sha256_init(&all);
    uint64_t index = 0;
    for (uint64_t left = f->size; left; index++) {
        uint32_t want = left < sizeof(chunk) ? (uint32_t)left : (uint32_t)sizeof(chunk);
        ssize_t n = read_full(fd, chunk, want);
        if (n < 0)
            return manifest_unreadable(f->path, (int)n, err);
        if (n != (ssize_t)want)
            return changed(f->path, "it became shorter while it was read", err);
        if (whole)
            sha256_update(&all, chunk, want);
        if (leaves)
            manifest_leaf(index, chunk, want, leaves[index]);
        left -= want;
    }
    if (read_full(fd, chunk, 1) != 0)
        return changed(f->path, "it became longer while it was read", err);
    if (whole)
        sha256_final(&all, whole);
    return 0;
}

int manifest_hash_file(struct cascade_file *f, struct err *err)
{
    CLEANUP(close_p) int fd = -1;
    struct stat st;
    int r = open_file(f, &fd, &st, err);
    if (r < 0)
        return r;
    if (st.st_mtim.tv_sec != f->mtime_sec || st.st_mtim.tv_nsec != (long)f->mtime_nsec)
        return changed(f->path, "its modification time is another", err);

    uint64_t count = manifest_leaf_count(f->size);
    CLEANUP(free_p) uint8_t(*leaves)[MANIFEST_HASH_SIZE] = calloc(count + 1, MANIFEST_HASH_SIZE);
    if (!leaves)
        return err_set(err, -ENOMEM, "hashing '%s': out of memory", f->path);
    r = hash_chunks(fd, f, f->sha256, leaves, err);
    if (r < 0)
        return r;
    manifest_root(f->size, leaves, count, f->root);
    return 0;
}

int manifest_hash_again(const struct cascade_file *f, uint8_t (*ret)[MANIFEST_HASH_SIZE],
                        uint64_t count, struct err *err)
{
    CLEANUP(close_p) int fd = -1;
    struct stat st;
    uint8_t root[MANIFEST_HASH_SIZE];
    uint8_t whole[MANIFEST_HASH_SIZE];
    char was[65], is[65], owner[128] = "";

    int r = open_file(f, &fd, &st, err);
    if (r == 0)
        r = hash_chunks(fd, f, NULL, ret, err);
    if (r < 0)
        return r;
    manifest_root(f->size, ret, count, root);
    if (memcmp(root, f->root, sizeof(root)) == 0)
        return 0;

    if (lseek(fd, 0, SEEK_SET) < 0 || (r = hash_chunks(fd, f, whole, NULL, err)) < 0)
        return r < 0 ? r : manifest_unreadable(f->path, -errno, err);
    manifest_hex(f->sha256, was);
    manifest_hex(whole, is);
    if (memcmp(f->sha256, whole, sizeof(whole)) == 0)
        return err_set(err, -EBADMSG, "the cascade's root of '%s' does not go with its sha256",
                       f->path);
    if (dpkg_owner(f->path, owner, sizeof(owner)) != 0)
        owner[0] = '\0';
    return err_set(err, -ESTALE,
                   "'%s'%s%s%s changed since it was traced: expected sha256 %s, found %s", f->path,
                   owner[0] ? " (package " : "", owner, owner[0] ? ")" : "", was, is);
}
