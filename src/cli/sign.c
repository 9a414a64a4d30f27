/* `sgxpy sign`: compiles, measures and signs a cascade. Tier: hosted. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/steps.h"
#include "signer/keys.h"

static int verb_sign_run(const struct verb *verb, struct options *options)
{
    if (options->rest_count != 1)
        return options->rest_count == 0 ? cli_usage(verb, "the cascade is missing")
                                        : cli_usage(verb, "'%s' is too much", options->rest[1]);
    if (!options->key)
        return cli_usage(verb, "--key FILE is missing; `sgxpy keygen -o key.pem` makes one");
    if (!options->output)
        return cli_usage(verb, "-o FOLDER is missing: where the bundle goes");

    struct err err = { 0 };
    CLEANUP(keys_free_p) struct signing_key *key = NULL;
    if (keys_load(options->key, &key, &err) < 0)
        return cli_fail(&err);
    CLEANUP(library_os_done) struct library_os library_os = { 0 };
    if (library_os_load(options, &library_os, &err) < 0)
        return cli_fail(&err);
    uint8_t mrenclave[SGX_HASH_SIZE], mrsigner[SGX_HASH_SIZE];
    if (steps_sign(options->rest[0], options, &library_os, key, false, options->output, mrenclave,
                   &err) < 0)
        return cli_fail(&err);

    char hex[2 * SGX_HASH_SIZE + 1];
    cli_hex(mrenclave, sizeof(mrenclave), hex);
    printf("MRENCLAVE %s\n", hex);
    keys_mrsigner(key, mrsigner);
    cli_hex(mrsigner, sizeof(mrsigner), hex);
    printf("MRSIGNER  %s\n", hex);
    return cli_finish_output();
}

const struct verb verb_sign = {
    .name = "sign",
    .arguments = "CASCADE --key FILE -o FOLDER [OPTION...]",
    .summary = "Measure the enclave of a cascade and sign it: the bundle",
    .details =
        "Reads the trusted files again and refuses what is not in the cascade any more. The bundle "
        "is a\n"
        "folder without code and secrets. SOURCE_DATE_EPOCH, if set, gives the SIGSTRUCT's date.",
    .groups = OPTIONS_OUTPUT | OPTIONS_SIGN | OPTIONS_LIBOS,
    .run = verb_sign_run,
};
