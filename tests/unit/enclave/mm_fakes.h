/* Below mm/: an EPCM that is an array, program memory at its own addresses, a heap, locks. */
#pragma once

#include <stdint.h>

#define MM_FAKES_SIZE 0x200000000ull

/* By page: RWX as SGX has them, 0x80: there. */
extern uint8_t g_epcm[];
/* What tree/hints.h says. */
extern uint64_t g_hints[];
extern uint32_t g_hint_count;
/* Once per process: makes the program's addresses, and mm_init(). */
void mm_fakes_boot(void);
