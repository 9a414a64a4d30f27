/*
 * Runs a fuzz target over its corpus in the normal test suite, without libFuzzer.
 * Usage: replay_TARGET FOLDER-OR-FILE...; exits 0 if every input came through. A folder is taken in
 * the order of its names; an empty one is an error, or the test could not fail.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fs.h"

#define INPUT_MAX (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t g_count;

static int replay_file(const char *path)
{
    struct err err = { 0 };
    CLEANUP(free_p) char *data = NULL;
    size_t size;
    if (file_load(AT_FDCWD, path, INPUT_MAX, &data, &size, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    /* Said before, so that a crash names its input; and a copy without room at its end, so that
     * AddressSanitizer sees a read past it. */
    printf("%s\n", path);
    fflush(stdout);
    CLEANUP(free_p) uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        return -1;
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    g_count++;
    return 0;
}

static int replay_folder(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int result = 0;
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && replay_file(file) < 0)
            result = -1;
        free(names[i]);
    }
    free(names);
    return result;
}

int main(int argc, char **argv)
{
    int result = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        if ((folder ? replay_folder(argv[i]) : replay_file(argv[i])) < 0)
            result = 1;
    }
    if (g_count == 0) {
        fprintf(stderr, "no input\n");
        result = 1;
    }
    printf("%zu inputs\n", g_count);
    return result;
}
