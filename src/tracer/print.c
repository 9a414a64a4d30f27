/* A trace as text for people: trace_bits_text and trace_print (trace.h). Tier: hosted. */
#include <assert.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tracer/trace.h"

static const char *const bit_names[] = {
    "read",   "written", "created", "truncated",    "mapped-exec", "executed",
    "stat",   "listed",  "link",    "renamed-from", "renamed-to",  "removed",
    "absent", "changed", "opened",  "denied",       "bound",       "connected",
};
static_assert((1u << ARRAY_SIZE(bit_names)) - 1 == TRACE_ALL_BITS, "a name for every bit");

static const char *const how_names[] = {
    [TRACE_HOW_ROOT] = "root",   [TRACE_HOW_FORK] = "fork", [TRACE_HOW_VFORK] = "vfork",
    [TRACE_HOW_CLONE] = "clone", [TRACE_HOW_EXEC] = "exec",
};

const char *trace_bits_text(uint32_t bits, char *buf, size_t size)
{
    size_t used = 0;
    if (size)
        buf[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(bit_names); i++) {
        if (!(bits & (1u << i)))
            continue;
        int n = snprintf(buf + used, size - used, "%s%s", used ? " " : "", bit_names[i]);
        if (n < 0 || (size_t)n >= size - used) {
            if (size)
                buf[used] = '\0';
            break;
        }
        used += (size_t)n;
    }
    return buf;
}

/* Bytes outside printable ASCII (and the backslash) as \xNN. UTF-8 is left alone above 0x7f only
 * by escaping it: the output stays unambiguous whatever the terminal. */
static void put_text(FILE *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p >= 0x7f || *p == '\\')
            fprintf(out, "\\x%02x", *p);
        else
            fputc(*p, out);
    }
}

static void put_list(FILE *out, const char *label, char *const *list, size_t count)
{
    fprintf(out, "  %s:", label);
    for (size_t i = 0; i < count; i++) {
        fputs(" '", out);
        put_text(out, list[i]);
        fputc('\'', out);
    }
    fputc('\n', out);
}

static void put_path(FILE *out, const char *label, const struct trace *t, uint32_t path)
{
    if (path == TRACE_NO_PATH)
        return;
    fprintf(out, "  %s: ", label);
    put_text(out, t->paths[path].path);
    fputc('\n', out);
}

static void put_access(FILE *out, const struct trace *t, const struct trace_access *a)
{
    char bits[256];
    fprintf(out, "  %s: ", trace_bits_text(a->bits, bits, sizeof(bits)));
    put_text(out, t->paths[a->path].path);
    fputc('\n', out);
}

/* ", tcp, as 127.0.0.1:40123": type and own address, as far as they are known. */
static void put_socket(FILE *out, const struct trace_socket *s)
{
    if (s->type)
        fprintf(out,
                s->type == SOCK_STREAM  ? ", tcp"
                : s->type == SOCK_DGRAM ? ", udp"
                                        : ", type %u",
                s->type);
    if (s->local_text[0])
        fprintf(out, ", as %s", s->local_text);
    fputc('\n', out);
}

static void put_process(FILE *out, const struct trace *t, size_t index)
{
    const struct trace_process *p = &t->processes[index];
    fprintf(out, "process %zu: pid %u start %llu", index, p->pid,
            (unsigned long long)p->start_time);
    if (p->parent != TRACE_NO_PROCESS)
        fprintf(out, " parent %u", p->parent);
    fprintf(out, " %s uid %u gid %u umask %03o\n", how_names[p->how], p->uid, p->gid, p->umask);
    fputs("  executable: ", out);
    put_text(out, p->executable);
    fputs("\n  cwd: ", out);
    put_text(out, p->cwd);
    fputc('\n', out);
    for (size_t i = 0; i < p->chain_count; i++)
        put_path(out, "chain", t, p->chain[i]);
    put_path(out, "elf-interpreter", t, p->elf_interpreter);
    put_list(out, "argv", p->argv, p->argc);
    fprintf(out, "  environment:");
    for (size_t i = 0; i < p->env_count; i++) {
        /* Names only: this text ends up in reports. */
        size_t n = strcspn(p->envp[i], "=");
        fprintf(out, " %.*s", (int)n, p->envp[i]);
    }
    fputc('\n', out);
    for (size_t i = 0; i < p->access_count; i++)
        put_access(out, t, &p->accesses[i]);
    for (size_t i = 0; i < p->socket_count; i++) {
        char bits[64];
        fprintf(out, "  socket %s: ", trace_bits_text(p->sockets[i].bits, bits, sizeof(bits)));
        put_text(out, p->sockets[i].text);
        put_socket(out, &p->sockets[i]);
    }
    if (!p->ended)
        fputs("  not ended\n", out);
    else if (p->replaced)
        fprintf(out, "  ended: exec");
    else if (WIFSIGNALED(p->wait_status))
        fprintf(out, "  ended: signal %d", WTERMSIG(p->wait_status));
    else
        fprintf(out, "  ended: exit %d", WEXITSTATUS(p->wait_status));
    if (p->ended)
        fprintf(out, ", VmPeak %llu KiB, threads %u\n", (unsigned long long)p->vm_peak / 1024,
                p->thread_peak);
}

static void put_stat(FILE *out, const struct trace_stat *st)
{
    if (!st->mode)
        fputs("absent", out);
    else
        fprintf(out, "%06o %llu", st->mode, (unsigned long long)st->size);
}

static void put_record(FILE *out, const struct trace_path *p)
{
    char bits[256];
    fputs("path ", out);
    put_text(out, p->path);
    fprintf(out, ": %s; before: ", trace_bits_text(p->bits, bits, sizeof(bits)));
    put_stat(out, &p->before);
    fputs("; after: ", out);
    if (p->after_known)
        put_stat(out, &p->after);
    else
        fputs("unknown", out);
    if (p->read_before_written)
        fputs("; read first", out);
    if (p->link_target) {
        fputs("; -> ", out);
        put_text(out, p->link_target);
    }
    fputc('\n', out);
    for (size_t i = 0; i < p->name_count; i++) {
        fputs("  name ", out);
        put_text(out, p->names[i].name);
        fputc('\n', out);
    }
}

void trace_print(FILE *out, const struct trace *t)
{
    static const char *const moves[] = { "rename", "link", "exchange" };
    fprintf(out, "complete: %s%s%s\n", t->complete ? "yes" : "no", t->complete ? "" : ": ",
            t->complete ? "" : t->incomplete);
    fprintf(out, "host: %s kernel %s\n", t->hostname, t->kernel);
    put_list(out, "command", t->argv, t->argc);
    for (size_t i = 0; i < t->process_count; i++)
        put_process(out, t, i);
    for (size_t i = 0; i < t->path_count; i++)
        put_record(out, &t->paths[i]);
    for (size_t i = 0; i < t->move_count; i++) {
        fprintf(out, "%s ", moves[t->moves[i].kind]);
        put_text(out, t->paths[t->moves[i].from].path);
        fputs(" => ", out);
        put_text(out, t->paths[t->moves[i].to].path);
        fputc('\n', out);
    }
    for (size_t i = 0; i < t->note_count; i++)
        fprintf(out, "note%s: %s\n", t->notes[i].incomplete ? " (incomplete)" : "",
                t->notes[i].text);
}
