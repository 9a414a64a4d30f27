/* `sgxpy keygen`: makes a signing key. Tier: hosted. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "signer/keys.h"

static int keygen(const struct verb *verb, struct options *options)
{
    if (options->rest_count > 0)
        return cli_usage(verb, "'%s' is too much", options->rest[0]);
    if (!options->output)
        return cli_usage(verb, "-o FILE is missing: where the key goes");

    struct err err = { 0 };
    CLEANUP(keys_free_p) struct signing_key *key = NULL;
    if (keys_generate(&key, &err) < 0 || keys_store(key, options->output, &err) < 0)
        return cli_fail(&err);
    uint8_t mrsigner[SGX_HASH_SIZE];
    char hex[2 * SGX_HASH_SIZE + 1];
    keys_mrsigner(key, mrsigner);
    cli_hex(mrsigner, sizeof(mrsigner), hex);
    printf("MRSIGNER %s\n", hex);
    return cli_finish_output();
}

const struct verb verb_keygen = {
    .name = "keygen",
    .arguments = "-o FILE",
    .summary = "Make a signing key (RSA-3072, exponent 3)",
    .details = "Writes an unencrypted PEM file that only its owner can read. Who has it can sign "
               "enclaves\n"
               "in your name. An existing file is never overwritten.",
    .groups = OPTIONS_OUTPUT,
    .run = keygen,
};
