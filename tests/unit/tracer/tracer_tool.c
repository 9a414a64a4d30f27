/*
 * The recorder and the reader without the CLI, for the tests and for looking at a trace:
 *     tracer_tool run [-e] [-s SECONDS] OUT PROGRAM [ARG...]   records; exits as the program did
 *     tracer_tool print FILE                                   prints a trace
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/record.h"
#include "tracer/trace.h"

static int usage(void)
{
    fputs("usage: tracer_tool run [-e] [-s SECONDS] OUT PROGRAM [ARG...]\n"
          "       tracer_tool print FILE\n",
          stderr);
    return 2;
}

static int print(const char *path)
{
    struct err err = { 0 };
    struct trace *t;
    if (trace_load(path, &t, &err) < 0) {
        fprintf(stderr, "tracer_tool: %s\n", err.text);
        return 2;
    }
    trace_print(stdout, t);
    trace_free(t);
    return 0;
}

static int run(int argc, char **argv)
{
    struct tracer_options options = { 0 };
    int i = 0;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "-e") == 0)
            options.stdout_to_stderr = true;
        else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
            options.milliseconds = (unsigned)(1000 * atof(argv[++i]));
        else
            return usage();
    }
    if (argc - i < 2)
        return usage();
    options.output = argv[i];
    struct err err = { 0 };
    int status = tracer_run(&options, argv + i + 1, NULL, &err);
    if (status < 0) {
        fprintf(stderr, "tracer_tool: %s\n", err.text);
        return 2;
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "run") == 0)
        return run(argc - 2, argv + 2);
    if (argc == 3 && strcmp(argv[1], "print") == 0)
        return print(argv[2]);
    return usage();
}
