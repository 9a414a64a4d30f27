/*
 * layout_build on any bytes as the library OS image. Whatever it accepts must be pages that can be
 * added: ascending, disjoint, in their places, never writable and executable, with content that can
 * be read, an entry point in executable bytes, and a measurement.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "signer/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static unsigned g_sink;

static void check_run(const struct layout_run *run, uint64_t from, uint64_t enclave_size)
{
    must(run->offset % LAYOUT_PAGE == 0 && run->page_count > 0);
    must(run->offset >= from && run->offset < enclave_size);
    must(run->page_count <= (enclave_size - run->offset) / LAYOUT_PAGE);
    must(!(run->secinfo_flags & SGX_SECINFO_RESERVED));
    must(!((run->secinfo_flags & SGX_SECINFO_W) && (run->secinfo_flags & SGX_SECINFO_X)));
    must(run->measured || !run->content);
    for (uint64_t at = 0; run->content && at < run->page_count * LAYOUT_PAGE; at += 64)
        g_sink += run->content[at];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = { 0 };
    struct layout *l = NULL;
    const struct layout_spec spec = {
        .image = data,
        .image_size = size,
        .manifest = "manifest",
        .manifest_size = 8,
        .thread_count = 1,
        .heap_size = LAYOUT_PAGE,
    };
    if (layout_build(&spec, &l, &err) < 0) {
        must(!l && err.text[0]);
        return 0;
    }
    uint64_t from = 0;
    bool entry_found = false;
    for (size_t i = 0; i < l->run_count; i++) {
        const struct layout_run *run = &l->runs[i];
        uint64_t end = run->offset + run->page_count * LAYOUT_PAGE;
        check_run(run, from, l->enclave_size);
        if (run->offset >= LAYOUT_IMAGE && run->offset < LAYOUT_IMAGE_END)
            must(end <= l->image_end && l->image_end <= LAYOUT_IMAGE_END);
        if ((run->secinfo_flags & SGX_SECINFO_X) && l->entry >= run->offset && l->entry < end)
            entry_found = true;
        from = end;
    }
    must(entry_found);
    if (l->image_end - LAYOUT_IMAGE <= 64 * LAYOUT_PAGE) {
        uint8_t hash[SGX_HASH_SIZE];
        must(layout_measure(l, hash, &err) == 0);
    }
    layout_free(l);
    return 0;
}
