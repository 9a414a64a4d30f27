/* Below mm/: an EPCM that is an array, program memory at its own addresses, a heap, locks. */
#pragma once

#include <stdint.h>

#define MM_FAKES_SIZE 0x200000000ull

/* By page: RWX as SGX has them, 0x80: there. */
extern uint8_t g_epcm[];
/* Once per process: makes the program's addresses, and mm_init(). */
void mm_fakes_boot(void);
