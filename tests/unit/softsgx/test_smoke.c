#include "fixture.h"

static void test_roundtrip(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, false);
    for (int i = 0; i < 100; i++)
        te_do(&f, 0, C_NOP, 0, 0, 0, 0);
    te_do(&f, 0, C_FSGS, 0, 0, 0, 0);
    assert_int_equal(te_result(&f, 0, 0), te_thread(0) + TE_BLOCK);
    assert_int_equal(te_result(&f, 0, 1), te_thread(0) + TE_BLOCK);
    fixture_down(&f);
}

static void test_aex(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, false);
    te_poke(&f, te_thread(0) + TE_BLOCK + B_RESULT + 320, TE_CODE + test_fault_at[F_UD2]);
    struct softsgx_run run = te_run(0, C_STATE, 0, 0, 0, 0);
    te_enter(&f, &run);
    assert_int_equal(run.exit, SOFTSGX_EXCEPTION);
    assert_int_equal(run.vector, SGX_VECTOR_UD);
    te_do(&f, 0, C_SSA_RIP, 2, 0, 0, 0);
    te_resume(&f, &run);
    assert_int_equal(run.exit, SOFTSGX_EEXIT);
    assert_int_equal(te_result(&f, 0, 0), 0x1111111111111101ull);
    assert_int_equal(te_result(&f, 0, 20), 0);
    fixture_down(&f);
}

static void test_accept(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, false);
    uint64_t rw = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W;
    struct softsgx_run run = te_run(0, C_READ, 0x10000000, 0, 0, 0);
    te_enter(&f, &run);
    assert_int_equal(run.exit, SOFTSGX_EXCEPTION);
    assert_int_equal(run.vector, SGX_VECTOR_PF);
    te_do(&f, 0, C_SSA_RIP, 3, 0, 0, 0);
    te_resume(&f, &run);
    assert_int_equal(te_accept(&f, 0x10000000, rw | SGX_SECINFO_PENDING), 0);
    te_do(&f, 0, C_WRITE, 0x10000000, 77, 0, 0);
    te_do(&f, 0, C_READ, 0x10000000, 0, 0, 0);
    assert_int_equal(te_result(&f, 0, 0), 77);
    fixture_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roundtrip),
        cmocka_unit_test(test_aex),
        cmocka_unit_test(test_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
