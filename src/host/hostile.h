/*
 * A hostile host for tests of the library OS: replaces what OCALLs answer, at random but repeatably
 * for a seed (as far as threads let it). Reached only through `--insecure_hostile_host` and test
 * programs. Tier: hosted, untrusted.
 *
 * About one answer in `rate` is changed: the return value (random, negative beyond -4095, sizes
 * just above what was asked, zero), out words, bytes of the data window (a flip, a field, a whole
 * struct), the event word, or the call's own arguments and number. With scribble a thread of its
 * own also changes bytes of all blocks, and of the tree's region, while the enclave reads them.
 *
 * Of sockets also the sizes, addresses, control messages and flags beside the bytes, and the tokens of epoll events.
 *
 * In a process tree (abi/tree.h) also: cells scribbled into, cut, replayed and reflected; counters,
 * `dead`, the bell and ready bits that are wrong; waits that end early, late or for another reason;
 * messages posted twice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "host/host.h"

struct hostile_options {
    uint64_t seed;
    uint32_t rate;        /* 1 in rate; 0: 16 */
    uint32_t quiet_calls; /* the first so many OCALLs of a thread are answered honestly */
    bool scribble;
    bool spare; /* answers honestly what ends the run if it is wrong (trusted files, page
                   operations, the strings at the start, what crosses a channel), so that the other
                   calls get their share */
};

struct hostile;

/* "SEED[,rate=N][,after=N][,scribble][,spare]". -EINVAL. */
MUST_CHECK int hostile_parse(const char *text, struct hostile_options *ret);
/* Never freed: it acts until the process ends. NULL: out of memory. */
struct hostile *hostile_new(const struct hostile_options *options);
/* A host_tamper_fn; arg is the struct hostile. */
void hostile_tamper(void *arg, uint32_t thread_index, struct ocall_block *block);
