#include "mm/checkpoint.h"

#include <asm/errno.h>
#include <linux/mman.h>

#include "abi/layout.h"
#include "abi/manifest.h"
#include "abi/sgx.h"
#include "arch/cpu.h"
#include "arch/exception.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/pages.h"
#include "mm/shared.h"
#include "mm/vma.h"
#include "thread/lock.h"
#include "thread/threads.h"
#include "tree/hints.h"
#include "vfs/node.h"

#define PAGE          LAYOUT_PAGE
/* pages: accepted at once by the child, so that its device can use huge pages */
#define EXTENT_MAX    8192u
#define MESSAGE_PAGES 16u
#define SCAN_MAX      1024u /* pages looked at in one turn of the address space's lock */
#define VMAS_MAX      65530u
#define NO_FILE       UINT32_MAX
#define ATTACHED      0x64736d61u

static_assert(MESSAGE_PAGES * PAGE == STREAM_MESSAGE, "a message of pages");

enum file_kind { FILE_END, FILE_NUMBER, FILE_PATH, FILE_DSM };

struct run_head {
    uint32_t first, count;
};

/* One mapping on its way. */
struct mapping {
    uint64_t start, end, offset;
    uint32_t prot, flags, file, reserved;
};

static bool trusted(const struct file *file)
{
    return file && file->record && file->record->class == MANIFEST_TRUSTED;
}

/* Mappings whose pages the child makes itself. */
static bool made_again(const struct vma *v)
{
    return (v->flags & (VMA_COHERENT | VMA_DSM)) ||
           (trusted(v->file) && !(v->flags & VMA_WAS_WRITABLE));
}

/* --- the parent ----------------------------------------------------------------------------------- */

static void fail(struct tree_stream *s, int error)
{
    if (!s->error)
        s->error = error;
}

static void put_file(struct tree_stream *s, const struct share *share, const struct file *file)
{
    int32_t number = share ? share_number(share, dsm_backing(file)) : -1;
    struct dsm_wire wire;
    if (dsm_describe(file, &wire)) {
        tree_put_u32(s, FILE_DSM);
        tree_put_bytes(s, &wire, sizeof(wire));
        tree_put_u32(s, (uint32_t)number);
    } else if (number >= 0) {
        tree_put_u32(s, FILE_NUMBER);
        tree_put_u32(s, (uint32_t)number);
    } else if (trusted(file) && file->path) {
        tree_put_u32(s, FILE_PATH);
        tree_put_string(s, file->path, (uint32_t)strlen(file->path));
    } else {
        log_error("fork: a mapping of '%s' cannot go to the child", file->path ? file->path : "?");
        fail(s, -EAGAIN);
    }
}

/* Numbers[i]: which of the files that were put is that of vmas[i]. */
static void put_files(struct tree_stream *s, const struct share *share, const struct vma *vmas,
                      uint32_t count, uint32_t *numbers)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < count && !s->error; i++) {
        numbers[i] = NO_FILE;
        if (!vmas[i].file)
            continue;
        /* A library's mappings lie next to each other. */
        for (uint32_t k = i; k-- > 0 && numbers[i] == NO_FILE;)
            if (vmas[k].file == vmas[i].file)
                numbers[i] = numbers[k];
        if (numbers[i] != NO_FILE)
            continue;
        put_file(s, share, vmas[i].file);
        numbers[i] = next++;
    }
    tree_put_u32(s, FILE_END);
}

static void put_mappings(struct tree_stream *s, const struct vma *vmas, uint32_t count,
                         const uint32_t *numbers)
{
    tree_put_u32(s, count);
    for (uint32_t i = 0; i < count; i++) {
        struct mapping m = { .start = vmas[i].start,
                             .end = vmas[i].end,
                             .offset = vmas[i].offset,
                             .prot = vmas[i].prot,
                             .flags = vmas[i].flags,
                             .file = numbers[i] };
        tree_put_bytes(s, &m, sizeof(m));
    }
}

static uint32_t room(const struct tree_stream *s)
{
    return STREAM_MESSAGE - s->at;
}

/* Is there anything to send of this page? It stays open (state) then. The lock is held. */
static bool open_content(uint64_t page, uint8_t *state)
{
    if (!page_state(page))
        return false;
    *state = page_open(page, SGX_SECINFO_R);
    if (!cpu_all_zero((const void *)page, PAGE))
        return true;
    page_close(page, *state);
    return false;
}

/* Copies a run of pages straight into the stream's buffer, as many as it holds. Returns the first page that was not
 * looked at. The lock is held; there is room for one. */
static uint32_t fill(struct tree_stream *s, uint64_t start, uint32_t at, uint32_t count)
{
    uint32_t stop = count - at > SCAN_MAX ? at + SCAN_MAX : count;
    bool any = false;
    while (at < stop && !any && room(s) >= sizeof(struct run_head) + PAGE) {
        uint8_t state;
        struct run_head head = { .first = at };
        uint8_t *place = s->buf + s->at;
        uint8_t *to = place + sizeof(head);
        uint64_t left = room(s) - sizeof(head);
        for (; at < stop && left >= PAGE && open_content(start + at * PAGE, &state); at++) {
            memcpy(to, (const void *)(start + at * PAGE), PAGE);
            page_close(start + at * PAGE, state);
            to += PAGE;
            left -= PAGE;
            head.count++;
        }
        if (!head.count) {
            at++;
            continue;
        }
        memcpy(place, &head, sizeof(head));
        s->at = (uint32_t)(to - s->buf);
        any = true;
    }
    return at;
}

/* How many pages from this one on have content, in whole messages. */
static uint32_t whole_messages(uint64_t start, uint32_t at, uint32_t count)
{
    uint32_t n = 0;
    LOCKED(mm_lock());
    for (; at + n < count && n < SCAN_MAX; n++) {
        uint64_t page = start + (at + n) * PAGE;
        if (!(page_state(page) & SGX_SECINFO_R) || cpu_all_zero((const void *)page, PAGE))
            break;
    }
    return n - n % MESSAGE_PAGES;
}

/* A message of pages as they are now; what has gone meanwhile is sent as zeros. */
static void copy_message(struct tree_stream *s, uint64_t page)
{
    LOCKED(mm_lock());
    for (uint32_t i = 0; i < MESSAGE_PAGES; i++, page += PAGE) {
        if (page_state(page) & SGX_SECINFO_R)
            memcpy(s->buf + i * PAGE, (const void *)page, PAGE);
        else
            memset(s->buf + i * PAGE, 0, PAGE);
    }
    s->at = STREAM_MESSAGE;
}

/* Messages that hold nothing but content: the child receives them in place. With no other thread there is nobody to
 * take pages away, and they need not be copied here either. */
static void put_whole_messages(struct tree_stream *s, uint64_t start, struct run_head head)
{
    tree_put_bytes(s, &head, sizeof(head));
    if (tree_stream_flush(s) < 0)
        return;
    uint64_t from = start + head.first * PAGE, size = head.count * PAGE;
    if (threads_used() == 1) {
        tree_put_bytes(s, (const void *)from, size);
        return;
    }
    for (uint64_t done = 0; done < size && !s->error; done += STREAM_MESSAGE) {
        copy_message(s, from + done);
        (void)!tree_stream_flush(s);
    }
}

static void put_extent(struct tree_stream *s, uint64_t start, uint32_t count)
{
    struct run_head end = { 0 };
    tree_put_u64(s, start);
    tree_put_u64(s, count);
    for (uint32_t at = 0; at < count && !s->error;) {
        uint32_t whole = whole_messages(start, at, count);
        if (whole) {
            put_whole_messages(s, start, (struct run_head){ at, whole });
            at += whole;
            continue;
        }
        if (room(s) < sizeof(struct run_head) + PAGE && tree_stream_flush(s) < 0)
            return;
        lock_take(mm_lock());
        at = fill(s, start, at, count);
        lock_drop(mm_lock());
    }
    tree_put_bytes(s, &end, sizeof(end));
}

static void put_pages(struct tree_stream *s, const struct vma *v)
{
    for (uint64_t at = v->start; !s->error;) {
        at = pages_next(at, v->end);
        if (at == v->end)
            return;
        uint64_t end = at + PAGE;
        while (end < v->end && end - at < EXTENT_MAX * PAGE && page_state(end))
            end += PAGE;
        put_extent(s, at, (uint32_t)((end - at) / PAGE));
        at = end;
    }
}

static void sort(uint64_t *pages, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        uint64_t page = pages[i];
        uint32_t k = i;
        for (; k > 0 && pages[k - 1] > page; k--)
            pages[k] = pages[k - 1];
        pages[k] = page;
    }
}

/* A page that the child would verify: is it here, and still what it was when the mappings were looked at? */
static bool copy_code(const struct vma *v, uint64_t page, void *ret)
{
    LOCKED(mm_lock());
    const struct vma *now = vma_find(page);
    if (!now || now->file != v->file || !trusted(now->file) || !made_again(now) ||
        now->offset + (page - now->start) != v->offset + (page - v->start) ||
        !(page_state(page) & SGX_SECINFO_R))
        return false;
    memcpy(ret, (const void *)page, PAGE);
    return true;
}

static void put_code(struct tree_stream *s, const struct vma *vmas, uint32_t count)
{
    uint64_t pages[TREE_HINT_PAGES], last = 0;
    uint32_t hints = hints_get(pages), at = 0;
    uint8_t *buf = hints ? heap_pages(1) : NULL;
    sort(pages, buf ? hints : 0);
    for (uint32_t i = 0; buf && i < hints && !s->error; i++) {
        uint64_t page = pages[i];
        while (at < count && vmas[at].end <= page)
            at++;
        if (at == count || page <= last || page % PAGE || page < vmas[at].start ||
            !made_again(&vmas[at]) || !trusted(vmas[at].file) || !copy_code(&vmas[at], page, buf))
            continue;
        last = page;
        tree_put_u64(s, page);
        tree_put_bytes(s, buf, PAGE);
    }
    if (buf)
        heap_pages_free(buf, 1);
    tree_put_u64(s, 0);
}

static void put_stubs(struct tree_stream *s)
{
    uint64_t size = stubs_size();
    tree_put_u64(s, size);
    tree_put_bytes(s, (const void *)LAYOUT_STUBS, size);
}

/* What would not be shared any more in the child: mapped after dsm_fork() looked. */
static bool cannot_share(const struct vma *v)
{
    return (v->flags & VMA_SHARED) && !v->file;
}

static bool any_distributed(const struct vma *vmas, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (vmas[i].flags & VMA_DSM)
            return true;
    return false;
}

void mm_checkpoint_send(struct tree_stream *s, const struct share *share)
{
    struct vma *vmas;
    uint32_t count;
    uint64_t brk_start, brk_now;
    int r = dsm_fork();
    if (r < 0) {
        fail(s, r);
        return;
    }
    if (shared_any())
        shared_flush(NULL);
    r = mm_snapshot(&vmas, &count);
    uint32_t *numbers = r < 0 ? NULL : heap_alloc((count + 1ull) * sizeof(*numbers));
    if (!numbers) {
        if (r == 0)
            mm_snapshot_done(vmas, count);
        fail(s, -ENOMEM);
        return;
    }
    mm_brk_get(&brk_start, &brk_now);
    tree_put_u64(s, brk_start);
    tree_put_u64(s, brk_now);
    put_files(s, share, vmas, count, numbers);
    for (uint32_t i = 0; i < count; i++) {
        if (!cannot_share(&vmas[i]))
            continue;
        log_note("fork: shared anonymous memory is not shared with the child: it cannot use it");
        vmas[i].prot = 0;
    }
    put_mappings(s, vmas, count, numbers);
    for (uint32_t i = 0; i < count && !s->error; i++)
        if (!made_again(&vmas[i]) && !cannot_share(&vmas[i]))
            put_pages(s, &vmas[i]);
    tree_put_u64(s, 0);
    tree_put_u64(s, 0);
    put_code(s, vmas, count);
    put_stubs(s);
    /* Until the child has attached, our mappings keep what it attaches to. */
    if (!s->error && any_distributed(vmas, count) && tree_get_u32(s) != ATTACHED)
        fail(s, -EPIPE);
    heap_free(numbers);
    mm_snapshot_done(vmas, count);
}

/* --- the child ------------------------------------------------------------------------------------ */

/* All of the parent's files of mappings, each with a reference. */
struct files {
    struct file **list;
    uint32_t count, room;
};

static int files_add(struct files *files, struct file *file)
{
    if (files->count == files->room) {
        uint32_t want = files->room ? files->room * 2 : 64;
        struct file **bigger =
            want > 2 * VMAS_MAX ? NULL : heap_realloc(files->list, want * sizeof(struct file *));
        if (!bigger)
            return -ENOMEM;
        files->list = bigger;
        files->room = want;
    }
    files->list[files->count++] = file;
    return 0;
}

static struct file *get_file(struct tree_stream *s, uint32_t kind)
{
    struct file *file = NULL;
    if (kind == FILE_NUMBER) {
        file = share_file(tree_get_u32(s));
        if (!file)
            fail(s, -EBADMSG);
        else
            file_ref(file);
    } else if (kind == FILE_DSM) {
        struct dsm_wire wire;
        tree_get_bytes(s, &wire, sizeof(wire));
        uint32_t number = tree_get_u32(s);
        struct file *backing = s->error || number == NO_FILE ? NULL : share_file(number);
        int r = s->error ? s->error : dsm_adopt(&wire, backing ? file_ref(backing) : NULL, &file);
        if (r < 0)
            fail(s, r);
    } else if (kind == FILE_PATH) {
        uint32_t size = 0;
        char *path = tree_get_string(s, PATH_BUF, &size);
        int r = path ? vfs_open_kernel(path, size, &file) : -EBADMSG;
        if (r < 0)
            fail(s, r);
        heap_free(path);
    } else {
        fail(s, -EBADMSG);
    }
    return s->error ? NULL : file;
}

static void get_files(struct tree_stream *s, struct files *files)
{
    for (;;) {
        uint32_t kind = tree_get_u32(s);
        if (s->error || kind == FILE_END)
            return;
        struct file *file = get_file(s, kind);
        if (!file)
            return;
        int r = files_add(files, file);
        if (r < 0) {
            file_unref(file);
            fail(s, r);
            return;
        }
    }
}

static void get_mappings(struct tree_stream *s, const struct files *files)
{
    uint32_t count = tree_get_u32(s);
    if (count > VMAS_MAX)
        fail(s, -EBADMSG);
    for (uint32_t i = 0; i < count && !s->error; i++) {
        struct mapping m;
        tree_get_bytes(s, &m, sizeof(m));
        if (s->error)
            return;
        if (m.file != NO_FILE && m.file >= files->count) {
            fail(s, -EBADMSG);
            return;
        }
        struct vma vma = {
            .start = m.start, .end = m.end, .prot = m.prot, .flags = m.flags, .offset = m.offset
        };
        if (m.file != NO_FILE)
            vma.file = file_ref(files->list[m.file]);
        bool distributed = vma.flags & VMA_DSM;
        int r = distributed == (dsm_number(vma.file) != 0) ? mm_adopt(&vma) : -EBADMSG;
        if (r < 0) {
            file_unref(vma.file);
            fail(s, r);
        }
    }
}

static void get_content(struct tree_stream *s, uint64_t start, uint64_t count)
{
    for (;;) {
        struct run_head head;
        tree_get_bytes(s, &head, sizeof(head));
        if (s->error || !head.count)
            return;
        if (head.first >= count || head.count > count - head.first) {
            fail(s, -EBADMSG);
            return;
        }
        tree_get_bytes(s, (void *)(start + head.first * PAGE), head.count * PAGE);
    }
}

/* There are no other threads of the program yet: pages may be writable for a moment. */
static void get_pages(struct tree_stream *s)
{
    const uint64_t writable = SGX_SECINFO_R | SGX_SECINFO_W;
    for (;;) {
        uint64_t start = tree_get_u64(s), count = tree_get_u64(s);
        if (s->error || !count)
            return;
        const struct vma *v = vma_find(start);
        if (!v || start % PAGE || count > EXTENT_MAX || v->end - start < count * PAGE ||
            pages_next(start, start + count * PAGE) != start + count * PAGE) {
            fail(s, -EBADMSG);
            return;
        }
        uint64_t perms = mm_perms(v->prot);
        lock_take(mm_lock());
        int r = pages_try_accept(start, count, writable);
        lock_drop(mm_lock());
        if (r < 0) {
            fail(s, r);
            return;
        }
        get_content(s, start, count);
        if (perms == writable)
            continue;
        lock_take(mm_lock());
        pages_set_perms(start, count, perms);
        lock_drop(mm_lock());
    }
}

static void get_code(struct tree_stream *s)
{
    uint8_t *buf = heap_pages(1);
    if (!buf) {
        fail(s, -ENOMEM);
        return;
    }
    for (;;) {
        uint64_t page = tree_get_u64(s);
        if (s->error || !page)
            break;
        const struct vma *v = vma_find(page);
        if (!v || page % PAGE || !made_again(v) || !trusted(v->file) || !(v->prot & PROT_READ) ||
            page_state(page)) {
            fail(s, -EBADMSG);
            break;
        }
        tree_get_bytes(s, buf, PAGE);
        if (s->error)
            break;
        lock_take(mm_lock());
        int r = page_accept_copy(page, buf, mm_perms(v->prot));
        lock_drop(mm_lock());
        if (r < 0) {
            fail(s, r);
            break;
        }
    }
    heap_pages_free(buf, 1);
}

static void get_stubs(struct tree_stream *s)
{
    uint64_t size = tree_get_u64(s);
    int r = s->error ? s->error : stubs_adopt(size);
    if (r < 0)
        fail(s, r);
    else
        tree_get_bytes(s, (void *)LAYOUT_STUBS, size);
}

void mm_checkpoint_receive(struct tree_stream *s)
{
    struct files files = { 0 };
    uint64_t brk_start = tree_get_u64(s), brk_now = tree_get_u64(s);
    if (s->error)
        return;
    int r = mm_brk_adopt(brk_start, brk_now);
    if (r < 0)
        fail(s, r);
    get_files(s, &files);
    if (!s->error)
        get_mappings(s, &files);
    mm_forked();
    if (!s->error)
        get_pages(s);
    if (!s->error)
        get_code(s);
    if (!s->error)
        get_stubs(s);
    if (!s->error && dsm_any()) {
        tree_put_u32(s, ATTACHED);
        (void)!tree_stream_flush(s);
    }
    for (uint32_t i = 0; i < files.count; i++)
        file_unref(files.list[i]);
    heap_free(files.list);
}
