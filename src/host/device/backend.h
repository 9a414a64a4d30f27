/* What a backend is: device.h's functions, one table each. Tier: hosted, untrusted; for device.c.
 */
#pragma once

#include "host/device/device.h"

struct device_backend {
    const char *name;
    int (*open)(const struct device_options *options, void **ret, struct err *err);
    void (*close)(void *self);
    int (*create)(void *self, const struct sgx_secs *secs, struct err *err);
    int (*add)(void *self, uint64_t offset, const void *content, uint64_t page_count,
               uint64_t secinfo_flags, bool measured, struct err *err);
    int (*init)(void *self, const struct sgx_sigstruct *sigstruct, uint32_t *ret_sgx_error,
                struct err *err);
    int (*enclu_sites)(void *self, const uint64_t *addresses, size_t count, struct err *err);
    int (*enter)(void *self, struct device_run *run);
    int (*resume)(void *self, struct device_run *run);
    int (*thread_begin)(void *self, struct err *err);
    void (*thread_end)(void *self);
    int (*on_signal)(void *self, int signal, device_signal_fn *callback, void *arg,
                     struct err *err);
    int (*restrict_pages)(void *self, uint64_t offset, uint64_t page_count, uint64_t permissions,
                          uint64_t *ret_done);
    int (*modify_type)(void *self, uint64_t offset, uint64_t page_count, uint64_t page_type,
                       uint64_t *ret_done);
    int (*remove)(void *self, uint64_t offset, uint64_t page_count, uint64_t *ret_done);
    void (*stats)(const void *self, struct device_stats *ret);
};

extern const struct device_backend g_device_soft, g_device_kernel;

/* NULL if the backend can run here, else why not (a static string). */
const char *device_soft_missing(void);
const char *device_kernel_missing(void);
