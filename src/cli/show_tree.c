#include "cli/show_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/attr.h"

#define HASH_SHOWN  8 /* bytes of an MRENCLAVE */
#define PREFIX_MAX  512
#define WIDTH_MAX   72
#define BRANCH      "├─ "
#define LAST_BRANCH "└─ "
#define STEM        "│  "
#define NO_STEM     "   "

void show_text(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f || *p == '\\')
            printf("\\x%02x", *p);
        else
            putchar(*p);
    }
}

/* Columns, as far as one character is one; what show_text makes of it. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        width += *p < 0x20 || *p == 0x7f || *p == '\\' ? 4 : (*p & 0xc0) != 0x80;
    return width;
}

struct drawing {
    const struct tree_row *rows;
    bool *drawn;
    size_t width; /* of the widest name with its branches; 0: still measuring */
    size_t widest;
    char prefix[PREFIX_MAX]; /* the branches left of the node */
};

static void draw_row(struct drawing *d, size_t node, const char *branch, bool again)
{
    const struct tree_row *row = &d->rows[node];
    size_t width = width_of(d->prefix) + width_of(branch) + width_of(row->label) +
                   (row->starts_itself ? 3 : 0);
    if (d->width == 0) {
        if (width > d->widest && width <= WIDTH_MAX)
            d->widest = width;
        return;
    }
    printf("%s%s", d->prefix, branch);
    show_text(row->label);
    if (again) {
        puts("  (above)");
        return;
    }
    if (row->starts_itself)
        fputs("  ↺", stdout);
    printf("%*s", width < d->width ? (int)(d->width - width) : 0, "");
    if (row->mrenclave) {
        char hex[2 * HASH_SHOWN + 1];
        cli_hex(row->mrenclave, HASH_SHOWN, hex);
        printf("  MRENCLAVE %s…", hex);
    }
    printf("  %5zu trusted", row->trusted);
    if (row->allowed)
        printf("  %3zu allowed", row->allowed);
    puts(row->starts_itself ? "  (starts itself)" : "");
}

static void draw(struct drawing *d, size_t node, const char *branch)
{
    const struct tree_row *row = &d->rows[node];
    bool again = d->drawn[node];
    d->drawn[node] = true;
    draw_row(d, node, branch, again);
    if (again)
        return;
    size_t length = strlen(d->prefix);
    if (length + 2 * sizeof(STEM) > sizeof(d->prefix))
        return;
    strcat(d->prefix, !branch[0] ? "" : strcmp(branch, BRANCH) == 0 ? STEM : NO_STEM);
    for (size_t i = 0; i < row->child_count; i++)
        draw(d, row->children[i], i + 1 < row->child_count ? BRANCH : LAST_BRANCH);
    d->prefix[length] = '\0';
}

void show_tree(const struct tree_row *rows, size_t count)
{
    struct drawing d = { .rows = rows, .drawn = calloc(count, sizeof(bool)) };
    if (!d.drawn)
        return;
    draw(&d, 0, "");
    d.width = d.widest ? d.widest : 1;
    memset(d.drawn, 0, count * sizeof(bool));
    draw(&d, 0, "");
    free(d.drawn);
}
