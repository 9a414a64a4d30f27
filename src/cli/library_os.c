#include "cli/library_os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/sha256.h"
#include "signer/layout.h"
#include "util/fs.h"

int library_os_path(const struct options *options, char **ret, struct err *err)
{
    if (!options->libos)
        return cli_libos_path(ret, err);
    char *path = strdup(options->libos);
    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    *ret = path;
    return 0;
}

static int map(struct library_os *l, struct err *err)
{
    struct stat st;
    CLEANUP(close_p) int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(err, -errno, "opening '%s': %s", l->path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > LAYOUT_IMAGE_FILE_MAX)
        return err_set(err, -EINVAL, "'%s' is no file of 1 to %u bytes", l->path,
                       LAYOUT_IMAGE_FILE_MAX);
    void *image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (image == MAP_FAILED)
        return err_set(err, -errno, "reading '%s': %s", l->path, strerror(errno));
    l->image = image;
    l->size = (size_t)st.st_size;
    return 0;
}

int library_os_load(const struct options *options, struct library_os *ret, struct err *err)
{
    memset(ret, 0, sizeof(*ret));
    int r = library_os_path(options, &ret->path, err);
    if (r < 0)
        return r;
    r = map(ret, err);
    if (r < 0) {
        err_wrap(err, "the library OS image");
        err_exit(err, CLI_START);
        return r;
    }
    sha256(ret->image, ret->size, ret->sha256);
    return 0;
}

void library_os_done(struct library_os *l)
{
    if (l->image)
        munmap((void *)(uintptr_t)l->image, l->size);
    free(l->path);
    memset(l, 0, sizeof(*l));
}
