#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"

#define LIBOS_NAME "sgxpy-libos.elf"

static void print(const char *prefix, const char *format, va_list args)
{
    /* One write per line, so that lines of several processes do not mix. */
    char line[ERR_TEXT_MAX + 128];
    int n = snprintf(line, sizeof(line), "sgxpy: %s", prefix);
    vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
    size_t size = strlen(line);
    /* Names of files come from the traced program and the host: none may draw on the terminal. */
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[size++] = '\n';
    fflush(stdout);
    if (write_full(STDERR_FILENO, line, size) < 0)
        return; /* nobody to tell */
}

void cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print("", format, args);
    va_end(args);
}

int cli_fail(const struct err *err)
{
    cli_note("%s", err->text[0] ? err->text : strerror(-err->code));
    return err->exit_code ? err->exit_code : CLI_USAGE;
}

int cli_usage(const struct verb *verb, const char *format, ...)
{
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "%s: ", verb->name);
    va_list args;
    va_start(args, format);
    print(prefix, format, args);
    va_end(args);
    cli_note("`sgxpy %s --help` says more", verb->name);
    return CLI_USAGE;
}

int cli_may_replace(const char *path, const char *mark, const char *what, struct err *err)
{
    char head[4096];
    struct stat st;
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0; /* what is wrong with it says who writes it */
    ssize_t n = pread_full(fd, head, sizeof(head), 0);
    if (n <= 0 || memmem(head, (size_t)n, mark, strlen(mark)))
        return 0;
    return err_set(err, -EEXIST,
                   "'%s' is there and is no %s, so it is not overwritten; name another with -o, "
                   "or remove it",
                   path, what);
}

int cli_finish_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return CLI_OK;
    cli_note("writing the output: %s", strerror(errno));
    return CLI_USAGE;
}

void cli_hex(const void *bytes, size_t size, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = ((const uint8_t *)bytes)[i];
        ret[2 * i] = digits[byte >> 4];
        ret[2 * i + 1] = digits[byte & 15];
    }
    ret[2 * size] = '\0';
}

char *cli_size(uint64_t bytes, char *ret)
{
    static const char *const units[] = { "kB", "MB", "GB", "TB", "PB", "EB" };
    if (bytes < 1000) {
        snprintf(ret, 32, "%u bytes", (unsigned)bytes);
        return ret;
    }
    double value = (double)bytes / 1000;
    size_t unit = 0;
    for (; value >= 999.5 && unit + 1 < ARRAY_SIZE(units); unit++)
        value /= 1000;
    snprintf(ret, 32, value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return ret;
}

static char *join(const char *a, const char *b)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", a, b) < 0 ? NULL : path;
}

int cli_own_file(const char *name, const char *const *places, char **ret, struct err *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return err_set(err, -errno, "reading /proc/self/exe: %s", strerror(errno));
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';

    char looked[256] = "";
    for (size_t i = 0; places[i]; i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof(path), "%s/%s", self, places[i]) >= (int)sizeof(path))
            continue;
        char *real = realpath(path, NULL);
        if (real) {
            *ret = real;
            return 0;
        }
        size_t used = strlen(looked);
        snprintf(looked + used, sizeof(looked) - used, "%s'%s'", used ? ", " : "", places[i]);
    }
    err_set(err, -ENOENT, "sgxpy's own file '%s' is not where it belongs (from '%s': %s)", name,
            self, looked);
    return err_exit(err, CLI_START);
}

int cli_libos_path(char **ret, struct err *err)
{
    /* In the build tree; installed: beside bin/, and beside sgxpy-full. */
    static const char *const places[] = {
        "src/enclave/" LIBOS_NAME,
        "../libexec/sgxpy/" LIBOS_NAME,
        LIBOS_NAME,
        NULL,
    };
    return cli_own_file(LIBOS_NAME, places, ret, err);
}

/* Not getpwuid(): in a static program it loads NSS's libraries. */
static const char *passwd_home(void)
{
    static char folder[PATH_MAX];
    FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *user;
    *folder = '\0';
    while (file && (user = fgetpwent(file)) != NULL) {
        if (user->pw_uid != getuid())
            continue;
        if (user->pw_dir[0] == '/' && strlen(user->pw_dir) < sizeof(folder))
            strcpy(folder, user->pw_dir);
        break;
    }
    if (file)
        fclose(file);
    return *folder ? folder : NULL;
}

static const char *home(void)
{
    const char *path = getenv("HOME");
    if (path && path[0] == '/')
        return path;
    return passwd_home();
}

int cli_xdg_path(const char *variable, const char *fallback, char **ret, struct err *err)
{
    /* XDG Base Directory Specification: a relative value is to be ignored. */
    const char *base = getenv(variable);
    char *path;
    if (base && base[0] == '/') {
        path = join(base, "sgxpy");
    } else {
        const char *user = home();
        if (!user)
            return err_set(err, -ENOENT, "neither %s nor HOME names a folder", variable);
        CLEANUP(free_p) char *folder = join(user, fallback);
        path = folder ? join(folder, "sgxpy") : NULL;
    }
    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    *ret = path;
    return 0;
}

const char *cli_pretty_path(const char *path)
{
    static char buf[PATH_MAX];
    const char *user = home();
    size_t n = user ? strlen(user) : 0;
    if (n <= 1 || strncmp(path, user, n) != 0 || path[n] != '/')
        return path;
    snprintf(buf, sizeof(buf), "~%s", path + n);
    return buf;
}

/* 0 if path can be executed, else -errno. */
static int check_program(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static int resolve_program(const char *path, char **ret, struct err *err)
{
    char *real = realpath(path, NULL);
    if (!real)
        return err_set(err, -errno, "resolving '%s': %s", path, strerror(errno));
    *ret = real;
    return 0;
}

int cli_find_program(const char *command, char **ret, struct err *err)
{
    int found = -ENOENT;
    if (strchr(command, '/')) {
        found = check_program(command);
        if (found == 0)
            return resolve_program(command, ret, err);
        return err_set(err, found, "'%s': %s", command, strerror(-found));
    }

    /* execvp(3): an empty element is the current folder; without PATH, glibc takes /bin:/usr/bin.
     */
    const char *path = getenv("PATH");
    if (!path)
        path = "/bin:/usr/bin";
    for (const char *p = path; *command;) {
        size_t n = strcspn(p, ":");
        char candidate[PATH_MAX];
        int size =
            snprintf(candidate, sizeof(candidate), "%.*s%s%s", (int)n, p, n ? "/" : "", command);
        if (size > 0 && size < (int)sizeof(candidate)) {
            int r = check_program(candidate);
            if (r == 0)
                return resolve_program(candidate, ret, err);
            if (r == -EACCES)
                found = r;
        }
        if (!p[n])
            break;
        p += n + 1;
    }
    return err_set(err, found, "'%s': %s", command,
                   found == -ENOENT ? "no such program on PATH" : strerror(-found));
}
