/* The software SGX device as a backend: src/softsgx, translated. Tier: hosted, untrusted. */
#include "host/device/backend.h"

#include "softsgx/softsgx.h"

_Static_assert((int)DEVICE_EEXIT == (int)SOFTSGX_EEXIT &&
                   (int)DEVICE_EXCEPTION == (int)SOFTSGX_EXCEPTION &&
                   (int)DEVICE_INTERRUPT == (int)SOFTSGX_INTERRUPT &&
                   (int)DEVICE_LOST == (int)SOFTSGX_LOST,
               "exits");

const char *device_soft_missing(void)
{
    return softsgx_missing();
}

static int soft_open(const struct device_options *options, void **ret, struct err *err)
{
    struct softsgx_options o = { .poison = options->poison, .single_step = options->single_step };
    struct softsgx *s;
    int code = softsgx_open(&o, &s, err);
    if (code == 0)
        *ret = s;
    return code;
}

static void soft_close(void *self)
{
    softsgx_close(self);
}

static int soft_create(void *self, const struct sgx_secs *secs, struct err *err)
{
    return softsgx_create(self, secs, err);
}

static int soft_add(void *self, uint64_t offset, const void *content, uint64_t page_count,
                    uint64_t secinfo_flags, bool measured, struct err *err)
{
    return softsgx_add(self, offset, content, page_count, secinfo_flags, measured, err);
}

static int soft_init(void *self, const struct sgx_sigstruct *sigstruct, uint32_t *ret_sgx_error,
                     struct err *err)
{
    return softsgx_init(self, sigstruct, ret_sgx_error, err);
}

static int soft_enclu_sites(void *self, const uint64_t *addresses, size_t count, struct err *err)
{
    return softsgx_enclu_sites(self, addresses, count, err);
}

static int run(void *self, struct device_run *run,
               int (*go)(struct softsgx *s, struct softsgx_run *run))
{
    struct softsgx_run r = { .tcs = run->tcs,
                             .rdi = run->rdi,
                             .rsi = run->rsi,
                             .rdx = run->rdx,
                             .r8 = run->r8,
                             .r9 = run->r9 };
    int code = go(self, &r);
    if (code == 0) {
        run->exit = (enum device_exit)r.exit;
        run->vector = r.vector;
        run->error_code = r.error_code;
        run->address = r.address;
    }
    return code;
}

static int soft_enter(void *self, struct device_run *r)
{
    return run(self, r, softsgx_enter);
}

static int soft_resume(void *self, struct device_run *r)
{
    return run(self, r, softsgx_resume);
}

static int soft_thread_begin(void *self, struct err *err)
{
    return softsgx_thread_begin(self, err);
}

static void soft_thread_end(void *self)
{
    softsgx_thread_end(self);
}

static int soft_on_signal(void *self, int signal, device_signal_fn *callback, void *arg,
                          struct err *err)
{
    return softsgx_on_signal(self, signal, callback, arg, err);
}

static int soft_restrict(void *self, uint64_t offset, uint64_t page_count, uint64_t permissions,
                         uint64_t *ret_done)
{
    return softsgx_restrict(self, offset, page_count, permissions, ret_done);
}

static int soft_modify_type(void *self, uint64_t offset, uint64_t page_count, uint64_t page_type,
                            uint64_t *ret_done)
{
    return softsgx_modify_type(self, offset, page_count, page_type, ret_done);
}

static int soft_remove(void *self, uint64_t offset, uint64_t page_count, uint64_t *ret_done)
{
    return softsgx_remove(self, offset, page_count, ret_done);
}

static void soft_stats(const void *self, struct device_stats *ret)
{
    struct softsgx_stats s;
    softsgx_stats(self, &s);
    *ret = (struct device_stats){
        .enters = s.enters,
        .resumes = s.resumes,
        .exits_jump = s.exits_jump,
        .exits_trap = s.exits_trap,
        .aex = s.aex,
        .faults_filled = s.faults_filled,
        .enclu_traps = s.enclu_traps,
        .syscall_traps = s.syscall_traps,
    };
}

const struct device_backend g_device_soft = {
    .name = "soft",
    .open = soft_open,
    .close = soft_close,
    .create = soft_create,
    .add = soft_add,
    .init = soft_init,
    .enclu_sites = soft_enclu_sites,
    .enter = soft_enter,
    .resume = soft_resume,
    .thread_begin = soft_thread_begin,
    .thread_end = soft_thread_end,
    .on_signal = soft_on_signal,
    .restrict_pages = soft_restrict,
    .modify_type = soft_modify_type,
    .remove = soft_remove,
    .stats = soft_stats,
};
