/* Which of the user's rules one node of a tree gets. Tier: hosted. */
#include "manifest/table.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manifest/tree.h"
#include "util/fs.h"

/* Whether a process of the node touched the path or something below it. */
static bool touches(const struct tree *tree, const struct trace *const *traces, size_t node,
                    const char *path)
{
    char canonical[PATH_MAX], cwd[PATH_MAX];
    if (!realpath(path, canonical)) {
        /* "x/": a folder that is not there yet. */
        if (!getcwd(cwd, sizeof(cwd)))
            return false;
        int n = path[0] == '/' ? snprintf(canonical, sizeof(canonical), "%s", path)
                               : snprintf(canonical, sizeof(canonical), "%s/%s", cwd, path);
        if (n < 0 || (size_t)n >= sizeof(canonical))
            return false;
        for (size_t size = (size_t)n; size > 1 && canonical[size - 1] == '/'; size--)
            canonical[size - 1] = '\0';
    }
    for (size_t i = 0; i < tree->trace_count; i++)
        for (size_t k = 0; k < traces[i]->process_count; k++) {
            const struct trace_process *p = &traces[i]->processes[k];
            if (tree_node_of(tree, i, k) != node)
                continue;
            for (size_t a = 0; a < p->access_count; a++)
                if (path_below(traces[i]->paths[p->accesses[a].path].path, canonical))
                    return true;
        }
    return false;
}

void node_rules_done(struct node_rules *r)
{
    free(r->memory);
    free(r->trust);
}

/* Adds what is trusted in this node alone. */
static int add_node_trust(const struct tree *tree, const struct manifest_rules *all, size_t node,
                          struct node_rules *r)
{
    if (all->node_trust_count == 0)
        return 0;
    CLEANUP(free_p) char *label = process_label(tree, node);
    r->trust = calloc(r->rules.trust_count + all->node_trust_count, sizeof(*r->trust));
    if (!label || !r->trust)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < r->rules.trust_count; i++)
        r->trust[count++] = r->rules.trust[i];
    for (size_t i = 0; i < all->node_trust_count; i++)
        if (strcmp(all->node_trust[i].node, label) == 0)
            r->trust[count++] = all->node_trust[i].path;
    r->rules.trust = r->trust;
    r->rules.trust_count = count;
    return 0;
}

int node_rules_check(const struct tree *tree, const struct manifest_rules *all, struct err *err)
{
    for (size_t i = 0; i < all->node_trust_count; i++) {
        bool found = false;
        for (size_t n = 0; n < tree->node_count && !found; n++) {
            CLEANUP(free_p) char *label = process_label(tree, n);
            if (!label)
                return err_set(err, -ENOMEM, "building the manifest: out of memory");
            found = strcmp(label, all->node_trust[i].node) == 0;
        }
        if (!found)
            return err_set(
                err, -EINVAL,
                "'%s' is to be trusted in '%s', and no program of the traces is called so",
                all->node_trust[i].path, all->node_trust[i].node);
    }
    return 0;
}

int node_rules_make(const struct tree *tree, const struct trace *const *traces,
                    const struct manifest_rules *all, size_t node, struct node_rules *ret)
{
    ret->rules = *all;
    if (node == 0)
        return add_node_trust(tree, all, node, ret);
    struct {
        const char *const **items;
        size_t *count;
    } lists[] = {
        { &ret->rules.trust, &ret->rules.trust_count },
        { &ret->rules.allow, &ret->rules.allow_count },
        { &ret->rules.deny, &ret->rules.deny_count },
    };
    const char **next =
        calloc(all->trust_count + all->allow_count + all->deny_count + 1, sizeof(*next));
    if (!(ret->memory = next))
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        const char *const *from = *lists[i].items;
        size_t count = *lists[i].count;
        *lists[i].items = next;
        *lists[i].count = 0;
        for (size_t k = 0; k < count; k++)
            if (touches(tree, traces, node, from[k])) {
                *next++ = from[k];
                ++*lists[i].count;
            }
    }
    const struct tree_program *programs = tree->programs;
    if (strcmp(programs[tree->nodes[node].programs[0]].start.executable,
               programs[0].start.executable) != 0)
        ret->rules.package_count = 0;
    return add_node_trust(tree, all, node, ret);
}

void node_rules_tell(const struct tree *tree, const struct trace *const *traces,
                     const struct manifest_rules *all, struct manifest_report *report)
{
    for (size_t i = 0; tree->node_count > 1 && i < all->trust_count; i++) {
        char others[512] = "";
        size_t used = 0, left = 0;
        for (size_t node = 1; node < tree->node_count; node++) {
            if (!touches(tree, traces, node, all->trust[i]))
                continue;
            CLEANUP(free_p) char *label = process_label(tree, node);
            int n = snprintf(others + used, sizeof(others) - used, "%s'%s'", used ? ", " : "",
                             label ? label : "?");
            if (left || n < 0 || (size_t)n >= sizeof(others) - used) {
                others[used] = '\0';
                left++;
            } else {
                used += (size_t)n;
            }
        }
        CLEANUP(free_p) char *root = process_label(tree, 0);
        if (!used)
            manifest_note(report, "--trust '%s' is for '%s' alone: no other program touched it",
                          all->trust[i], root ? root : "?");
        else if (left)
            manifest_note(report, "--trust '%s' is for '%s', and for what touched it: %s, %zu more",
                          all->trust[i], root ? root : "?", others, left);
        else
            manifest_note(report, "--trust '%s' is for '%s', and for what touched it: %s",
                          all->trust[i], root ? root : "?", others);
    }
}
