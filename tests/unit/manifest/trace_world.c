#include "trace_world.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

#include "manifest/table.h"
#include "util/fs.h"

static struct trace_stat stat_of(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return (struct trace_stat){ 0 };
    return (struct trace_stat){
        .mode = st.st_mode,
        .uid = st.st_uid,
        .gid = st.st_gid,
        .size = (uint64_t)st.st_size,
        .mtime_sec = st.st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st.st_mtim.tv_nsec,
        .dev = st.st_dev,
        .ino = st.st_ino,
        .nlink = st.st_nlink,
    };
}

char *world_at(const struct world *w, const char *name)
{
    static char path[4][PATH_MAX * 2];
    static int next;
    char *p = path[next++ % 4];
    if (name[0] == '/')
        snprintf(p, sizeof(path[0]), "%s", name);
    else
        snprintf(p, sizeof(path[0]), "%s%s%s", w->root, name[0] ? "/" : "", name);
    return p;
}

void world_put(const struct world *w, const char *name, const char *content)
{
    char *path = world_at(w, name);
    for (char *slash = path + strlen(w->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write_full(fd, content, strlen(content)), 0);
    close(fd);
}

uint32_t world_touch(struct world *w, const char *name, uint32_t bits)
{
    uint32_t i = (uint32_t)w->trace.path_count++;
    assert_true(i < PATHS_MAX);
    char target[PATH_MAX];
    char *path = world_at(w, name);
    ssize_t n = readlink(path, target, sizeof(target));
    w->paths[i] = (struct trace_path){
        .path = strdup(path),
        .bits = bits,
        .before = stat_of(path),
        .after_known = true,
        .link_target = n > 0 ? strndup(target, (size_t)n) : NULL,
    };
    w->accesses[i] = (struct trace_access){ .path = i, .bits = bits, .first = i + 1 };
    w->process.access_count = i + 1;
    return i;
}

void world_run_ends(struct world *w)
{
    for (size_t i = 0; i < w->trace.path_count; i++)
        w->paths[i].after = stat_of(w->paths[i].path);
}

void world_start(struct world *w)
{
    memset(w, 0, sizeof(*w));
    const char *folder = getenv("SGXPY_TEST_FOLDER");
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof(here)));
    if (!folder)
        folder = path_below(here, "/tmp") ? "/var/tmp" : here;
    char made[PATH_MAX + 32];
    snprintf(made, sizeof(made), "%s/sgxpy-build-XXXXXX", folder);
    assert_non_null(mkdtemp(made));
    assert_non_null(realpath(made, w->root));
    assert_non_null(realpath("/proc/self/exe", w->program));

    struct trace *t = &w->trace;
    struct trace_process *p = &w->process;
    *t = (struct trace){ .time = 1,
                         .hostname = "box",
                         .cwd = w->root,
                         .complete = true,
                         .processes = p,
                         .process_count = 1,
                         .paths = w->paths };
    *p = (struct trace_process){
        .pid = 1,
        .parent = TRACE_NO_PROCESS,
        .executable = w->program,
        .exec_name = w->program,
        .elf_interpreter = TRACE_NO_PATH,
        .argv = w->argv,
        .argc = 1,
        .envp = w->envp,
        .cwd = w->root,
        .uid = 12,
        .gid = 34,
        .umask = 027,
        .accesses = w->accesses,
        .vm_peak = 100u << 20,
        .thread_peak = 3,
        .ended = true,
    };
    w->argv[0] = w->program;
    p->executable_path = world_touch(w, w->program, TRACE_EXECUTED | TRACE_MAPPED_EXEC);
    char canonical[PATH_MAX];
    assert_non_null(realpath("/lib64/ld-linux-x86-64.so.2", canonical));
    p->elf_interpreter = world_touch(w, canonical, TRACE_MAPPED_EXEC);
}

void world_end(struct world *w)
{
    assert_int_equal(tree_remove(AT_FDCWD, w->root, NULL), 0);
    for (size_t i = 0; i < w->trace.path_count; i++) {
        free((void *)(uintptr_t)w->paths[i].path);
        free((void *)(uintptr_t)w->paths[i].link_target);
        free(w->names[i]);
    }
}

struct cascade *world_build(struct world *w, const struct manifest_rules *rules,
                            struct manifest_report *report, struct err *err)
{
    static const struct manifest_rules none;
    const struct trace *traces[] = { &w->trace };
    struct cascade *c = NULL;
    int r = manifest_build(traces, 1, rules ? rules : &none, &c, report, err);
    assert_int_equal(r < 0, c == NULL);
    return c;
}

struct cascade *world_must_build(struct world *w, const struct manifest_rules *rules)
{
    struct err err = { 0 };
    struct cascade *c = world_build(w, rules, NULL, &err);
    if (!c)
        fail_msg("%s", err.text);
    return c;
}

const struct cascade_file *world_find(const struct world *w, const struct cascade *c,
                                      const char *name)
{
    return cascade_find(&c->nodes[0], world_at(w, name));
}

void world_expect(const struct world *w, const struct cascade *c, const char *name, uint32_t class,
                  uint32_t flags)
{
    const struct cascade_file *f = world_find(w, c, name);
    if (!f && class == 0)
        return;
    if (!f || f->class != class || f->flags != flags)
        fail_msg("%s: got %s, flags %x", name, f ? cascade_class_name(f->class) : "no record",
                 f ? f->flags : 0);
}
