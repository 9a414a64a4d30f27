/*
 * manifest_view_open on any bytes. What it accepts must be walkable without leaving it: this reads
 * everything that a record leads to, as the library OS does without looking again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/given.h"
#include "core/manifest_view.h"
#include "core/net_rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static uint64_t read_string(const struct manifest_view *v, struct manifest_str s)
{
    const char *text = manifest_str_ptr(v, s);
    must(strlen(text) == s.length);
    return s.length;
}

static uint64_t read_file(const struct manifest_view *v, uint32_t i)
{
    const struct manifest_file *f = &v->files[i];
    uint64_t sum = read_string(v, f->path) + read_string(v, f->target);
    must(i == 0 || f->parent < i);
    must(manifest_find(v, manifest_path(v, i), f->path.length) == i);
    must(i == 0 || manifest_find_above(v, manifest_path(v, i), f->path.length) == f->parent);
    for (uint32_t k = 0; k < f->leaf_count; k++)
        sum += v->leaves[f->first_leaf + k][MANIFEST_HASH_SIZE - 1];
    for (uint32_t k = 0; k < f->dirent_count; k++) {
        const struct manifest_dirent *e = &v->dirents[f->first_dirent + k];
        uint32_t length;
        sum += read_string(v, e->name);
        must(v->files[e->file].parent == i);
        must(strcmp(manifest_base_name(v, e->file, &length), manifest_str_ptr(v, e->name)) == 0);
        must(manifest_find_in(v, i, manifest_str_ptr(v, e->name), e->name.length) == e->file);
    }
    return sum;
}

static size_t scratch(const void *ctx, const char *path, size_t size)
{
    size_t folder = given_temporary(path, size);
    must(folder < size);
    return folder ? folder : manifest_find(ctx, path, size) != MANIFEST_NONE ? size - 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest_view v;
    const char *reason = NULL;
    /* Aligned, and of exactly this size, so that the sanitizers see one byte too many. */
    uint64_t *copy = malloc(size ? size : 1);
    must(copy != NULL);
    memcpy(copy, data, size);
    if (manifest_view_open(copy, size, &v, &reason) < 0) {
        must(reason != NULL);
        free(copy);
        return 0;
    }

    uint64_t sum = read_string(&v, v.node->label) + read_string(&v, v.node->cwd) +
                   read_string(&v, v.node->hostname);
    for (uint32_t i = 0; i < v.file_count; i++)
        sum += read_file(&v, i);
    for (uint32_t i = 0; i < v.arg_count; i++)
        sum += read_string(&v, v.args[i]);
    for (uint32_t i = 0; i < v.env_count; i++)
        sum += read_string(&v, v.env[i].name) + read_string(&v, v.env[i].value);
    for (uint32_t i = 0; i < v.entry_count; i++)
        sum += read_string(&v, v.entries[i].execfn) + v.files[v.entries[i].executable].size;
    for (uint32_t i = 0; i < v.net_count; i++) {
        char text[NET_TEXT_MAX];
        size_t length = net_rule_text(&v.net[i], text);
        must(length < NET_TEXT_MAX && text[length] == '\0' && strlen(text) == length);
        sum += length;
    }
    for (uint32_t i = 0; i < v.given_count; i++) {
        const struct manifest_given *given = &v.given[i];
        sum += read_string(&v, given->name) + read_string(&v, given->value);
        must((given->what <= MANIFEST_GIVEN_INSECURE) == (given->name.length > 0));
        must(given_value_same(manifest_str_ptr(&v, given->value),
                              manifest_str_ptr(&v, v.given[0].value), scratch, &v) ==
             given_value_same(manifest_str_ptr(&v, v.given[0].value),
                              manifest_str_ptr(&v, given->value), scratch, &v));
        must(program_text_same(manifest_str_ptr(&v, given->value),
                               manifest_str_ptr(&v, given->value)));
    }
    must(sum > 0);
    free(copy);
    return 0;
}
