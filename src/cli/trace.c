/* `sgxpy trace`: runs a program natively and writes down what it touches. Tier: hosted. */
#include "tracer/trace.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/steps.h"
#include "tracer/log.h"
#include "tracer/record.h"

static void on_server(void *arg UNUSED)
{
    cli_note("tracing; Ctrl-C ends the server and keeps the trace");
}

static int verb_trace_run(const struct verb *verb, struct options *options)
{
    if (!options->output)
        return cli_usage(verb, "-o FILE is missing: where the trace goes");
    if (options->rest_count == 0)
        return cli_usage(verb, "the command is missing");

    struct err err = { 0 };
    if (cli_may_replace(options->output, LOG_MAGIC, "trace", &err) < 0)
        return cli_fail(&err);
    struct tracer_options tracer = { .output = options->output,
                                     .milliseconds = options->trace_ms,
                                     .on_server = on_server };
    struct tracer_end end = { 0 };
    int status = tracer_run(&tracer, options->rest, &end, &err);
    if (status < 0)
        return cli_fail(&err);

    CLEANUP(trace_free_p) struct trace *trace = NULL;
    if (trace_load(options->output, &trace, &err) < 0)
        return cli_fail(&err);
    if (!trace->complete)
        cli_note("the trace is not complete: %s", trace->incomplete);
    if (end.killed)
        cli_note("the traced program did not end when asked to, and was killed");
    if (steps_ended_as_asked(&end, status)) {
        cli_note("ended as asked; the trace is '%s'", options->output);
        return CLI_OK;
    }
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
        "its environment variables, so it is written for you alone. A server is ended by Ctrl-C,\n"
        "SIGTERM to this process or --for; send it every kind of request first. Exit code: the\n"
        "program's; 0 for a server that ended as asked.",
    .groups = OPTIONS_OUTPUT | OPTIONS_TRACE,
    .run = verb_trace_run,
};
