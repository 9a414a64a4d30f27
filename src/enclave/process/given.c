#include "process/given.h"

#include <asm/errno.h>
#include <linux/fcntl.h>

#include "arch/string.h"
#include "border/border.h"
#include "core/given.h"
#include "mm/heap.h"
#include "process/process.h"
#include "vfs/linux.h"
#include "vfs/node.h"

#define REMARKS_MAX 3u

static uint32_t g_remarks;

static const char *text_of(struct manifest_str s)
{
    return manifest_str_ptr(&g_manifest, s);
}

/* Whatever this node is given it takes: by the user's word, or because its parent says what it runs anyway. */
static bool takes_all(void)
{
    if (process_node()->flags & MANIFEST_INSECURE_GIVEN)
        return true;
    for (uint32_t i = 0; i < g_manifest.entry_count; i++) {
        const struct manifest_entry *entry = &g_manifest.entries[i];
        if (entry->kind == PROGRAM_ANY &&
            given_freely(manifest_path(&g_manifest, entry->executable)))
            return true;
    }
    return false;
}

static void remark(enum ocall_given what, const char *name)
{
    static const char *const texts[] = {
        [OCALL_GIVEN_DROPPED] =
            "without the variable '%s' that it was given: no trace of it had this value",
        [OCALL_GIVEN_PUT_IN] = "with the traced value of '%s': each traced start had one",
        [OCALL_GIVEN_FOLDER] = "in its traced folder, not in '%s': others can make files there",
    };
    char text[512];
    if (g_remarks++ >= REMARKS_MAX)
        return;
    format(text, sizeof(text), texts[what], name);
    log_note("'%s' starts %s. A trace of such a start (sgxpy manifest takes several), or "
             "--insecure_given %s, lets it",
             text_of(process_node()->label), text, what == OCALL_GIVEN_FOLDER ? "all" : name);
}

/* ---- folder ---- */

static bool below(const char *path, struct manifest_str folder)
{
    const char *top = text_of(folder);
    return strncmp(path, top, folder.length) == 0 &&
           (path[folder.length] == '\0' || path[folder.length] == '/' || folder.length == 1);
}

/* Nobody can make a name in it. */
static bool closed(const struct place *place)
{
    return place->fs == &g_trusted_fs && place->record != MANIFEST_NONE &&
           domain_of(place->record) == DOMAIN_NONE;
}

bool given_folder(void)
{
    struct file *cwd = cwd_get();
    const struct place *place = dir_place(cwd);
    bool fine = closed(place) || takes_all();
    for (uint32_t i = 0; !fine && i < g_manifest.given_count; i++)
        fine = g_manifest.given[i].what == MANIFEST_GIVEN_FOLDER &&
               below(place->path, g_manifest.given[i].value);
    if (!fine) {
        audit(OCALL_AUDIT_GIVEN, EACCES, OCALL_GIVEN_FOLDER, place->path, place->path_size);
        remark(OCALL_GIVEN_FOLDER, place->path);
    }
    file_unref(cwd);
    return fine;
}

/* core/given.h */
static size_t scratch_folder(const void *ctx UNUSED, const char *path, size_t size)
{
    size_t temporary = given_temporary(path, size);
    if (temporary)
        return temporary;
    uint32_t record = manifest_find(&g_manifest, path, size);
    if (record == MANIFEST_NONE)
        record = manifest_find_above(&g_manifest, path, size);
    for (; record != MANIFEST_NONE && record; record = g_manifest.files[record].parent) {
        const struct manifest_file *f = &g_manifest.files[record];
        if (f->class == MANIFEST_SCRATCH && (f->flags & MANIFEST_SUBTREE))
            return f->path.length;
    }
    return 0;
}

/* ---- arguments ---- */

static bool has(enum manifest_given_what what, const char *text)
{
    for (uint32_t i = 0; i < g_manifest.given_count; i++) {
        const char *traced = text_of(g_manifest.given[i].value);
        if (g_manifest.given[i].what == (uint32_t)what &&
            (program_text_same(text, traced) ||
             (what == MANIFEST_GIVEN_NAME && given_value_same(text, traced, scratch_folder, NULL))))
            return true;
    }
    return false;
}

/* "-sh" is a login shell, which runs ~/.profile whatever its options are. */
static bool name_fine(const char *name)
{
    if (has(MANIFEST_GIVEN_NAME, name))
        return true;
    return name[0] != '-' && (!strchr(name, '/') || path_is_measured(name, strlen(name)));
}

/* A measured script that is reached over a symlink in scratch is another file a moment later. */
static bool script_fine(const char *name)
{
    char buf[PATH_BUF];
    struct place place = { .fs = NULL };
    if (place_at_kernel(AT_FDCWD, name, strlen(name), 0, buf, &place) < 0)
        return true; /* nothing that the key could have been made of */
    bool measured = place.fs == &g_trusted_fs;
    place_done(&place);
    return !measured || path_is_measured(name, strlen(name));
}

static int check_options(const char *executable, struct program_start start,
                         const struct boot_strings *strings, bool *ret)
{
    uint64_t size;
    char *text = heap_alloc(GIVEN_OPTIONS_BUF);
    if (!text)
        return -ENOMEM;
    *ret = given_options(executable, start, strings->arg_count, (const char *const *)strings->args,
                         text, &size) &&
           has(MANIFEST_GIVEN_OPTIONS, text);
    heap_free(text);
    return 0;
}

static int check_arguments(const char *executable, const struct boot_strings *strings)
{
    struct program_start start =
        program_start(executable, strings->arg_count, (const char *const *)strings->args);
    const char *wrong = NULL;
    bool options = true;
    int r = start.arg ? check_options(executable, start, strings, &options) : 0;
    if (r < 0)
        return r;
    if (!options)
        wrong = "the options are not those of a traced start";
    else if (start.kind == PROGRAM_SCRIPT && !script_fine(strings->args[start.arg]))
        wrong = "the way to its script leads over what is not measured";
    else if ((strings->arg_count && !name_fine(strings->args[0])) || !name_fine(strings->execfn))
        wrong = "its name leads to what is not measured, or is a login shell's";
    if (!wrong)
        return 0;
    audit(OCALL_AUDIT_EXEC, EACCES, (uint64_t)start.kind, executable, strlen(executable));
    log_error("'%s' does not start: %s. A trace of such a start, or --insecure_given all, lets it",
              text_of(process_node()->label), wrong);
    return -EACCES;
}

/* ---- environment ---- */

struct variable {
    const char *name, *value;
    size_t size; /* of the name */
};

static bool is_of(const struct manifest_given *given, const struct variable *v)
{
    return given->what <= MANIFEST_GIVEN_INSECURE && given->name.length == v->size &&
           memcmp(text_of(given->name), v->name, v->size) == 0;
}

/* What the manifest says of one variable: *known if it says, or core/given.h does, that not every value will do. */
static bool admitted(const struct variable *v, bool *known)
{
    *known = given_variable(v->name, v->size) != GIVEN_FREE;
    for (uint32_t i = 0; i < g_manifest.given_count; i++) {
        const struct manifest_given *given = &g_manifest.given[i];
        if (!is_of(given, v))
            continue;
        *known = true;
        if (given->what == MANIFEST_GIVEN_HOST || given->what == MANIFEST_GIVEN_INSECURE ||
            (given->what == MANIFEST_GIVEN_VARIABLE &&
             given_value_same(v->value, text_of(given->value), scratch_folder, NULL)))
            return true;
    }
    return !*known;
}

static bool split(const char *text, struct variable *ret)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return false;
    *ret = (struct variable){ .name = text, .value = equals + 1, .size = (size_t)(equals - text) };
    return true;
}

static bool is_set(const struct boot_strings *strings, uint32_t count, const struct variable *v)
{
    struct variable have;
    for (uint32_t i = 0; i < count; i++)
        if (split(strings->env[i], &have) && have.size == v->size &&
            memcmp(have.name, v->name, v->size) == 0)
            return true;
    return false;
}

static void tell(const struct variable *v, enum ocall_given what)
{
    char name[256];
    format(name, sizeof(name), "%.*s", (int)(v->size < sizeof(name) ? v->size : sizeof(name) - 1),
           v->name);
    audit(OCALL_AUDIT_GIVEN, 0, (uint64_t)what, name, strlen(name));
    remark(what, name);
}

/* Programs differ in which of two they see: only the first stays. */
static void take_out(struct boot_strings *strings)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < strings->env_count; i++) {
        struct variable v;
        bool known = false;
        if (split(strings->env[i], &v) &&
            (!admitted(&v, &known) || (known && is_set(strings, kept, &v))))
            tell(&v, OCALL_GIVEN_DROPPED);
        else
            strings->env[kept++] = strings->env[i];
    }
    strings->env[kept] = NULL;
    strings->env_count = kept;
}

static bool may_be_unset(const struct variable *v)
{
    for (uint32_t i = 0; i < g_manifest.given_count; i++)
        if (is_of(&g_manifest.given[i], v) && g_manifest.given[i].what != MANIFEST_GIVEN_VARIABLE)
            return true;
    return false;
}

/* The first traced value of each variable that was always there. */
static int put_in(struct boot_strings *strings)
{
    char **grown = NULL;
    for (uint32_t i = 0;
         i < g_manifest.given_count && g_manifest.given[i].what == MANIFEST_GIVEN_VARIABLE; i++) {
        const struct manifest_given *given = &g_manifest.given[i];
        struct variable v = { .name = text_of(given->name), .size = given->name.length };
        if (is_set(strings, strings->env_count, &v) || may_be_unset(&v))
            continue;
        uint64_t total = v.size + given->value.length + 2ull;
        char *text = heap_alloc(total);
        if (!grown) {
            grown =
                heap_alloc((strings->env_count + g_manifest.given_count + 1ull) * sizeof(*grown));
            if (grown) {
                memcpy(grown, strings->env, strings->env_count * sizeof(*grown));
                strings->env = grown;
            }
        }
        if (!text || !grown)
            return -ENOMEM;
        format(text, total, "%s=%s", v.name, text_of(given->value));
        strings->env[strings->env_count++] = text;
        strings->env[strings->env_count] = NULL;
        tell(&v, OCALL_GIVEN_PUT_IN);
    }
    return 0;
}

int given_start(const char *executable, struct boot_strings *strings)
{
    if (takes_all())
        return 0;
    int r = check_arguments(executable, strings);
    if (r < 0)
        return r;
    take_out(strings);
    return put_in(strings);
}
