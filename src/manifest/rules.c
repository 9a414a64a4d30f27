/*
 * The user's rules: what they widen, and where they are refused. Internal to src/manifest.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manifest/hash.h"
#include "manifest/table.h"
#include "util/dist_info.h"
#include "util/dpkg.h"
#include "util/fs.h"

/* path against the working directory; not canonical. */
static int make_absolute(const char *path, char ret[static MANIFEST_PATH_MAX + 1])
{
    int n;
    if (path[0] == '/') {
        n = snprintf(ret, MANIFEST_PATH_MAX + 1, "%s", path);
    } else {
        char cwd[PATH_MAX];
        if (!getcwd(cwd, sizeof(cwd)))
            return -errno;
        n = snprintf(ret, MANIFEST_PATH_MAX + 1, "%s/%s", cwd, path);
    }
    return n < 0 || n > (int)MANIFEST_PATH_MAX ? -ENAMETOOLONG : 0;
}

/* The entry that a rule's path means, at the end of its symlinks. option: "--trust", for messages.
 */
static int resolve_rule(struct table *t, const char *option, const char *path, struct entry **ret)
{
    char absolute[MANIFEST_PATH_MAX + 1];
    int r = make_absolute(path, absolute);
    if (r == 0)
        r = table_resolve(t, absolute, ret);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return err_set(t->err, r, "%s '%s': %s", option, path, strerror(-r));
    if (path_built_in((*ret)->path))
        return err_set(t->err, -EINVAL,
                       "%s '%s': nothing below /proc, /sys and /dev is the host's: the library OS "
                       "answers it",
                       option, path);
    return 0;
}

/* ", of package NAME", or nothing. */
static const char *owner_text(const char *path, char *buf, size_t size)
{
    char owner[128];
    if (dpkg_owner(path, owner, sizeof(owner)) == 0)
        snprintf(buf, size, " (package %s)", owner);
    else
        buf[0] = '\0';
    return buf;
}

static bool starts_with_elf(const char *path)
{
    char magic[4] = { 0 };
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    return fd >= 0 && read_full(fd, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0;
}

int rules_prepare(struct table *t)
{
    const struct manifest_rules *rules = t->rules;
    t->allow = calloc(rules->allow_count + 1, sizeof(*t->allow));
    t->own = calloc(rules->own_count + 1, sizeof(*t->own));
    if (!t->allow || !t->own)
        return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
    for (size_t i = 0; i < rules->own_count; i++) {
        char absolute[MANIFEST_PATH_MAX + 1];
        struct entry *e;
        if (make_absolute(rules->own[i], absolute) < 0 || table_resolve(t, absolute, &e) < 0)
            continue;
        e->own = true;
        if (!(t->own[t->own_count] = strdup(e->path)))
            return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
        t->own_count++;
    }
    for (size_t i = 0; i < rules->allow_count; i++) {
        struct entry *e;
        int r = resolve_rule(t, "--allow", rules->allow[i], &e);
        if (r < 0)
            return r;
        const char *given = rules->allow[i];
        bool folder =
            e->exists ? S_ISDIR(e->st.st_mode) : given[0] && given[strlen(given) - 1] == '/';
        if (strcmp(e->path, "/") == 0)
            return err_set(t->err, -EINVAL, "--allow '/': this would open everything");
        entry_claim(e, MANIFEST_ALLOWED, folder ? MANIFEST_SUBTREE : 0);
        e->folder = folder;
        t->allow[i] = (struct allow_rule){ strdup(e->path), folder };
        if (!t->allow[i].path)
            return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
        t->allow_count++;
    }
    return 0;
}

/* ---- --trust, --package ---- */

static int trust_one(struct table *t, struct entry *e, const char *option);

/* Adds what lies in a folder, without following symlinks into other trees. */
static int trust_folder(struct table *t, struct entry *dir, const char *option)
{
    DIR *d = opendir(dir->path);
    if (!d)
        return manifest_unreadable(dir->path, -errno, t->err);
    entry_claim(dir, MANIFEST_TRUSTED, MANIFEST_LISTED);
    int r = 0;
    struct dirent *item;
    while (r == 0 && (item = readdir(d))) {
        char path[MANIFEST_PATH_MAX + 1];
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        int n = snprintf(path, sizeof(path), "%s/%s", dir->path[1] ? dir->path : "", item->d_name);
        if (n < 0 || (size_t)n >= sizeof(path)) {
            r = err_set(t->err, -ENAMETOOLONG, "%s: a path below '%s' is too long", option,
                        dir->path);
            break;
        }
        struct entry *e = table_get(t, path, (size_t)n);
        r = e ? entry_stat(t, e) : -ENOMEM;
        if (r == 0 && e->exists && !table_own(t, path) && !table_allowed(t, path))
            r = trust_one(t, e, option);
    }
    closedir(d);
    return r;
}

static int trust_one(struct table *t, struct entry *e, const char *option)
{
    /* The program makes it: an output in a trusted tree stays one. */
    if (e->class == MANIFEST_ALLOWED || e->class == MANIFEST_SCRATCH)
        return 0;
    e->dropped = false;
    switch (e->st.st_mode & S_IFMT) {
    case S_IFDIR: return trust_folder(t, e, option);
    case S_IFREG:
        e->by_rule = true;
        entry_claim(e, MANIFEST_TRUSTED, 0);
        return 0;
    case S_IFLNK: {
        struct entry *end;
        entry_claim(e, MANIFEST_TRUSTED, 0);
        int r = table_resolve(t, e->path, &end);
        if (r == -ENOMEM)
            return r;
        /* A broken symlink is one; a folder elsewhere is not what was asked for. */
        if (r == 0 && end->exists && S_ISREG(end->st.st_mode) && !path_built_in(end->path))
            return trust_one(t, end, option);
        return 0;
    }
    default: entry_claim(e, MANIFEST_NAMED, 0); return 0;
    }
}

static int apply_trust(struct table *t, const char *path)
{
    struct entry *e;
    int r = resolve_rule(t, "--trust", path, &e);
    if (r < 0)
        return r;
    if (!e->exists)
        return err_set(t->err, -ENOENT, "--trust '%s': there is no such file", path);
    if (table_allowed(t, e->path))
        return err_set(t->err, -EINVAL, "--trust '%s': an --allow covers it as well", path);
    if (e->class == MANIFEST_ALLOWED)
        return err_set(t->err, -EINVAL, "--trust '%s': the program writes it", path);
    return trust_one(t, e, "--trust");
}

/* A Python distribution in one of the site-packages that the traced program saw. */
static int distribution_files(struct table *t, const char *name, char ***ret, size_t *ret_count)
{
    static const char *const folders[] = { "site-packages", "dist-packages" };
    for (struct entry *e = t->entries; e; e = e->hh.next) {
        const char *base = strrchr(e->path, '/') + 1;
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
            if (strcmp(base, folders[i]) != 0)
                continue;
            int r = dist_info_files(e->path, name, ret, ret_count);
            if (r != -ENOENT)
                return r;
        }
    }
    return -ENOENT;
}

static int apply_package(struct table *t, const char *package)
{
    CLEANUP(free_p) char **list = NULL;
    size_t count = 0;
    int r = dpkg_files(package, &list, &count);
    if (r == -ENOENT)
        r = distribution_files(t, package, &list, &count);
    if (r == -ENOENT)
        return err_set(t->err, r,
                       "--package '%s': neither a Debian package nor a Python distribution with a "
                       "RECORD that the program could see",
                       package);
    if (r < 0)
        return err_set(t->err, r, "--package '%s': its list of files: %s", package, strerror(-r));
    for (size_t i = 0; i < count; i++) {
        struct entry *e;
        if (r == 0 && table_resolve(t, list[i], &e) == 0 && e->exists && !S_ISDIR(e->st.st_mode) &&
            !path_built_in(e->path) && !table_allowed(t, e->path))
            r = trust_one(t, e, "--package");
        free(list[i]);
    }
    return r;
}

/* EIO in the place of code would let the host choose what runs instead. */
static bool is_code(const struct entry *e)
{
    return path_importable(e->path) || (e->flags & MANIFEST_EXEC) ||
           (e->bits & (TRACE_MAPPED_EXEC | TRACE_EXECUTED)) || starts_with_elf(e->path);
}

/* Data files below a folder, all of which it trusts; code in it goes on to end the program. */
static int deny_folder(struct table *t, struct entry *dir)
{
    int r = trust_one(t, dir, "--deny");
    size_t denied = 0, code = 0;
    for (struct entry *e = t->entries; r == 0 && e; e = e->hh.next) {
        if (e->class != MANIFEST_TRUSTED || !path_below(e->path, dir->path))
            continue;
        r = entry_stat(t, e);
        if (r < 0 || !e->exists || !S_ISREG(e->st.st_mode))
            continue;
        if (is_code(e)) {
            code++;
        } else {
            entry_claim(e, MANIFEST_TRUSTED, MANIFEST_DENY);
            denied++;
        }
    }
    if (r == 0 && denied == 0)
        return err_set(t->err, -EINVAL, "--deny '%s': there is no data file in it", dir->path);
    if (r == 0 && code > 0)
        manifest_note(
            t->report,
            "--deny '%s': %zu file%s in it can be imported or executed and still end%s the program",
            dir->path, code, code == 1 ? "" : "s", code == 1 ? "s" : "");
    return r;
}

static int apply_deny(struct table *t, const char *path)
{
    struct entry *e;
    int r = resolve_rule(t, "--deny", path, &e);
    if (r < 0)
        return r;
    if (!e->exists || (!S_ISREG(e->st.st_mode) && !S_ISDIR(e->st.st_mode)))
        return err_set(t->err, -EINVAL, "--deny '%s': it is no regular file or folder", path);
    if (e->class == MANIFEST_ALLOWED || table_allowed(t, e->path))
        return err_set(t->err, -EINVAL, "--deny '%s': it is not trusted but allowed", path);
    if (S_ISDIR(e->st.st_mode))
        return deny_folder(t, e);
    if (is_code(e))
        return err_set(t->err, -EINVAL,
                       "--deny '%s': it can be imported or executed, and answering EIO would let "
                       "the host choose what runs instead",
                       path);
    entry_claim(e, MANIFEST_TRUSTED, MANIFEST_DENY);
    return 0;
}

/* An allowed file: claimed already; what must never be is refused here. */
static int check_file(struct table *t, const struct allow_rule *a)
{
    char owner[160];
    struct entry *e = table_find(t, a->path, strlen(a->path));
    bool runs = e && (e->bits & (TRACE_MAPPED_EXEC | TRACE_EXECUTED));
    if (!runs && !path_importable(a->path) && !starts_with_elf(a->path))
        return 0;
    return err_set(t->err, -EINVAL,
                   "--allow '%s'%s: it can be imported or executed, so the host could run its own "
                   "code in the enclave",
                   a->path, owner_text(a->path, owner, sizeof(owner)));
}

int rules_apply(struct table *t)
{
    const struct manifest_rules *rules = t->rules;
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->allow_count; i++)
        r = t->allow[i].folder ? 0 : check_file(t, &t->allow[i]);
    for (size_t i = 0; r == 0 && i < rules->package_count; i++)
        r = apply_package(t, rules->package[i]);
    for (size_t i = 0; r == 0 && i < rules->trust_count; i++)
        r = apply_trust(t, rules->trust[i]);
    for (size_t i = 0; r == 0 && i < rules->deny_count; i++)
        r = apply_deny(t, rules->deny[i]);
    return r;
}

/* ---- what an allowed folder must not be ---- */

static int refuse_folder(struct table *t, const struct allow_rule *a, const char *dir,
                         const char *why)
{
    bool itself = strcmp(dir, a->path) == 0;
    return err_set(t->err, -EINVAL,
                   "--allow '%s': %s%s%s is %s, so the host could add code that the program runs. "
                   "Allow a folder that holds data only",
                   a->path, itself ? "it" : "'", itself ? "" : dir, itself ? "" : "' in it", why);
}

static int check_dir(struct table *t, const char *dir, size_t length, const char *why)
{
    char path[MANIFEST_PATH_MAX + 1];
    char canonical[PATH_MAX];
    if (length == 0 || length >= sizeof(path) || dir[0] != '/')
        return 0;
    memcpy(path, dir, length);
    path[length] = '\0';
    const char *spelled = realpath(path, canonical) ? canonical : path;
    for (size_t i = 0; i < t->allow_count; i++)
        if (t->allow[i].folder && path_below(spelled, t->allow[i].path))
            return refuse_folder(t, &t->allow[i], spelled, why);
    return 0;
}

static int check_list(struct table *t, const char *list, const char *cwd, const char *why)
{
    for (const char *p = list; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL) {
        size_t length = strcspn(p, ":");
        char path[MANIFEST_PATH_MAX + 1];
        int n = p[0] == '/' ? snprintf(path, sizeof(path), "%.*s", (int)length, p)
                            : snprintf(path, sizeof(path), "%s/%.*s", cwd, (int)length, p);
        int r = n > 0 && (size_t)n < sizeof(path) ? check_dir(t, path, (size_t)n, why) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* The folder that a module of this path is found in: above __pycache__. 0: no module. */
static size_t import_folder(const char *path)
{
    if (!path_importable(path))
        return 0;
    const char *slash = strrchr(path, '/');
    size_t length = (size_t)(slash - path);
    static const char cache[] = "/__pycache__";
    if (length > strlen(cache) && memcmp(slash - strlen(cache), cache, strlen(cache)) == 0)
        length -= strlen(cache);
    return length;
}

/* What the variable will be in the enclave; NULL: not set, or empty. */
static const char *env_value(const struct table *t, const struct trace_process *p, const char *name)
{
    size_t size = strlen(name);
    const char *value = trace_getenv(p, name);
    for (size_t i = 0; i < t->rules->env_count; i++)
        if (strncmp(t->rules->env[i], name, size) == 0 && t->rules->env[i][size] == '=')
            value = t->rules->env[i] + size + 1;
    return value && value[0] ? value : NULL;
}

static int check_variables(struct table *t, const struct trace_process *p)
{
    static const struct {
        const char *name, *why;
    } lists[] = {
        { "PYTHONPATH", "on PYTHONPATH" },
        { "PATH", "on PATH" },
        { "LD_LIBRARY_PATH", "on LD_LIBRARY_PATH" },
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lists); i++)
        r = check_list(t, env_value(t, p, lists[i].name), p->cwd, lists[i].why);
    return r;
}

/* sys.path[0]: the script's folder, or the working directory. */
static int check_script(struct table *t, const struct trace_process *p)
{
    const char *base = strrchr(p->executable, '/');
    if (!base || strncmp(base + 1, "python", 6) != 0)
        return 0;
    int script = process_script(p);
    if (script < 0)
        return check_dir(t, p->cwd, strlen(p->cwd), "where Python looks for modules (-c, -m)");
    char path[MANIFEST_PATH_MAX + 1], canonical[PATH_MAX];
    const char *name = p->argv[script];
    int n = name[0] == '/' ? snprintf(path, sizeof(path), "%s", name)
                           : snprintf(path, sizeof(path), "%s/%s", p->cwd, name);
    if (n < 0 || (size_t)n >= sizeof(path) || !realpath(path, canonical))
        return 0;
    size_t length = (size_t)(strrchr(canonical, '/') - canonical);
    return check_dir(t, canonical, length ? length : 1, "the script's folder, on sys.path");
}

/* Folders that lines of a .pth file put on sys.path. */
static int check_pth(struct table *t, const struct entry *e)
{
    CLEANUP(free_p) char *text = NULL;
    size_t size;
    size_t head = (size_t)(strrchr(e->path, '/') - e->path);
    if (file_load(AT_FDCWD, e->path, 1 << 20, &text, &size, NULL) < 0)
        return 0; /* hashing it will say so */
    char *rest = text;
    int r = 0;
    for (char *line; r == 0 && (line = strsep(&rest, "\n"));) {
        line[strcspn(line, "\r")] = '\0';
        if (line[0] == '#' || line[0] == '\0' || strncmp(line, "import", 6) == 0)
            continue;
        char path[MANIFEST_PATH_MAX + 1];
        int n = line[0] == '/' ? snprintf(path, sizeof(path), "%s", line)
                               : snprintf(path, sizeof(path), "%.*s/%s", (int)head, e->path, line);
        if (n > 0 && (size_t)n < sizeof(path))
            r = check_dir(t, path, (size_t)n, "on sys.path by a .pth file");
    }
    return r;
}

/* Folders that are on sys.path by their name, there or not. */
static bool is_python_folder(const char *path)
{
    const char *base = strrchr(path, '/') + 1;
    return strcmp(base, "site-packages") == 0 || strcmp(base, "dist-packages") == 0 ||
           strcmp(base, "lib-dynload") == 0 || strncmp(base, "python3.", 8) == 0;
}

static int check_entry(struct table *t, const struct entry *e)
{
    size_t folder = (size_t)(strrchr(e->path, '/') - e->path);
    if (e->bits && (!e->exists || S_ISDIR(e->st.st_mode)) && is_python_folder(e->path))
        return check_dir(t, e->path, strlen(e->path), "where Python looks for modules");
    if (e->class != MANIFEST_TRUSTED || !S_ISREG(e->st.st_mode))
        return 0;
    size_t length = import_folder(e->path);
    if (length && (e->bits & TRACE_READ)) {
        int r = check_dir(t, e->path, length, "where the program loaded modules or libraries from");
        const char *dot = strrchr(e->path, '.');
        return r == 0 && dot && strcmp(dot, ".pth") == 0 ? check_pth(t, e) : r;
    }
    if (e->bits & (TRACE_MAPPED_EXEC | TRACE_EXECUTED))
        return check_dir(t, e->path, folder, "where the program loaded programs or libraries from");
    return 0;
}

int rules_check_allowed(struct table *t, const struct trace_process *p)
{
    bool folders = false;
    for (size_t i = 0; i < t->allow_count; i++)
        folders |= t->allow[i].folder;
    if (!folders)
        return 0;
    int r = check_variables(t, p);
    if (r == 0)
        r = check_script(t, p);
    for (struct entry *e = t->entries; r == 0 && e; e = e->hh.next) {
        r = entry_stat(t, e);
        if (r == 0)
            r = check_entry(t, e);
    }
    return r;
}
