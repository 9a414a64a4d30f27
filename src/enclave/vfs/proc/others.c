/*
 * /proc/PID of other processes of the tree: what the table in the root knows of them, and what they said of themselves
 * when they started (tree/ptable.h). Their memory, descriptors and environment are nobody else's. Tier: enclave.
 */
#include "vfs/proc/text.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "process/process.h"
#include "sys/process.h"

#define COMM_MAX 15u /* TASK_COMM_LEN without its NUL: readers have room for no more */

struct other {
    struct ptable_view view;
    const char *exe, *cmdline;
    char comm[COMM_MAX + 1];
    uint32_t cmdline_size;
    char label[PTABLE_LABEL_MAX + 1];
};

/* NULL: there is none any more, or no memory. Free it. */
static struct other *look(int pid)
{
    struct other *o = heap_alloc(sizeof(*o));
    if (!o || process_view(pid, &o->view, o->label) < 0) {
        heap_free(o);
        return NULL;
    }
    /* What another process says: it may have too few NULs. */
    uint32_t size = o->view.label_size;
    o->label[size] = '\0';
    o->exe = o->label;
    uint32_t at = (uint32_t)strlen(o->exe) + 1;
    const char *comm = at < size ? o->label + at : "";
    format(o->comm, sizeof(o->comm), "%s", comm);
    at += (uint32_t)strlen(comm) + 1;
    o->cmdline = at < size ? o->label + at : "";
    o->cmdline_size = at < size ? size - at : 0;
    return o;
}

static bool ended(const struct other *o)
{
    return o->view.state == 'Z';
}

void text_other_cmdline(struct text *t, int pid)
{
    struct other *o = look(pid);
    if (o && !ended(o))
        text_put(t, o->cmdline, o->cmdline_size);
    heap_free(o);
}

void text_other_comm(struct text *t, int pid)
{
    struct other *o = look(pid);
    if (o)
        text_add(t, "%s\n", o->comm);
    heap_free(o);
}

void text_other_stat(struct text *t, int pid)
{
    struct other *o = look(pid);
    if (o)
        text_stat_line(t, &(struct stat_line){ .pid = pid,
                                               .comm = o->comm,
                                               .state = o->view.state,
                                               .parent = o->view.parent,
                                               .pgid = o->view.pgid,
                                               .sid = o->view.sid,
                                               .threads = 1 });
    heap_free(o);
}

void text_other_status(struct text *t, int pid)
{
    struct other *o = look(pid);
    const struct manifest_node *node = process_node();
    if (o) {
        /* One line, whatever the name (proc_task_name()). */
        char name[2 * COMM_MAX + 1];
        uint32_t n = 0;
        for (const char *c = o->comm; *c; c++) {
            if (*c == '\n' || *c == '\\')
                name[n++] = '\\';
            name[n++] = *c == '\n' ? 'n' : *c;
        }
        name[n] = '\0';
        const char *state = ended(o)               ? "Z (zombie)"
                            : o->view.state == 'T' ? "T (stopped)"
                                                   : "S (sleeping)";
        text_add(t,
                 "Name:\t%s\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
                 name, state, pid, pid, o->view.parent);
        text_add(t, "Uid:\t%u\t%u\t%u\t%u\n", node->uid, node->uid, node->uid, node->uid);
        text_add(t, "Gid:\t%u\t%u\t%u\t%u\n", node->gid, node->gid, node->gid, node->gid);
    }
    heap_free(o);
}

int other_exe(int pid, char *buf, uint64_t size)
{
    struct other *o = look(pid);
    int n = -ENOENT;
    if (o && !ended(o)) {
        uint64_t length = strlen(o->exe);
        n = (int)(length < size ? length : size);
        memcpy(buf, o->exe, (uint64_t)n);
    }
    heap_free(o);
    return n;
}
