/* How the process starts and ends. Tier: enclave. */
#pragma once

#include <stdint.h>

#include "abi/ocall.h"
#include "arch/regs.h"
#include "core/attr.h"

/* From entry.S: a TCS's first entry. */
NORETURN void thread_first(struct ocall_block *block);

/* What the program is started with: heap memory that stays. */
struct boot_strings {
    uint32_t arg_count, env_count;
    char **args, **env;
};
MUST_CHECK int boot_strings_load(struct boot_strings *ret);

/* Maps the program and its interpreter, builds the stack; *ret holds the first instruction's registers.
 * Panics with a message where the measured files are not what they must be. */
void elf_start(const struct boot_strings *strings, struct regs *ret);
