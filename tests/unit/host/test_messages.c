/* What people and log readers get: quoting, refusals, the audit file, boot strings, logs. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/sha256.h"
#include "fake_device.h"
#include "host/audit.h"
#include "host/handle.h"
#include "host/log.h"
#include "host/quote.h"
#include "host/refuse.h"
#include "host/run.h"
#include "util/fs.h"

static char g_dir[64];

static int setup(void **state UNUSED)
{
    strcpy(g_dir, "/tmp/sgxpy-host-XXXXXX");
    return mkdtemp(g_dir) ? 0 : -1;
}

static int teardown(void **state UNUSED)
{
    return tree_remove(AT_FDCWD, g_dir, NULL);
}

static void test_quote(void **state UNUSED)
{
    static const struct {
        const char *name, *text;
        size_t size;
        const char *want;
        bool utf8;
    } cases[] = {
        { "plain", "/a b", 4, "'/a b'", true },
        { "empty", "", 0, "''", true },
        { "quote", "a'b\\", 4, "'a\\'b\\\\'", true },
        { "newline", "a\nb\t", 4, "'a\\nb\\t'", true },
        { "escape", "\x1b[31m", 5, "'\\x1b[31m'", true },
        { "delete", "\x7f", 1, "'\\x7f'", true },
        { "utf-8", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d", 9,
          "'\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d'", true },
        { "c1", "\xc2\x9b", 2, "'\\xc2\\x9b'", true },
        { "latin-1", "\xe4x", 2, "'\\xe4x'", false },
        { "cut", "\xe2\x82", 2, "'\\xe2\\x82'", false },
        { "overlong", "\xc0\xaf", 2, "'\\xc0\\xaf'", false },
        { "surrogate", "\xed\xa0\x80", 3, "'\\xed\\xa0\\x80'", false },
        { "beyond", "\xf4\x90\x80\x80", 4, "'\\xf4\\x90\\x80\\x80'", false },
        { "nul", "a\0b", 3, "'a\\x00b'", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char got[QUOTE_SIZE(16)];
        quote(cases[i].text, cases[i].size, got);
        if (strcmp(got, cases[i].want) != 0 ||
            quote_is_utf8(cases[i].text, cases[i].size) != cases[i].utf8)
            fail_msg("%s: got %s, want %s", cases[i].name, got, cases[i].want);
    }
}

#define HASH_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void test_refusals(void **state UNUSED)
{
    static const struct {
        const char *name;
        struct ocall_refusal refusal;
        const char *path, *package;
        const char *want; /* each line must be there, in this order */
        int code;
        bool bundle_given;
    } cases[] = {
        { "content of a .py",
          { .kind = OCALL_REFUSED_CONTENT,
            .action = OCALL_REFUSED_ABORT,
            .offset = 65536,
            .expected = { 1 },
            .actual = { 0xfe } },
          "/usr/lib/python3/a.py",
          "python3-a",
          "sgxpy: refused: '/usr/lib/python3/a.py' is not what was signed (package python3-a)\n"
          "sgxpy:   chunk at offset 65536: expected "
          "0100000000000000000000000000000000000000000000000000000000000000\n"
          "sgxpy:                          actual   "
          "fe00000000000000000000000000000000000000000000000000000000000000\n"
          "sgxpy:   edited it yourself? --retrace\n",
          3 },
        { "short data",
          { .kind = OCALL_REFUSED_SHORT,
            .action = OCALL_REFUSED_ABORT,
            .expected_size = 100,
            .actual_size = 99 },
          "/data.csv",
          NULL,
          "sgxpy: refused: '/data.csv' is not what was signed: it ends after 99 of 100 bytes\n"
          "sgxpy:   edited it yourself? --retrace; changes often? --allow '/data.csv', "
          "unprotected\n",
          3 },
        { "longer",
          { .kind = OCALL_REFUSED_LONG, .action = OCALL_REFUSED_ABORT, .expected_size = 100 },
          "/lib/x.so.1",
          NULL,
          "sgxpy: refused: '/lib/x.so.1' is not what was signed: it has more than 100 bytes\n"
          "sgxpy:   edited it yourself? --retrace\n",
          3 },
        { "deleted",
          { .kind = OCALL_REFUSED_MISSING, .action = OCALL_REFUSED_DENY, .error = ENOENT },
          "/d\n",
          NULL,
          "sgxpy: denied (EIO): '/d\\n' is not what was signed: it is missing\n",
          3 },
        { "data of a bundle",
          { .kind = OCALL_REFUSED_MISSING, .action = OCALL_REFUSED_ABORT, .error = ENOENT },
          "/data.csv",
          NULL,
          "sgxpy: refused: '/data.csv' is not what was signed: it is missing\n"
          "sgxpy:   edited it yourself? trace and sign again; changes often? --allow '/data.csv', "
          "unprotected\n",
          3,
          .bundle_given = true },
        { "denied in a bundle",
          { .kind = OCALL_REFUSED_TYPE, .action = OCALL_REFUSED_DENY },
          "/d",
          NULL,
          "sgxpy: denied (EIO): '/d' is not what was signed: it is no regular file any more\n",
          3,
          .bundle_given = true },
        { "a folder now",
          { .kind = OCALL_REFUSED_TYPE, .action = OCALL_REFUSED_ABORT },
          "/m.pyc",
          NULL,
          "sgxpy: refused: '/m.pyc' is not what was signed: it is no regular file any more\n"
          "sgxpy:   edited it yourself? --retrace\n",
          3 },
        { "not permitted",
          { .kind = OCALL_REFUSED_MISSING, .action = OCALL_REFUSED_ABORT, .error = EACCES },
          "/secret",
          NULL,
          "sgxpy: refused: '/secret' cannot be opened: Permission denied, running as user 'ann' "
          "(uid ",
          4 },
    };
    setenv("USER", "ann", 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *text = refuse_text(&cases[i].refusal, cases[i].path, strlen(cases[i].path), NULL,
                                 cases[i].package, cases[i].bundle_given);
        assert_non_null(text);
        if (strncmp(text, cases[i].want, strlen(cases[i].want)) != 0 ||
            (cases[i].code == 3 && strcmp(text, cases[i].want) != 0))
            fail_msg("%s: got\n%swant\n%s", cases[i].name, text, cases[i].want);
        assert_int_equal(refuse_exit_code(&cases[i].refusal), cases[i].code);
        free(text);
    }
}

static void test_audit(void **state UNUSED)
{
    char path[128];
    struct audit *audit;
    struct err err;
    snprintf(path, sizeof(path), "%s/audit", g_dir);
    const struct audit_options options = { .path = path, .node = "python3 \"x\"" };
    for (int round = 0; round < 2; round++) { /* the second appends */
        assert_int_equal(audit_new(&options, &audit, &err), 0);
        struct ocall_audit event = {
            .event = OCALL_AUDIT_ABSENT, .error = ENOENT, .pid = 1, .tid = 2
        };
        audit_event(audit, &event, "/a\n", 3);
        audit_event(audit, &event, "/a\n", 3);
        audit_event(audit, &event, "/\xff", 2);
        event.event = OCALL_AUDIT_SYSCALL;
        event.value = 425;
        audit_event(audit, &event, "", 0);
        event.event = 4000000000u;
        audit_event(audit, &event, "/z", 2);
        const struct ocall_refusal refusal = { .kind = OCALL_REFUSED_CONTENT,
                                               .action = OCALL_REFUSED_DENY,
                                               .offset = 65536,
                                               .expected = { 0xab } };
        audit_refusal(audit, &refusal, "/r", 2);
        audit_exit(audit, 3);
        assert_int_equal(audit_absent_count(audit), 2);
        audit_free(audit);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);

    FILE *in = fopen(path, "r");
    char line[4096];
    int count = 0;
    json_t *lines[20];
    while (fgets(line, sizeof(line), in)) {
        json_error_t error;
        lines[count] = json_loads(line, 0, &error);
        assert_non_null(lines[count]);
        assert_non_null(json_object_get(lines[count], "time"));
        assert_string_equal(json_string_value(json_object_get(lines[count], "node")),
                            "python3 \"x\"");
        count++;
    }
    fclose(in);
    assert_int_equal(count, 14);
    assert_string_equal(json_string_value(json_object_get(lines[0], "event")), "absent");
    assert_string_equal(json_string_value(json_object_get(lines[0], "path")), "/a\n");
    assert_int_equal(json_integer_value(json_object_get(lines[0], "pid")), 1);
    assert_null(json_object_get(lines[2], "path"));
    assert_string_equal(json_string_value(json_object_get(lines[2], "path_hex")), "2fff");
    assert_int_equal(json_integer_value(json_object_get(lines[3], "value")), 425);
    assert_string_equal(json_string_value(json_object_get(lines[5], "action")), "deny");
    assert_int_equal(json_integer_value(json_object_get(lines[5], "offset")), 65536);
    assert_memory_equal(json_string_value(json_object_get(lines[5], "expected")), "ab00", 4);
    assert_int_equal(json_integer_value(json_object_get(lines[6], "status")), 3);
    for (int i = 0; i < count; i++)
        json_decref(lines[i]);

    assert_int_equal(
        audit_new(&(const struct audit_options){ .path = "/dev/null", .node = "n" }, &audit, &err),
        -EINVAL);
    snprintf(path, sizeof(path), "%s/no/such", g_dir);
    assert_int_equal(audit_new(&options, &audit, &err), -ENOENT);
    assert_non_null(strstr(err.text, path));
}

/* Runs one OCALL in a child with messages to a file; returns the exit code, 100 if it came back. */
static int message_of(uint32_t nr, const void *data, size_t size, uint64_t a, uint64_t b,
                      bool quiet, char *ret, size_t ret_size)
{
    FILE *sink = tmpfile();
    pid_t pid = fork();
    if (pid == 0) {
        struct host_options options = { .bundle_given = true };
        struct host host = { .device = fake_device_new(NULL), .quiet = quiet, .options = &options };
        struct err err;
        if (audit_new(&(const struct audit_options){ .node = "n" }, &host.audit, &err) < 0 ||
            thread_pool_init(&host, 1, &err) < 0)
            _exit(101);
        log_redirect(fileno(sink));
        struct ocall_audit absent = { .event = OCALL_AUDIT_ABSENT, .path_size = 2 };
        struct host_thread *t = &host.threads[0];
        memcpy(t->data, &absent, sizeof(absent));
        memcpy(t->data + sizeof(absent), "/x", 2);
        if (SERVE(t, OCALL_AUDIT, sizeof(absent) + 2) != 0)
            _exit(102);
        if (SERVE(t, OCALL_AUDIT, sizeof(absent) + 1) != -EINVAL ||
            SERVE(t, OCALL_AUDIT, 3) != -EINVAL)
            _exit(103);
        memcpy(t->data, data, size);
        int64_t r = SERVE(t, nr, a, b);
        _exit(r == 0 ? 100 : 104);
    }
    int status;
    waitpid(pid, &status, 0);
    rewind(sink);
    size_t n = fread(ret, 1, ret_size - 1, sink);
    ret[n] = '\0';
    fclose(sink);
    return WEXITSTATUS(status);
}

static void test_messages(void **state UNUSED)
{
    char text[4096];
    struct {
        struct ocall_refusal refusal;
        char path[4];
    } refused = { { .kind = OCALL_REFUSED_MISSING,
                    .action = OCALL_REFUSED_ABORT,
                    .error = ENOENT,
                    .path_size = 2 },
                  "/q" };
#define HINT                                                                          \
    "sgxpy: 1 path not in the manifest; --audit FILE lists them for `sgxpy manifest " \
    "--from-audit`\n"
    assert_int_equal(message_of(OCALL_REFUSE, &refused, sizeof(refused),
                                sizeof(struct ocall_refusal) + 2, 0, false, text, sizeof(text)),
                     3);
    assert_non_null(strstr(text, "refused: '/q' is not what was signed: it is missing\n"));
    assert_non_null(strstr(text, "edited it yourself? trace and sign again"));
    assert_non_null(strstr(text, HINT));
    refused.refusal.action = OCALL_REFUSED_DENY;
    assert_int_equal(message_of(OCALL_REFUSE, &refused, sizeof(refused),
                                sizeof(struct ocall_refusal) + 2, 0, false, text, sizeof(text)),
                     100);
    assert_non_null(strstr(text, "denied (EIO): '/q'"));
    /* A path size beyond what was passed reads no further. */
    refused.refusal.path_size = UINT32_MAX;
    refused.refusal.action = OCALL_REFUSED_ABORT;
    assert_int_equal(message_of(OCALL_REFUSE, &refused, sizeof(refused),
                                sizeof(struct ocall_refusal) + 2, 0, false, text, sizeof(text)),
                     3);
    assert_non_null(strstr(text, "'/q' is not"));
    assert_int_equal(message_of(OCALL_REFUSE, "", 1, 1, 0, false, text, sizeof(text)), 4);

    assert_int_equal(message_of(OCALL_EXIT, "", 1, 5, 0, false, text, sizeof(text)), 5);
    assert_string_equal(text, HINT);
    assert_int_equal(message_of(OCALL_EXIT, "", 1, 0, 0, false, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_int_equal(message_of(OCALL_EXIT, "", 1, 256 + 7, 0, false, text, sizeof(text)), 7);
    assert_int_equal(message_of(OCALL_EXIT, "", 1, 0, 15, false, text, sizeof(text)), 143);

    assert_int_equal(
        message_of(OCALL_LOG, "hi \x1b\n", 5, OCALL_LOG_NOTE, 5, false, text, sizeof(text)), 100);
    assert_string_equal(text, "sgxpy: hi ?\n");
    assert_int_equal(message_of(OCALL_LOG, "hi", 2, OCALL_LOG_NOTE, 2, true, text, sizeof(text)),
                     100);
    assert_string_equal(text, "");
    assert_int_equal(message_of(OCALL_LOG, "bad", 3, OCALL_LOG_ERROR, 3, true, text, sizeof(text)),
                     100);
    assert_string_equal(text, "sgxpy: bad\n");
    assert_int_equal(
        message_of(OCALL_LOG, "read(0)\n", 8, OCALL_LOG_STRACE, 8, true, text, sizeof(text)), 100);
    assert_string_equal(text, "read(0)\n");
    assert_int_equal(message_of(OCALL_LOG, "x", 1, 77, 1, false, text, sizeof(text)), 104);
    assert_int_equal(message_of(OCALL_LOG, "x", 1, OCALL_LOG_ERROR, OCALL_DATA_SIZE + 1ull, false,
                                text, sizeof(text)),
                     104);
}

static void test_boot(void **state UNUSED)
{
    static const char *const args[] = { "one", "" };
    static const char *const env[] = { "A=1", "B=", "C" };
    struct host host = { .device = fake_device_new(NULL),
                         .args = args,
                         .arg_count = 2,
                         .env = env,
                         .env_count = 3,
                         .strace = true,
                         .has_sha = true,
                         .has_vaes = true };
    struct err err;
    assert_int_equal(thread_pool_init(&host, 1, &err), 0);
    struct host_thread *t = &host.threads[0];
    assert_int_equal(SERVE(t, OCALL_BOOT, 0), 0);
    struct ocall_boot boot;
    memcpy(&boot, t->data, sizeof(boot));
    assert_int_equal(boot.arg_count, 2);
    assert_int_equal(boot.env_count, 3);
    assert_int_equal(boot.flags, OCALL_BOOT_STRACE | OCALL_BOOT_SHA | OCALL_BOOT_VAES);
    assert_int_equal(boot.strings_size, 4 + 1 + 4 + 3 + 2);
    assert_memory_equal(t->data + sizeof(boot), "one\0\0A=1\0B=\0C", 14);
    thread_done(t);
    free(host.threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quote), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_audit), cmocka_unit_test(test_messages),
        cmocka_unit_test(test_boot),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
