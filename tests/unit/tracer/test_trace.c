/* Writing a log and reading it back; torn, cut and corrupted ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/log.h"
#include "tracer/trace.h"
#include "util/fs.h"

static char g_path[64];

static int setup(void **state UNUSED)
{
    strcpy(g_path, "/tmp/sgxpy-trace-XXXXXX");
    int fd = mkstemp(g_path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state UNUSED)
{
    return unlink(g_path);
}

/* ---- building logs ---- */

/* "s:text" is a string, anything else a number. A NULL ends the record. */
static void record(struct log *log, enum log_kind kind, const char *field, ...)
{
    va_list fields;
    va_start(fields, field);
    log_begin(log, kind);
    for (; field; field = va_arg(fields, const char *)) {
        if (strncmp(field, "s:", 2) == 0)
            log_string(log, field + 2);
        else
            log_number(log, strtoull(field, NULL, 0));
    }
    log_end(log);
    va_end(fields);
}

static void put_head(struct log *log)
{
    record(log, LOG_RUN, "1700000000", "s:host", "s:6.1", "s:/home", "2", "s:prog", "s:\xff\n",
           NULL);
    record(log, LOG_PATH, "s:/bin/prog", "0100755", "1", "2", "4096", "9", "7", "3", "44", "1", "0",
           NULL);
    record(log, LOG_PROCESS, "100", "5000", "0", "0", "0", "1000", "1001", "022", "s:/home",
           "s:prog", "s:/bin/prog", "1", "0", "1", "0", "1", "s:prog", "2", "s:A=1", "s:PATH=/bin",
           NULL);
}

static void put_end(struct log *log, const char *processes, const char *paths)
{
    record(log, LOG_EXIT, "0", "0", "256", "8192", "3", NULL);
    record(log, LOG_END, processes, paths, NULL);
}

/* Writes a log by fill, and gives its bytes. free() them. */
static char *build(void (*fill)(struct log *), size_t *ret_size)
{
    struct log log;
    struct err err = { 0 };
    char *data;
    assert_int_equal(log_open(&log, g_path, &err), 0);
    fill(&log);
    log_publish(&log);
    assert_int_equal(log_close(&log), 0);
    assert_int_equal(file_load(AT_FDCWD, g_path, 1u << 24, &data, ret_size, &err), 0);
    return data;
}

static int parse(void (*fill)(struct log *), struct trace **ret, struct err *err)
{
    size_t size;
    CLEANUP(free_p) char *data = build(fill, &size);
    return trace_parse("t", data, size, ret, err);
}

/* ---- a whole one ---- */

static void fill_whole(struct log *log)
{
    put_head(log);
    record(log, LOG_PATH, "s:/data\xff", "0", NULL);
    record(log, LOG_PATH, "s:/link", "0120777", "0", "0", "4", "1", "0", "3", "45", "1", "0", NULL);
    record(log, LOG_TARGET, "2", "s:data", NULL);
    record(log, LOG_PATH, "s:/old", "0100644", "0", "0", "4", "0", "0", "3", "46", "1", "0", NULL);
    record(log, LOG_PATH, "s:/cut", "0100644", "0", "0", "4", "0", "0", "3", "47", "1", "0", NULL);
    record(log, LOG_PATH, "s:/dir", "0040755", "0", "0", "4", "0", "0", "3", "48", "2", "0", NULL);
    record(log, LOG_ACCESS, "0", "0", "0x31", NULL); /* read, mapped, executed */
    record(log, LOG_PROCESS, "101", "5001", "1", "1", "17", "1000", "1001", "022", "s:/", NULL);
    record(log, LOG_ACCESS, "1", "3", "2", NULL);    /* the child writes /old... */
    record(log, LOG_ACCESS, "0", "3", "1", NULL);    /* ...before the parent reads it */
    record(log, LOG_ACCESS, "0", "4", "0x0b", NULL); /* read, written, truncated... */
    record(log, LOG_ACCESS, "0", "1", "6", NULL);    /* created, written */
    record(log, LOG_ACCESS, "0", "1", "1", NULL);
    record(log, LOG_LIST, "5", "3", "8", "s:b", "4", "s:a", "8", "s:c\n", NULL);
    record(log, LOG_LIST, "5", "1", "8", "s:b", NULL);
    record(log, LOG_ACCESS, "0", "5", "0x80", NULL);
    record(log, LOG_MOVE, "0", "0", "1", "3", NULL);
    log_begin(log, LOG_SOCKET);
    log_number(log, 0);
    log_number(log, TRACE_CONNECTED);
    log_number(log, 0);
    log_bytes(log, "\x02\x00\x00\x50\x7f\x00\x00\x01\0\0\0\0\0\0\0\0", 16);
    log_end(log);
    log_begin(log, LOG_NET);
    log_number(log, 0);
    log_number(log, TRACE_BOUND);
    log_number(log, SOCK_STREAM);
    log_bytes(log, "\x02\x00\x00\x00\x7f\x00\x00\x01\0\0\0\0\0\0\0\0", 16);
    log_bytes(log, "\x02\x00\x9c\x40\x7f\x00\x00\x01\0\0\0\0\0\0\0\0", 16);
    log_end(log);
    record(log, LOG_NOTE, "1", "0", "s:a remark", NULL);
    record(log, LOG_EXIT, "1", "0", "9", "0", "1", NULL);
    record(log, LOG_AFTER, "1", "0100600", "0", "0", "77", "3", "0", "3", "50", "1", "0", NULL);
    put_end(log, "2", "6");
}

/* A file is first met below a folder that got its name by the run. */
#define FILE_MET "0100644", "0", "0", "4", "0", "0", "3", "46", "1", "0", NULL

static void fill_moved(struct log *log)
{
    put_head(log);
    record(log, LOG_PATH, "s:/made", "0", NULL);
    record(log, LOG_PATH, "s:/made/a/file", FILE_MET);
    record(log, LOG_PATH, "s:/moved", "0", NULL);
    record(log, LOG_PATH, "s:/moved/file", FILE_MET);
    record(log, LOG_PATH, "s:/mov", FILE_MET);
    record(log, LOG_PATH, "s:/gone", "0", NULL);
    record(log, LOG_PATH, "s:/gone/file", FILE_MET);
    record(log, LOG_ACCESS, "0", "1", "4", NULL);
    record(log, LOG_ACCESS, "0", "2", "1", NULL);
    record(log, LOG_ACCESS, "0", "3", "0x400", NULL);
    record(log, LOG_ACCESS, "0", "4", "1", NULL);
    record(log, LOG_ACCESS, "0", "5", "1", NULL);
    record(log, LOG_ACCESS, "0", "6", "1", NULL);
    record(log, LOG_ACCESS, "0", "7", "1", NULL);
    put_end(log, "1", "8");
}

static void test_moved_folders(void **state UNUSED)
{
    static const bool before[] = { true, false, false, false, false, true, false, true };
    struct trace *t = NULL;
    struct err err = { 0 };
    if (parse(fill_moved, &t, &err) < 0)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < t->path_count; i++) {
        if (trace_existed_before(&t->paths[i]) != before[i] ||
            (!before[i] && t->paths[i].read_before_written))
            fail_msg("%s: existed %d", t->paths[i].path, !before[i]);
    }
    trace_free(t);
}

static void test_whole(void **state UNUSED)
{
    struct trace *t = NULL;
    struct err err = { 0 };
    if (parse(fill_whole, &t, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(t->complete);
    assert_string_equal(t->hostname, "host");
    assert_int_equal(t->time, 1700000000);
    assert_int_equal(t->argc, 2);
    assert_string_equal(t->argv[1], "\xff\n");
    assert_null(t->argv[2]);

    assert_int_equal(t->process_count, 2);
    const struct trace_process *p = &t->processes[0];
    assert_int_equal(p->pid, 100);
    assert_int_equal(p->parent, TRACE_NO_PROCESS);
    assert_string_equal(p->executable, "/bin/prog");
    assert_int_equal(p->executable_path, 0);
    assert_int_equal(p->elf_interpreter, TRACE_NO_PATH);
    assert_int_equal(p->chain_count, 1);
    assert_int_equal(p->umask, 022);
    assert_string_equal(trace_getenv(p, "PATH"), "/bin");
    assert_null(trace_getenv(p, "PAT"));
    assert_int_equal(p->wait_status, 256);
    assert_int_equal(p->vm_peak, 8192);
    assert_int_equal(p->thread_peak, 3);
    assert_int_equal(p->access_count, 5);
    assert_int_equal(p->socket_count, 2);
    assert_string_equal(p->sockets[0].text, "127.0.0.1:80");
    assert_int_equal(p->sockets[0].type, 0);
    assert_int_equal(p->sockets[0].local_size, 0);
    assert_string_equal(p->sockets[1].text, "127.0.0.1:0");
    assert_int_equal(p->sockets[1].type, SOCK_STREAM);
    assert_int_equal(p->sockets[1].path, TRACE_NO_PATH);
    assert_string_equal(p->sockets[1].local_text, "127.0.0.1:40000");
    const struct trace_process *child = &t->processes[1];
    assert_int_equal(child->parent, 0);
    assert_int_equal(child->how, TRACE_HOW_FORK);
    assert_string_equal(child->executable, "/bin/prog");
    assert_string_equal(child->argv[0], "prog");
    assert_string_equal(child->cwd, "/");

    assert_int_equal(trace_path_find(t, "/data\xff"), 1);
    assert_int_equal(trace_path_find(t, "/data"), TRACE_NO_PATH);
    const struct trace_path *data = &t->paths[1];
    assert_false(trace_existed_before(data));
    assert_true(trace_exists_after(data));
    assert_int_equal(data->after.size, 77);
    assert_false(data->read_before_written);
    assert_false(trace_is_temporary(data));
    assert_int_equal(data->bits, TRACE_READ | TRACE_WRITTEN | TRACE_CREATED);
    assert_string_equal(t->paths[2].link_target, "data");
    assert_false(t->paths[3].read_before_written);
    assert_false(t->paths[4].read_before_written);
    assert_true(t->paths[0].read_before_written);
    assert_int_equal(t->paths[0].before.size, 4096);
    assert_int_equal(t->paths[0].before.mtime_sec, -5);
    assert_int_equal(t->paths[0].before.mtime_nsec, 7);
    assert_int_equal(t->paths[5].name_count, 3);
    assert_string_equal(t->paths[5].names[0].name, "a");
    assert_int_equal(t->paths[5].names[0].type, 4);
    assert_string_equal(t->paths[5].names[2].name, "c\n");

    const struct trace_access *a = trace_access_find(p, 1);
    assert_non_null(a);
    assert_true(a->first_write < a->first_read);
    assert_null(trace_access_find(child, 1));
    assert_int_equal(t->move_count, 1);
    assert_int_equal(t->note_count, 1);
    trace_free(t);
}

/* ---- cut anywhere: never an error once the root is there, never complete ---- */

static void test_cut_everywhere(void **state UNUSED)
{
    size_t size, loaded = 0;
    CLEANUP(free_p) char *data = build(fill_whole, &size);
    for (size_t n = 0; n < size; n++) {
        struct trace *t = NULL;
        struct err err = { 0 };
        int e = trace_parse("t", data, n, &t, &err);
        if (e == 0) {
            loaded++;
            if (t->complete)
                fail_msg("cut at %zu of %zu: said to be complete", n, size);
            assert_non_null(t->incomplete);
            trace_free(t);
        } else {
            assert_null(t);
            assert_int_equal(e, -EBADMSG);
            assert_true(err.text[0]);
        }
    }
    assert_true(loaded > 100);
}

/* As a crash leaves it: zeros behind the last record. */
static void test_zeros_behind(void **state UNUSED)
{
    size_t size;
    char *data = build(fill_whole, &size);
    struct trace *t = NULL;
    data = realloc(data, size + 4096);
    assert_non_null(data);
    memset(data + size - 20, 0, 4096 + 20);
    assert_int_equal(trace_parse("t", data, size + 4096 - 20, &t, NULL), 0);
    assert_false(t->complete);
    trace_free(t);
    free(data);
}

/* One byte changed: a checksum ends the log there, or the head is refused. */
static void test_bytes_changed(void **state UNUSED)
{
    size_t size;
    CLEANUP(free_p) char *data = build(fill_whole, &size);
    for (size_t n = 0; n < size; n++) {
        struct trace *t = NULL;
        data[n] = (char)(data[n] ^ 0x41);
        int e = trace_parse("t", data, size, &t, NULL);
        if (e == 0 && t->complete)
            fail_msg("byte %zu changed, and nobody noticed", n);
        trace_free(t);
        data[n] = (char)(data[n] ^ 0x41);
    }
}

/* ---- records that are sealed well and say nonsense ---- */

static void bad_process(struct log *l)
{
    put_head(l);
    record(l, LOG_ACCESS, "1", "0", "1", NULL);
}
static void bad_path(struct log *l)
{
    put_head(l);
    record(l, LOG_ACCESS, "0", "1", "1", NULL);
}
static void bad_bits(struct log *l)
{
    put_head(l);
    record(l, LOG_ACCESS, "0", "0", "0x80000000", NULL);
}
static void bad_kind(struct log *l)
{
    put_head(l);
    record(l, (enum log_kind)99, NULL);
}
static void bad_tail(struct log *l)
{
    put_head(l);
    record(l, LOG_ACCESS, "0", "0", "1", "1", NULL);
}
static void bad_short(struct log *l)
{
    put_head(l);
    record(l, LOG_ACCESS, "0", "0", NULL);
}
static void bad_relative(struct log *l)
{
    put_head(l);
    record(l, LOG_PATH, "s:relative", "0", NULL);
}
static void bad_twice(struct log *l)
{
    put_head(l);
    record(l, LOG_PATH, "s:/bin/prog", "0", NULL);
}
static void bad_counts(struct log *l)
{
    put_head(l);
    put_end(l, "1", "2");
}
static void bad_run_twice(struct log *l)
{
    put_head(l);
    put_head(l);
}
static void bad_no_run(struct log *l)
{
    record(l, LOG_PATH, "s:/x", "0", NULL);
}
static void bad_parent(struct log *l)
{
    put_head(l);
    record(l, LOG_PROCESS, "101", "1", "2", "1", "0", "0", "0", "0", "s:/", NULL);
}
static void bad_orphan(struct log *l)
{
    put_head(l);
    record(l, LOG_PROCESS, "101", "1", "0", "1", "0", "0", "0", "0", "s:/", NULL);
}
static void bad_second_root(struct log *l)
{
    put_head(l);
    record(l, LOG_PROCESS, "101", "1", "0", "0", "0", "0", "0", "0", "s:/", NULL);
}
static void bad_count(struct log *l)
{
    put_head(l);
    record(l, LOG_LIST, "0", "4000000000", "8", "s:x", NULL);
}
static void bad_name(struct log *l)
{
    put_head(l);
    record(l, LOG_LIST, "0", "1", "8", "s:a/b", NULL);
}
static void bad_nul(struct log *l)
{
    put_head(l);
    log_begin(l, LOG_NOTE);
    log_number(l, 0);
    log_number(l, 0);
    log_bytes(l, "a\0b", 3);
    log_end(l);
}
static void bad_number(struct log *l)
{
    put_head(l);
    log_begin(l, LOG_ACCESS);
    for (int i = 0; i < 11; i++)
        log_number(l, 0xff);
    log_end(l);
}
static void bad_address(struct log *l)
{
    static const char long_address[200];
    put_head(l);
    log_begin(l, LOG_SOCKET);
    log_number(l, 0);
    log_number(l, TRACE_BOUND);
    log_number(l, 0);
    log_bytes(l, long_address, sizeof(long_address));
    log_end(l);
}

static void bad_own_address(struct log *l)
{
    static const char long_address[200];
    put_head(l);
    log_begin(l, LOG_NET);
    log_number(l, 0);
    log_number(l, TRACE_BOUND);
    log_number(l, SOCK_DGRAM);
    log_bytes(l, long_address, 16);
    log_bytes(l, long_address, sizeof(long_address));
    log_end(l);
}

static const struct {
    const char *name;
    void (*fill)(struct log *);
    const char *says;
} refused[] = {
    { "own address", bad_own_address, "socket address too long" },
    { "process", bad_process, "unknown process" },
    { "path", bad_path, "unknown path" },
    { "bits", bad_bits, "unknown access" },
    { "kind", bad_kind, "unknown record" },
    { "tail", bad_tail, "too long" },
    { "short", bad_short, "broken number" },
    { "relative", bad_relative, "not absolute" },
    { "twice", bad_twice, "stands twice" },
    { "counts", bad_counts, "counts at the end" },
    { "run twice", bad_run_twice, "second run" },
    { "no run", bad_no_run, "no run record" },
    { "parent", bad_parent, "unknown parent" },
    { "orphan", bad_orphan, "without parent" },
    { "second root", bad_second_root, "root process" },
    { "count", bad_count, "count too large" },
    { "name", bad_name, "directory entry" },
    { "NUL", bad_nul, "NUL in a string" },
    { "number", bad_number, "" },
    { "address", bad_address, "too long" },
};

static void test_refused(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct trace *t = NULL;
        struct err err = { 0 };
        int e = parse(refused[i].fill, &t, &err);
        if (e != -EBADMSG || t || !strstr(err.text, refused[i].says))
            fail_msg("%s: got %d '%s'", refused[i].name, e, err.text);
    }
}

static void test_head(void **state UNUSED)
{
    size_t size;
    CLEANUP(free_p) char *data = build(fill_whole, &size);
    struct trace *t = NULL;
    struct err err = { 0 };
    data[12] = 2;
    assert_int_equal(trace_parse("file", data, size, &t, &err), -EPROTO);
    assert_non_null(strstr(err.text, "version 2"));
    data[12] = 1;
    data[0] = 'S';
    assert_int_equal(trace_parse("file", data, size, &t, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "'file' is not a trace"));
    assert_int_equal(trace_load("/nonexistent/file", &t, &err), -ENOENT);
    assert_null(t);
}

/* A run that ended, but a process did not: not complete. */
static void fill_not_ended(struct log *log)
{
    put_head(log);
    record(log, LOG_END, "1", "1", NULL);
}

static void fill_escaped(struct log *log)
{
    put_head(log);
    record(log, LOG_NOTE, "0", "1", "s:something escaped", NULL);
    put_end(log, "1", "1");
}

static void test_incomplete(void **state UNUSED)
{
    struct trace *t = NULL;
    assert_int_equal(parse(fill_not_ended, &t, NULL), 0);
    assert_false(t->complete);
    trace_free(t);
    assert_int_equal(parse(fill_escaped, &t, NULL), 0);
    assert_false(t->complete);
    assert_string_equal(t->incomplete, "something escaped");
    trace_free(t);
}

/* More than one window of the writer's mapping, and one record larger than that. */
static void fill_large(struct log *log)
{
    static char text[3 << 20];
    memset(text, 'n', sizeof(text) - 1);
    put_head(log);
    record(log, LOG_NOTE, "0", "0", "s:first", NULL);
    log_begin(log, LOG_NOTE);
    log_number(log, 0);
    log_number(log, 0);
    log_string(log, text);
    log_end(log);
    for (int i = 0; i < 40000; i++) {
        char name[96];
        snprintf(name, sizeof(name), "s:/a/rather/long/path/that/fills/the/window/%d", i);
        record(log, LOG_PATH, name, "0", NULL);
    }
    put_end(log, "1", "40001");
}

static void test_large(void **state UNUSED)
{
    struct trace *t = NULL;
    struct err err = { 0 };
    if (parse(fill_large, &t, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(t->complete);
    assert_int_equal(t->path_count, 40001);
    assert_int_equal(strlen(t->notes[1].text), (3u << 20) - 1);
    assert_int_equal(trace_path_find(t, "/a/rather/long/path/that/fills/the/window/39999"), 40000);
    trace_free(t);
}

static void test_file_mode(void **state UNUSED)
{
    struct stat st;
    size_t size;
    assert_int_equal(chmod(g_path, 0644), 0);
    free(build(fill_whole, &size));
    assert_int_equal(stat(g_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal((size_t)st.st_size, size);
    struct log log;
    struct err err = { 0 };
    assert_true(log_open(&log, "/tmp", &err) < 0);
    assert_int_equal(log_open(&log, "/dev/null", &err), -EINVAL);
    assert_int_equal(log_open(&log, "/nonexistent/x", &err), -ENOENT);
}

/* One that is never published leaves nothing behind, and what stood there alone. */
static void test_not_published(void **state UNUSED)
{
    struct log log;
    struct stat before, after;
    char *temporary;
    assert_int_equal(stat(g_path, &before), 0);
    assert_int_equal(log_open(&log, g_path, NULL), 0);
    put_head(&log);
    temporary = strdup(log.temporary);
    assert_int_equal(access(temporary, F_OK), 0);
    assert_int_equal(log_close(&log), 0);
    assert_int_equal(access(temporary, F_OK), -1);
    assert_int_equal(stat(g_path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_size, after.st_size);
    free(temporary);
}

static void test_print(void **state UNUSED)
{
    struct trace *t = NULL;
    char *text = NULL, buf[64];
    size_t size;
    assert_int_equal(parse(fill_whole, &t, NULL), 0);
    FILE *out = open_memstream(&text, &size);
    trace_print(out, t);
    fclose(out);
    assert_non_null(strstr(text, "complete: yes\n"));
    assert_non_null(strstr(text, "path /data\\xff: read written created;"));
    assert_non_null(strstr(text, "  name c\\x0a\n"));
    assert_null(strstr(text, "PATH=/bin"));
    free(text);
    trace_free(t);
    assert_string_equal(trace_bits_text(TRACE_READ | TRACE_ABSENT, buf, sizeof(buf)),
                        "read absent");
    assert_string_equal(trace_bits_text(TRACE_READ | TRACE_ABSENT, buf, 8), "read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved_folders),  cmocka_unit_test(test_whole),
        cmocka_unit_test(test_cut_everywhere), cmocka_unit_test(test_zeros_behind),
        cmocka_unit_test(test_bytes_changed),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_head),           cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_large),          cmocka_unit_test(test_file_mode),
        cmocka_unit_test(test_print),          cmocka_unit_test(test_not_published),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
