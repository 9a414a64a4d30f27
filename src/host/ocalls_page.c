/* OCALLs for the driver's SGX2 page operations: EMODPR, EMODT, EREMOVE (device.h). */
#include "host/ocall.h"

int64_t ocall_restrict(struct host_thread *t, const uint64_t args[6])
{
    uint64_t done = 0;
    int r = device_restrict(t->host->device, args[0], args[1], args[2], &done);
    t->block->out[0] = done;
    return r;
}

int64_t ocall_modify_type(struct host_thread *t, const uint64_t args[6])
{
    uint64_t done = 0;
    int r = device_modify_type(t->host->device, args[0], args[1], args[2], &done);
    t->block->out[0] = done;
    return r;
}

int64_t ocall_remove(struct host_thread *t, const uint64_t args[6])
{
    uint64_t done = 0;
    int r = device_remove(t->host->device, args[0], args[1], &done);
    t->block->out[0] = done;
    return r;
}
