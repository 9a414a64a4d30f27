/*
 * The whole untrusted runtime on the software SGX device, with a small enclave (mini/) in the
 * library OS's place: loading, entries, OCALLs, exceptions, signals, threads, what cannot start.
 * With arguments it is a tool: `test_host_run bench` prints what OCALLs cost, `test_host_run T o`
 * what processes of a tree do (MINI_CHILD: the sgxpy that runs them).
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/child.h"
#include "host/run.h"
#include "manifest_builder.h"
#include "signer/keys.h"
#include "signer/layout.h"
#include "signer/sigstruct.h"
#include "util/fs.h"

static char g_bundle[64], g_dir[80];
static char g_mrenclave[65];
static const char *g_image;
static bool g_poison;

static int store(const char *name, const void *bytes, size_t size)
{
    char path[128];
    struct err err;
    snprintf(path, sizeof(path), "%s/%s", g_dir, name);
    return file_store(AT_FDCWD, path, bytes, size, 0600, 0, &err);
}

/* Builds and signs the one node of g_bundle, in g_dir. */
static int build(void)
{
    struct err err = { 0 };
    CLEANUP(free_p) void *manifest = NULL;
    CLEANUP(free_p) char *image = NULL;
    CLEANUP(layout_free_p) struct layout *layout = NULL;
    CLEANUP(keys_free_p) struct signing_key *key = NULL;
    struct layout_spec spec = { .thread_count = 4, .heap_size = 64 << 20 };
    struct sigstruct_params params;
    struct sgx_sigstruct sigstruct;

    char nodes[80];
    strcpy(g_bundle, "/tmp/sgxpy-run-XXXXXX");
    sigstruct_profile(&params, false);
    params.date = 0x20260101;
    if (!mkdtemp(g_bundle))
        goto fail;
    snprintf(nodes, sizeof(nodes), "%s/nodes", g_bundle);
    snprintf(g_dir, sizeof(g_dir), "%s/nodes/0", g_bundle);
    if (mkdir(nodes, 0700) < 0 || mkdir(g_dir, 0700) < 0 ||
        manifest_build_table(NULL, 0, NULL, &manifest, &spec.manifest_size, &err) < 0 ||
        file_load(AT_FDCWD, g_image, 1 << 20, &image, &spec.image_size, &err) < 0)
        goto fail;
    spec.image = image;
    spec.manifest = manifest;
    if (layout_build(&spec, &layout, &err) < 0 ||
        layout_measure(layout, params.enclave_hash, &err) < 0 || keys_generate(&key, &err) < 0 ||
        sigstruct_build(&params, key, &sigstruct, &err) < 0 ||
        store("manifest.bin", manifest, spec.manifest_size) < 0 ||
        store("sigstruct.bin", &sigstruct, sizeof(sigstruct)) < 0)
        goto fail;
    for (size_t i = 0; i < SGX_HASH_SIZE; i++)
        snprintf(g_mrenclave + 2 * i, 3, "%02x", params.enclave_hash[i]);
    return 0;
fail:
    fprintf(stderr, "%s\n", err.text);
    return -1;
}

static struct host_options options(const char *const *mode)
{
    return (struct host_options){
        .image_path = g_image,
        .node_path = g_dir,
        .bundle_path = g_bundle,
        .child_program = getenv("MINI_CHILD"),
        .device = DEVICE_SOFT,
        .poison = g_poison,
        .quiet = true,
        .args = mode,
        .arg_count = 1,
    };
}

static void nothing(int signal UNUSED)
{
}

/* Runs in a child; the exit code, or 200 + the code of a host_run that came back. */
static int run(const struct host_options *o, int signal_to_send)
{
    signal(SIGUSR1, nothing); /* until the runtime's handlers are there */
    pid_t pid = fork();
    if (pid == 0) {
        struct sigevent kill_me = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
        const struct itimerspec limit = { .it_value = { .tv_sec = 100 } };
        timer_t timer;
        if (timer_create(CLOCK_MONOTONIC, &kill_me, &timer) < 0 ||
            timer_settime(timer, 0, &limit, NULL) < 0)
            _exit(97);
        struct err err = { 0 };
        int r = host_run(o, &err);
        fprintf(stderr, "%s\n", err.text);
        _exit(r < 0 && err.code == r ? 200 + err.exit_code : 98);
    }
    int status;
    while (signal_to_send && waitpid(pid, &status, WNOHANG) == 0) {
        const struct timespec pause = { .tv_nsec = 1000000 };
        nanosleep(&pause, NULL);
        kill(pid, signal_to_send);
    }
    if (!signal_to_send)
        waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_modes(void **state UNUSED)
{
    static const struct {
        const char *name;
        const char *mode;
        int signal, want;
    } cases[] = {
        { "exit code", "exit", 0, 7 },     { "exceptions", "ud2", 0, 0 },
        { "panic", "panic", 0, 134 },      { "signals while it computes", "signals", SIGUSR1, 0 },
        { "alarm", "alarm", 0, 0 },        { "threads", "threads", 0, 0 },
        { "killed", "loop", SIGKILL, -9 }, { "an unknown mode", "?", 0, 65 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct host_options o = options(&cases[i].mode);
        int got = run(&o, cases[i].signal);
        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
    }
}

/* One byte of a file of the node, or of the image, is changed and put back. */
static int with_change(const char *path, long at, const struct host_options *o)
{
    FILE *file = fopen(path, "r+");
    fseek(file, at, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte ^ 1, file);
    fflush(file);
    int got = run(o, 0);
    fseek(file, at, SEEK_SET);
    fputc(byte, file);
    fclose(file);
    return got;
}

static void test_refusals(void **state UNUSED)
{
    static const char *const mode = "exit";
    struct host_options o = options(&mode);
    char manifest[128], sigstruct[128], image[128];
    snprintf(manifest, sizeof(manifest), "%s/manifest.bin", g_dir);
    snprintf(sigstruct, sizeof(sigstruct), "%s/sigstruct.bin", g_dir);
    snprintf(image, sizeof(image), "%s/image", g_dir);

    /* umask in the node record: still a good manifest, but not the signed one */
    CLEANUP(free_p) char *bytes = NULL;
    size_t size;
    struct err err;
    assert_int_equal(file_load(AT_FDCWD, manifest, 1 << 20, &bytes, &size, &err), 0);
    const struct manifest_header *header = (const struct manifest_header *)bytes;
    long umask_at = (long)header->sections[MANIFEST_NODE - 1].offset +
                    (long)offsetof(struct manifest_node, umask);
    assert_int_equal(with_change(manifest, umask_at, &o), 203);
    assert_int_equal(with_change(manifest, 0, &o), 202); /* magic */
    assert_int_equal(with_change(sigstruct, 960, &o),
                     202); /* ENCLAVEHASH: the signature is wrong */
    assert_int_equal(run(&o, 0), 7);

    CLEANUP(free_p) char *copy = NULL;
    assert_int_equal(file_load(AT_FDCWD, g_image, 1 << 20, &copy, &size, &err), 0);
    assert_int_equal(store("image", copy, size), 0);
    o.image_path = image;
    assert_int_equal(run(&o, 0), 7);
    assert_int_equal(with_change(image, 0x1010, &o), 203); /* code */
    o.image_path = "/no/such/image";
    assert_int_equal(run(&o, 0), 204);
    o = options(&mode);
    o.node_path = "/no/such/node";
    assert_int_equal(run(&o, 0), 202);
    o = options(&mode);
    o.audit_path = "/no/such/folder/audit";
    assert_int_equal(run(&o, 0), 202);
}

/* --- trees ----------------------------------------------------------------------------------- */

static struct host_options tree_options(const char *what, const char *ret_args[static 3])
{
    ret_args[0] = "T";
    ret_args[1] = what;
    ret_args[2] = g_mrenclave;
    struct host_options o = options(ret_args);
    o.arg_count = 3;
    o.spare_always = what[0] == 's' || what[0] == 'o';
    return o;
}

static void test_tree(void **state UNUSED)
{
    static const struct {
        const char *name, *what;
        int want;
    } cases[] = {
        { "a child ends", "b", 0 },        { "a child is killed", "k", 0 },
        { "a child panics", "p", 0 },      { "a child refuses: all stop", "r", 3 },
        { "a grandchild", "g", 0 },        { "a nudge", "n", 0 },
        { "an inherited handle", "w", 0 }, { "a request to the hub", "h", 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *args[3];
        struct host_options o = tree_options(cases[i].what, args);
        int got = run(&o, 0);
        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
    }
}

/* The root's host process is killed: nothing of the tree lives on. All of it holds the pipe. */
static void test_tree_dies_whole(void **state UNUSED)
{
    int pipes[2];
    char byte;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const char *args[3];
        struct host_options o = tree_options("l", args);
        dup2(pipes[1], 1);
        close(pipes[0]);
        close(pipes[1]);
        host_run(&o, NULL);
        _exit(98);
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &byte, 1), 1); /* the child is there */
    kill(pid, SIGKILL);
    assert_int_equal(read(pipes[0], &byte, 1), 0); /* the last writer is gone */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(pipes[0]);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], TREE_CHILD_VERB) == 0)
        return tree_child_main(argc, argv);
    g_image = getenv("MINI_IMAGE");
    g_poison = getenv("MINI_POISON");
    if (!g_image || build() < 0)
        return 1;
    if (argc > 1) {
        const char *args[3];
        struct host_options o = argc > 2 ? tree_options(argv[2], args) : options(&args[0]);
        if (argc <= 2)
            args[0] = argv[1];
        o.stats = argc <= 2;
        return run(&o, 0);
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_modes),
                                        cmocka_unit_test(test_refusals),
                                        cmocka_unit_test(test_tree),
                                        cmocka_unit_test(test_tree_dies_whole) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (tree_remove(AT_FDCWD, g_bundle, NULL) < 0)
        return 1;
    return failed;
}
