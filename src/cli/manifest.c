/* `sgxpy manifest`: from traces to a cascade. Tier: hosted. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/steps.h"
#include "manifest/cascade.h"
#include "manifest/proposal.h"
#include "util/fs.h"

static int propose(const struct verb *verb, const struct options *options)
{
    if (options->rest_count > 0)
        return cli_usage(verb, "--from-audit makes a proposal and takes no trace ('%s')",
                         options->rest[0]);
    struct err err = { 0 };
    if (options->output &&
        cli_may_replace(options->output, "\"" PROPOSAL_FORMAT "\"", "file of rules", &err) < 0)
        return cli_fail(&err);
    CLEANUP(proposal_free_p) struct proposal *p = proposal_new();
    if (!p)
        return cli_usage(verb, "out of memory");
    for (size_t i = 0; i < options->from_audit.count; i++)
        if (proposal_read(p, options->from_audit.items[i], &err) < 0)
            return cli_fail(&err);
    if (proposal_look(p, &err) < 0)
        return cli_fail(&err);
    proposal_print(p, stdout);
    size_t count = proposal_rule_count(p);
    if (options->output && proposal_store(p, options->output, &err) < 0)
        return cli_fail(&err);
    if (options->output)
        cli_note("%zu rule%s in '%s', for review; then: --rules '%s' with manifest, or with run -- "
                 "COMMAND",
                 count, count == 1 ? "" : "s", options->output, options->output);
    return cli_finish_output();
}

static int verb_manifest_run(const struct verb *verb, struct options *options)
{
    if (options->from_audit.count > 0)
        return propose(verb, options);
    if (options->rest_count == 0)
        return cli_usage(verb, "the trace is missing");
    if (!options->output)
        return cli_usage(verb, "-o FILE is missing: where the cascade goes");

    struct err err = { 0 };
    if (cli_may_replace(options->output, "\"" CASCADE_FORMAT "\"", "cascade", &err) < 0)
        return cli_fail(&err);
    CLEANUP(cascade_free_p) struct cascade *cascade = NULL;
    if (steps_manifest(options->rest, (size_t)options->rest_count, options, options->output, NULL,
                       &cascade, &err) < 0)
        return cli_fail(&err);
    CLEANUP(free_p) char *limits = steps_describe_limits(cascade);
    if (limits)
        cli_note("%s", limits);
    return CLI_OK;
}

const struct verb verb_manifest = {
    .name = "manifest",
    .arguments = "TRACE... -o FILE [OPTION...]\n"
                 "       sgxpy manifest --from-audit FILE [-o RULES]",
    .summary = "Make the cascade: what the program may read and do, with every hash",
    .details =
        "The cascade is JSON, sorted and reproducible: read it in review, keep it in git. Several\n"
        "traces of one command are united. Files are hashed as they are now, and one that\n"
        "changed since the trace is refused.",
    .groups = OPTIONS_OUTPUT | OPTIONS_MANIFEST | OPTIONS_PROPOSE,
    .run = verb_manifest_run,
};
