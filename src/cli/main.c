/* sgxpy: the verb table, --help and --version. One file per verb has the rest. Tier: hosted. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "host/child.h"

static const struct verb *const verbs[] = {
    &verb_run, &verb_trace, &verb_manifest, &verb_sign, &verb_show, &verb_keygen, &verb_doctor,
};

static void help(FILE *out)
{
    fputs("usage: sgxpy VERB [OPTION...]\n"
          "\n"
          "Runs an unmodified Linux program, above all a Python one, inside an Intel SGX enclave: "
          "traced\n"
          "once on a trusted machine, hashed into a manifest, measured, signed. Without SGX "
          "hardware\n"
          "it runs on a software SGX device, which gives no protection against the machine.\n"
          "\n",
          out);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    fputs("\n"
          "  sgxpy VERB --help    the verb's options\n"
          "  sgxpy --version      the version\n"
          "\n"
          "Exit codes: the program's own; 128 + signal; 2 usage or input; 3 integrity violation;\n"
          "4 the enclave could not start, or the host could not serve it.\n",
          out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        help(stdout);
        return cli_finish_output();
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("sgxpy " SGXPY_VERSION);
        return cli_finish_output();
    }
    if (strcmp(argv[1], TREE_CHILD_VERB) == 0)
        return tree_child_main(argc, argv);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (strcmp(argv[1], verbs[i]->name) == 0)
            return options_run(verbs[i], argc - 1, argv + 1);
    }
    cli_note("there is no verb '%s'; `sgxpy --help` lists them", argv[1]);
    return CLI_USAGE;
}
