/*
 * One node of a bundle, for running it: apart from bundle.c, because a program of the tree that another
 * one waits for starts here and shall not load what reads JSON.
 */
#include "signer/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/layout.h"
#include "signer/sigstruct.h"
#include "util/fs.h"

#define MANIFEST_MAX     (LAYOUT_MANIFEST_END - LAYOUT_MANIFEST)
#define EXIT_INPUT       2
#define EXIT_NOT_STARTED 4

void bundle_node_done(struct bundle_node *node)
{
    free(node->manifest);
    node->manifest = NULL;
}

int bundle_node_load(int dir_fd, const char *folder, struct bundle_node *node, struct err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/manifest.bin", folder) >= (int)sizeof(path) - 8)
        return err_set(err, -ENAMETOOLONG, "'%s': the path is too long", folder);
    snprintf(path, sizeof(path), "%s/sigstruct.bin", folder);
    int r = sigstruct_load(dir_fd, path, &node->sigstruct, err);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/manifest.bin", folder);
    char *data;
    r = file_load(dir_fd, path, MANIFEST_MAX, &data, &node->manifest_size, err);
    if (r < 0)
        return r;
    node->manifest = data;
    if (node->manifest_size == 0)
        return err_set(err, -EBADMSG, "'%s' is empty", path);
    return 0;
}

/* 1: nodes/index is the one, 0: another, -ENOENT: there are no more. */
static int is_node(int dir_fd, size_t index, const uint8_t mrenclave[static SGX_HASH_SIZE],
                   struct err *err)
{
    char path[64];
    uint8_t hash[SGX_HASH_SIZE];
    snprintf(path, sizeof(path), "nodes/%zu/sigstruct.bin", index);
    CLEANUP(close_p) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? -ENOENT
                               : err_set(err, -errno, "opening '%s': %s", path, strerror(errno));
    ssize_t n = pread(fd, hash, sizeof(hash), offsetof(struct sgx_sigstruct, enclave_hash));
    if (n != (ssize_t)sizeof(hash))
        return err_set(err, -EBADMSG, "'%s' is too short", path);
    return memcmp(hash, mrenclave, sizeof(hash)) == 0;
}

int bundle_find_node(int dir_fd, const uint8_t mrenclave[static SGX_HASH_SIZE],
                     char ret[static BUNDLE_FOLDER_MAX], struct err *err)
{
    for (size_t i = 0; i < BUNDLE_NODES_MAX; i++) {
        int r = is_node(dir_fd, i, mrenclave, err);
        if (r == -ENOENT)
            break;
        if (r < 0)
            return r;
        if (r) {
            snprintf(ret, BUNDLE_FOLDER_MAX, "nodes/%zu", i);
            return 0;
        }
    }
    char hex[2 * SGX_HASH_SIZE + 1];
    for (size_t i = 0; i < SGX_HASH_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", mrenclave[i]);
    return err_set(err, -ENOENT, "no node has the MRENCLAVE %s", hex);
}

static int load_child(const char *path, const uint8_t mrenclave[static SGX_HASH_SIZE],
                      struct bundle_node *ret, struct err *err)
{
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "%s", strerror(errno));
    char folder[BUNDLE_FOLDER_MAX];
    int r = bundle_find_node(fd, mrenclave, folder, err);
    return r < 0 ? r : bundle_node_load(fd, folder, ret, err);
}

int bundle_load_child(const char *path, const uint8_t mrenclave[static SGX_HASH_SIZE],
                      struct bundle_node *ret, struct err *err)
{
    int r = load_child(path, mrenclave, ret, err);
    if (r < 0) {
        if (err && err->exit_code == 0)
            err_exit(err, r == -ENOENT ? EXIT_NOT_STARTED : EXIT_INPUT);
        return err_wrap(err, "loading a program of '%s'", path);
    }
    return 0;
}
