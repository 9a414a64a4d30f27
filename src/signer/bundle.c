#include "signer/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/layout.h"
#include "signer/sigstruct.h"
#include "util/fs.h"

#define FORMAT           "sgxpy-bundle"
#define BUNDLE_JSON_MAX  (64u << 10)
#define MANIFEST_MAX     (LAYOUT_MANIFEST_END - LAYOUT_MANIFEST)
#define EXIT_INPUT       2
#define EXIT_NOT_STARTED 4

static void json_free_p(json_t **json)
{
    json_decref(*json);
}

static void dir_free_p(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* What bundle.json says. */
struct header {
    uint8_t library_os[SGX_HASH_SIZE];
    size_t node_count;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static int hash_parse(const char *hex, uint8_t ret[static SGX_HASH_SIZE])
{
    if (!hex || strlen(hex) != 2 * SGX_HASH_SIZE)
        return -EBADMSG;
    for (size_t i = 0; i < SGX_HASH_SIZE; i++) {
        int high = hex_digit(hex[2 * i]);
        int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EBADMSG;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static void hash_print(const uint8_t hash[static SGX_HASH_SIZE],
                       char ret[static 2 * SGX_HASH_SIZE + 1])
{
    for (size_t i = 0; i < SGX_HASH_SIZE; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

static int broken(struct err *err, const char *reason)
{
    return err_set(err, -EBADMSG, "'bundle.json': %s", reason);
}

/* The format's name only: enough to know that a folder is a bundle, of whatever version. */
static int header_open(int dir_fd, json_t **ret, struct err *err)
{
    CLEANUP(free_p) char *text = NULL;
    size_t size;
    int r = file_load(dir_fd, "bundle.json", BUNDLE_JSON_MAX, &text, &size, err);
    if (r < 0)
        return r;
    json_error_t reason;
    CLEANUP(json_free_p) json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &reason);
    if (!json)
        return err_set(err, -EBADMSG, "'bundle.json': line %d: %s", reason.line, reason.text);
    const char *format = json_string_value(json_object_get(json, "format"));
    if (!format || strcmp(format, FORMAT) != 0)
        return broken(err, "its format is not " FORMAT);
    *ret = TAKE_PTR(json);
    return 0;
}

static int header_load(int dir_fd, struct header *ret, struct err *err)
{
    CLEANUP(json_free_p) json_t *json = NULL;
    int r = header_open(dir_fd, &json, err);
    if (r < 0)
        return r;
    const json_t *version = json_object_get(json, "version");
    if (!json_is_integer(version))
        return broken(err, "it has no version");
    if (json_integer_value(version) != BUNDLE_VERSION)
        return err_set(err, -EBADMSG, "'bundle.json': version %lld; this sgxpy knows version %d",
                       (long long)json_integer_value(version), BUNDLE_VERSION);
    if (json_object_size(json) != 4)
        return broken(err, "format, version, library_os and nodes are wanted, nothing else");

    struct header h = { 0 };
    if (hash_parse(json_string_value(json_object_get(json, "library_os")), h.library_os) < 0)
        return broken(err, "library_os is no SHA-256 in hex");
    json_int_t nodes = json_integer_value(json_object_get(json, "nodes"));
    if (nodes < 1 || nodes > (json_int_t)BUNDLE_NODES_MAX)
        return broken(err, "nodes is no number that a bundle can have");
    h.node_count = (size_t)nodes;
    *ret = h;
    return 0;
}

void bundle_free(struct bundle *bundle)
{
    if (!bundle)
        return;
    for (size_t i = 0; i < bundle->node_count; i++)
        free(bundle->nodes[i].manifest);
    free(bundle->nodes);
    free(bundle->cascade);
    free(bundle);
}

void bundle_free_p(struct bundle **bundle)
{
    int saved = errno;
    bundle_free(*bundle);
    errno = saved;
}

static int node_load(int dir_fd, size_t index, struct bundle_node *node, struct err *err)
{
    char folder[32];
    snprintf(folder, sizeof(folder), "nodes/%zu", index);
    return bundle_node_load(dir_fd, folder, node, err);
}

/* The folder and its header; library_os NULL: any. */
static int open_bundle(const char *path, const uint8_t *library_os, int *ret_fd,
                       struct header *ret_header, struct err *err)
{
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "%s",
                       errno == ENOTDIR ? "a bundle is a folder" : strerror(errno));
    struct header h;
    int r = header_load(fd, &h, err);
    if (r < 0)
        return r;
    if (library_os && memcmp(h.library_os, library_os, SGX_HASH_SIZE) != 0) {
        char had[2 * SGX_HASH_SIZE + 1], is[2 * SGX_HASH_SIZE + 1];
        hash_print(h.library_os, had);
        hash_print(library_os, is);
        err_set(err, -ESTALE,
                "signed for the library OS %s, installed is %s: sign it again (`sgxpy sign`)", had,
                is);
        return err_exit(err, EXIT_NOT_STARTED);
    }
    *ret_fd = TAKE_FD(fd);
    *ret_header = h;
    return 0;
}

static int load(const char *path, const uint8_t *library_os, struct bundle **ret, struct err *err)
{
    CLEANUP(close_p) int fd = -1;
    struct header h;
    int r = open_bundle(path, library_os, &fd, &h, err);
    if (r < 0)
        return r;
    CLEANUP(bundle_free_p) struct bundle *bundle = calloc(1, sizeof(*bundle));
    if (bundle)
        bundle->nodes = calloc(h.node_count, sizeof(*bundle->nodes));
    if (!bundle || !bundle->nodes)
        return err_set(err, -ENOMEM, "out of memory");
    memcpy(bundle->library_os, h.library_os, sizeof(h.library_os));
    bundle->node_count = h.node_count;
    r = file_load(fd, "cascade.json", BUNDLE_CASCADE_MAX, &bundle->cascade, &bundle->cascade_size,
                  err);
    for (size_t i = 0; r >= 0 && i < bundle->node_count; i++) {
        r = node_load(fd, i, &bundle->nodes[i], err);
        if (r >= 0 && memcmp(bundle->nodes[i].sigstruct.modulus, bundle->nodes[0].sigstruct.modulus,
                             SGX_MODULUS_SIZE) != 0)
            r = err_set(err, -EBADMSG, "nodes 0 and %zu are signed by different keys", i);
    }
    if (r < 0)
        return r;
    *ret = TAKE_PTR(bundle);
    return 0;
}

static int loaded(const char *path, int r, struct err *err)
{
    if (r < 0) {
        if (err && err->exit_code == 0)
            err_exit(err, EXIT_INPUT);
        err_wrap(err, "loading '%s'", path);
    }
    return r;
}

int bundle_load_root(const char *path, const uint8_t library_os[static SGX_HASH_SIZE],
                     struct bundle_node *ret, struct err *err)
{
    CLEANUP(close_p) int fd = -1;
    struct header h;
    int r = open_bundle(path, library_os, &fd, &h, err);
    if (r >= 0)
        r = node_load(fd, 0, ret, err);
    return loaded(path, r, err);
}

int bundle_load(const char *path, const uint8_t library_os[static SGX_HASH_SIZE],
                struct bundle **ret, struct err *err)
{
    return loaded(path, load(path, library_os, ret, err), err);
}

int bundle_load_any(const char *path, struct bundle **ret, struct err *err)
{
    return loaded(path, load(path, NULL, ret, err), err);
}

/* 0: path is a bundle and nothing but a bundle, or is not there (*ret_exists tells). */
static int replaceable(const char *path, bool *ret_exists, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        *ret_exists = false;
        return errno == ENOENT ? 0 : err_set(err, -errno, "'%s': %s", path, strerror(errno));
    }
    *ret_exists = true;
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP(json_free_p) json_t *json = NULL;
    struct err ignored;
    if (fd < 0 || header_open(fd, &json, &ignored) < 0)
        return err_set(err, -EEXIST, "'%s' exists, is no bundle and is not overwritten", path);

    CLEANUP(dir_free_p) DIR *dir = opendir(path);
    if (!dir)
        return err_set(err, -errno, "'%s': %s", path, strerror(errno));
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        static const char *const parts[] = { ".", "..", "bundle.json", "cascade.json", "nodes" };
        bool known = false;
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
            known = known || strcmp(entry->d_name, parts[i]) == 0;
        if (!known)
            return err_set(err, -EEXIST,
                           "'%s' holds '%s', which is no part of a bundle: not overwritten", path,
                           entry->d_name);
    }
    return 0;
}

static int header_store(int fd, const struct bundle *bundle, struct err *err)
{
    char hex[2 * SGX_HASH_SIZE + 1];
    hash_print(bundle->library_os, hex);
    char text[256];
    int n = snprintf(text, sizeof(text),
                     "{\n  \"format\": \"" FORMAT "\",\n  \"library_os\": \"%s\",\n"
                     "  \"nodes\": %zu,\n  \"version\": %d\n}\n",
                     hex, bundle->node_count, BUNDLE_VERSION);
    return file_store(fd, "bundle.json", text, (size_t)n, 0644, 1, err);
}

static int make_dir(int fd, const char *name, struct err *err)
{
    return mkdirat(fd, name, 0755) < 0
               ? err_set(err, -errno, "making folder '%s': %s", name, strerror(errno))
               : 0;
}

/* Everything but the last step, below the folder fd. */
static int contents_store(int fd, const struct bundle *bundle, struct err *err)
{
    int r = make_dir(fd, "nodes", err);
    for (size_t i = 0; r >= 0 && i < bundle->node_count; i++) {
        const struct bundle_node *node = &bundle->nodes[i];
        char path[64];
        snprintf(path, sizeof(path), "nodes/%zu", i);
        r = make_dir(fd, path, err);
        if (r < 0)
            break;
        snprintf(path, sizeof(path), "nodes/%zu/manifest.bin", i);
        r = file_store(fd, path, node->manifest, node->manifest_size, 0644, 1, err);
        if (r < 0)
            break;
        snprintf(path, sizeof(path), "nodes/%zu/sigstruct.bin", i);
        r = file_store(fd, path, &node->sigstruct, sizeof(node->sigstruct), 0644, 1, err);
    }
    if (r >= 0)
        r = file_store(fd, "cascade.json", bundle->cascade, bundle->cascade_size, 0644, 1, err);
    if (r >= 0)
        r = header_store(fd, bundle, err);
    return r;
}

/* Puts the finished folder in place; what was there is under the temporary name afterwards. */
static int move_in(const char *temporary, const char *path, bool exists)
{
    unsigned flags = exists ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, flags) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;

    /* A file system without these flags: not atomic for a moment, and nothing is lost. */
    char aside[PATH_MAX];
    if (snprintf(aside, sizeof(aside), "%s.old", temporary) >= (int)sizeof(aside))
        return -ENAMETOOLONG;
    if (exists && rename(path, aside) < 0)
        return -errno;
    if (rename(temporary, path) < 0) {
        int saved = errno;
        if (exists && rename(aside, path) < 0)
            return -saved;
        return -saved;
    }
    return exists && rename(aside, temporary) < 0 ? -errno : 0;
}

static int check_input(const struct bundle *bundle, struct err *err)
{
    if (bundle->node_count < 1 || bundle->node_count > BUNDLE_NODES_MAX)
        return err_set(err, -EINVAL, "a bundle has 1 to %u nodes, not %zu", BUNDLE_NODES_MAX,
                       bundle->node_count);
    if (bundle->cascade_size > BUNDLE_CASCADE_MAX)
        return err_set(err, -EFBIG, "the cascade has %zu bytes; at most %u fit",
                       bundle->cascade_size, BUNDLE_CASCADE_MAX);
    for (size_t i = 0; i < bundle->node_count; i++)
        if (bundle->nodes[i].manifest_size < 1 || bundle->nodes[i].manifest_size > MANIFEST_MAX)
            return err_set(err, -EFBIG, "node %zu: its manifest has %zu bytes; 1 to %llu fit", i,
                           bundle->nodes[i].manifest_size, MANIFEST_MAX);
    return 0;
}

int bundle_store(const char *given, const struct bundle *bundle, struct err *err)
{
    /* "x.sgx/" means x.sgx. */
    CLEANUP(free_p) char *path = strdup(given);
    if (!path)
        return err_set(err, -ENOMEM, "writing '%s': out of memory", given);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = '\0';

    bool exists;
    int r = check_input(bundle, err);
    if (r >= 0)
        r = replaceable(path, &exists, err);
    if (r < 0)
        return r;

    /* Beside the target, so that a rename can move it there. */
    char temporary[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int dir_size = slash ? (int)(slash - path) + 1 : 0;
    uint64_t tag;
    if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
        return err_set(err, -EIO, "writing '%s': no random numbers", path);
    if (snprintf(temporary, sizeof(temporary) - 8, "%.*s.sgxpy-%016llx.tmp", dir_size, path,
                 (unsigned long long)tag) >= (int)sizeof(temporary) - 8)
        return err_set(err, -ENAMETOOLONG, "writing '%s': the name is too long", path);
    if (mkdir(temporary, 0755) < 0)
        return err_set(err, -errno, "writing '%s': %s", path, strerror(errno));

    {
        CLEANUP(close_p) int fd = open(temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            r = err_set(err, -errno, "opening '%s': %s", temporary, strerror(errno));
        else
            r = contents_store(fd, bundle, err);
    }
    if (r >= 0) {
        r = move_in(temporary, path, exists);
        if (r == -EEXIST)
            err_set(err, r, "somebody made it meanwhile; not overwritten");
        else if (r < 0)
            err_set(err, r, "%s", strerror(-r));
    }
    struct err ignored;
    if ((r < 0 || exists) && tree_remove(AT_FDCWD, temporary, &ignored) < 0 && r >= 0)
        r = err_set(err, ignored.code, "%s", ignored.text);
    return r < 0 ? err_wrap(err, "writing '%s'", path) : 0;
}
