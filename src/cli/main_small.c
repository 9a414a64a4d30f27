/* sgxpy: runs bundles and cached commands; what else there is to do is sgxpy-full's (become.h). */
#include <stdio.h>
#include <string.h>

#include "cli/become.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "host/child.h"

int main(int argc, char **argv)
{
    become_set_arguments(argv);
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        puts("sgxpy " SGXPY_VERSION);
        return cli_finish_output();
    }
    if (argc >= 2 && strcmp(argv[1], verb_run.name) == 0)
        return options_run(&verb_run, argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], TREE_CHILD_VERB) == 0)
        return tree_child_main(argc, argv);
    return become_full();
}
