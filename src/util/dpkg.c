#include "util/dpkg.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fs.h"

#define INFO     "/var/lib/dpkg/info"
#define LIST_MAX (64u << 20)

static void closedir_p(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* A whole line of the list. */
static bool holds_line(const char *text, size_t size, const char *line)
{
    size_t length = strlen(line);
    const char *end = text + size;
    for (const char *p = text; (p = memmem(p, (size_t)(end - p), line, length)); p++)
        if ((p == text || p[-1] == '\n') && (p + length == end || p[length] == '\n'))
            return true;
    return false;
}

/* Merged /usr: the file is below /usr, the package may say /lib. */
static const char *old_spelling(const char *path)
{
    static const char *const folders[] = { "/usr/bin/", "/usr/sbin/", "/usr/lib" };
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        if (strncmp(path, folders[i], strlen(folders[i])) == 0)
            return path + strlen("/usr");
    return NULL;
}

int dpkg_owner_at(const char *info, const char *path, char *ret, size_t size)
{
    /* Lists hold one path a line: a newline cannot match. */
    if (strchr(path, '\n') || path[0] != '/')
        return -ENOENT;
    const char *old = old_spelling(path);
    CLEANUP(closedir_p) DIR *dir = opendir(info);
    if (!dir)
        return -ENOENT;

    struct dirent *entry;
    while ((entry = readdir(dir))) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".list") != 0)
            continue;
        CLEANUP(free_p) char *text = NULL;
        size_t text_size;
        if (file_load(dirfd(dir), entry->d_name, LIST_MAX, &text, &text_size, NULL) < 0)
            continue;
        if (!holds_line(text, text_size, path) && !(old && holds_line(text, text_size, old)))
            continue;
        size_t length = strcspn(entry->d_name, ":");
        if (entry->d_name + length > dot)
            length = (size_t)(dot - entry->d_name);
        snprintf(ret, size, "%.*s", (int)length, entry->d_name);
        return 0;
    }
    return -ENOENT;
}

int dpkg_owner(const char *path, char *ret, size_t size)
{
    return dpkg_owner_at(INFO, path, ret, size);
}

int dpkg_files(const char *package, char ***ret, size_t *ret_count)
{
    if (package[0] == '\0' || strchr(package, '/'))
        return -ENOENT;
    static const char *const suffixes[] = { ".list", ":amd64.list" };
    CLEANUP(free_p) char *text = NULL;
    size_t size = 0;
    for (size_t i = 0; i < ARRAY_SIZE(suffixes) && !text; i++) {
        char name[512];
        snprintf(name, sizeof(name), INFO "/%s%s", package, suffixes[i]);
        if (file_load(AT_FDCWD, name, LIST_MAX, &text, &size, NULL) < 0)
            text = NULL;
    }
    if (!text)
        return -ENOENT;

    size_t lines = 0, count = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    char **list = calloc(lines + 2, sizeof(*list));
    if (!list)
        return -ENOMEM;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (line[0] != '/' || line[1] == '\0' || strcmp(line, "/.") == 0)
            continue;
        if (!(list[count] = strdup(line))) {
            while (count)
                free(list[--count]);
            free(list);
            return -ENOMEM;
        }
        count++;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}
