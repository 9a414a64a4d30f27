/*
 * What a program is given at its start by whoever starts it, and that decides which code it runs: variables of the
 * environment, options of an interpreter. The builder of manifests (what did the traces give?) and the library OS of the
 * child (is this the same?) ask the functions here. abi/manifest.h (struct manifest_given) has the rules' form,
 * docs/process-tree.md the argument. Tier: core: no libc, no allocation, no I/O.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "core/program_key.h"

enum given_variable {
    GIVEN_FREE,  /* any value: it is data to the program */
    GIVEN_PLACE, /* where programs and settings are looked for: PATH, HOME. People set it */
    GIVEN_CODE,  /* libraries, modules, start-up files, options: LD_*, PYTHON*, BASH_ENV */
};

/*
 * What a variable of this name (size bytes, without "=") does. What is only the name of a command (EDITOR, PAGER,
 * GIT_SSH_COMMAND) is FREE: a node starts what its own manifest names. So is what only changes how Python's interpreter
 * works, not which code it runs (PYTHONHASHSEED, PYTHONUNBUFFERED, ...).
 */
enum given_variable given_variable(const char *name, size_t size);

/* Below /tmp or /dev/shm, which are scratch, or nothing at all, in each node: how many bytes of path are that folder; else 0. */
size_t given_temporary(const char *path, size_t size);
/* The scratch folder of a node that an absolute path without "." and ".." lies in: how many bytes of path are that folder; 0:
 * in none. Begins with given_temporary. */
typedef size_t given_scratch_fn(const void *ctx, const char *path, size_t size);

/*
 * Is a variable's value `given` what was `traced`? Both are taken apart at ":"; the elements must be the same bytes, or two
 * paths in one scratch folder of the node: such names are made up at run time, and who can write to one of them can
 * write to all. Without "." and ".." in them, and not the folder itself against something in it.
 */
bool given_value_same(const char *given, const char *traced, given_scratch_fn *scratch,
                      const void *ctx);

#define GIVEN_OPTIONS_MAX 4096u /* bytes of options; longer ones are none that a manifest knows */
#define GIVEN_OPTIONS_BUF (2 * GIVEN_OPTIONS_MAX + 2)

/*
 * The arguments by which an interpreter is told how to run, as one text: those before script, module or command, and where the
 * interpreter goes on reading options behind a command (perl, ruby, node), those too. Spaces and backslashes in a
 * word have a backslash before them, an empty word is "''". So different options have different texts. Empty for all other kinds.
 * false: too long; ret has then no meaning. ret holds GIVEN_OPTIONS_BUF bytes and gets a NUL; *ret_size is without it.
 */
bool given_options(const char *executable, struct program_start start, uint32_t argc,
                   const char *const *argv, char *ret, size_t *ret_size);

/* Is argv0 of a program's start, with these arguments left out, an interpreter that takes its program from its arguments?
 * A node with such a program and any start of it (PROGRAM_ANY) runs what its parent wants: there is nothing to hold. */
bool given_freely(const char *executable);
