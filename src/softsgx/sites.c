/* Jump exits: ENCLU sites of the library OS that become jumps. Tier: hosted, untrusted. */
#include "softsgx/state.h"

#include <errno.h>
#include <string.h>

int softsgx_enclu_sites(struct softsgx *s, const uint64_t *addresses, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t code[SOFT_SITE_SIZE];
        if (!in_elrange(s, addresses[i], sizeof(code)) ||
            enclave_peek(s, addresses[i], code, sizeof(code)) < 0 ||
            memcmp(code, "\x0f\x01\xd7", 3) != 0)
            return err_set(err, -EINVAL, "0x%llx is no ENCLU site", (unsigned long long)addresses[i]);
    }
    return 0;
}
