/* cascade_parse on any bytes. What it accepts prints, and reads back as the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "manifest/cascade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = { 0 };
    struct cascade *c = NULL, *again = NULL;
    if (cascade_parse("input", (const char *)data, size, &c, &err) < 0) {
        must(!c && err.text[0]);
        return 0;
    }
    char *text = NULL, *text_again = NULL;
    size_t text_size, again_size;
    must(cascade_print(c, &text, &text_size, &err) == 0);
    must(cascade_parse("output", text, text_size, &again, &err) == 0);
    must(cascade_print(again, &text_again, &again_size, &err) == 0);
    must(text_size == again_size && memcmp(text, text_again, text_size) == 0);
    for (size_t n = 0; n < c->node_count; n++)
        for (size_t i = 0; i < c->nodes[n].file_count; i++)
            must(cascade_find(&c->nodes[n], c->nodes[n].files[i].path) == &c->nodes[n].files[i]);
    free(text);
    free(text_again);
    cascade_free(c);
    cascade_free(again);
    return 0;
}
