/*
 * What a run needs although this traced one may not have opened it: the .pyc of a .py and the other
 * way round, the libraries of a library (ld.so(8)'s search order), the ELF interpreter, what glibc opens by name. Internal to
 * src/manifest.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manifest/table.h"
#include "util/fs.h"

#define TAGS_MAX  8
#define CACHE_MAX (64u << 20)

struct name {
    UT_hash_handle hh;
    char text[];
};

struct closure {
    struct table *table;
    char *tags[TAGS_MAX]; /* "cpython-311" */
    size_t tag_count;
    struct name *loaded; /* base names of libraries that have a record */
    const char *library_path;
    char *cache; /* /etc/ld.so.cache */
    size_t cache_size;
};

static int close_entry(struct closure *c, struct entry *e);

static int no_memory(struct closure *c)
{
    return err_set(c->table->err, -ENOMEM, "building the manifest: out of memory");
}

static const char *base_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* ---- Python ---- */

/* "NAME.TAG.pyc" or "NAME.TAG.opt-1.pyc": sizes of NAME and TAG; false: neither (PEP 3147). */
static bool split_cached(const char *base, size_t *ret_name, size_t *ret_tag)
{
    size_t size = strlen(base);
    if (size < 5 || strcmp(base + size - 4, ".pyc") != 0)
        return false;
    size -= 4;
    const char *dot = memrchr(base, '.', size);
    if (dot && strncmp(dot, ".opt-", 5) == 0) {
        size = (size_t)(dot - base);
        dot = memrchr(base, '.', size);
    }
    if (!dot || dot == base)
        return false;
    *ret_name = (size_t)(dot - base);
    *ret_tag = size - *ret_name - 1;
    return *ret_tag > 0;
}

static bool in_pycache(const char *path)
{
    static const char cache[] = "/__pycache__";
    size_t folder = (size_t)(base_name(path) - 1 - path);
    return folder >= strlen(cache) &&
           memcmp(path + folder - strlen(cache), cache, strlen(cache)) == 0;
}

static int add_tag(struct closure *c, const char *tag, size_t size)
{
    for (size_t i = 0; i < c->tag_count; i++)
        if (strncmp(c->tags[i], tag, size) == 0 && c->tags[i][size] == '\0')
            return 0;
    if (c->tag_count == TAGS_MAX)
        return 0;
    if (!(c->tags[c->tag_count] = strndup(tag, size)))
        return no_memory(c);
    c->tag_count++;
    return 0;
}

/* Trusts path if it is a regular file here that the trace did not find absent. */
static int trust_if_there(struct closure *c, const char *path, size_t length, uint32_t flags)
{
    struct entry *e = table_get(c->table, path, length);
    if (!e || entry_stat(c->table, e) < 0)
        return -ENOMEM;
    /* sitecustomize.py is a symlink on Debian. */
    if (e->exists && S_ISLNK(e->st.st_mode)) {
        int r = table_resolve(c->table, path, &e);
        if (r < 0)
            return r == -ENOMEM ? r : 0;
    }
    if (!e->exists || !S_ISREG(e->st.st_mode) || e->dropped || e->own ||
        e->class == MANIFEST_ABSENT || e->class == MANIFEST_ALLOWED)
        return 0;
    entry_claim(e, MANIFEST_TRUSTED, flags);
    return close_entry(c, e);
}

static int pair_source(struct closure *c, const char *path)
{
    char other[MANIFEST_PATH_MAX + 1];
    const char *base = base_name(path);
    size_t name, tag;
    if (!in_pycache(path) || !split_cached(base, &name, &tag))
        return 0;
    int folder = (int)(base - path) - (int)strlen("__pycache__/");
    int n = snprintf(other, sizeof(other), "%.*s%.*s.py", folder, path, (int)name, base);
    return n > 0 && (size_t)n < sizeof(other) ? trust_if_there(c, other, (size_t)n, 0) : 0;
}

static int pair_cached(struct closure *c, const char *path)
{
    const char *base = base_name(path);
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->tag_count; i++) {
        char other[MANIFEST_PATH_MAX + 1];
        int n = snprintf(other, sizeof(other), "%.*s__pycache__/%.*s.%s.pyc", (int)(base - path),
                         path, (int)(strlen(base) - 3), base, c->tags[i]);
        if (n > 0 && (size_t)n < sizeof(other))
            r = trust_if_there(c, other, (size_t)n, 0);
    }
    return r;
}

/* ---- ELF ---- */

struct elf_needs {
    Elf *elf;
    const char *raw;
    size_t raw_size;
    uint64_t strings, strings_size; /* file range of DT_STRTAB */
    GElf_Phdr dynamic;
    const char *interpreter; /* in raw, NUL-terminated, or NULL */
    const char *rpath, *runpath;
};

/* File offset of a virtual address; 0: none. */
static uint64_t file_offset(struct elf_needs *n, uint64_t address, size_t header_count)
{
    GElf_Phdr h;
    for (size_t i = 0; i < header_count; i++)
        if (gelf_getphdr(n->elf, (int)i, &h) && h.p_type == PT_LOAD && address >= h.p_vaddr &&
            address - h.p_vaddr < h.p_filesz)
            return h.p_offset + (address - h.p_vaddr);
    return 0;
}

static const char *elf_string(const struct elf_needs *n, uint64_t offset)
{
    if (offset >= n->strings_size)
        return NULL;
    const char *s = n->raw + n->strings + offset;
    return memchr(s, '\0', n->strings_size - offset) ? s : NULL;
}

static bool next_dynamic(Elf_Data *data, int *i, GElf_Dyn *ret)
{
    return gelf_getdyn(data, (*i)++, ret) && ret->d_tag != DT_NULL;
}

/* Fills n from the program headers and the dynamic section. *ret_data: to walk DT_NEEDED; NULL:
 * nothing to walk. */
static void elf_look(struct elf_needs *n, Elf_Data **ret_data)
{
    size_t count = 0;
    GElf_Phdr h;
    *ret_data = NULL;
    if (elf_getphdrnum(n->elf, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!gelf_getphdr(n->elf, (int)i, &h))
            continue;
        bool inside = h.p_offset <= n->raw_size && h.p_filesz <= n->raw_size - h.p_offset;
        if (h.p_type == PT_DYNAMIC && inside)
            n->dynamic = h;
        if (h.p_type == PT_INTERP && inside && h.p_filesz &&
            memchr(n->raw + h.p_offset, '\0', h.p_filesz))
            n->interpreter = n->raw + h.p_offset;
    }
    if (n->dynamic.p_filesz == 0)
        return;
    Elf_Data *data =
        elf_getdata_rawchunk(n->elf, (int64_t)n->dynamic.p_offset, n->dynamic.p_filesz, ELF_T_DYN);
    if (!data)
        return;
    GElf_Dyn d;
    uint64_t address = 0, size = 0;
    for (int i = 0; next_dynamic(data, &i, &d);) {
        address = d.d_tag == DT_STRTAB ? d.d_un.d_ptr : address;
        size = d.d_tag == DT_STRSZ ? d.d_un.d_val : size;
    }
    uint64_t offset = address ? file_offset(n, address, count) : 0;
    if (!offset || offset > n->raw_size || size > n->raw_size - offset)
        return;
    n->strings = offset;
    n->strings_size = size;
    for (int i = 0; next_dynamic(data, &i, &d);) {
        if (d.d_tag == DT_RPATH)
            n->rpath = elf_string(n, d.d_un.d_val);
        if (d.d_tag == DT_RUNPATH)
            n->runpath = elf_string(n, d.d_un.d_val);
    }
    *ret_data = data;
}

/* dir with $ORIGIN and ${ORIGIN} replaced, "/" and soname behind; false: too long, or other
 * tokens. */
static bool expand(const char *dir, size_t size, const char *origin, size_t origin_size,
                   const char *soname, char ret[static MANIFEST_PATH_MAX + 1])
{
    static const char *const tokens[] = { "$ORIGIN", "${ORIGIN}" };
    size_t out = 0;
    for (size_t i = 0; i < size;) {
        const char *add = dir + i;
        size_t add_size = 1, skip = 1;
        for (size_t k = 0; k < ARRAY_SIZE(tokens); k++)
            if (strlen(tokens[k]) <= size - i && memcmp(add, tokens[k], strlen(tokens[k])) == 0) {
                skip = strlen(tokens[k]);
                add = origin;
                add_size = origin_size;
                break;
            }
        if (skip == 1 && dir[i] == '$')
            return false;
        if (out + add_size > MANIFEST_PATH_MAX)
            return false;
        memcpy(ret + out, add, add_size);
        out += add_size;
        i += skip;
    }
    int n = snprintf(ret + out, MANIFEST_PATH_MAX + 1 - out, "%s%s", soname ? "/" : "",
                     soname ? soname : "");
    return n >= 0 && out + (size_t)n <= MANIFEST_PATH_MAX && ret[0] == '/';
}

static bool is_elf64(const char *path)
{
    unsigned char magic[5] = { 0 };
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd >= 0 && read_full(fd, magic, 5) == 5 && memcmp(magic, "\177ELF\2", 5) == 0;
}

/* 1: found and trusted; 0: not there. */
static int try_library(struct closure *c, const char *path)
{
    struct entry *e;
    if (access(path, F_OK) < 0)
        return 0;
    int r = table_resolve(c->table, path, &e);
    if (r == -ENOMEM)
        return r;
    if (r < 0 || !e->exists || !S_ISREG(e->st.st_mode) || path_built_in(e->path) ||
        !is_elf64(e->path))
        return 0;
    if (table_allowed(c->table, e->path) && !table_allowed(c->table, e->path)->folder)
        return 0;
    if (e->class == MANIFEST_ABSENT)
        return 0; /* absent when it was traced: the closed world is the traced one */
    entry_claim(e, MANIFEST_TRUSTED, MANIFEST_EXEC);
    r = close_entry(c, e);
    return r < 0 ? r : 1;
}

static int try_list(struct closure *c, const char *list, const char *origin, const char *soname)
{
    size_t origin_size = (size_t)(strrchr(origin, '/') - origin);
    for (const char *p = list; p; p = strpbrk(p, ":;") ? strpbrk(p, ":;") + 1 : NULL) {
        char path[MANIFEST_PATH_MAX + 1];
        size_t size = strcspn(p, ":;");
        if (size == 0 || !expand(p, size, origin, origin_size, soname, path))
            continue;
        int r = try_library(c, path);
        if (r != 0)
            return r;
    }
    return 0;
}

/* /etc/ld.so.cache, glibc's format 1.1 (dl-cache.h): all entries of that name, so that every CPU
 * finds its variant. */
struct cache_head {
    char magic[20]; /* "glibc-ld.so.cache1.1" */
    uint32_t count;
    uint32_t strings;
    uint32_t unused[5];
};
struct cache_entry {
    int32_t flags;
    uint32_t name, value;
    uint32_t osversion;
    uint64_t hwcap;
};
#define CACHE_X86_64 0x0303

static int try_cache(struct closure *c, const char *soname)
{
    struct cache_head head;
    if (c->cache_size < sizeof(head))
        return 0;
    memcpy(&head, c->cache, sizeof(head));
    if (memcmp(head.magic, "glibc-ld.so.cache1.1", 20) != 0 ||
        head.count > (c->cache_size - sizeof(head)) / sizeof(struct cache_entry))
        return 0;
    int found = 0;
    for (uint32_t i = 0; i < head.count; i++) {
        struct cache_entry e;
        memcpy(&e, c->cache + sizeof(head) + i * sizeof(e), sizeof(e));
        /* file_load put a NUL behind the last byte. */
        if (e.flags != CACHE_X86_64 || e.name >= c->cache_size || e.value >= c->cache_size ||
            strcmp(c->cache + e.name, soname) != 0 || c->cache[e.value] != '/')
            continue;
        int r = try_library(c, c->cache + e.value);
        if (r < 0)
            return r;
        found |= r;
    }
    return found;
}

static int remember(struct closure *c, const char *path)
{
    const char *base = base_name(path);
    size_t size = strlen(base);
    struct name *n;
    HASH_FIND(hh, c->loaded, base, size, n);
    if (n)
        return 0;
    n = malloc(sizeof(*n) + size + 1);
    if (!n)
        return no_memory(c);
    memcpy(n->text, base, size + 1);
    HASH_ADD_KEYPTR(hh, c->loaded, n->text, size, n);
    return 0;
}

static int need_library(struct closure *c, const char *by, const struct elf_needs *n,
                        const char *soname)
{
    static const char defaults[] = "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:"
                                   "/usr/lib64:/lib:/usr/lib";
    struct name *known;
    size_t origin_size = (size_t)(strrchr(by, '/') - by);
    char path[MANIFEST_PATH_MAX + 1];
    int r;

    if (strchr(soname, '/'))
        return expand(soname, strlen(soname), by, origin_size, NULL, path) ? try_library(c, path)
                                                                           : 0;
    HASH_FIND(hh, c->loaded, soname, strlen(soname), known);
    if (known)
        return 1;
    if (!n->runpath && n->rpath && (r = try_list(c, n->rpath, by, soname)) != 0)
        return r;
    if (c->library_path && (r = try_list(c, c->library_path, by, soname)) != 0)
        return r;
    if (n->runpath && (r = try_list(c, n->runpath, by, soname)) != 0)
        return r;
    if ((r = try_cache(c, soname)) != 0)
        return r;
    return try_list(c, defaults, by, soname);
}

static int close_elf(struct closure *c, struct entry *e)
{
    CLEANUP(close_p) int fd = open(e->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return 0; /* hashing it will say so */
    struct elf_needs n = { .elf = elf_begin(fd, ELF_C_READ_MMAP, NULL) };
    if (!n.elf || elf_kind(n.elf) != ELF_K_ELF || gelf_getclass(n.elf) != ELFCLASS64) {
        elf_end(n.elf);
        return 0;
    }
    entry_claim(e, MANIFEST_TRUSTED, MANIFEST_EXEC);
    n.raw = elf_rawfile(n.elf, &n.raw_size);
    Elf_Data *data = NULL;
    if (n.raw)
        elf_look(&n, &data);

    int r = remember(c, e->path);
    GElf_Dyn d;
    for (int i = 0; data && r >= 0 && next_dynamic(data, &i, &d);) {
        const char *soname = d.d_tag == DT_NEEDED ? elf_string(&n, d.d_un.d_val) : NULL;
        if (soname && soname[0])
            r = need_library(c, e->path, &n, soname);
    }
    if (r >= 0 && n.interpreter && n.interpreter[0] == '/')
        r = try_library(c, n.interpreter);
    /* glibc opens it when a thread ends by pthread_exit, as Python's daemon threads do when the program ends before
     * them, or is cancelled; without it, it aborts the program. Whether a trace shows that is chance. */
    if (r >= 0 && strcmp(base_name(e->path), "libc.so.6") == 0)
        r = need_library(c, e->path, &n, "libgcc_s.so.1");
    elf_end(n.elf);
    return r < 0 ? r : 0;
}

/* ---- all ---- */

static int close_entry(struct closure *c, struct entry *e)
{
    if (e->closed || e->class != MANIFEST_TRUSTED || !e->exists || !S_ISREG(e->st.st_mode))
        return 0;
    e->closed = true;
    const char *base = base_name(e->path);
    const char *dot = strrchr(base, '.');
    if (dot && strcmp(dot, ".pyc") == 0)
        return pair_source(c, e->path);
    if (dot && strcmp(dot, ".py") == 0)
        return pair_cached(c, e->path);
    bool runs = e->bits & (TRACE_MAPPED_EXEC | TRACE_EXECUTED);
    if (runs || e->by_rule || (e->flags & MANIFEST_EXEC) || strstr(base, ".so"))
        return close_elf(c, e);
    return 0;
}

/* What the trace itself says: Python's tags, libraries that were found. */
static int take_traced(struct closure *c)
{
    int r = 0;
    for (struct entry *e = c->table->entries; r == 0 && e; e = e->hh.next) {
        if (e->class != MANIFEST_TRUSTED)
            continue;
        size_t name, tag;
        const char *base = base_name(e->path);
        if ((e->bits & TRACE_READ) && in_pycache(e->path) && split_cached(base, &name, &tag))
            r = add_tag(c, base + name + 1, tag);
        else if ((e->bits & TRACE_MAPPED_EXEC) || ((e->bits & TRACE_LINK) && strstr(base, ".so")))
            r = remember(c, e->path);
    }
    return r;
}

/* How the program was named, hop by hop: the kernel followed these symlinks. */
static int add_names(struct closure *c, const struct trace_process *p)
{
    char path[MANIFEST_PATH_MAX + 1];
    struct entry *e;
    if (!p->exec_name)
        return 0;
    int n = p->exec_name[0] == '/' ? snprintf(path, sizeof(path), "%s", p->exec_name)
                                   : snprintf(path, sizeof(path), "%s/%s", p->cwd, p->exec_name);
    int r = n > 0 && (size_t)n < sizeof(path) ? table_resolve(c->table, path, &e) : 0;
    if (r == -ENOMEM)
        return r;
    r = table_resolve(c->table, p->executable, &e);
    if (r < 0 || !e->exists)
        return r == -ENOMEM ? r
                            : err_set(c->table->err, -ESTALE,
                                      "'%s' changed since it was traced: it is gone; trace it "
                                      "again (run: --retrace)",
                                      p->executable);
    if (e->class == MANIFEST_ALLOWED)
        return 0; /* refused by the rules */
    entry_claim(e, MANIFEST_TRUSTED, MANIFEST_EXEC);
    r = table_resolve(c->table, p->cwd, &e);
    if (r == -ENOMEM)
        return r;
    if (r == 0 && e->exists && !e->class && !path_built_in(e->path))
        entry_claim(e, MANIFEST_TRUSTED, 0);
    return 0;
}

int closure_add(struct table *t, const struct trace_process *p)
{
    if (elf_version(EV_CURRENT) == EV_NONE)
        return err_set(t->err, -EIO, "libelf is too old");
    struct closure c = { .table = t, .library_path = trace_getenv(p, "LD_LIBRARY_PATH") };
    /* Without a cache there are the folders to search. */
    if (file_load(AT_FDCWD, "/etc/ld.so.cache", CACHE_MAX, &c.cache, &c.cache_size, NULL) < 0)
        c.cache_size = 0;

    int r = add_names(&c, p);
    for (struct entry *e = t->entries; r == 0 && e; e = e->hh.next)
        r = entry_stat(t, e);
    if (r == 0)
        r = take_traced(&c);
    for (struct entry *e = t->entries; r == 0 && e; e = e->hh.next)
        r = close_entry(&c, e);

    for (size_t i = 0; i < c.tag_count; i++)
        free(c.tags[i]);
    struct name *n, *next;
    HASH_ITER(hh, c.loaded, n, next)
    {
        HASH_DEL(c.loaded, n);
        free(n);
    }
    free(c.cache);
    return r < 0 ? r : 0;
}
