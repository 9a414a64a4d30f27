#include "fake_device.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "abi/layout.h"

#define SIGNALS 65

struct device {
    fake_body *body;
    _Atomic uint32_t cssa[LAYOUT_THREADS_MAX];
    struct ocall_block *blocks[LAYOUT_THREADS_MAX];
    struct {
        device_signal_fn *callback;
        void *arg;
    } signals[SIGNALS];
};

static struct device g_device;
static __thread volatile int t_inside, t_interrupted;

struct device *fake_device_new(fake_body *body)
{
    memset(&g_device, 0, sizeof(g_device));
    g_device.body = body;
    return &g_device;
}

enum device_exit fake_call(struct ocall_block *block, uint32_t nr, uint64_t a, uint64_t b,
                           uint64_t c)
{
    block->nr = nr;
    block->args[0] = a;
    block->args[1] = b;
    block->args[2] = c;
    return DEVICE_EEXIT;
}

bool fake_spin(const volatile int *stop)
{
    t_interrupted = 0;
    t_inside = 1;
    while (!t_interrupted && !*stop)
        sched_yield(); /* the machine may have one CPU to spare */
    t_inside = 0;
    return t_interrupted;
}

bool fake_spin_until(uint64_t monotonic_ns)
{
    struct timespec t = { 0 };
    t_interrupted = 0;
    t_inside = 1;
    while (!t_interrupted && (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec < monotonic_ns)
        clock_gettime(CLOCK_MONOTONIC, &t);
    t_inside = 0;
    return t_interrupted;
}

void fake_outside_pause(long ns)
{
    const struct timespec t = { .tv_nsec = ns };
    nanosleep(&t, NULL);
}

static void on_signal(int signal, siginfo_t *info, void *context UNUSED)
{
    int saved = errno;
    bool in_enclave = t_inside && !t_interrupted;
    if (g_device.signals[signal].callback(signal, info, in_enclave, g_device.signals[signal].arg) &&
        in_enclave)
        t_interrupted = 1;
    errno = saved;
}

static int run(struct device *device, struct device_run *run, bool resume)
{
    uint32_t index = (uint32_t)((run->tcs - LAYOUT_THREADS) / LAYOUT_THREAD_STRIDE);
    uint32_t cssa = device->cssa[index];
    if (resume && cssa != 1)
        return -EINVAL;
    if (!resume && !device->blocks[index])
        device->blocks[index] = (struct ocall_block *)(uintptr_t)run->rdi;
    enum fake_way way = resume ? FAKE_RESUME : cssa ? FAKE_ENTER_EXCEPTION : FAKE_ENTER;
    if (resume)
        device->cssa[index] = 0;
    run->exit = device->body(index, way, device->blocks[index]);
    if (run->exit != DEVICE_EEXIT)
        device->cssa[index] = 1;
    run->vector = run->exit == DEVICE_EXCEPTION ? SGX_VECTOR_UD : 0;
    return 0;
}

int device_enter(struct device *device, struct device_run *r)
{
    return run(device, r, false);
}

int device_resume(struct device *device, struct device_run *r)
{
    return run(device, r, true);
}

int device_on_signal(struct device *device, int signal, device_signal_fn *callback, void *arg,
                     struct err *err UNUSED)
{
    device->signals[signal].callback = callback;
    device->signals[signal].arg = arg;
    struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
    return sigaction(signal, &action, NULL) < 0 ? -errno : 0;
}

int device_thread_begin(struct device *device UNUSED, struct err *err UNUSED)
{
    return 0;
}
void device_thread_end(struct device *device UNUSED)
{
}
void device_stats(const struct device *device UNUSED, struct device_stats *ret)
{
    *ret = (struct device_stats){ 0 };
}
int device_restrict(struct device *device UNUSED, uint64_t offset, uint64_t page_count,
                    uint64_t secinfo_permissions, uint64_t *ret_done)
{
    *ret_done = page_count / 2;
    return offset == 0x1000 && secinfo_permissions == SGX_SECINFO_R ? 0 : -EINVAL;
}
int device_modify_type(struct device *device UNUSED, uint64_t offset UNUSED, uint64_t page_count,
                       uint64_t page_type UNUSED, uint64_t *ret_done)
{
    *ret_done = page_count;
    return 0;
}
int device_remove(struct device *device UNUSED, uint64_t offset UNUSED, uint64_t page_count UNUSED,
                  uint64_t *ret_done)
{
    *ret_done = 0;
    return -EPERM;
}

/* run.c's needs; no unit test gets there. */
int device_open(const struct device_options *options UNUSED, struct device **ret UNUSED,
                struct err *err)
{
    return err_set(err, -ENODEV, "scripted device");
}
void device_close(struct device *device UNUSED)
{
}
bool device_is_soft(const struct device *device UNUSED)
{
    return true;
}
int device_create(struct device *device UNUSED, const struct sgx_secs *secs UNUSED, struct err *err)
{
    return err_set(err, -ENODEV, "scripted device");
}
int device_add(struct device *device UNUSED, uint64_t offset UNUSED, const void *content UNUSED,
               uint64_t page_count UNUSED, uint64_t secinfo_flags UNUSED, bool measured UNUSED,
               struct err *err)
{
    return err_set(err, -ENODEV, "scripted device");
}
int device_init(struct device *device UNUSED, const struct sgx_sigstruct *sigstruct UNUSED,
                uint32_t *ret_sgx_error UNUSED, struct err *err)
{
    return err_set(err, -ENODEV, "scripted device");
}
int device_enclu_sites(struct device *device UNUSED, const uint64_t *addresses UNUSED,
                       size_t count UNUSED, struct err *err)
{
    return err_set(err, -ENODEV, "scripted device");
}
