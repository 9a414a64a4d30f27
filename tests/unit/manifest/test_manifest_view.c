#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "core/manifest_leaf.h"
#include "core/manifest_view.h"
#include "core/net_rule.h"
#include "manifest_builder.h"
#include "util/fs.h"

#define DIR_MODE (S_IFDIR | 0755)

static const struct built_file table[] = {
    { "/bin/program", .flags = MANIFEST_EXEC, .content = "ELF", .size = 3 },
    { "/data", .mode = DIR_MODE, .flags = MANIFEST_LISTED },
    { "/data/b", .content = "bb", .size = 2, .mtime_sec = 7 },
    { "/data/b.c", .class = MANIFEST_NAMED, .size = 9 },
    { "/data/a\nb\xff c", .content = "x", .size = 1 },
    { "/data/hard", .link = "/data/b", .content = "bb", .size = 2, .mtime_sec = 7 },
    { "/data/big", .size = MANIFEST_CHUNK_SIZE + 1 },
    { "/data/out", .class = MANIFEST_ALLOWED, .flags = MANIFEST_OUTPUT },
    { "/data/none", .class = MANIFEST_ABSENT },
    { "/lib", .target = "usr/lib" },
    { "/tmp", .class = MANIFEST_SCRATCH, .flags = MANIFEST_SUBTREE, .mode = S_IFDIR | 01777 },
};

struct fixture {
    void *data;
    size_t size;
    struct manifest_view view;
};

static int setup(void **state)
{
    static struct fixture f;
    static const char *const args[] = { "program", "-x", "", NULL };
    static const char *const env[] = { "A=1", "B", "C=", NULL };
    static const char *const net[] = { "connect 10.0.0.0/8:443", "connect tcp 10.0.0.1:80-90",
                                       "listen udp [::1]:ephemeral", NULL };
    const struct built_node node = { .args = args, .env = env, .net = net, .cwd = "/data" };
    struct err err = { 0 };
    if (manifest_build_table(table, ARRAY_SIZE(table), &node, &f.data, &f.size, &err) < 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    const char *reason = "";
    if (manifest_view_open(f.data, f.size, &f.view, &reason) < 0) {
        print_error("%s\n", reason);
        return -1;
    }
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    free(((struct fixture *)*state)->data);
    return 0;
}

static uint32_t find(const struct manifest_view *v, const char *path)
{
    return manifest_find(v, path, strlen(path));
}

static void test_find(void **state)
{
    const struct manifest_view *v = &((struct fixture *)*state)->view;
    for (uint32_t i = 0; i < v->file_count; i++)
        assert_int_equal(find(v, manifest_path(v, i)), i);
    static const char *const not_there[] = { "", "/x", "/data/", "/data/bb", "data", "/dat" };
    for (size_t i = 0; i < ARRAY_SIZE(not_there); i++)
        if (find(v, not_there[i]) != MANIFEST_NONE)
            fail_msg("found '%s'", not_there[i]);
    /* The length counts, not a NUL. */
    assert_int_equal(manifest_find(v, "/data/b.c", 7), find(v, "/data/b"));
    assert_int_equal(manifest_find_in(v, find(v, "/data"), "b.c", 3), find(v, "/data/b.c"));
    assert_int_equal(manifest_find_in(v, 0, "data", 4), find(v, "/data"));
    assert_int_equal(manifest_find_in(v, 0, "x", 1), MANIFEST_NONE);
}

static void test_find_above(void **state)
{
    const struct manifest_view *v = &((struct fixture *)*state)->view;
    static const struct {
        const char *path, *want;
    } cases[] = {
        { "/data/new", "/data" }, { "/data/b", "/data" }, { "/tmp/a/b/c", "/tmp" },
        { "/x/y", "/" },          { "/x", "/" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t got = manifest_find_above(v, cases[i].path, strlen(cases[i].path));
        if (got == MANIFEST_NONE || strcmp(manifest_path(v, got), cases[i].want) != 0)
            fail_msg("%s: got record %u", cases[i].path, got);
    }
    assert_int_equal(manifest_find_above(v, "/", 1), MANIFEST_NONE);
    assert_int_equal(manifest_find_above(v, "x/y", 3), MANIFEST_NONE);
}

static void test_records(void **state)
{
    const struct manifest_view *v = &((struct fixture *)*state)->view;
    const struct manifest_file *b = &v->files[find(v, "/data/b")];
    uint8_t leaf[MANIFEST_HASH_SIZE];
    manifest_leaf(0, "bb", 2, leaf);
    assert_int_equal(b->leaf_count, 1);
    assert_memory_equal(v->leaves[b->first_leaf], leaf, sizeof(leaf));
    assert_int_equal(v->files[find(v, "/data/big")].leaf_count, 2);
    assert_int_equal(v->files[find(v, "/data/hard")].ino, b->ino);
    assert_int_not_equal(v->files[find(v, "/data/big")].ino, b->ino);
    assert_string_equal(manifest_str_ptr(v, v->files[find(v, "/lib")].target), "usr/lib");
    assert_int_equal(v->files[find(v, "/data/b.c")].leaf_count, 0);
    uint32_t length;
    assert_string_equal(manifest_base_name(v, find(v, "/data/b.c"), &length), "b.c");
    assert_int_equal(length, 3);
    assert_string_equal(manifest_base_name(v, find(v, "/lib"), &length), "lib");
    assert_string_equal(manifest_base_name(v, 0, &length), "/");

    /* The listing: all names but the output and the absent one, in order. */
    static const char *const names[] = { "a\nb\xff c", "b", "b.c", "big", "hard" };
    const struct manifest_file *d = &v->files[find(v, "/data")];
    assert_int_equal(d->dirent_count, ARRAY_SIZE(names));
    for (uint32_t i = 0; i < d->dirent_count; i++)
        assert_string_equal(manifest_str_ptr(v, v->dirents[d->first_dirent + i].name), names[i]);

    assert_int_equal(v->arg_count, 3);
    assert_string_equal(manifest_str_ptr(v, v->args[2]), "");
    assert_int_equal(v->env_count, 3);
    assert_int_equal(v->env[1].policy, MANIFEST_ENV_HOST);
    assert_string_equal(manifest_str_ptr(v, v->node->cwd), "/data");

    /* By action first: what is listened at stands before. */
    assert_int_equal(v->net_count, 3);
    assert_int_equal(v->net[0].action, MANIFEST_NET_LISTEN);
    assert_int_equal(v->net[0].type, MANIFEST_NET_UDP);
    assert_int_equal(v->net[0].flags, MANIFEST_NET_EPHEMERAL);
    assert_int_equal(v->net[0].address[15], 1);
    assert_int_equal(v->net[1].prefix, NET_PREFIX_IPV4 + 8);
    assert_int_equal(v->net[1].address[12], 10);
    assert_int_equal(v->net[2].port_low, 80);
    assert_int_equal(v->net[2].port_high, 90);
}

/* Each byte of a valid manifest replaced in turn: refused, or still a manifest that a reader can
 * walk without leaving it. What the sanitizers watch is the walk. */
static void walk(const struct manifest_view *v)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < v->file_count; i++) {
        const struct manifest_file *f = &v->files[i];
        sum += strlen(manifest_path(v, i)) + strlen(manifest_str_ptr(v, f->target));
        for (uint32_t k = 0; k < f->leaf_count; k++)
            sum += v->leaves[f->first_leaf + k][31];
        for (uint32_t k = 0; k < f->dirent_count; k++) {
            const struct manifest_dirent *e = &v->dirents[f->first_dirent + k];
            sum += strlen(manifest_str_ptr(v, e->name)) + v->files[e->file].size;
        }
        assert_true(f->parent < i || i == 0);
        assert_int_equal(manifest_find(v, manifest_path(v, i), f->path.length), i);
    }
    for (uint32_t i = 0; i < v->arg_count; i++)
        sum += strlen(manifest_str_ptr(v, v->args[i]));
    for (uint32_t i = 0; i < v->env_count; i++)
        sum += strlen(manifest_str_ptr(v, v->env[i].name)) +
               strlen(manifest_str_ptr(v, v->env[i].value));
    for (uint32_t i = 0; i < v->net_count; i++) {
        char text[NET_TEXT_MAX];
        sum += net_rule_text(&v->net[i], text);
        assert_null(net_rule_wrong(&v->net[i]));
    }
    assert_true(sum > 0);
}

static void test_flips(void **state)
{
    const struct fixture *f = *state;
    static const uint8_t masks[] = { 0x01, 0x80, 0xff };
    size_t refused = 0;
    for (size_t i = 0; i < f->size; i++)
        for (size_t k = 0; k < ARRAY_SIZE(masks); k++) {
            uint8_t *copy = malloc(f->size);
            assert_non_null(copy);
            memcpy(copy, f->data, f->size);
            copy[i] ^= masks[k];
            struct manifest_view v;
            const char *reason = NULL;
            int r = manifest_view_open(copy, f->size, &v, &reason);
            if (r < 0) {
                assert_true(r == -EBADMSG || r == -EPROTO);
                assert_non_null(reason);
                refused++;
            } else {
                walk(&v);
            }
            free(copy);
        }
    assert_true(refused > f->size);
}

/* Header fields: every byte of header, index and dirents matters. */
static void test_strict(void **state)
{
    const struct fixture *f = *state;
    const struct manifest_header *h = f->data;
    for (uint32_t s = 0; s < MANIFEST_SECTION_TYPES; s++) {
        if (s + 1 != MANIFEST_INDEX && s + 1 != MANIFEST_DIRENTS)
            continue;
        const struct manifest_section *part = &h->sections[s];
        for (size_t i = part->offset; i < part->offset + part->count * part->entry_size; i++) {
            uint8_t *copy = malloc(f->size);
            assert_non_null(copy);
            memcpy(copy, f->data, f->size);
            copy[i] ^= 0x55;
            struct manifest_view v;
            if (manifest_view_open(copy, f->size, &v, NULL) == 0)
                fail_msg("section %u, byte %zu: accepted", s + 1, i);
            free(copy);
        }
    }
    for (size_t i = 0; i < sizeof(*h); i++) {
        uint8_t *copy = malloc(f->size);
        assert_non_null(copy);
        memcpy(copy, f->data, f->size);
        copy[i] ^= 0x04;
        struct manifest_view v;
        if (manifest_view_open(copy, f->size, &v, NULL) == 0)
            fail_msg("header byte %zu: accepted", i);
        free(copy);
    }
}

static void test_sizes(void **state)
{
    const struct fixture *f = *state;
    for (size_t size = 0; size <= f->size + 8;
         size += size < sizeof(struct manifest_header) ? 1 : 8) {
        uint8_t *copy = calloc(1, size + 8);
        assert_non_null(copy);
        memcpy(copy, f->data, size < f->size ? size : f->size);
        struct manifest_view v;
        int r = manifest_view_open(copy, size, &v, NULL);
        if ((r == 0) != (size == f->size))
            fail_msg("size %zu: got %d", size, r);
        free(copy);
    }
    struct manifest_view v;
    assert_int_equal(manifest_view_open((char *)f->data + 1, f->size, &v, NULL), -EBADMSG);
}

#define FILE_AT(path_) (&files[find(&f->view, (path_))])

/* One change of one field, and the reason that must come. */
static void test_reasons(void **state)
{
    const struct fixture *f = *state;
    enum { CASES = 24 };
    for (int n = 0; n < CASES; n++) {
        CLEANUP(free_p) uint8_t *copy = malloc(f->size);
        assert_non_null(copy);
        memcpy(copy, f->data, f->size);
        struct manifest_view at;
        assert_int_equal(manifest_view_open(copy, f->size, &at, NULL), 0);
        struct manifest_header *h = (void *)copy;
        struct manifest_file *files = (void *)(uintptr_t)at.files;
        struct manifest_node *node = (void *)(uintptr_t)at.node;
        struct manifest_env *env = (void *)(uintptr_t)at.env;
        struct manifest_entry *entry = (void *)(uintptr_t)at.entries;
        struct manifest_net *net = (void *)(uintptr_t)at.net;
        const char *want = "";
        switch (n) {
        case 0: h->version = MANIFEST_VERSION + 1, want = "another version"; break;
        case 1: FILE_AT("/data/b")->parent = find(&f->view, "/bin"), want = "parent"; break;
        case 2: FILE_AT("/data/b")->leaf_count = 2, want = "leaves"; break;
        case 3: FILE_AT("/data/b")->size = UINT64_MAX, want = "leaves"; break;
        case 4: FILE_AT("/data/big")->first_leaf = UINT32_MAX, want = "leaves"; break;
        case 5: FILE_AT("/data/b")->class = 6, want = "class"; break;
        case 6: FILE_AT("/data/b")->flags = MANIFEST_LISTED, want = "flags"; break;
        case 7: FILE_AT("/data/none")->mode = S_IFREG, want = "absent"; break;
        case 8: FILE_AT("/lib")->target.length = 0, want = "target"; break;
        case 9: FILE_AT("/bin/program")->flags |= MANIFEST_DENY, want = "DENY"; break;
        case 10: entry->executable = find(&f->view, "/data/b"), want = "program"; break;
        case 11: entry->interpreter = 0, want = "interpreter"; break;
        case 12: node->thread_count = 0, want = "threads"; break;
        case 13: env[1].name = env[0].name, want = "order"; break;
        case 14: FILE_AT("/data")->dirent_count = 1u << 30, want = "listing"; break;
        case 15: node->cwd.length -= 4, want = "string"; break;
        case 16: net[0].action = 3, want = "action"; break;
        case 17: net[0].type = 3, want = "type of socket"; break;
        case 18: net[1].prefix = 129, want = "prefix"; break;
        case 19: net[1].address[13] = 1, want = "longer than its prefix"; break;
        case 20: net[2].port_low = 91, want = "no range"; break;
        case 21: net[0].port_high = 1, want = "ephemeral"; break;
        case 22: net[1] = net[2], want = "rules are out of order"; break;
        case 23: net[2].reserved = 1, want = "flags"; break;
        }
        struct manifest_view v;
        const char *reason = "accepted";
        int r = manifest_view_open(copy, f->size, &v, &reason);
        if (r == 0 || !strstr(reason, want))
            fail_msg("case %d: wanted '%s', got %d '%s'", n, want, r, reason);
    }
}

static char g_name[] = "PATH", g_other[] = "TERM", g_one[] = "/bin", g_two[] = "/data";

/* Of what parents may give. */
static void test_given(void **state UNUSED)
{
    const struct cascade_given given[] = {
        { MANIFEST_GIVEN_VARIABLE, g_name, g_one }, { MANIFEST_GIVEN_VARIABLE, g_name, g_two },
        { MANIFEST_GIVEN_UNSET, g_name, NULL },     { MANIFEST_GIVEN_HOST, g_other, NULL },
        { MANIFEST_GIVEN_FOLDER, NULL, g_two },     { MANIFEST_GIVEN_OPTIONS, NULL, g_one },
        { MANIFEST_GIVEN_NAME, NULL, g_one },
    };
    struct built_node node = { .flags = MANIFEST_FORKS,
                               .given = given,
                               .given_count = ARRAY_SIZE(given) };
    CLEANUP(free_p) void *data = NULL;
    size_t size;
    struct err err = { 0 };
    if (manifest_build_table(NULL, 0, &node, &data, &size, &err) < 0)
        fail_msg("%s", err.text);
    struct manifest_view v;
    assert_int_equal(manifest_view_open(data, size, &v, NULL), 0);
    assert_int_equal(v.given_count, ARRAY_SIZE(given));
    assert_string_equal(manifest_str_ptr(&v, v.given[1].value), "/data");
    assert_int_equal(v.given[4].name.length, 0);

    struct manifest_given *at = (void *)(uintptr_t)v.given;
    struct manifest_node *fixed = (void *)(uintptr_t)v.node;
    for (int n = 0; n < 10; n++) {
        const char *reason = "accepted", *want = "";
        struct manifest_given was[ARRAY_SIZE(given)];
        uint32_t flags = fixed->flags;
        memcpy(was, at, sizeof(was));
        switch (n) {
        case 0: at[6].what = 8, want = "unknown kind"; break;
        case 1: at[0].what = 0, want = "unknown kind"; break;
        case 2: at[0].reserved = 1, want = "unknown kind"; break;
        case 3: at[0].name.length = 0, want = "string"; break;
        case 4: at[0].name = at[4].name, want = "no name"; break;
        case 5: at[6].name = at[0].name, want = "no name"; break;
        case 6: at[2].value = at[0].value, want = "nobody reads"; break;
        case 7: at[4].value = at[0].name, want = "canonical"; break;
        case 8: at[1] = at[0], want = "out of order"; break;
        case 9: fixed->flags |= MANIFEST_ROOT, want = "root"; break;
        }
        if (manifest_view_open(data, size, &v, &reason) == 0 || !strstr(reason, want))
            fail_msg("case %d: wanted '%s', got '%s'", n, want, reason);
        memcpy(at, was, sizeof(was));
        fixed->flags = flags;
    }
    assert_int_equal(manifest_view_open(data, size, &v, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),    cmocka_unit_test(test_find_above),
        cmocka_unit_test(test_records), cmocka_unit_test(test_flips),
        cmocka_unit_test(test_strict),  cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_reasons), cmocka_unit_test(test_given),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
