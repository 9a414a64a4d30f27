/* Which SGX device, and the way to it. Tier: hosted, untrusted. */
#include "host/device/device.h"

#include <errno.h>
#include <stdlib.h>

#include "host/device/backend.h"

struct device {
    const struct device_backend *backend;
    void *self;
};

enum device_kind device_choose(enum device_kind wanted, const char **ret_why)
{
    const char *kernel = device_kernel_missing();
    const char *soft = ret_why ? device_soft_missing() : NULL; /* the reason alone asks for it */
    enum device_kind kind = wanted;
    const char *why;
    if (wanted == DEVICE_KERNEL) {
        why = kernel ? kernel : "asked for, and there";
    } else if (wanted == DEVICE_SOFT) {
        why = soft ? soft : "asked for";
    } else if (!kernel) {
        kind = DEVICE_KERNEL;
        why = "/dev/sgx_enclave is there";
    } else {
        kind = DEVICE_SOFT;
        why = soft ? soft : kernel;
    }
    if (ret_why)
        *ret_why = why;
    return kind;
}

int device_open(const struct device_options *options, struct device **ret, struct err *err)
{
    bool soft = device_choose(options->kind, NULL) == DEVICE_SOFT;
    const struct device_backend *backend = soft ? &g_device_soft : &g_device_kernel;
    if (!soft && (options->poison || options->single_step))
        return err_set(err, -EINVAL, "poison and single step are modes of the software SGX device");

    struct device *device = calloc(1, sizeof(*device));
    if (!device)
        return err_set(err, -ENOMEM, "opening the SGX device");
    device->backend = backend;
    int code = backend->open(options, &device->self, err);
    if (code < 0) {
        free(device);
        return code;
    }
    *ret = device;
    return 0;
}

void device_close(struct device *device)
{
    if (!device)
        return;
    device->backend->close(device->self);
    free(device);
}

bool device_is_soft(const struct device *device)
{
    return device->backend == &g_device_soft;
}

int device_create(struct device *device, const struct sgx_secs *secs, struct err *err)
{
    return device->backend->create(device->self, secs, err);
}

int device_add(struct device *device, uint64_t offset, const void *content, uint64_t page_count,
               uint64_t secinfo_flags, bool measured, struct err *err)
{
    return device->backend->add(device->self, offset, content, page_count, secinfo_flags, measured,
                                err);
}

int device_init(struct device *device, const struct sgx_sigstruct *sigstruct,
                uint32_t *ret_sgx_error, struct err *err)
{
    return device->backend->init(device->self, sigstruct, ret_sgx_error, err);
}

int device_enclu_sites(struct device *device, const uint64_t *addresses, size_t count,
                       struct err *err)
{
    return device->backend->enclu_sites(device->self, addresses, count, err);
}

int device_enter(struct device *device, struct device_run *run)
{
    return device->backend->enter(device->self, run);
}

int device_resume(struct device *device, struct device_run *run)
{
    return device->backend->resume(device->self, run);
}

int device_thread_begin(struct device *device, struct err *err)
{
    return device->backend->thread_begin(device->self, err);
}

void device_thread_end(struct device *device)
{
    device->backend->thread_end(device->self);
}

int device_on_signal(struct device *device, int signal, device_signal_fn *callback, void *arg,
                     struct err *err)
{
    return device->backend->on_signal(device->self, signal, callback, arg, err);
}

int device_restrict(struct device *device, uint64_t offset, uint64_t page_count,
                    uint64_t secinfo_permissions, uint64_t *ret_done)
{
    return device->backend->restrict_pages(device->self, offset, page_count, secinfo_permissions,
                                           ret_done);
}

int device_modify_type(struct device *device, uint64_t offset, uint64_t page_count,
                       uint64_t page_type, uint64_t *ret_done)
{
    return device->backend->modify_type(device->self, offset, page_count, page_type, ret_done);
}

int device_remove(struct device *device, uint64_t offset, uint64_t page_count, uint64_t *ret_done)
{
    return device->backend->remove(device->self, offset, page_count, ret_done);
}

void device_stats(const struct device *device, struct device_stats *ret)
{
    device->backend->stats(device->self, ret);
}
