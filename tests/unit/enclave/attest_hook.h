/* Forced into attest.c for its test: each check can be switched off, by number. */
#pragma once
#include <stdint.h>
extern uint32_t g_attest_checks;
#define ATTEST_CHECKS(check) (g_attest_checks >> (check)&1)
