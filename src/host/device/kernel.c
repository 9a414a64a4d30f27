/*
 * The kernel's SGX driver as a backend: /dev/sgx_enclave, <asm/sgx.h>, __vdso_sgx_enter_enclave. So
 * far it only looks whether the driver is there: no SGX hardware was available to build it on.
 * Tier: hosted, untrusted.
 */
#include "host/device/backend.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define NOT_YET "this version does not drive the kernel's SGX device yet"

const char *device_kernel_missing(void)
{
    if (access("/dev/sgx_enclave", F_OK) < 0)
        return "no /dev/sgx_enclave (CPU, BIOS setting, or Linux 5.11 with X86_SGX)";
    if (access("/dev/sgx_enclave", R_OK | W_OK) < 0)
        return "/dev/sgx_enclave may not be opened by this user";
    return NOT_YET;
}

static int kernel_open(const struct device_options *options UNUSED, void **ret UNUSED,
                       struct err *err)
{
    /* What is missing here first, then what no setting of this machine mends. */
    const char *missing = device_kernel_missing();
    bool here = strcmp(missing, NOT_YET) != 0;
    return err_set(err, -ENODEV,
                   "--device kernel: %s%s" NOT_YET "; --device soft runs the same enclave, without "
                   "protection against this machine",
                   here ? missing : "", here ? "; and " : "");
}

const struct device_backend g_device_kernel = { .name = "kernel", .open = kernel_open };
