/*
 * manifest_view_open on any bytes. What it accepts keeps the promises of its header: every string
 * and index lies inside, every record is found under its path and under its parent, and nothing
 * else is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/manifest_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static unsigned g_sink; /* so that a read happens */

static void check_string(const struct manifest_view *v, struct manifest_str s)
{
    must(s.offset < v->string_size && s.length < v->string_size - s.offset);
    must(strlen(v->strings + s.offset) == s.length);
}

static void check_file(const struct manifest_view *v, uint32_t i)
{
    const struct manifest_file *f = &v->files[i];
    uint32_t name_length;
    check_string(v, f->path);
    check_string(v, f->target);
    must(f->parent < v->file_count && (f->parent < i || i == 0));
    must(f->leaf_count <= v->leaf_count && f->first_leaf <= v->leaf_count - f->leaf_count);
    must(f->dirent_count <= v->dirent_count &&
         f->first_dirent <= v->dirent_count - f->dirent_count);
    must(manifest_find(v, manifest_path(v, i), f->path.length) == i);
    const char *name = manifest_base_name(v, i, &name_length);
    if (i > 0) {
        must(manifest_find_in(v, f->parent, name, name_length) == i);
        must(manifest_find_above(v, manifest_path(v, i), f->path.length) == f->parent);
    }
    for (uint32_t d = 0; d < f->dirent_count; d++) {
        const struct manifest_dirent *entry = &v->dirents[f->first_dirent + d];
        check_string(v, entry->name);
        must(entry->file < v->file_count && v->files[entry->file].parent == i);
    }
    if (f->leaf_count > 0)
        g_sink += v->leaves[f->first_leaf + f->leaf_count - 1][MANIFEST_HASH_SIZE - 1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest_view v;
    const char *reason = NULL;
    /* 8-byte aligned, as the enclave has it; malloc gives sixteen. */
    void *copy = malloc(size ? size : 1);
    must(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    if (manifest_view_open(copy, size, &v, &reason) < 0) {
        must(reason && reason[0]);
        free(copy);
        return 0;
    }
    must(!reason && v.size == size && v.file_count > 0 && v.entry_count == 1);
    for (uint32_t i = 0; i < v.file_count; i++)
        check_file(&v, i);
    for (uint32_t i = 0; i < v.arg_count; i++)
        check_string(&v, v.args[i]);
    for (uint32_t i = 0; i < v.env_count; i++) {
        check_string(&v, v.env[i].name);
        check_string(&v, v.env[i].value);
    }
    check_string(&v, v.node->label);
    check_string(&v, v.node->cwd);
    check_string(&v, v.node->hostname);
    check_string(&v, v.entries[0].execfn);
    must(v.entries[0].executable < v.file_count);
    must(manifest_find(&v, "/no/such/record", 15) == MANIFEST_NONE ||
         strcmp(manifest_path(&v, manifest_find(&v, "/no/such/record", 15)), "/no/such/record") ==
             0);
    must(manifest_find(&v, "", 0) == MANIFEST_NONE);
    free(copy);
    return 0;
}
