/* Manifests made from tables of records, and the host's files they speak of. */
#include "vfs_fakes.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <setjmp.h>
#include <stddef.h>

#include "arch/crypto.h"
#include "border/border.h"
#include "core/manifest_view.h"
#include "core/path_hash.h"
#include "core/program_key.h"
#include "thread/threads.h"
#include "vfs/remote/remote.h"

#define RECORDS_MAX 20000

struct made {
    char *path, *target;
    struct manifest_file file;
    uint8_t (*leaves)[32];
};

static struct made g_made[RECORDS_MAX];
static uint32_t g_made_count;
static uint64_t g_next_ino = 100;

static struct made *find_made(const char *path)
{
    for (uint32_t i = 0; i < g_made_count; i++)
        if (strcmp(g_made[i].path, path) == 0)
            return &g_made[i];
    return NULL;
}

static struct made *make(const char *path)
{
    struct made *m = find_made(path);
    if (m)
        return m;
    if (g_made_count == RECORDS_MAX)
        panic("too many records");
    if (strcmp(path, "/") != 0) {
        char parent[4096];
        snprintf(parent, sizeof(parent), "%s", path);
        char *slash = strrchr(parent, '/');
        slash[slash == parent] = '\0';
        make(parent);
    }
    m = &g_made[g_made_count++];
    m->path = strdup(path);
    m->file = (struct manifest_file){ .class = MANIFEST_TRUSTED,
                                      .mode = S_IFDIR | 0755,
                                      .nlink = 2,
                                      .size = 4096,
                                      .dev = 1,
                                      .ino = g_next_ino++,
                                      .uid = getuid(),
                                      .gid = getgid() };
    return m;
}

static void set_content(struct made *m, const void *content, uint64_t size)
{
    uint32_t count = (uint32_t)((size + MANIFEST_CHUNK_SIZE - 1) / MANIFEST_CHUNK_SIZE);
    m->file.size = size;
    m->file.leaf_count = count;
    m->leaves = calloc(count + 1, 32);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = (uint64_t)i * MANIFEST_CHUNK_SIZE;
        uint64_t n = size - at < MANIFEST_CHUNK_SIZE ? size - at : MANIFEST_CHUNK_SIZE;
        island_leaf(i, (const char *)content + at, (uint32_t)n, m->leaves[i]);
    }
}

static void host_file(const char *path, const void *content, uint64_t size)
{
    char full[4600];
    snprintf(full, sizeof(full), "%s%s", g_fake_root, path);
    for (char *p = full + strlen(g_fake_root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(full, 0755);
        *p = '/';
    }
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, content, size) != (ssize_t)size)
        panic("cannot write %s", full);
    close(fd);
}

void fake_add(const struct fake_record *r)
{
    struct made *m = make(r->path);
    m->file.class = r->class;
    m->file.flags = r->flags;
    m->file.mode = r->mode;
    m->file.nlink = r->temporary ? 0 : S_ISDIR(r->mode) ? 2 : 1;
    m->file.size = S_ISDIR(r->mode) ? 4096 : 0;
    if (r->class == MANIFEST_ABSENT) {
        uint64_t ino = m->file.ino;
        m->file = (struct manifest_file){ .class = MANIFEST_ABSENT, .ino = ino };
    }
    if (S_ISLNK(r->mode)) {
        m->target = strdup(r->content);
        m->file.size = strlen(r->content);
    } else if (r->class == MANIFEST_TRUSTED && S_ISREG(r->mode)) {
        const char *content = r->content ? r->content : "";
        uint64_t size = r->size ? r->size : strlen(content);
        set_content(m, content, size);
        host_file(r->path, content, size);
    }
}

void fake_add_link_of(const char *path, const char *of)
{
    struct made *to = find_made(of), *m = make(path);
    char *own = m->path;
    to->file.nlink = 2;
    *m = *to;
    m->path = own;
}

void fake_add_tree(const char *host_dir, const char *path)
{
    struct made *dir = make(path);
    struct stat st;
    dir->file.flags |= MANIFEST_LISTED;
    DIR *d = opendir(host_dir);
    if (!d)
        panic("cannot open %s", host_dir);
    const struct dirent *e;
    while ((e = readdir(d))) {
        char from[4096], to[4096];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(from, sizeof(from), "%s/%s", host_dir, e->d_name);
        snprintf(to, sizeof(to), "%s/%s", strcmp(path, "/") == 0 ? "" : path, e->d_name);
        if (lstat(from, &st) < 0)
            panic("lstat %s", from);
        if (S_ISDIR(st.st_mode)) {
            fake_add_tree(from, to);
        } else if (S_ISLNK(st.st_mode)) {
            char target[4096] = { 0 };
            if (readlink(from, target, sizeof(target) - 1) < 0)
                panic("readlink %s", from);
            fake_add(
                &(struct fake_record){ to, MANIFEST_TRUSTED, 0, st.st_mode, target, 0, false });
        } else if (S_ISREG(st.st_mode)) {
            char *content = calloc(1, (size_t)st.st_size + 1);
            int fd = open(from, O_RDONLY);
            if (read(fd, content, (size_t)st.st_size) != st.st_size)
                panic("read %s", from);
            close(fd);
            fake_add(&(struct fake_record){ to, MANIFEST_TRUSTED, 0, st.st_mode, content,
                                            (uint64_t)st.st_size, false });
            free(content);
        }
    }
    closedir(d);
}

struct image {
    uint8_t *bytes;
    uint64_t size;
    struct manifest_header *header;
};

/* Appends a section; returns where its entries are. The image is allotted once, so pointers stay.
 */
static void *section(struct image *im, uint32_t type, uint32_t entry_size, uint64_t count)
{
    im->size = (im->size + 7) & ~7ull;
    im->header->sections[type - 1] = (struct manifest_section){
        .type = type, .entry_size = entry_size, .offset = im->size, .count = count
    };
    void *at = im->bytes + im->size;
    im->size += entry_size * count;
    return at;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct made *)a)->path, ((const struct made *)b)->path);
}

static uint32_t index_of(const char *path)
{
    struct made key = { .path = (char *)(uintptr_t)path };
    struct made *m = bsearch(&key, g_made, g_made_count, sizeof(*g_made), by_path);
    return m ? (uint32_t)(m - g_made) : MANIFEST_NONE;
}

static struct manifest_str add_string(char *strings, uint64_t *size, const char *text)
{
    struct manifest_str s = { (uint32_t)*size, (uint32_t)strlen(text) };
    memcpy(strings + *size, text, s.length + 1);
    *size += s.length + 1;
    return s;
}

static bool is_listed(const struct made *m)
{
    return m->file.class != MANIFEST_ABSENT && !(m->file.flags & MANIFEST_OUTPUT) &&
           !(m->file.class == MANIFEST_SCRATCH && m->file.nlink == 0);
}

void fake_start(const char *cwd)
{
    fake_thread_start();
    make(cwd);
    /* Somebody has to be the program. */
    fake_add(&(struct fake_record){ "/bin/prog", MANIFEST_TRUSTED, MANIFEST_EXEC, S_IFREG | 0755,
                                    "elf", 0, false });
    qsort(g_made, g_made_count, sizeof(*g_made), by_path);
    uint64_t strings = 4096, leaves = 0, slots = 2;
    for (uint32_t i = 0; i < g_made_count; i++) {
        strings +=
            strlen(g_made[i].path) + 1 + (g_made[i].target ? strlen(g_made[i].target) + 1 : 0);
        leaves += g_made[i].file.leaf_count;
    }
    strings *= 2; /* the names of listings */
    while (slots < 2ull * g_made_count)
        slots *= 2;

    struct image im = { .size = sizeof(struct manifest_header) };
    im.bytes = calloc(1, strings + (leaves + 1) * 32 + slots * 4 + g_made_count * 200ull + 65536);
    im.header = (void *)im.bytes;
    char *pool = section(&im, MANIFEST_STRINGS, 1, strings);
    uint64_t used = 1; /* the empty string */
    struct manifest_node *node = section(&im, MANIFEST_NODE, sizeof(*node), 1);
    *node = (struct manifest_node){
        .label = add_string(pool, &used, "test"),
        .cwd = add_string(pool, &used, cwd),
        .hostname = add_string(pool, &used, "box"),
        .flags = MANIFEST_ROOT,
        .uid = getuid(),
        .gid = getgid(),
        .umask = 022,
        .thread_count = 4,
        .cpu_count = 4,
        .heap_size = 64 << 20,
        .stack_size = 8 << 20,
        .fd_limit = 256,
    };
    struct manifest_file *files = section(&im, MANIFEST_FILES, sizeof(*files), g_made_count);
    uint32_t *index = section(&im, MANIFEST_INDEX, 4, slots);
    uint8_t(*leaf)[32] = section(&im, MANIFEST_LEAVES, 32, leaves);
    memset(index, 0xff, slots * 4);
    uint32_t next_leaf = 0;
    uint64_t dirent_count = 0;
    for (uint32_t i = 0; i < g_made_count; i++) {
        struct made *m = &g_made[i];
        char parent[4096];
        snprintf(parent, sizeof(parent), "%s", m->path);
        char *slash = strrchr(parent, '/');
        slash[slash == parent] = '\0';
        files[i] = m->file;
        files[i].parent = i ? index_of(parent) : 0;
        files[i].path = add_string(pool, &used, m->path);
        if (m->target)
            files[i].target = add_string(pool, &used, m->target);
        files[i].first_leaf = m->file.leaf_count ? next_leaf : 0;
        if (m->file.leaf_count)
            memcpy(leaf[next_leaf], m->leaves, m->file.leaf_count * 32ull);
        next_leaf += m->file.leaf_count;
        uint64_t slot = manifest_path_hash(m->path, strlen(m->path)) & (slots - 1);
        while (index[slot] != MANIFEST_NONE)
            slot = (slot + 1) & (slots - 1);
        index[slot] = i;
        if (i && (files[files[i].parent].flags & MANIFEST_LISTED) && is_listed(m)) {
            files[files[i].parent].dirent_count++;
            dirent_count++;
        }
    }
    struct manifest_dirent *dirents =
        section(&im, MANIFEST_DIRENTS, sizeof(*dirents), dirent_count);
    uint32_t at = 0;
    for (uint32_t d = 0; d < g_made_count; d++) {
        if (!(files[d].flags & MANIFEST_LISTED))
            continue;
        files[d].first_dirent = at;
        for (uint32_t i = 1; i < g_made_count; i++)
            if (files[i].parent == d && is_listed(&g_made[i]))
                dirents[at++] = (struct manifest_dirent){
                    .name = add_string(pool, &used, strrchr(g_made[i].path, '/') + 1), .file = i
                };
    }
    struct manifest_str *arg = section(&im, MANIFEST_ARGS, sizeof(*arg), 1);
    *arg = add_string(pool, &used, "prog");
    section(&im, MANIFEST_ENV, sizeof(struct manifest_env), 0);
    struct manifest_entry *entry = section(&im, MANIFEST_ENTRIES, sizeof(*entry), 1);
    *entry = (struct manifest_entry){ .executable = index_of("/bin/prog"),
                                      .interpreter = MANIFEST_NONE,
                                      .execfn = add_string(pool, &used, "prog"),
                                      .kind = PROGRAM_ANY };
    section(&im, MANIFEST_CHILDREN, sizeof(struct manifest_child), 0);
    section(&im, MANIFEST_GRANTS, sizeof(struct manifest_grant), 0);
    section(&im, MANIFEST_NET, sizeof(struct manifest_net), 0);
    section(&im, MANIFEST_GIVEN, sizeof(struct manifest_given), 0);
    im.size = (im.size + 7) & ~7ull;
    im.header->magic = MANIFEST_MAGIC;
    im.header->version = MANIFEST_VERSION;
    im.header->section_count = MANIFEST_SECTION_TYPES;
    im.header->size = im.size;
    const char *reason = NULL;
    if (manifest_view_open(im.bytes, im.size, &g_manifest, &reason) < 0)
        panic("the test's manifest: %s", reason);
    vfs_init();
}
