/* device.h's dispatch: which backend, and what its functions say through it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those above. */
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "host/device/device.h"

static bool has_driver(void)
{
    return access("/dev/sgx_enclave", F_OK) == 0;
}

static void test_choose(void **state UNUSED)
{
    const char *why = NULL;
    assert_int_equal(device_choose(DEVICE_SOFT, &why), DEVICE_SOFT);
    assert_string_equal(why, "asked for");
    assert_int_equal(device_choose(DEVICE_KERNEL, &why), DEVICE_KERNEL);
    assert_non_null(why);
    assert_int_equal(device_choose(DEVICE_AUTO, &why),
                     DEVICE_SOFT); /* until the kernel's is driven */
    if (!has_driver())
        assert_non_null(strstr(why, "/dev/sgx_enclave"));
    assert_int_equal(device_choose(DEVICE_AUTO, NULL), DEVICE_SOFT);
}

static void test_kernel(void **state UNUSED)
{
    struct device_options options = { .kind = DEVICE_KERNEL };
    struct device *device = NULL;
    struct err err = { 0 };
    assert_int_equal(device_open(&options, &device, &err), -ENODEV);
    assert_null(device);
    assert_non_null(strstr(err.text, "--device kernel: "));
    options.poison = true;
    assert_int_equal(device_open(&options, &device, &err), -EINVAL);
    assert_non_null(strstr(err.text, "poison"));
}

static void test_soft(void **state UNUSED)
{
    struct device_options options = { .kind = DEVICE_AUTO };
    struct device *device, *second;
    struct device_run run = { .tcs = 0x10000 };
    struct device_stats stats;
    struct sgx_secs secs = { .size = 0x40000000, .ssa_frame_size = 4 };
    struct err err = { 0 };
    uint32_t sgx_error = 77;
    uint64_t done = 77;
    assert_int_equal(device_open(&options, &device, &err), 0);
    assert_true(device_is_soft(device));
    assert_int_equal(device_open(&options, &second, &err), -EBUSY);
    assert_int_equal(device_thread_begin(device, &err), -EINVAL); /* before ECREATE */
    assert_int_equal(device_create(device, &secs, &err), -EINVAL);
    secs.attributes = (struct sgx_attributes){ SGX_ATTR_MODE64BIT, SGX_XFRM_LEGACY };
    assert_int_equal(device_create(device, &secs, &err), 0);
    assert_int_equal(device_add(device, 0x10000, NULL, 1, SGX_SECINFO_REG | 1, true, &err), 0);
    struct sgx_sigstruct none = { 0 };
    assert_int_equal(device_init(device, &none, &sgx_error, &err), -EPERM);
    assert_int_equal(sgx_error, SGX_INVALID_SIG_STRUCT);
    uint64_t site = 0x10000;
    assert_int_equal(device_enclu_sites(device, &site, 1, &err), -EINVAL);
    assert_int_equal(device_thread_begin(device, &err), 0);
    assert_int_equal(device_enter(device, &run), -EINVAL); /* before EINIT */
    assert_int_equal(device_resume(device, &run), -EINVAL);
    assert_int_equal(device_restrict(device, 0x10000, 1, SGX_SECINFO_R, &done), -EINVAL);
    assert_int_equal(device_modify_type(device, 0x10000, 1, SGX_PT_TRIM, &done), -EINVAL);
    assert_int_equal(device_remove(device, 0x10000, 1, &done), -EINVAL);
    assert_int_equal(done, 0);
    device_stats(device, &stats);
    assert_int_equal(stats.enters, 0);
    device_thread_end(device);
    device_close(device);
    device_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_kernel),
        cmocka_unit_test(test_soft),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
