/*
 * What a program takes from a parent that is another node: the variables, the folder and the options that decide which code runs
 * must be those that its own traces had (abi/manifest.h: struct manifest_given; core/given.h). The parent has proved its
 * measurement, but its code may have been taken over, and would otherwise run its own under this node's rights.
 * Not asked where the parent is this same node. Tier: enclave; while the first thread starts.
 */
#pragma once

#include <stdbool.h>

#include "core/attr.h"
#include "process/boot.h"

/* May the program start in the current folder? false: no, with an audit line. */
bool given_folder(void);

/*
 * Arguments: -EACCES, with an audit line and a message, if the interpreter's options, argv[0], execfn or the way to a script are
 * not the node's. Environment: what it must not have is taken out of *strings, what it always had is put in, each with an audit
 * line. -ENOMEM.
 */
MUST_CHECK int given_start(const char *executable, struct boot_strings *strings);
