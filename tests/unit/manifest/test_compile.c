#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/manifest_leaf.h"
#include "core/manifest_view.h"
#include "core/program_key.h"
#include "manifest/compile.h"
#include "manifest/hash.h"
#include "manifest_builder.h"
#include "util/fs.h"

/* Computed with Python's hashlib and struct from docs/manifest.md. */
static const struct {
    const char *name;
    uint64_t size; /* bytes (i * 7) % 251; 3: "abc" */
    const char *last_leaf, *root;
} hashes[] = {
    { "empty", 0, NULL, "a536aa3cede6ea3c1f3e0357c3c60e0f216a8c89b853df13b29daa8f85065dfb" },
    { "abc", 3, "5fd61f4ee93d3b36ef49d7e9ff1118d6d29eb26a4c4789ae6fc15fc43c963672",
      "cedde0c23c933360a37ac6f34d008010cba068bf5bd536e9407f9a494ea740ec" },
    { "two chunks", MANIFEST_CHUNK_SIZE + 5,
      "d78875f7a492dc66a88c78373e65b861c5806aca0a6f7d0f6b8b495ea6a8f699",
      "78333c34a470ba997d878aea60c4f1ce2456ac1347a4823c614babdaa0f0c07b" },
};

static void test_hashes(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(hashes); i++) {
        uint64_t size = hashes[i].size, count = manifest_leaf_count(size);
        CLEANUP(free_p) uint8_t *data = malloc(size + 1);
        CLEANUP(free_p) uint8_t(*leaves)[MANIFEST_HASH_SIZE] = calloc(count + 1, 32);
        assert_true(data && leaves);
        for (uint64_t k = 0; k < size; k++)
            data[k] = (uint8_t)(k * 7 % 251);
        if (size == 3)
            memcpy(data, "abc", 3);
        for (uint64_t k = 0; k < count; k++) {
            uint64_t left = size - k * MANIFEST_CHUNK_SIZE;
            manifest_leaf(k, data + k * MANIFEST_CHUNK_SIZE,
                          left < MANIFEST_CHUNK_SIZE ? (uint32_t)left : MANIFEST_CHUNK_SIZE,
                          leaves[k]);
        }
        uint8_t root[MANIFEST_HASH_SIZE];
        char text[65];
        manifest_root(size, leaves, count, root);
        manifest_hex(root, text);
        if (strcmp(text, hashes[i].root) != 0)
            fail_msg("%s: root %s", hashes[i].name, text);
        if (!count)
            continue;
        manifest_hex(leaves[count - 1], text);
        if (strcmp(text, hashes[i].last_leaf) != 0)
            fail_msg("%s: leaf %s", hashes[i].name, text);
    }
}

static int zero_leaves(void *ctx UNUSED, const struct cascade_file *f UNUSED,
                       uint8_t (*ret)[MANIFEST_HASH_SIZE], uint64_t count, struct err *err UNUSED)
{
    memset(ret, 0, count * MANIFEST_HASH_SIZE);
    return 0;
}

static int no_leaves(void *ctx UNUSED, const struct cascade_file *f,
                     uint8_t (*ret)[MANIFEST_HASH_SIZE] UNUSED, uint64_t count, struct err *err)
{
    return count == 0 ? 0 : err_set(err, -ESTALE, "'%s' changed", f->path);
}

static const struct built_file table[] = {
    { "/bin/program", .flags = MANIFEST_EXEC },
    { "/d/a", .class = MANIFEST_NAMED, .size = 1 },
    { "/d/b", .class = MANIFEST_NAMED, .size = 1 },
    { "/x", .content = "x", .size = 1 },
};

enum change {
    NOTHING,
    LEAVES,
    NO_LEAVES,
    NO_PARENT,
    TWICE,
    NO_PROGRAM,
    NO_INTERPRETER,
    BAD_LINK,
    LATER_LINK,
    BAD_FLAGS,
    BAD_CWD,
    NO_FILES,
};

/* What a hand-made cascade can get wrong, and what is said. */
static const struct {
    enum change change;
    int code;
    const char *want;
} cases[] = {
    { NOTHING, 0, "" },
    { LEAVES, -EILSEQ, "chunks of '/x' do not give its root" },
    { NO_LEAVES, -ESTALE, "'/x' changed" },
    { NO_PARENT, -EBADMSG, "the folder of '/d/a' has no record" },
    { TWICE, -EBADMSG, "'/d/a' stands twice" },
    { NO_PROGRAM, -EBADMSG, "'/bin/none' has no record" },
    { NO_INTERPRETER, -EBADMSG, "'/lib/ld.so' has no record" },
    { BAD_LINK, -EBADMSG, "'/d/b' is a link to no record" },
    { LATER_LINK, -EBADMSG, "'/d/a' is a link to no record" },
    { BAD_FLAGS, -EBADMSG, "flags that do not go with its class" },
    { BAD_CWD, -EBADMSG, "working directory" },
    { NO_FILES, -EFBIG, "0 files" },
};

static void set(char **string, const char *value)
{
    free(*string);
    *string = strdup(value);
}

static struct cascade_file *find(struct cascade_node *n, const char *path)
{
    return (struct cascade_file *)(uintptr_t)cascade_find(n, path);
}

static void test_contradictions(void **state UNUSED)
{
    static const uint8_t hash[MANIFEST_HASH_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(cascade_free_p) struct cascade *c = NULL;
        assert_int_equal(manifest_build_cascade(table, ARRAY_SIZE(table), NULL, &c, NULL), 0);
        struct cascade_node *n = &c->nodes[0];
        size_t count = n->file_count;
        switch (cases[i].change) {
        case NO_PARENT: set(&find(n, "/d")->path, "/c"); break;
        case TWICE: set(&find(n, "/d/b")->path, "/d/a"); break;
        case NO_PROGRAM: set(&n->entries[0].start.executable, "/bin/none"); break;
        case NO_INTERPRETER: set(&n->entries[0].interpreter, "/lib/ld.so"); break;
        case BAD_LINK: find(n, "/d/b")->link = strdup("/d/c"); break;
        case LATER_LINK: find(n, "/d/a")->link = strdup("/d/b"); break;
        case BAD_FLAGS: find(n, "/d/a")->flags = MANIFEST_EXEC; break;
        case BAD_CWD: set(&n->cwd, "relative"); break;
        case NO_FILES: n->file_count = 0; break;
        default: break;
        }
        void *data = NULL;
        size_t size;
        struct err err = { 0 };
        manifest_leaves_fn *leaves = cases[i].change == NO_LEAVES ? no_leaves : zero_leaves;
        /* Zero leaves are right once the root says so. */
        static const uint8_t zero[1][MANIFEST_HASH_SIZE];
        if (cases[i].change != LEAVES)
            manifest_root(1, zero, 1, find(n, "/x") ? find(n, "/x")->root : (uint8_t[32]){ 0 });
        const struct manifest_identity id = { hash, hash, NULL };
        int r = manifest_pack(c, 0, &id, leaves, NULL, &data, &size, &err);
        if (r != cases[i].code || !strstr(err.text, cases[i].want))
            fail_msg("row %zu: got %d '%s'", i, r, err.text);
        free(data);
        n->file_count = count;
    }
}

/* Signer and cascade id stand where the library OS looks for them. */
static void test_identity(void **state UNUSED)
{
    void *data;
    size_t size;
    struct manifest_view v;
    assert_int_equal(manifest_build_table(table, ARRAY_SIZE(table), NULL, &data, &size, NULL), 0);
    assert_int_equal(manifest_view_open(data, size, &v, NULL), 0);
    assert_int_equal(v.node->cascade_id[0], 0xca);
    assert_int_equal(v.node->mrsigner[0], 0x51);
    assert_true(v.node->flags & MANIFEST_ROOT);
    free(data);
}

/* ---- several nodes ---- */

static void load_tree(struct cascade **ret)
{
    struct err err = { 0 };
    if (cascade_load(TEST_TREE, ret, &err) < 0)
        fail_msg("%s", err.text);
}

static void pack(const struct cascade *c, size_t node, const uint8_t (*mrenclaves)[32], void **ret,
                 struct manifest_view *ret_view)
{
    static const uint8_t hash[MANIFEST_HASH_SIZE];
    const struct manifest_identity id = { hash, hash, mrenclaves };
    struct err err = { 0 };
    size_t size;
    if (manifest_pack(c, node, &id, zero_leaves, NULL, ret, &size, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(manifest_view_open(*ret, size, ret_view, NULL), 0);
}

/* Whether row i of the children is this start of this node. */
static bool is_child(const struct manifest_view *v, uint32_t i, const struct cascade_child *c,
                     uint8_t first_byte)
{
    const struct manifest_child *m = &v->children[i];
    uint8_t key[MANIFEST_HASH_SIZE];
    cascade_start_key(&c->start, key);
    return strcmp(manifest_str_ptr(v, m->executable), c->start.executable) == 0 &&
           m->kind == c->start.kind && memcmp(m->key, key, sizeof(key)) == 0 &&
           m->mrenclave[0] == first_byte && !(m->flags & MANIFEST_CHILD_SELF) == (first_byte != 0);
}

static void test_tree(void **state UNUSED)
{
    CLEANUP(cascade_free_p) struct cascade *c = NULL;
    load_tree(&c);
    uint8_t mrenclaves[3][MANIFEST_HASH_SIZE] = { { 0 }, { 0x22 }, { 0x11 } };
    const uint8_t(*given)[MANIFEST_HASH_SIZE] = (const void *)mrenclaves;
    struct manifest_view v;
    void *data;

    pack(c, 2, given, &data, &v);
    assert_int_equal(v.child_count, 0);
    assert_int_equal(v.entry_count, 1);
    assert_int_equal(v.entries[0].kind, PROGRAM_SCRIPT);
    assert_int_equal(v.grant_count, 0);
    free(data);

    pack(c, 1, given, &data, &v);
    assert_int_equal(v.entry_count, 2);
    assert_int_equal(v.child_count, 3);
    assert_true(is_child(&v, 0, &c->nodes[1].children[0], 0));
    assert_true(is_child(&v, 1, &c->nodes[1].children[1], 0x11));
    assert_true(is_child(&v, 2, &c->nodes[1].children[2], 0));
    assert_string_equal(manifest_str_ptr(&v, v.children[1].label), "python w.py");
    free(data);

    /* By MRENCLAVE, then path; what is below a granted folder goes with it. */
    pack(c, 0, given, &data, &v);
    assert_int_equal(v.node->process_limit, 64);
    static const struct {
        uint8_t mrenclave;
        const char *path;
    } grants[] = { { 0x11, "/tmp" }, { 0x22, "/srv/lock" }, { 0x22, "/srv/work" } };
    assert_int_equal(v.grant_count, ARRAY_SIZE(grants));
    for (uint32_t i = 0; i < v.grant_count; i++) {
        assert_int_equal(v.grants[i].mrenclave[0], grants[i].mrenclave);
        assert_string_equal(manifest_str_ptr(&v, v.grants[i].path), grants[i].path);
    }
    free(data);
}

/* A child that was not measured is no child. */
static void test_unmeasured_child(void **state UNUSED)
{
    CLEANUP(cascade_free_p) struct cascade *c = NULL;
    load_tree(&c);
    static const uint8_t hash[MANIFEST_HASH_SIZE];
    const struct manifest_identity id = { hash, hash, NULL };
    struct err err = { 0 };
    void *data = NULL;
    size_t size;
    assert_int_equal(manifest_pack(c, 1, &id, zero_leaves, NULL, &data, &size, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "measurement"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes),           cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_identity),         cmocka_unit_test(test_tree),
        cmocka_unit_test(test_unmeasured_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
