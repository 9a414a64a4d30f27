/*
 * A scripted device behind device.h, for tests of the untrusted runtime: "the enclave" is a C
 * function of the test that is called for each entry and says how control comes back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "host/device/device.h"

enum fake_way { FAKE_ENTER, FAKE_ENTER_EXCEPTION, FAKE_RESUME };

/* index: of the thread area; block: as given at the first entry. Runs on the host thread. */
typedef enum device_exit fake_body(uint32_t index, enum fake_way way, struct ocall_block *block);

struct device *fake_device_new(fake_body *body);

/* For bodies: makes the OCALL the next exit. */
enum device_exit fake_call(struct ocall_block *block, uint32_t nr, uint64_t a, uint64_t b,
                           uint64_t c);
/* For bodies: runs "in the enclave" until an interrupt takes it out (then true: return
 * DEVICE_INTERRUPT) or *stop is not zero. */
bool fake_spin(const volatile int *stop);
/* The same until a time of CLOCK_MONOTONIC. */
bool fake_spin_until(uint64_t monotonic_ns);
/* For bodies, at random places: a pause in which a signal finds the thread outside the enclave. */
void fake_outside_pause(long ns);
