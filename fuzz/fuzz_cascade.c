/*
 * cascade_parse on any bytes. What it accepts must print, parse again to the same text, and either
 * compile (with leaves made up: roots cannot be right) or be refused with a reason.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "manifest/cascade.h"
#include "manifest/compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static int no_leaves(void *ctx, const struct cascade_file *f, uint8_t (*ret)[MANIFEST_HASH_SIZE],
                     uint64_t count, struct err *err)
{
    (void)ctx;
    (void)f;
    (void)err;
    memset(ret, 0, count * MANIFEST_HASH_SIZE);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cascade *c = NULL, *again = NULL;
    struct err err = { 0 };
    if (cascade_parse("input", (const char *)data, size, &c, &err) < 0) {
        must(c == NULL && err.text[0]);
        return 0;
    }
    char *text, *text_again;
    size_t text_size, again_size;
    must(cascade_print(c, &text, &text_size, &err) == 0);
    must(cascade_parse("again", text, text_size, &again, &err) == 0);
    must(cascade_print(again, &text_again, &again_size, &err) == 0);
    must(text_size == again_size && memcmp(text, text_again, text_size) == 0);

    static const uint8_t hash[MANIFEST_HASH_SIZE];
    uint8_t(*mrenclaves)[MANIFEST_HASH_SIZE] = malloc(c->node_count * MANIFEST_HASH_SIZE);
    must(mrenclaves != NULL);
    memset(mrenclaves, 0x11, c->node_count * MANIFEST_HASH_SIZE);
    const struct manifest_identity id = { hash, hash, (const void *)mrenclaves };
    for (size_t i = 0; i < c->node_count; i++) {
        void *manifest = NULL;
        size_t manifest_size;
        struct err why = { 0 };
        /* Leaves of a file cost memory by its size: nobody hashes what is not there. */
        uint64_t bytes = 0;
        for (size_t k = 0; k < c->nodes[i].file_count; k++)
            bytes |= c->nodes[i].files[k].size >> 28;
        if (bytes == 0 &&
            manifest_pack(c, i, &id, no_leaves, NULL, &manifest, &manifest_size, &why) < 0)
            must(why.text[0] && manifest == NULL);
        free(manifest);
    }
    free(mrenclaves);
    free(text);
    free(text_again);
    cascade_free(c);
    cascade_free(again);
    return 0;
}
