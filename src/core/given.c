#include "core/given.h"

/* A name, or with "*" at its end all that begin so. Sorted by what reads them. */
static const struct {
    const char *name;
    enum given_variable what;
} variables[] = {
    /* Every program. */
    { "PATH", GIVEN_PLACE },
    { "HOME", GIVEN_PLACE }, /* ~/.local/lib/python3.11/site-packages, ~/.bashrc */
    { "XDG_CACHE_HOME", GIVEN_PLACE },
    { "XDG_CONFIG_HOME", GIVEN_PLACE },
    { "XDG_CONFIG_DIRS", GIVEN_PLACE },
    { "XDG_DATA_HOME", GIVEN_PLACE },
    { "XDG_DATA_DIRS", GIVEN_PLACE },
    /* The loader and the C library. */
    { "LD_*", GIVEN_CODE },
    { "GLIBC_TUNABLES", GIVEN_CODE },
    { "GCONV_PATH", GIVEN_CODE },
    { "GETCONF_DIR", GIVEN_CODE },
    { "LOCPATH", GIVEN_CODE },
    { "NLSPATH", GIVEN_CODE },
    { "OPENSSL_CONF", GIVEN_CODE },
    { "OPENSSL_ENGINES", GIVEN_CODE },
    { "OPENSSL_MODULES", GIVEN_CODE },
    /* Python. Of PYTHON* these change no code. */
    { "PYTHONASYNCIODEBUG", GIVEN_FREE },
    { "PYTHONCOERCECLOCALE", GIVEN_FREE },
    { "PYTHONDONTWRITEBYTECODE", GIVEN_FREE },
    { "PYTHONFAULTHANDLER", GIVEN_FREE },
    { "PYTHONHASHSEED", GIVEN_FREE },
    { "PYTHONINTMAXSTRDIGITS", GIVEN_FREE },
    { "PYTHONMALLOC", GIVEN_FREE },
    { "PYTHONMALLOCSTATS", GIVEN_FREE },
    { "PYTHONPROFILEIMPORTTIME", GIVEN_FREE },
    { "PYTHONTRACEMALLOC", GIVEN_FREE },
    { "PYTHONUNBUFFERED", GIVEN_FREE },
    { "PYTHONUTF8", GIVEN_FREE },
    { "PYTHONVERBOSE", GIVEN_FREE },
    { "PYTHON*", GIVEN_CODE },
    { "_PYTHON*", GIVEN_CODE },
    { "FLASK_APP", GIVEN_CODE },
    { "FLASK_DEBUG", GIVEN_CODE }, /* a debugger for whoever visits */
    { "FLASK_ENV_FILE", GIVEN_CODE },
    { "GUNICORN_CMD_ARGS", GIVEN_CODE },
    { "IPYTHONDIR", GIVEN_CODE },
    { "JUPYTER_CONFIG_DIR", GIVEN_CODE },
    { "JUPYTER_CONFIG_PATH", GIVEN_CODE },
    { "JUPYTER_PATH", GIVEN_CODE },
    { "NUMBA_CACHE_DIR", GIVEN_CODE },
    { "PYTEST_ADDOPTS", GIVEN_CODE },
    { "PYTEST_PLUGINS", GIVEN_CODE },
    { "UVICORN_APP_DIR", GIVEN_CODE },
    { "UVICORN_ENV_FILE", GIVEN_CODE },
    { "UVICORN_LOG_CONFIG", GIVEN_CODE },
    /* Shells. */
    { "BASH_ENV", GIVEN_CODE },
    { "BASH_FUNC_*", GIVEN_CODE },
    { "BASH_LOADABLES_PATH", GIVEN_CODE },
    { "BASHOPTS", GIVEN_CODE },
    { "CDPATH", GIVEN_CODE },
    { "ENV", GIVEN_CODE },
    { "FPATH", GIVEN_CODE },
    { "IFS", GIVEN_CODE },
    { "PROMPT_COMMAND", GIVEN_CODE },
    { "PS0", GIVEN_CODE },
    { "PS1", GIVEN_CODE },
    { "PS2", GIVEN_CODE },
    { "PS4", GIVEN_CODE },
    { "SHELLOPTS", GIVEN_CODE },
    { "ZDOTDIR", GIVEN_CODE },
    /* Other interpreters. */
    { "PERL*", GIVEN_CODE },
    { "RUBY*", GIVEN_CODE },
    { "GEM_HOME", GIVEN_CODE },
    { "GEM_PATH", GIVEN_CODE },
    { "BUNDLE_GEMFILE", GIVEN_CODE },
    { "BUNDLE_PATH", GIVEN_CODE },
    { "NODE_OPTIONS", GIVEN_CODE },
    { "NODE_PATH", GIVEN_CODE },
    { "NODE_REPL_EXTERNAL_MODULE", GIVEN_CODE },
    { "LUA_*", GIVEN_CODE },
    { "AWKPATH", GIVEN_CODE },
    { "AWKLIBPATH", GIVEN_CODE },
    { "CLASSPATH", GIVEN_CODE },
    { "JAVA_TOOL_OPTIONS", GIVEN_CODE },
    { "JDK_JAVA_OPTIONS", GIVEN_CODE },
    { "_JAVA_OPTIONS", GIVEN_CODE },
    { "PHPRC", GIVEN_CODE },
    { "PHP_INI_SCAN_DIR", GIVEN_CODE },
    { "TCLLIBPATH", GIVEN_CODE },
    { "TCL_LIBRARY", GIVEN_CODE },
    { "R_*", GIVEN_CODE },
    { "GUILE_*", GIVEN_CODE },
    { "EMACSLOADPATH", GIVEN_CODE },
};

enum given_variable given_variable(const char *name, size_t size)
{
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
        const char *want = variables[i].name;
        size_t n = 0;
        while (n < size && want[n] && want[n] != '*' && want[n] == name[n])
            n++;
        if (want[n] == '*' || (want[n] == '\0' && n == size))
            return variables[i].what;
    }
    return GIVEN_FREE;
}

/* ---- values ---- */

static bool same_bytes(const char *a, const char *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

size_t given_temporary(const char *path, size_t size)
{
    static const struct {
        const char *path;
        size_t size;
    } folders[] = { { "/tmp", 4 }, { "/dev/shm", 8 } };
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        if (size > folders[i].size && path[folders[i].size] == '/' &&
            same_bytes(path, folders[i].path, folders[i].size))
            return folders[i].size;
    return 0;
}

static size_t element_size(const char *text)
{
    size_t n = 0;
    while (text[n] && text[n] != ':')
        n++;
    return n;
}

/* Absolute, without "." and ".." */
static bool plain_path(const char *path, size_t size)
{
    if (size == 0 || path[0] != '/')
        return false;
    for (size_t start = 1, i = 1; i <= size; i++) {
        if (i < size && path[i] != '/')
            continue;
        size_t n = i - start;
        if ((n == 1 && path[start] == '.') ||
            (n == 2 && path[start] == '.' && path[start + 1] == '.'))
            return false;
        start = i + 1;
    }
    return true;
}

static bool element_same(const char *a, size_t a_size, const char *b, size_t b_size,
                         given_scratch_fn *scratch, const void *ctx)
{
    if (a_size == b_size && same_bytes(a, b, a_size))
        return true;
    if (!plain_path(a, a_size) || !plain_path(b, b_size))
        return false;
    size_t folder = scratch(ctx, a, a_size);
    return folder && folder < a_size && folder < b_size && scratch(ctx, b, b_size) == folder &&
           same_bytes(a, b, folder);
}

bool given_value_same(const char *given, const char *traced, given_scratch_fn *scratch,
                      const void *ctx)
{
    for (;;) {
        size_t n = element_size(given), m = element_size(traced);
        if (given[n] != traced[m] || !element_same(given, n, traced, m, scratch, ctx))
            return false;
        if (!given[n])
            return true;
        given += n + 1;
        traced += m + 1;
    }
}

/* ---- options ---- */

static bool put_word(const char *word, char *ret, size_t *size)
{
    size_t room = GIVEN_OPTIONS_MAX;
    if (*size)
        ret[(*size)++] = ' ';
    if (!word[0]) {
        ret[(*size)++] = '\'';
        ret[(*size)++] = '\'';
    }
    for (; *word && *size < room; word++) {
        if (*word == ' ' || *word == '\\')
            ret[(*size)++] = '\\';
        ret[(*size)++] = *word;
    }
    return *size < room;
}

bool given_options(const char *executable, struct program_start start, uint32_t argc,
                   const char *const *argv, char *ret, size_t *ret_size)
{
    size_t size = 0;
    for (uint32_t i = 1; i < start.arg; i++)
        if (!put_word(argv[i], ret, &size))
            return false;
    /* Whether one of them has a value of its own is the interpreter's to know: then all that follows counts. */
    uint32_t next = start.arg + 1;
    if (start.kind == PROGRAM_COMMAND && program_options_go_on(executable) && next < argc &&
        argv[next][0] == '-' && !(argv[next][1] == '-' && !argv[next][2]))
        for (uint32_t i = next; i < argc; i++)
            if (!put_word(argv[i], ret, &size))
                return false;
    ret[size] = '\0';
    *ret_size = size;
    return true;
}

bool given_freely(const char *executable)
{
    const char *const argv[] = { executable };
    return program_start(executable, 1, argv).kind != PROGRAM_PLAIN;
}
