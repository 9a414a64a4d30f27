/* `sgxpy trace`: runs a program natively and writes down what it touches. Tier: hosted. */
#include "tracer/trace.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "tracer/record.h"

static int verb_trace_run(const struct verb *verb, int argc, char **argv)
{
    CLEANUP(options_done) struct options options;
    int r = options_parse(verb, argc, argv, &options);
    if (r != CLI_OK)
        return r;
    if (options.help) {
        options_help(verb);
        return cli_finish_output();
    }
    if (!options.output)
        return cli_usage(verb, "-o FILE is missing: where the trace goes");
    if (options.rest_count == 0)
        return cli_usage(verb, "the command is missing");

    struct err err = { 0 };
    struct tracer_options tracer = { .output = options.output };
    int status = tracer_run(&tracer, options.rest, &err);
    if (status < 0)
        return cli_fail(&err);

    CLEANUP(trace_free_p) struct trace *trace = NULL;
    if (trace_load(options.output, &trace, &err) < 0)
        return cli_fail(&err);
    if (!trace->complete)
        cli_note("the trace is not complete: %s", trace->incomplete);
    if (status != 0)
        cli_note("the traced program ended with exit code %d", status);
    return status;
}

const struct verb verb_trace = {
    .name = "trace",
    .arguments = "-o FILE [--] COMMAND [ARGUMENT...]",
    .summary = "Run a program natively and record what it depends on",
    .details =
        "The program runs unprotected: do this on a machine you trust. The trace holds the values "
        "of\n"
        "its environment variables, so it is written for you alone. Exit code: the program's.",
    .groups = OPTIONS_OUTPUT | OPTIONS_TRACE,
    .run = verb_trace_run,
};
