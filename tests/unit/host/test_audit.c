/* The audit file under load: many processes and threads, rotation, a full disk, strange content. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/audit.h"
#include "host/log.h"
#include "util/fs.h"

static char g_dir[64], g_path[128];

static int setup(void **state UNUSED)
{
    strcpy(g_dir, "/tmp/sgxpy-audit-XXXXXX");
    if (!mkdtemp(g_dir))
        return -1;
    snprintf(g_path, sizeof(g_path), "%s/audit.log", g_dir);
    return 0;
}

static int teardown(void **state UNUSED)
{
    return tree_remove(AT_FDCWD, g_dir, NULL);
}

static struct audit *open_audit(uint64_t rotate_size, uint32_t keep)
{
    const struct audit_options options = {
        .path = g_path, .node = "n", .rotate_size = rotate_size, .keep = keep
    };
    struct audit *audit = NULL;
    struct err err = { 0 };
    if (audit_new(&options, &audit, &err) < 0)
        fail_msg("%s", err.text);
    return audit;
}

static void put(struct audit *audit, const char *path)
{
    const struct ocall_audit event = { .event = OCALL_AUDIT_NOT_GRANTED, .error = EACCES };
    audit_event(audit, &event, path, strlen(path));
}

/* The lines of the file and its older ones, oldest first; each must be JSON. Free with json_decref. */
static json_t *read_all(unsigned keep)
{
    json_t *all = json_array();
    for (int i = (int)keep; i >= 0; i--) {
        char name[160], line[65536];
        snprintf(name, sizeof(name), i ? "%s.%d" : "%s", g_path, i);
        FILE *in = fopen(name, "r");
        if (!in)
            continue;
        while (fgets(line, sizeof(line), in)) {
            if (!strcmp(line, "\n"))
                continue;
            json_error_t error;
            json_t *object = json_loads(line, 0, &error);
            if (!object)
                fail_msg("%s: '%s': %s", name, line, error.text);
            json_array_append_new(all, object);
        }
        fclose(in);
    }
    return all;
}

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text ? text : "";
}

/* ---- many writers ---- */

#define PROCESSES 4
#define THREADS   3
#define LINES     200

struct writer {
    struct audit *audit;
    int process, thread;
};

static void *write_lines(void *arg)
{
    const struct writer *w = arg;
    for (int i = 0; i < LINES; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/%d/%d/%d", w->process, w->thread, i);
        put(w->audit, path);
    }
    return NULL;
}

static void run_process(int process, uint64_t rotate_size, uint32_t keep)
{
    struct audit *audit = open_audit(rotate_size, keep);
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){ audit, process, i };
        if (pthread_create(&threads[i], NULL, write_lines, &writers[i]) != 0)
            _exit(1);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t lost = audit_lost_count(audit);
    audit_free(audit);
    _exit(lost ? 2 : 0);
}

/* Nothing lost, nothing twice, each thread's lines in its order, all in the order of their times. */
static void test_many_writers(void **state UNUSED)
{
    static const struct {
        const char *name;
        uint64_t rotate_size;
    } cases[] = { { "one file", 0 }, { "rotated all the time", AUDIT_ROTATE_MIN } };
    const uint32_t keep = 900;
    for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
        unlink(g_path);
        for (int p = 0; p < PROCESSES; p++)
            if (fork() == 0)
                run_process(p, cases[c].rotate_size, keep);
        for (int p = 0; p < PROCESSES; p++) {
            int status;
            assert_true(wait(&status) > 0);
            if (status != 0)
                fail_msg("%s: a writer ended with %x", cases[c].name, status);
        }
        json_t *all = read_all(keep);
        int next[PROCESSES][THREADS] = { 0 };
        const char *time = "";
        size_t index;
        const json_t *line;
        json_array_foreach(all, index, line)
        {
            int process, thread, i;
            if (sscanf(text_of(line, "path"), "/%d/%d/%d", &process, &thread, &i) != 3 ||
                next[process][thread]++ != i)
                fail_msg("%s: line %zu: '%s' out of order", cases[c].name, index,
                         text_of(line, "path"));
            if (strcmp(time, text_of(line, "time")) > 0)
                fail_msg("%s: line %zu is older than the one before", cases[c].name, index);
            time = text_of(line, "time");
        }
        if (json_array_size(all) != PROCESSES * THREADS * LINES)
            fail_msg("%s: %zu lines", cases[c].name, json_array_size(all));
        json_decref(all);
        struct stat st;
        assert_int_equal(stat(g_path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        if (cases[c].rotate_size)
            assert_true((uint64_t)st.st_size <= cases[c].rotate_size);
    }
}

/* ---- rotation ---- */

static void test_rotation_keeps_the_youngest(void **state UNUSED)
{
    struct audit *audit = open_audit(AUDIT_ROTATE_MIN, 3);
    char path[64];
    for (int i = 0; i < 400; i++) {
        snprintf(path, sizeof(path), "/%d", i);
        put(audit, path);
    }
    audit_free(audit);
    json_t *all = read_all(10);
    size_t count = json_array_size(all);
    assert_true(count > 60 && count < 200);
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "/%zu", 400 - count + i);
        assert_string_equal(text_of(json_array_get(all, i), "path"), path);
    }
    json_decref(all);
    char name[160];
    snprintf(name, sizeof(name), "%s.3", g_path);
    assert_int_equal(access(name, F_OK), 0);
    snprintf(name, sizeof(name), "%s.4", g_path);
    assert_int_equal(access(name, F_OK), -1);
}

/* A line longer than the limit stands alone in its file; none is cut. */
static void test_long_line(void **state UNUSED)
{
    struct audit *audit = open_audit(AUDIT_ROTATE_MIN, 5);
    char path[8192];
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    put(audit, "/before");
    put(audit, path);
    put(audit, "/after");
    audit_free(audit);
    json_t *all = read_all(5);
    assert_int_equal(json_array_size(all), 3);
    assert_string_equal(text_of(json_array_get(all, 1), "path"), path);
    json_decref(all);
}

/* logrotate, or an `rm`: the next line makes a new file. */
static void test_moved_away(void **state UNUSED)
{
    struct audit *audit = open_audit(0, 1);
    char other[160];
    snprintf(other, sizeof(other), "%s.1", g_path);
    put(audit, "/a");
    assert_int_equal(rename(g_path, other), 0);
    put(audit, "/b");
    assert_int_equal(unlink(g_path), 0);
    put(audit, "/c");
    audit_free(audit);
    json_t *all = read_all(1);
    assert_int_equal(json_array_size(all), 2);
    assert_string_equal(text_of(json_array_get(all, 0), "path"), "/a");
    assert_string_equal(text_of(json_array_get(all, 1), "path"), "/c");
    json_decref(all);
}

static void test_torn_line_gets_its_end(void **state UNUSED)
{
    int fd = open(g_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "{\"event\":", 9), 9);
    close(fd);
    struct audit *audit = open_audit(0, 1);
    put(audit, "/a");
    audit_free(audit);
    char *text;
    size_t size;
    assert_int_equal(file_load(AT_FDCWD, g_path, 65536, &text, &size, NULL), 0);
    assert_memory_equal(text, "{\"event\":\n{\"time\"", 17);
    free(text);
}

/* ---- no room ---- */

/* A limit on file sizes stands for a full disk: both fail in the middle of a line. */
static void test_no_room(void **state UNUSED)
{
    struct rlimit saved, limit;
    FILE *sink = tmpfile();
    int saved_log = log_fd();
    log_redirect(fileno(sink));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &saved);
    limit = saved;
    limit.rlim_cur = 1000;

    struct audit *audit = open_audit(0, 1);
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 20; i++)
        put(audit, "/x");
    uint64_t lost = audit_lost_count(audit);
    setrlimit(RLIMIT_FSIZE, &saved);
    put(audit, "/y");
    put(audit, "/z");
    assert_int_equal(audit_lost_count(audit), lost);
    audit_free(audit);
    log_redirect(saved_log);

    json_t *all = read_all(0);
    size_t count = json_array_size(all);
    assert_true(lost > 0 && lost < 20);
    assert_int_equal(count, 20 - lost + 3);
    const json_t *line = json_array_get(all, count - 3);
    assert_string_equal(text_of(line, "event"), "lost");
    assert_int_equal(json_integer_value(json_object_get(line, "count")), lost);
    assert_int_equal(json_integer_value(json_object_get(line, "errno")), EFBIG);
    assert_string_equal(text_of(json_array_get(all, count - 1), "path"), "/z");
    json_decref(all);

    char text[4096] = "";
    rewind(sink);
    size_t size = fread(text, 1, sizeof(text) - 1, sink);
    text[size] = '\0';
    assert_non_null(strstr(text, "lines are being lost"));
    assert_true(strchr(text, '\n') == text + size - 1); /* once */
    fclose(sink);
}

static void test_rotation_fails(void **state UNUSED)
{
    if (geteuid() == 0) {
        /* Root may rename whatever the modes say: a folder in the way stops it. */
        char name[160];
        snprintf(name, sizeof(name), "%s.1", g_path);
        assert_int_equal(mkdir(name, 0700), 0);
    } else {
        close(open(g_path, O_CREAT | O_WRONLY, 0600));
        assert_int_equal(chmod(g_dir, 0500), 0);
    }
    FILE *sink = tmpfile();
    int saved_log = log_fd();
    log_redirect(fileno(sink));
    struct audit *audit = open_audit(AUDIT_ROTATE_MIN, 1);
    for (int i = 0; i < 100; i++)
        put(audit, "/x");
    assert_int_equal(audit_lost_count(audit), 0);
    audit_free(audit);
    log_redirect(saved_log);
    chmod(g_dir, 0700);
    json_t *all = read_all(0);
    assert_int_equal(json_array_size(all), 100);
    json_decref(all);
    assert_true(ftell(sink) > 0 || fseek(sink, 0, SEEK_END) == 0);
    assert_true(ftell(sink) > 0);
    fclose(sink);
}

/* ---- content ---- */

static void test_strange_paths(void **state UNUSED)
{
    static const struct {
        const char *path, *key, *want;
    } cases[] = {
        { "/a\nb", "path", "/a\nb" },
        { "/\x1b[2J\r\t\"\\", "path", "/\x1b[2J\r\t\"\\" },
        { "/\xc2\x9b"
          "31m",
          "path",
          "/\xc2\x9b"
          "31m" },
        { "/\xe2\x80\xae", "path", "/\xe2\x80\xae" },
        { "/\xf0\x9f\x90\x8d", "path", "/\xf0\x9f\x90\x8d" },
        { "/\xff", "path_hex", "2fff" },
    };
    struct audit *audit = open_audit(0, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        put(audit, cases[i].path);
    audit_free(audit);
    char *text;
    size_t size;
    assert_int_equal(file_load(AT_FDCWD, g_path, 65536, &text, &size, NULL), 0);
    for (size_t i = 0; i < size; i++)
        if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
            fail_msg("byte %x at %zu", text[i], i);
    free(text);
    json_t *all = read_all(0);
    assert_int_equal(json_array_size(all), ARRAY_SIZE(cases));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_string_equal(text_of(json_array_get(all, i), cases[i].key), cases[i].want);
    json_decref(all);
}

static void test_net(void **state UNUSED)
{
    struct audit *audit = open_audit(0, 1);
    struct ocall_audit event = { .event = OCALL_AUDIT_NET, .error = EACCES, .value = 2 | 1 << 8 };
    audit_event(audit, &event, "10.0.0.1:80", 11);
    event.value = 77;
    audit_event(audit, &event, "x", 1);
    event.value = 16;
    audit_event(audit, &event, NULL, 0);
    audit_free(audit);
    json_t *all = read_all(0);
    assert_string_equal(text_of(json_array_get(all, 0), "address"), "10.0.0.1:80");
    assert_string_equal(text_of(json_array_get(all, 0), "action"), "connect");
    assert_string_equal(text_of(json_array_get(all, 0), "type"), "tcp");
    assert_string_equal(text_of(json_array_get(all, 0), "option"), "--connect 10.0.0.1:80/tcp");
    assert_string_equal(text_of(json_array_get(all, 1), "action"), "");
    assert_string_equal(text_of(json_array_get(all, 1), "option"), "");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(all, 2), "value")), 16);
    json_decref(all);
}

static void test_given(void **state UNUSED)
{
    struct audit *audit = open_audit(0, 1);
    struct ocall_audit event = { .event = OCALL_AUDIT_GIVEN, .value = OCALL_GIVEN_DROPPED };
    audit_event(audit, &event, "PYTHONPATHx", 10);
    event.value = OCALL_GIVEN_FOLDER;
    audit_event(audit, &event, "/dev/shm", 8);
    event.value = 77; /* the enclave's word is the host's problem, not the other way round */
    audit_event(audit, &event, "X", 1);
    audit_free(audit);
    json_t *all = read_all(0);
    assert_string_equal(text_of(json_array_get(all, 0), "event"), "given");
    assert_string_equal(text_of(json_array_get(all, 0), "variable"), "PYTHONPATH");
    assert_string_equal(text_of(json_array_get(all, 0), "action"), "dropped");
    assert_string_equal(text_of(json_array_get(all, 0), "option"), "--insecure_given PYTHONPATH");
    assert_string_equal(text_of(json_array_get(all, 1), "path"), "/dev/shm");
    assert_string_equal(text_of(json_array_get(all, 1), "action"), "traced-folder");
    assert_string_equal(text_of(json_array_get(all, 1), "option"), "--insecure_given all");
    assert_string_equal(text_of(json_array_get(all, 2), "action"), "");
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_writers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation_keeps_the_youngest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moved_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_line_gets_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strange_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_net, setup, teardown),
        cmocka_unit_test_setup_teardown(test_given, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
