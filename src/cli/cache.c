#include "cli/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/sha256.h"
#include "util/fs.h"

#define STAMP_MAX  (1u << 20)
#define KEY_BYTES  16
#define LOCAL_NAME ".sgxpy"

static void hash_string(struct sha256 *hash, const char *text)
{
    uint64_t size = strlen(text); /* in front, so that no two lists give the same bytes */
    sha256_update(hash, &size, sizeof(size));
    sha256_update(hash, text, size);
}

static void make_key(const char *executable, char *const *argv, const char *cwd, char ret[33])
{
    struct sha256 hash;
    sha256_init(&hash);
    hash_string(&hash, "sgxpy-cache 1");
    hash_string(&hash, executable);
    hash_string(&hash, cwd);
    uint64_t uid = getuid();
    sha256_update(&hash, &uid, sizeof(uid));
    for (; *argv; argv++)
        hash_string(&hash, *argv);
    uint8_t digest[32];
    sha256_final(&hash, digest);
    cli_hex(digest, KEY_BYTES, ret);
}

/* Whether folder is a real folder of ours that nobody else can write: a trace found there is
 * trusted. */
static bool is_ours(const char *folder)
{
    struct stat st;
    return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           !(st.st_mode & (S_IWGRP | S_IWOTH)) && access(folder, W_OK | X_OK) == 0;
}

/* ./.sgxpy with its .gitignore; false if that is not possible here. */
static bool make_local(const char *folder)
{
    if (!is_ours(folder) && (mkdir(folder, 0700) < 0 || !is_ours(folder)))
        return false;
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/.gitignore", folder) >= (int)sizeof(path))
        return false;
    if (access(path, F_OK) == 0)
        return true;
    struct err err = { 0 };
    return file_store(AT_FDCWD, path, "*\n", 2, 0644, false, &err) == 0;
}

static int make_folder(struct cache *cache, const char *cwd, struct err *err)
{
    char local[PATH_MAX];
    CLEANUP(free_p) char *base = NULL;
    if (snprintf(local, sizeof(local), "%s/" LOCAL_NAME, strcmp(cwd, "/") ? cwd : "") <
            (int)sizeof(local) &&
        make_local(local)) {
        cache->local = true;
        base = strdup(local);
    } else {
        CLEANUP(free_p) char *home = NULL;
        int r = cli_xdg_path("XDG_CACHE_HOME", ".cache", &home, err);
        if (r < 0)
            return err_wrap(err, "'%s' cannot be used for the cache", local);
        if (asprintf(&base, "%s/run", home) < 0)
            base = NULL;
        if (base && (r = dir_make(base, 0700, err)) < 0)
            return err_wrap(err, "'%s' cannot be used for the cache", local);
        if (base && !is_ours(base))
            return err_set(err, -EACCES, "'%s' is not a folder that only you can write", base);
    }
    if (!base || asprintf(&cache->folder, "%s/%s", base, cache->key) < 0) {
        cache->folder = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (mkdir(cache->folder, 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno, "making folder '%s': %s", cache->folder, strerror(errno));
    return 0;
}

int cache_open(const char *executable, char *const *argv, struct cache *ret, struct err *err)
{
    *ret = (struct cache){ .lock = -1 };
    char cwd[PATH_MAX];
    if (!getcwd(cwd, sizeof(cwd)))
        return err_set(err, -errno, "the current folder: %s", strerror(errno));
    make_key(executable, argv, cwd, ret->key);
    int r = make_folder(ret, cwd, err);
    if (r < 0)
        return r;

    const struct {
        char **path;
        const char *name;
    } names[] = {
        { &ret->trace, "trace" },
        { &ret->cascade, "cascade.json" },
        { &ret->bundle, "bundle.sgx" },
        { &ret->stamp, "stamp" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (asprintf(names[i].path, "%s/%s", ret->folder, names[i].name) < 0) {
            *names[i].path = NULL;
            return err_set(err, -ENOMEM, "out of memory");
        }
    }

    char lock[PATH_MAX];
    if (snprintf(lock, sizeof(lock), "%s/lock", ret->folder) >= (int)sizeof(lock))
        return err_set(err, -ENAMETOOLONG, "'%s': the path is too long", ret->folder);
    ret->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (ret->lock < 0)
        return err_set(err, -errno, "opening '%s': %s", lock, strerror(errno));
    while (flock(ret->lock, LOCK_EX) < 0) {
        if (errno != EINTR)
            return err_set(err, -errno, "locking '%s': %s", lock, strerror(errno));
    }
    return 0;
}

void cache_unlock(struct cache *cache)
{
    close_p(&cache->lock);
    cache->lock = -1;
}

void cache_done(struct cache *cache)
{
    cache_unlock(cache);
    free(cache->folder);
    free(cache->trace);
    free(cache->cascade);
    free(cache->bundle);
    free(cache->stamp);
    *cache = (struct cache){ .lock = -1 };
}

bool cache_has_trace(const struct cache *cache)
{
    return access(cache->trace, R_OK) == 0;
}

bool cache_is_current(const struct cache *cache, const char *text)
{
    struct err err = { 0 };
    CLEANUP(free_p) char *stamp = NULL;
    size_t size;
    if (file_load(AT_FDCWD, cache->stamp, STAMP_MAX, &stamp, &size, &err) < 0)
        return false;
    return size == strlen(text) && memcmp(stamp, text, size) == 0;
}

int cache_forget(const struct cache *cache, struct err *err)
{
    if (unlink(cache->stamp) < 0 && errno != ENOENT)
        return err_set(err, -errno, "removing '%s': %s", cache->stamp, strerror(errno));
    return 0;
}

int cache_remember(const struct cache *cache, const char *text, struct err *err)
{
    size_t size = strlen(text);
    if (size > STAMP_MAX)
        return err_set(err, -E2BIG, "the options are too long to be remembered");
    return file_store(AT_FDCWD, cache->stamp, text, size, 0600, false, err);
}
