#include "core/measure.h"

#include <errno.h>

#include "core/bytes.h"

#define RECORD_SIZE 64

/* SDM: the leaf's name in ASCII, as a little-endian number. */
#define TAG_ECREATE UINT64_C(0x0045544145524345)
#define TAG_EADD    UINT64_C(0x0000000044444145)
#define TAG_EEXTEND UINT64_C(0x00444E4554584545)

#define FLAGS_KNOWN (~SGX_SECINFO_RESERVED)

int measure_begin(struct measure *m, uint64_t enclave_size, uint32_t ssa_pages)
{
    if (enclave_size < 2 * SGX_PAGE_SIZE || (enclave_size & (enclave_size - 1)) || ssa_pages == 0)
        return -EINVAL;

    /* ECREATE: 0 tag, 8 SSAFRAMESIZE (4 bytes), 12 SIZE (8 bytes). */
    uint8_t record[RECORD_SIZE] = { 0 };
    store_le64(record, TAG_ECREATE);
    store_le32(record + 8, ssa_pages);
    store_le64(record + 12, enclave_size);
    sha256_init(&m->hash);
    sha256_update(&m->hash, record, sizeof(record));
    m->enclave_size = enclave_size;
    return 0;
}

int measure_add_unmeasured(struct measure *m, uint64_t offset, uint64_t secinfo_flags)
{
    if (offset % SGX_PAGE_SIZE || span_check(offset, SGX_PAGE_SIZE, m->enclave_size) < 0)
        return -ERANGE;
    if (secinfo_flags & ~FLAGS_KNOWN)
        return -EINVAL;

    /* EADD: 0 tag, 8 offset, 16 the first 48 bytes of SECINFO, all but the flags reserved. */
    uint8_t record[RECORD_SIZE] = { 0 };
    store_le64(record, TAG_EADD);
    store_le64(record + 8, offset);
    store_le64(record + 16, secinfo_flags);
    sha256_update(&m->hash, record, sizeof(record));
    return 0;
}

int measure_extend(struct measure *m, uint64_t offset, const uint8_t data[static SGX_EXTEND_SIZE])
{
    if (offset % SGX_EXTEND_SIZE || span_check(offset, SGX_EXTEND_SIZE, m->enclave_size) < 0)
        return -ERANGE;

    /* EEXTEND: 0 tag, 8 offset; then the bytes. */
    uint8_t record[RECORD_SIZE] = { 0 };
    store_le64(record, TAG_EEXTEND);
    store_le64(record + 8, offset);
    sha256_update(&m->hash, record, sizeof(record));
    sha256_update(&m->hash, data, SGX_EXTEND_SIZE);
    return 0;
}

int measure_add_page(struct measure *m, uint64_t offset, uint64_t secinfo_flags,
                     const uint8_t page[static SGX_PAGE_SIZE])
{
    int r = measure_add_unmeasured(m, offset, secinfo_flags);
    for (uint32_t at = 0; r == 0 && at < SGX_PAGE_SIZE; at += SGX_EXTEND_SIZE)
        r = measure_extend(m, offset + at, page + at);
    return r;
}

void measure_end(struct measure *m, uint8_t ret_mrenclave[static SGX_HASH_SIZE])
{
    sha256_final(&m->hash, ret_mrenclave);
    m->enclave_size = 0;
}
