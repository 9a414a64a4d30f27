/*
 * What starting a program needs to see: in the node that starts it, and its folder in the node that it
 * is. Internal to src/manifest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "manifest/table.h"
#include "util/fs.h"

/* The kernel's, and the library OS's, reading of "#!NAME [ARGUMENT]". false: it is none. */
static bool read_shebang(const char *path, char *ret, size_t size)
{
    char line[256] = { 0 };
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || read_full(fd, line, sizeof(line) - 1) < 0 || strncmp(line, "#!", 2) != 0)
        return false;
    line[strcspn(line, "\n")] = '\0';
    const char *name = line + 2 + strspn(line + 2, " \t");
    int n = snprintf(ret, size, "%.*s", (int)strcspn(name, " \t"), name);
    return n > 0 && (size_t)n < size;
}

/* A program that a node starts: an ELF file by its name, as another node runs it; a script by its
 * content, as its first line is read here. */
static int start_path(struct table *t, const char *path, int depth)
{
    struct entry *e;
    char interpreter[MANIFEST_PATH_MAX + 1];
    int r = table_resolve(t, path, &e);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    if (!e->exists || !S_ISREG(e->st.st_mode) || path_built_in(e->path))
        return 0;
    if (depth > 4 || !read_shebang(e->path, interpreter, sizeof(interpreter))) {
        entry_claim(e, MANIFEST_NAMED, 0);
        return 0;
    }
    entry_claim(e, MANIFEST_TRUSTED, e->class == MANIFEST_ALLOWED ? 0 : MANIFEST_EXEC);
    return interpreter[0] == '/' ? start_path(t, interpreter, depth + 1) : 0;
}

static int start_named(struct table *t, const char *cwd, const char *name)
{
    char path[MANIFEST_PATH_MAX + 1];
    int n = name[0] == '/' ? snprintf(path, sizeof(path), "%s", name)
                           : snprintf(path, sizeof(path), "%s/%s", cwd, name);
    return n > 0 && (size_t)n < sizeof(path) ? start_path(t, path, 0) : 0;
}

int starts_other(struct table *t, const struct trace *trace, const struct trace_process *p)
{
    int r = p->exec_name ? start_named(t, p->cwd, p->exec_name) : 0;
    for (size_t i = 0; r == 0 && i < p->chain_count; i++)
        r = start_path(t, trace->paths[p->chain[i]].path, 0);
    if (r == 0)
        r = start_path(t, p->executable, 0);
    /* The key of a script is its path, which has to be resolved. */
    int script = process_script(p);
    if (r < 0 || script <= 0)
        return r;
    char path[MANIFEST_PATH_MAX + 1];
    const char *name = p->argv[script];
    int n = name[0] == '/' ? snprintf(path, sizeof(path), "%s", name)
                           : snprintf(path, sizeof(path), "%s/%s", p->cwd, name);
    struct entry *e;
    if (n < 0 || (size_t)n >= sizeof(path))
        return 0;
    r = table_resolve(t, path, &e);
    if (r == 0 && e->exists && !path_built_in(e->path) && !e->class)
        entry_claim(e, MANIFEST_NAMED, 0);
    return r == -ENOMEM ? r : 0;
}

/* Folders that a process of the node starts in; one that the run made in /tmp is the tree's. */
int starts_folder(struct table *t, const struct trace_process *p)
{
    struct entry *e;
    int r = table_resolve(t, p->cwd, &e);
    if (r == 0 && !e->exists && path_below(p->cwd, "/tmp"))
        t->uses_tmp = true;
    if (r == 0 && e->exists && !e->class && !path_built_in(e->path))
        entry_claim(e, MANIFEST_TRUSTED, 0);
    return r == -ENOMEM ? r : 0;
}
