#include "util/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

void close_p(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    errno = saved;
}

void free_p(void *pointer_to_pointer)
{
    int saved = errno;
    free(*(void **)pointer_to_pointer);
    errno = saved;
}

ssize_t read_full(int fd, void *buf, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, (char *)buf + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t pread_full(int fd, void *buf, size_t size, off_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, (char *)buf + done, size - done, offset + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int write_full(int fd, const void *buf, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(fd, (const char *)buf + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

int file_load(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size,
              struct err *err)
{
    CLEANUP(close_p) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, -errno, "opening '%s': %s", path, strerror(errno));

    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set(err, -errno, "reading '%s': %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "'%s' is not a regular file", path);
    if ((uint64_t)st.st_size > max)
        return err_set(err, -EFBIG, "'%s' has %lld bytes; at most %zu are accepted", path,
                       (long long)st.st_size, max);

    size_t size = (size_t)st.st_size;
    CLEANUP(free_p) char *data = malloc(size + 1);
    if (!data)
        return err_set(err, -ENOMEM, "reading '%s': out of memory", path);
    ssize_t n = read_full(fd, data, size);
    if (n < 0)
        return err_set(err, (int)n, "reading '%s': %s", path, strerror((int)-n));
    data[n] = '\0';

    *ret = TAKE_PTR(data);
    *ret_size = (size_t)n;
    return 0;
}

/* Splits path into its folder ("." if it has none) and its last component. */
static int split(const char *path, char **ret_dir, const char **ret_base)
{
    const char *slash = strrchr(path, '/');
    *ret_base = slash ? slash + 1 : path;
    if (!slash)
        *ret_dir = strdup(".");
    else if (slash == path)
        *ret_dir = strdup("/");
    else
        *ret_dir = strndup(path, (size_t)(slash - path));
    return *ret_dir ? 0 : -ENOMEM;
}

static int store_at(int fd, const void *data, size_t size, mode_t mode)
{
    int r = write_full(fd, data, size);
    if (r < 0)
        return r;
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

/* A device, a pipe or a terminal, /dev/stdout for one: it is written to, and stays. 1: done; 0: it is none. */
static int store_stream(int folder, const char *base, const void *data, size_t size)
{
    struct stat st;
    if (fstatat(folder, base, &st, 0) < 0 || S_ISREG(st.st_mode))
        return 0;
    if (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    CLEANUP(close_p) int fd = openat(folder, base, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int r = write_full(fd, data, size);
    return r < 0 ? r : 1;
}

int file_store(int dir_fd, const char *path, const void *data, size_t size, mode_t mode,
               int exclusive, struct err *err)
{
    CLEANUP(free_p) char *dir = NULL;
    const char *base;
    if (split(path, &dir, &base) < 0)
        return err_set(err, -ENOMEM, "writing '%s': out of memory", path);
    CLEANUP(close_p) int folder = openat(dir_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return err_set(err, -errno, "writing '%s': folder '%s': %s", path, dir, strerror(errno));

    int stream = exclusive ? 0 : store_stream(folder, base, data, size);
    if (stream < 0)
        return err_set(err, stream, "writing '%s': %s", path,
                       stream == -EINVAL ? "neither a file nor a stream" : strerror(-stream));
    if (stream)
        return 0;

    /* The temporary name never carries the file's own: that may be NAME_MAX long already. */
    uint64_t tag;
    if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
        return err_set(err, -EIO, "writing '%s': no random numbers", path);
    char temporary[48];
    snprintf(temporary, sizeof(temporary), ".sgxpy-%016llx.tmp", (unsigned long long)tag);

    CLEANUP(close_p)
    int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "writing '%s': %s", path, strerror(errno));

    int r = store_at(fd, data, size, mode);
    if (r == 0) {
        r = exclusive ? linkat(folder, temporary, folder, base, 0)
                      : renameat(folder, temporary, folder, base);
        r = r < 0 ? -errno : 0;
    }
    if (r < 0 || exclusive)
        unlinkat(folder, temporary, 0);
    if (r == -EEXIST)
        return err_set(err, r, "'%s' exists and is not overwritten", path);
    if (r < 0)
        return err_set(err, r, "writing '%s': %s", path, strerror(-r));
    if (fsync(folder) < 0 && errno != EINVAL)
        return err_set(err, -errno, "writing '%s': %s", path, strerror(errno));
    return 0;
}

int dir_make(const char *path, mode_t mode, struct err *err)
{
    CLEANUP(free_p) char *copy = strdup(path);
    if (!copy)
        return err_set(err, -ENOMEM, "making folder '%s': out of memory", path);
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return err_set(err, -errno, "making folder '%s': %s", copy, strerror(errno));
        *p = end;
        if (!end)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set(err, -errno, "making folder '%s': %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(err, -ENOTDIR, "'%s' is not a folder", path);
    return 0;
}

static void closedir_p(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

int tree_remove(int dir_fd, const char *path, struct err *err)
{
    if (unlinkat(dir_fd, path, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return err_set(err, -errno, "removing '%s': %s", path, strerror(errno));

    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "removing '%s': %s", path, strerror(errno));
    CLEANUP(closedir_p) DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return err_set(err, -ENOMEM, "removing '%s': out of memory", path);
    }
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int r = tree_remove(fd, entry->d_name, err);
        if (r < 0)
            return r;
    }
    if (unlinkat(dir_fd, path, AT_REMOVEDIR) < 0)
        return err_set(err, -errno, "removing '%s': %s", path, strerror(errno));
    return 0;
}
