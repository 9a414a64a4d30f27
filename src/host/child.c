#include "host/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/audit.h"
#include "host/hostile.h"
#include "host/log.h"

enum { NUMBERS = 2, FLAGS, HANDLES, IMAGE, BUNDLE, NODE, AUDIT, HOSTILE, PROGRAM, ARGUMENTS };

/* A number up to max, then one of the characters in `ends` (which may be the NUL). */
static bool number(const char **at, uint32_t max, char ends, uint32_t *ret)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    unsigned long value = strtoul(*at, &end, 10);
    if (errno || value > max || *end != ends)
        return false;
    *ret = (uint32_t)value;
    *at = end + (ends ? 1 : 0);
    return true;
}

static bool parse_numbers(const char *text, struct tree_child *c, struct host_options *o)
{
    uint32_t region, log, out, in, pass, device;
    if (!number(&text, INT_MAX, ',', &region) || !number(&text, INT_MAX, ',', &log) ||
        !number(&text, INT_MAX, ',', &out) || !number(&text, INT_MAX, ',', &in) ||
        !number(&text, INT_MAX, ',', &pass) ||
        !number(&text, TREE_SLOTS - 1, ',', &c->spawn_slot) ||
        !number(&text, TREE_SLOTS - 1, ',', &c->control_slot) ||
        !number(&text, DEVICE_SOFT, '\0', &device))
        return false;
    c->region_fd = (int)region;
    c->log_fd = (int)log;
    c->spare_out = (int)out;
    c->spare_in = (int)in;
    c->pass_out = (int)pass;
    o->device = (enum device_kind)device;
    return true;
}

static bool parse_flags(const char *text, struct tree_child *c, struct host_options *o)
{
    for (; *text; text++) {
        switch (*text) {
        case 'p': o->poison = true; break;
        case 'q': o->quiet = true; break;
        case 's': o->strace = true; break;
        case 't': o->stats = true; break;
        case '1': o->single_step = true; break;
        case 'r': c->spare = true; break;
        case 'a': o->spare_always = true; break;
        case 'b': o->bundle_given = true; break;
        default: return false;
        }
    }
    return true;
}

static int parse_handles(const char *text, struct tree_child *c)
{
    if (strcmp(text, "-") == 0)
        return 0;
    size_t count = 1;
    for (const char *p = text; *p; p++)
        count += *p == ',';
    if (count > TREE_HANDLES_MAX)
        return -EINVAL;
    c->handles = calloc(count, sizeof(*c->handles));
    if (!c->handles)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        uint32_t handle;
        if (!number(&text, INT_MAX, i + 1 < count ? ',' : '\0', &handle))
            return -EINVAL;
        c->handles[i] = (int32_t)handle;
    }
    c->handle_count = count;
    return 0;
}

/* "SIZE,KEEP,PATH", or nothing. */
static bool parse_audit(const char *text, struct host_options *o)
{
    char *end;
    if (!*text)
        return true;
    errno = 0;
    o->audit_size = strtoull(text, &end, 10);
    if (errno || end == text || *end != ',')
        return false;
    text = end + 1;
    if (!number(&text, AUDIT_KEEP_MAX, ',', &o->audit_keep))
        return false;
    o->audit_path = text;
    return *text != '\0';
}

int tree_child_parse(int argc, char **argv, struct tree_child *ret, struct host_options *o,
                     struct err *err)
{
    *ret = (struct tree_child){ 0 };
    *o = (struct host_options){ .child = ret, .announced = true };
    static const char nodes[] = "nodes/";
    char *path = NULL;
    const char *digits = argc == ARGUMENTS ? argv[NODE] + strlen(nodes) : "";
    if (argc != ARGUMENTS || !parse_numbers(argv[NUMBERS], ret, o) ||
        !parse_flags(argv[FLAGS], ret, o) || parse_handles(argv[HANDLES], ret) < 0 ||
        !parse_audit(argv[AUDIT], o) || strncmp(argv[NODE], nodes, strlen(nodes)) != 0 ||
        !number(&digits, BUNDLE_NODES_MAX - 1, '\0', &ret->node) ||
        asprintf(&path, "%s/%s", argv[BUNDLE], argv[NODE]) < 0)
        return err_set(err, -EINVAL, TREE_CHILD_VERB " is not for people");
    o->image_path = argv[IMAGE];
    o->bundle_path = argv[BUNDLE];
    o->node_path = path;
    o->hostile = argv[HOSTILE][0] ? argv[HOSTILE] : NULL;
    o->child_program = argv[PROGRAM][0] ? argv[PROGRAM] : NULL;
    return 0;
}

int tree_child_main(int argc, char **argv)
{
    struct err err = { 0 };
    struct tree_child child;
    struct host_options options;
    if (tree_child_parse(argc, argv, &child, &options, &err) < 0) {
        log_line("%s", err.text);
        return 2;
    }
    if (child.spare && tree_spare_prepare(&child) < 0)
        return HOST_EXIT_NO_START;
    log_redirect(child.log_fd);
    if (options.hostile) {
        struct hostile_options hostile;
        if (hostile_parse(options.hostile, &hostile) == 0) {
            /* Its own lies, but the same ones in the next run. */
            hostile.seed += child.control_slot;
            options.tamper_arg = hostile_new(&hostile);
            options.tamper = options.tamper_arg ? hostile_tamper : NULL;
        }
    }
    host_run(&options, &err);
    if (child.spare) /* nobody asked for it; whoever asks next will hear of it */
        return HOST_EXIT_NO_START;
    log_line("starting a process of the tree: %s", err.text);
    /* A bundle that is broken, or not what was signed, stops the program, all of it. */
    return err.exit_code && err.exit_code != HOST_EXIT_NO_START ? TREE_EXIT_STOPS + err.exit_code
                                                                : HOST_EXIT_NO_START;
}
