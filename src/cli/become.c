#include "cli/become.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static char **g_argv;

void become_set_arguments(char **argv)
{
    g_argv = argv;
}

int become_full(void)
{
    static const char *const places[] = { "sgxpy-full", "../libexec/sgxpy/sgxpy-full", NULL };
    char *path;
    struct err err = { 0 };
    if (cli_own_file("sgxpy-full", places, &path, &err) < 0)
        return cli_fail(&err);
    execv(path, g_argv);
    cli_note("starting '%s': %s", path, strerror(errno));
    return CLI_START;
}
