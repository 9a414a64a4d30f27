#include "util/dist_info.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/fs.h"

#define RECORD_MAX (64u << 20)
#define SUFFIX     ".dist-info"

static void closedir_p(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static bool is_separator(char c)
{
    return c == '-' || c == '_' || c == '.';
}

/* PEP 503: runs of "-", "_" and "." are one "-", case does not count. */
static bool same_name(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t i = 0, k = 0;
    while (i < a_size && k < b_size) {
        if (is_separator(a[i]) != is_separator(b[k]))
            return false;
        if (!is_separator(a[i])) {
            if (tolower((unsigned char)a[i++]) != tolower((unsigned char)b[k++]))
                return false;
            continue;
        }
        while (i < a_size && is_separator(a[i]))
            i++;
        while (k < b_size && is_separator(b[k]))
            k++;
    }
    return i == a_size && k == b_size;
}

/* "NAME-VERSION.dist-info" of this name. */
static bool is_wanted(const char *entry, const char *name)
{
    size_t size = strlen(entry);
    if (size <= strlen(SUFFIX) || strcmp(entry + size - strlen(SUFFIX), SUFFIX) != 0)
        return false;
    const char *dash = strchr(entry, '-');
    return dash && same_name(entry, (size_t)(dash - entry), name, strlen(name));
}

/* Cuts the first field of a CSV line (RFC 4180) out in place; NULL: broken. */
static char *first_field(char *line)
{
    if (line[0] != '"') {
        line[strcspn(line, ",")] = '\0';
        return line;
    }
    char *out = line;
    for (char *p = line + 1; *p; p++) {
        if (*p == '"' && *++p != '"') {
            *out = '\0';
            return *p == ',' || *p == '\0' || *p == '\r' ? line : NULL;
        }
        *out++ = *p;
    }
    return NULL;
}

static void free_list(char **list, size_t count)
{
    while (count)
        free(list[--count]);
    free(list);
}

static int read_record(const char *folder, char *text, size_t size, char ***ret, size_t *ret_count)
{
    size_t lines = 1, count = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    char **list = calloc(lines + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (line[strspn(line, "\r")] == '\0')
            continue;
        char *field = first_field(line);
        int n = field && field[0] ? field[0] == '/' ? asprintf(&list[count], "%s", field)
                                                    : asprintf(&list[count], "%s/%s", folder, field)
                                  : -1;
        if (n < 0) {
            list[count] = NULL;
            free_list(list, count);
            return field && field[0] ? -ENOMEM : -EBADMSG;
        }
        count++;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

int dist_info_files(const char *folder, const char *name, char ***ret, size_t *ret_count)
{
    if (name[0] == '\0' || strchr(name, '/'))
        return -ENOENT;
    CLEANUP(closedir_p) DIR *dir = opendir(folder);
    if (!dir)
        return -ENOENT;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (!is_wanted(entry->d_name, name))
            continue;
        char path[512];
        snprintf(path, sizeof(path), "%s/RECORD", entry->d_name);
        CLEANUP(free_p) char *text = NULL;
        size_t size;
        if (file_load(dirfd(dir), path, RECORD_MAX, &text, &size, NULL) < 0)
            continue;
        return read_record(folder, text, size, ret, ret_count);
    }
    return -ENOENT;
}
