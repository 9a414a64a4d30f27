/*
 * Where a further host process of a tree begins: the command line that spawn.c made,
 *
 *   sgxpy --tree-child REGION,LOG,OUT,IN,PASS,SPAWN,CONTROL,DEVICE FLAGS HANDLES IMAGE BUNDLE NODE AUDIT
 * HOSTILE PROGRAM
 *
 * REGION, LOG, OUT, IN and PASS are descriptors (the shared region; where messages go; the sockets of
 * spare.c; that of pass.c), SPAWN and CONTROL slots, DEVICE enum device_kind. FLAGS: p poison, q quiet, s strace,
 * t stats, 1 single step, r made in advance, a always so (spare.c). HANDLES: the
 * inherited ones, "0,1,2", or "-". NODE: folder below BUNDLE. The last three may be "". Not for
 * people: nothing but a process of the tree can use it. Tier: hosted, untrusted.
 */
#pragma once

#include "core/attr.h"
#include "host/run.h"
#include "host/tree.h"
#include "util/err.h"

/* argv as above. -EINVAL. Nothing of ret needs to be freed: it stays for the run. */
MUST_CHECK int tree_child_parse(int argc, char **argv, struct tree_child *ret,
                                struct host_options *ret_options, struct err *err);
/* Runs it. Returns only if that fails, with the message printed: the exit code. */
int tree_child_main(int argc, char **argv);
