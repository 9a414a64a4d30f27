/*
 * The signed bundle (train.sgx): a folder that holds no code and no secret.
 *
 *   bundle.json            {"format": "sgxpy-bundle", "version": 1, "library_os": SHA-256 of the
 *                          library OS file in hex, "nodes": how many}
 *   cascade.json           the cascade it was made from, byte for byte
 *   nodes/N/manifest.bin   compiled manifest of process node N, from 0 up
 *   nodes/N/sigstruct.bin  its SIGSTRUCT
 *
 * Tier: hosted. Everything read is checked; whoever changes a bundle gets a message or an EINIT
 * that refuses, never another enclave under the same name.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "core/attr.h"
#include "util/err.h"

#define BUNDLE_VERSION     1
#define BUNDLE_NODES_MAX   4096u
#define BUNDLE_CASCADE_MAX (512u << 20)
#define BUNDLE_FOLDER_MAX  32u /* "nodes/N" */

struct bundle_node {
    void *manifest;
    size_t manifest_size; /* 1..LAYOUT_MANIFEST_END - LAYOUT_MANIFEST */
    struct sgx_sigstruct sigstruct;
};

/* For bundle_store the caller fills one in and owns what it points to; bundle_load makes one. */
struct bundle {
    uint8_t library_os[SGX_HASH_SIZE]; /* SHA-256 of the ELF file */
    char *cascade;                     /* NUL-terminated past cascade_size when loaded */
    size_t cascade_size;
    size_t node_count; /* 1..BUNDLE_NODES_MAX */
    struct bundle_node *nodes;
};

/* Writes the folder whole or not at all. Replaces, atomically, a bundle that is there; -EEXIST for
 * anything else that is, and for a bundle with files in it that are not a bundle's. */
MUST_CHECK int bundle_store(const char *path, const struct bundle *bundle, struct err *err);

/*
 * Loads and checks: exit code 2 for what is no bundle of this version or is broken; exit code 4 and
 * -ESTALE ("sign it again") if library_os is not the one it was signed with. Each SIGSTRUCT passed
 * sigstruct_check and sigstruct_check_profile, and all carry the same modulus; the manifests are
 * not looked into. Free *ret with bundle_free().
 */
MUST_CHECK int bundle_load(const char *path, const uint8_t library_os[static SGX_HASH_SIZE],
                           struct bundle **ret, struct err *err);
/* The same without the comparison, for `show`. */
MUST_CHECK int bundle_load_any(const char *path, struct bundle **ret, struct err *err);

/* One node's folder, for running it: its manifest is not looked into, its SIGSTRUCT passed both
 * checks. *ret zeroed before; bundle_node_done() also after a failure. */
MUST_CHECK int bundle_node_load(int dir_fd, const char *path, struct bundle_node *ret,
                                struct err *err);
/* The same of node 0 of the bundle at path, after comparing the library OS as bundle_load does; the
 * cascade and other nodes are not read. */
MUST_CHECK int bundle_load_root(const char *path, const uint8_t library_os[static SGX_HASH_SIZE],
                                struct bundle_node *ret, struct err *err);
/* The folder, below dir_fd (a bundle's), of the node whose SIGSTRUCT names this MRENCLAVE. -ENOENT: none. */
MUST_CHECK int bundle_find_node(int dir_fd, const uint8_t mrenclave[static SGX_HASH_SIZE],
                                char ret[static BUNDLE_FOLDER_MAX], struct err *err);
/*
 * bundle_node_load of that node of the bundle at path. Nothing else is read, bundle.json not either: with
 * another library OS the enclave would measure differently and EINIT refuses it. -ENOENT and exit code 4:
 * no such node; exit code 2: broken.
 */
MUST_CHECK int bundle_load_child(const char *path, const uint8_t mrenclave[static SGX_HASH_SIZE],
                                 struct bundle_node *ret, struct err *err);
void bundle_node_done(struct bundle_node *node);

/* Frees a loaded bundle. NULL is fine. */
void bundle_free(struct bundle *bundle);
/* For CLEANUP(). */
void bundle_free_p(struct bundle **bundle);
