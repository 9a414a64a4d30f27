#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "signer/bundle.h"
#include "signer/sigstruct.h"
#include "util/fs.h"

static char g_dir[] = "/tmp/sgxpy-bundle-XXXXXX";
static struct bundle g_bundle;
static struct bundle_node g_nodes[2];
static char g_cascade[] = "{\"a\": 1}\n";
static uint8_t g_other_os[SGX_HASH_SIZE];

static void sign(struct sgx_sigstruct *ret, const char *key_path)
{
    struct err err;
    char *pem;
    size_t size;
    struct signing_key *key;
    struct sigstruct_params params;
    if (key_path) {
        assert_int_equal(file_load(AT_FDCWD, key_path, 1 << 16, &pem, &size, &err), 0);
        assert_int_equal(keys_parse(pem, size, key_path, &key, &err), 0);
        free(pem);
    } else {
        assert_int_equal(keys_generate(&key, &err), 0);
    }
    sigstruct_profile(&params, false);
    params.date = 0x20261122;
    assert_int_equal(sigstruct_build(&params, key, ret, &err), 0);
    keys_free(key);
}

static int setup(void **state UNUSED)
{
    if (!mkdtemp(g_dir) || chdir(g_dir) < 0)
        return -1;
    memset(g_bundle.library_os, 0xab, sizeof(g_bundle.library_os));
    g_bundle.cascade = g_cascade;
    g_bundle.cascade_size = strlen(g_cascade);
    g_bundle.node_count = 2;
    g_bundle.nodes = g_nodes;
    for (size_t i = 0; i < 2; i++) {
        g_nodes[i].manifest = i ? "second manifest" : "first";
        g_nodes[i].manifest_size = strlen(g_nodes[i].manifest);
        sign(&g_nodes[i].sigstruct, TEST_DATA "/test_key.pem");
    }
    return 0;
}

static int teardown(void **state UNUSED)
{
    struct err err;
    return chdir("/") < 0 ? -1 : tree_remove(AT_FDCWD, g_dir, &err);
}

static void store(const char *path)
{
    struct err err = { 0 };
    if (bundle_store(path, &g_bundle, &err) < 0)
        fail_msg("%s", err.text);
}

static void put(const char *path, const char *text)
{
    struct err err = { 0 };
    if (file_store(AT_FDCWD, path, text, strlen(text), 0644, 0, &err) < 0)
        fail_msg("%s", err.text);
}

static size_t names_in(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static void test_round_trip(void **state UNUSED)
{
    struct err err = { 0 };
    struct bundle *b = NULL;
    store("a.sgx");
    if (bundle_load("a.sgx", g_bundle.library_os, &b, &err) < 0)
        fail_msg("%s", err.text);
    assert_memory_equal(b->library_os, g_bundle.library_os, SGX_HASH_SIZE);
    assert_string_equal(b->cascade, g_cascade);
    assert_int_equal(b->node_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(b->nodes[i].manifest_size, g_nodes[i].manifest_size);
        assert_memory_equal(b->nodes[i].manifest, g_nodes[i].manifest, g_nodes[i].manifest_size);
        assert_memory_equal(&b->nodes[i].sigstruct, &g_nodes[i].sigstruct,
                            sizeof(struct sgx_sigstruct));
    }
    bundle_free(b);
    bundle_free(NULL);

    struct stat st;
    assert_int_equal(stat("a.sgx/nodes/1/manifest.bin", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(names_in("a.sgx"), 3);
}

static void test_replaces_a_bundle(void **state UNUSED)
{
    struct err err;
    store("b.sgx/");
    size_t before = names_in(".");
    g_bundle.node_count = 1;
    store("b.sgx");
    store("./b.sgx//");
    g_bundle.node_count = 2;
    assert_int_equal(names_in("."), before);
    assert_int_equal(names_in("b.sgx/nodes"), 1);
    struct bundle *b = NULL;
    assert_int_equal(bundle_load_any("b.sgx", &b, &err), 0);
    assert_int_equal(b->node_count, 1);
    bundle_free(b);
}

static void test_replaces_an_unknown_version(void **state UNUSED)
{
    store("v.sgx");
    put("v.sgx/bundle.json", "{\"format\": \"sgxpy-bundle\", \"version\": 99}");
    store("v.sgx");
}

static void test_overwrites_nothing_else(void **state UNUSED)
{
    assert_int_equal(mkdir("folder", 0755), 0);
    put("folder/precious", "x");
    put("file", "x");
    assert_int_equal(mkdir("empty", 0755), 0);
    assert_int_equal(mkdir("other", 0755), 0);
    put("other/bundle.json", "{\"format\": \"another\", \"version\": 1}");
    store("mine.sgx");
    put("mine.sgx/notes.txt", "x");
    store("real.sgx");
    assert_int_equal(symlink("real.sgx", "link.sgx"), 0);
    assert_int_equal(symlink("nowhere", "dangling.sgx"), 0);

    static const char *const names[] = { "folder",   "file",     "empty",       "other",
                                         "mine.sgx", "link.sgx", "dangling.sgx" };
    size_t before = names_in(".");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct err err = { 0 };
        int got = bundle_store(names[i], &g_bundle, &err);
        if (got != -EEXIST || !strstr(err.text, "not overwritten"))
            fail_msg("%s: got %d, '%s'", names[i], got, err.text);
    }
    assert_int_equal(names_in("."), before);
    assert_int_equal(access("folder/precious", F_OK), 0);
    assert_int_equal(access("mine.sgx/notes.txt", F_OK), 0);

    struct err err = { 0 };
    assert_int_equal(bundle_store("none/x.sgx", &g_bundle, &err), -ENOENT);
    assert_non_null(strstr(err.text, "none/x.sgx"));
}

/* A failure on the way leaves the old bundle and no temporary folder. */
static void test_failure_changes_nothing(void **state UNUSED)
{
    struct err err = { 0 };
    store("kept.sgx");
    size_t before = names_in(".");
    struct bundle bad = g_bundle;
    bad.node_count = 0;
    assert_int_equal(bundle_store("kept.sgx", &bad, &err), -EINVAL);
    bad.node_count = 2;
    struct bundle_node nodes[2] = { g_nodes[0], g_nodes[1] };
    nodes[1].manifest_size = 0;
    bad.nodes = nodes;
    assert_int_equal(bundle_store("kept.sgx", &bad, &err), -EFBIG);
    assert_int_equal(names_in("."), before);
    struct bundle *b = NULL;
    assert_int_equal(bundle_load_any("kept.sgx", &b, &err), 0);
    bundle_free(b);
}

static void test_other_library_os(void **state UNUSED)
{
    struct err err = { 0 };
    struct bundle *b = NULL;
    store("os.sgx");
    assert_int_equal(bundle_load("os.sgx", g_other_os, &b, &err), -ESTALE);
    assert_int_equal(err.exit_code, 4);
    assert_non_null(strstr(err.text, "sign it again"));
    assert_non_null(strstr(err.text, "'os.sgx'"));
    assert_null(b);
}

#define H64 "abababababababababababababababababababababababababababababababab"

static const struct {
    const char *name;
    const char *file;
    const char *text; /* NULL: removed */
    const char *says;
} broken[] = {
    { "no bundle.json", "bundle.json", NULL, "bundle.json" },
    { "no JSON", "bundle.json", "{", "line 1" },
    { "an array", "bundle.json", "[]", "format" },
    { "other format", "bundle.json", "{\"format\": \"x\"}", "format" },
    { "no version", "bundle.json", "{\"format\": \"sgxpy-bundle\"}", "version" },
    { "version 2", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"library_os\": \"" H64 "\", \"nodes\": 2, \"version\": 2}",
      "version 2; this sgxpy knows version 1" },
    { "version as text", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"library_os\": \"" H64
      "\", \"nodes\": 2, \"version\": \"1\"}",
      "no version" },
    { "another key", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"library_os\": \"" H64
      "\", \"nodes\": 2, \"version\": 1, \"more\": 1}",
      "nothing else" },
    { "a key twice", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"format\": \"sgxpy-bundle\", \"version\": 1}", "duplicate" },
    { "a short hash", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"library_os\": \"abab\", \"nodes\": 2, \"version\": 1}",
      "library_os" },
    { "a hash that is none", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"library_os\": \"X"
      "bababababababababababababababababababababababababababababababab\", \"nodes\": 2, "
      "\"version\": 1}",
      "library_os" },
    { "no nodes", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"library_os\": \"" H64 "\", \"nodes\": 0, \"version\": 1}",
      "nodes" },
    { "too many nodes", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"library_os\": \"" H64
      "\", \"nodes\": 1000000, \"version\": 1}",
      "nodes" },
    { "one node more than there is", "bundle.json",
      "{\"format\": \"sgxpy-bundle\", \"library_os\": \"" H64 "\", \"nodes\": 3, \"version\": 1}",
      "nodes/2/sigstruct.bin" },
    { "no cascade", "cascade.json", NULL, "cascade.json" },
    { "no manifest", "nodes/1/manifest.bin", NULL, "nodes/1/manifest.bin" },
    { "an empty manifest", "nodes/0/manifest.bin", "", "is empty" },
    { "no SIGSTRUCT", "nodes/0/sigstruct.bin", NULL, "nodes/0/sigstruct.bin" },
    { "a short SIGSTRUCT", "nodes/1/sigstruct.bin", "x", "holds 1 of 1808 bytes" },
};

static void test_broken(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        struct err err = { 0 };
        struct bundle *b = NULL;
        assert_int_equal(tree_remove(AT_FDCWD, "broken.sgx", &err), 0);
        store("broken.sgx");
        char path[256];
        snprintf(path, sizeof(path), "broken.sgx/%s", broken[i].file);
        if (broken[i].text)
            put(path, broken[i].text);
        else
            assert_int_equal(unlink(path), 0);
        int got = bundle_load("broken.sgx", g_bundle.library_os, &b, &err);
        if (got >= 0 || b || err.exit_code != 2 || !strstr(err.text, broken[i].says) ||
            !strstr(err.text, "'broken.sgx'"))
            fail_msg("%s: got %d, exit %d, '%s', want '%s'", broken[i].name, got, err.exit_code,
                     err.text, broken[i].says);
    }
    struct err err = { 0 };
    struct bundle *b = NULL;
    assert_int_equal(bundle_load_any("missing.sgx", &b, &err), -ENOENT);
    assert_int_equal(err.exit_code, 2);
    put("a-file", "x");
    assert_int_equal(bundle_load_any("a-file", &b, &err), -ENOTDIR);
    assert_int_equal(err.exit_code, 2);
}

static void test_two_keys(void **state UNUSED)
{
    struct err err = { 0 };
    struct bundle *b = NULL;
    struct sgx_sigstruct kept = g_nodes[1].sigstruct;
    sign(&g_nodes[1].sigstruct, NULL);
    store("keys.sgx");
    g_nodes[1].sigstruct = kept;
    assert_int_equal(bundle_load_any("keys.sgx", &b, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "different keys"));
}

/* The same bundle twice is the same bytes. */
static void test_reproducible(void **state UNUSED)
{
    store("r1.sgx");
    store("r2.sgx");
    assert_int_equal(system("diff -r r1.sgx r2.sgx"), 0);
}

/* A node by its measurement, without the rest of the bundle. */
static void test_load_child(void **state UNUSED)
{
    struct sgx_sigstruct saved[2] = { g_nodes[0].sigstruct, g_nodes[1].sigstruct };
    struct signing_key *key;
    struct sigstruct_params params;
    struct err err = { 0 };
    char *pem;
    size_t size;
    assert_int_equal(file_load(AT_FDCWD, TEST_DATA "/test_key.pem", 1 << 16, &pem, &size, &err), 0);
    assert_int_equal(keys_parse(pem, size, "key", &key, &err), 0);
    free(pem);
    sigstruct_profile(&params, false);
    params.date = 0x20261122;
    for (size_t i = 0; i < 2; i++) {
        memset(params.enclave_hash, (int)i + 1, sizeof(params.enclave_hash));
        assert_int_equal(sigstruct_build(&params, key, &g_nodes[i].sigstruct, &err), 0);
    }
    keys_free(key);
    store("child.sgx");
    g_nodes[0].sigstruct = saved[0];
    g_nodes[1].sigstruct = saved[1];

    uint8_t want[SGX_HASH_SIZE];
    for (size_t i = 0; i < 3; i++) {
        struct bundle_node node = { 0 };
        memset(want, (int)i + 1, sizeof(want));
        int r = bundle_load_child("child.sgx", want, &node, &err);
        assert_int_equal(r, i < 2 ? 0 : -ENOENT);
        if (r == 0)
            assert_string_equal((char *)node.manifest + node.manifest_size - 5,
                                i ? "ifest" : "first");
        else
            assert_int_equal(err.exit_code, 4);
        bundle_node_done(&node);
    }

    /* Broken in each way that a scan meets. */
    struct bundle_node node = { 0 };
    memset(want, 2, sizeof(want));
    assert_int_equal(unlink("child.sgx/nodes/1/manifest.bin"), 0);
    assert_int_equal(bundle_load_child("child.sgx", want, &node, &err), -ENOENT);
    assert_int_equal(truncate("child.sgx/nodes/0/sigstruct.bin", 970), 0);
    assert_int_equal(bundle_load_child("child.sgx", want, &node, &err), -EBADMSG);
    assert_int_equal(err.exit_code, 2);
    assert_int_equal(bundle_load_child("no.sgx", want, &node, &err), -ENOENT);
    bundle_node_done(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_replaces_a_bundle),
        cmocka_unit_test(test_replaces_an_unknown_version),
        cmocka_unit_test(test_overwrites_nothing_else),
        cmocka_unit_test(test_failure_changes_nothing),
        cmocka_unit_test(test_other_library_os),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_two_keys),
        cmocka_unit_test(test_reproducible),
        cmocka_unit_test(test_load_child),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
