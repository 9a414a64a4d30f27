/* run_make.h for the program that makes nothing: it becomes the one that does. Tier: hosted. */
#include "cli/become.h"
#include "cli/run_make.h"

int run_make(struct command *c UNUSED)
{
    return become_full();
}

const char *run_child_program(void)
{
    return NULL; /* this one again */
}
