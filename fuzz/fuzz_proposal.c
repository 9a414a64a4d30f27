/*
 * An audit file, and a file of rules, of any bytes. A proposal prints as plain ASCII and has no rule without a hash of this
 * machine; rules that are taken name canonical paths. Neither changes anything.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "manifest/proposal.h"
#include "util/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static void propose(const char *path)
{
    struct err err = { 0 };
    struct proposal *p = proposal_new();
    char *text = NULL;
    size_t text_size = 0, rules = 0;
    must(p != NULL && proposal_read(p, path, &err) == 0 && proposal_look(p, &err) == 0);
    FILE *out = open_memstream(&text, &text_size);
    must(out != NULL);
    proposal_print(p, out);
    must(fclose(out) == 0);
    for (size_t i = 0; i < text_size; i++) {
        must(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~'));
        rules += text_size - i > 4 && (i == 0 || text[i - 1] == '\n') &&
                 memcmp(text + i, "  + ", 4) == 0;
    }
    must(rules == proposal_rule_count(p));
    free(text);
    proposal_free(p);
}

static void take(const char *path)
{
    struct err err = { 0 };
    struct rules_file f = { 0 };
    if (rules_file_load(path, &f, &err) < 0)
        must(err.text[0] != '\0');
    for (size_t i = 0; i < f.trust_count; i++)
        must(f.trust[i].path[0] == '/' && !strstr(f.trust[i].path, "/../"));
    rules_file_done(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("input", MFD_CLOEXEC);
    must(fd >= 0 && write_full(fd, data, size) == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    propose(path);
    take(path);
    close(fd);
    return 0;
}
