/* Read-only files over a text made when they were opened. Tier: enclave. */
#include "vfs/proc/text.h"

#include "arch/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "vfs/linux.h"
#include "vfs/proc/proc.h"

struct text_file {
    char *bytes;
    uint64_t size;
    struct kstat stat;
};

static int64_t file_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    struct text_file *t = file->object;
    uint64_t offset;
    uint64_t n = pos_take(file, pos, size, t->size, &offset);
    if (!n)
        return 0;
    int status = copy_to_user(user, t->bytes + offset, n);
    if (status == 0)
        return (int64_t)n;
    pos_give_back(file, pos, n);
    return status;
}

static int64_t file_pread_kernel(struct file *file, void *buf, uint64_t size, uint64_t offset)
{
    struct text_file *t = file->object;
    uint64_t n = offset >= t->size ? 0 : t->size - offset < size ? t->size - offset : size;
    memcpy(buf, t->bytes + offset, n);
    return (int64_t)n;
}

/* The few settings that programs write (oom_score_adj) are taken and forgotten. */
static int64_t file_write(struct file *file UNUSED, const void *user UNUSED, uint64_t size,
                          uint64_t *pos UNUSED)
{
    return (int64_t)size;
}

static int64_t file_lseek(struct file *file, int64_t offset, int whence)
{
    struct text_file *t = file->object;
    return file_seek(file, offset, whence, t->size);
}

static int file_fstat(struct file *file, struct kstat *ret)
{
    struct text_file *t = file->object;
    *ret = t->stat;
    return 0;
}

static void file_release(struct file *file)
{
    struct text_file *t = file->object;
    heap_free(t->bytes);
    heap_free(t);
}

static const struct file_ops text_ops = {
    .name = "text",
    .read = file_read,
    .write = file_write,
    .pread_kernel = file_pread_kernel,
    .lseek = file_lseek,
    .fstat = file_fstat,
    .release = file_release,
};

int text_open(char *text, uint64_t size, const struct place *place, uint32_t flags,
              struct file **ret)
{
    struct text_file *t = heap_alloc(sizeof(*t));
    struct file *file = t ? file_new(&text_ops, flags, t) : NULL;
    if (!file) {
        heap_free(t);
        heap_free(text);
        return -ENOMEM;
    }
    *t = (struct text_file){ .bytes = text, .size = size };
    int status = place_stat(place, &t->stat);
    if (status == 0)
        status = file_set_path(file, place->path, place->path_size);
    if (status < 0) {
        file_unref(file);
        return status;
    }
    *ret = file;
    return 0;
}
