#include "host/refuse.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/sha256.h"
#include "host/host.h"
#include "host/quote.h"
#include "util/fs.h"

#define WHOLE_HASH_MAX (1ull << 30) /* larger files are not read again for a message */

static void hex(const uint8_t *bytes, char ret[static 2 * SHA256_SIZE + 1])
{
    for (int i = 0; i < SHA256_SIZE; i++)
        sprintf(ret + 2 * i, "%02x", bytes[i]);
}

static bool not_permitted(const struct ocall_refusal *r)
{
    return r->kind == OCALL_REFUSED_MISSING && (r->error == EACCES || r->error == EPERM);
}

int refuse_exit_code(const struct ocall_refusal *r)
{
    return not_permitted(r) ? HOST_EXIT_NO_START : HOST_EXIT_INTEGRITY;
}

static void put_user(FILE *out)
{
    /* Not getpwuid: it would load NSS modules into this process. */
    const char *name = getenv("USER");
    if (name && name[0]) {
        char quoted[QUOTE_SIZE(64)];
        fprintf(out, "user %s (uid %u)", quote(name, strnlen(name, 64), quoted), geteuid());
    } else {
        fprintf(out, "uid %u", geteuid());
    }
}

/* Whole-file hash of what is there now. */
static int hash_now(const char *path, uint8_t ret[static SHA256_SIZE])
{
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > WHOLE_HASH_MAX)
        return -EINVAL;
    struct sha256 h;
    CLEANUP(free_p) uint8_t *buffer = malloc(1 << 20);
    if (!buffer)
        return -ENOMEM;
    sha256_init(&h);
    for (;;) {
        ssize_t n = read_full(fd, buffer, 1 << 20);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        sha256_update(&h, buffer, (size_t)n);
    }
    sha256_final(&h, ret);
    return 0;
}

static bool ends_with(const char *path, size_t size, const char *tail)
{
    size_t n = strlen(tail);
    return size >= n && memcmp(path + size - n, tail, n) == 0;
}

/* Importable and executable files can never be allowed: do not propose it. */
static bool may_be_allowed(const char *path, size_t size, const struct manifest_file *file)
{
    return !(file && (file->flags & MANIFEST_EXEC)) && !ends_with(path, size, ".py") &&
           !ends_with(path, size, ".pyc") && !ends_with(path, size, ".so") &&
           !memmem(path, size, ".so.", 4);
}

static void put_hashes(FILE *out, const char *what, const uint8_t *expected, const uint8_t *actual)
{
    char digits[2 * SHA256_SIZE + 1];
    hex(expected, digits);
    fprintf(out, "sgxpy:   %s: expected %s\n", what, digits);
    hex(actual, digits);
    fprintf(out, "sgxpy:   %*s  actual   %s\n", (int)strlen(what), "", digits);
}

static void put_reason(FILE *out, const struct ocall_refusal *r)
{
    switch (r->kind) {
    case OCALL_REFUSED_CONTENT: fprintf(out, " is not what was signed"); break;
    case OCALL_REFUSED_SHORT:
        fprintf(out, " is not what was signed: it ends after %llu of %llu bytes",
                (unsigned long long)r->actual_size, (unsigned long long)r->expected_size);
        break;
    case OCALL_REFUSED_LONG:
        fprintf(out, " is not what was signed: it has more than %llu bytes",
                (unsigned long long)r->expected_size);
        break;
    case OCALL_REFUSED_MISSING:
        if (r->error == ENOENT)
            fprintf(out, " is not what was signed: it is missing");
        else
            fprintf(out, " cannot be opened: %s",
                    r->error && r->error < 4096 ? strerror((int)r->error) : "unknown error");
        break;
    case OCALL_REFUSED_TYPE:
        fprintf(out, " is not what was signed: it is no regular file any more");
        break;
    default: fprintf(out, " is refused"); break;
    }
}

char *refuse_text(const struct ocall_refusal *r, const char *path, size_t path_size,
                  const struct manifest_view *manifest, const char *package, bool bundle_given)
{
    CLEANUP(free_p) char *quoted = malloc(QUOTE_SIZE(path_size));
    CLEANUP(free_p) char *name = strndup(path, path_size);
    char *text = NULL;
    size_t text_size;
    if (!quoted || !name)
        return NULL;
    FILE *out = open_memstream(&text, &text_size);
    if (!out)
        return NULL;
    quote(path, path_size, quoted);

    fprintf(out, "sgxpy: %s%s",
            r->action == OCALL_REFUSED_DENY ? "denied (EIO): " : "refused: ", quoted);
    put_reason(out, r);
    if (not_permitted(r)) {
        fprintf(out, ", running as ");
        put_user(out);
        fprintf(out, "\n");
        fclose(out);
        return text;
    }
    if (package)
        fprintf(out, " (package %s)", package);
    fprintf(out, "\n");

    uint32_t index = manifest ? manifest_find(manifest, path, path_size) : MANIFEST_NONE;
    const struct manifest_file *file = index == MANIFEST_NONE ? NULL : &manifest->files[index];
    if (r->kind == OCALL_REFUSED_CONTENT) {
        char what[64];
        snprintf(what, sizeof(what), "chunk at offset %llu", (unsigned long long)r->offset);
        put_hashes(out, what, r->expected, r->actual);
    }
    uint8_t now[SHA256_SIZE];
    if (file && hash_now(name, now) == 0)
        put_hashes(out, "sha256sum", file->sha256, now);
    else if (file) {
        char digits[2 * SHA256_SIZE + 1];
        hex(file->sha256, digits);
        fprintf(out, "sgxpy:   sha256sum: expected %s\n", digits);
    }
    if (r->action != OCALL_REFUSED_DENY) {
        fprintf(out, "sgxpy:   edited it yourself? %s",
                bundle_given ? "trace and sign again" : "--retrace");
        if (may_be_allowed(path, path_size, file))
            fprintf(out, "; changes often? --allow %s, unprotected", quoted);
        fprintf(out, "\n");
    }
    fclose(out);
    return text;
}
