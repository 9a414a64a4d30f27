/* EENTER, EEXIT, AEX, ERESUME: refusals, register contract, all state across an AEX. */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define BLOCK(thread) (te_thread(thread) + TE_BLOCK)
#define GPR(thread, frame, field)                                                           \
    (te_thread(thread) + TE_SSA + (frame)*TE_FRAME + TE_FRAME - sizeof(struct sgx_gprsgx) + \
     offsetof(struct sgx_gprsgx, field))
#define EXINFO(thread, frame)                                                               \
    (te_thread(thread) + TE_SSA + (frame)*TE_FRAME + TE_FRAME - sizeof(struct sgx_gprsgx) - \
     sizeof(struct sgx_exinfo))

static uint32_t exit_info(struct fixture *f, uint32_t frame)
{
    return (uint32_t)te_peek(f, GPR(0, frame, exit_info));
}

/* ---- refusals ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint64_t tcs;
} tcs_rows[] = {
    { "unaligned", TE_THREADS + 8 }, { "a regular page", TE_DATA },        { "absent", 0x30000000 },
    { "outside", TE_SIZE },          { "far outside", UINT64_MAX - 4095 }, { "page 0", 0 },
};

static void test_refusals(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, true);
    for (size_t i = 0; i < ARRAY_SIZE(tcs_rows); i++) {
        struct softsgx_run run = te_run(0, C_NOP, 0, 0, 0, 0);
        run.tcs = tcs_rows[i].tcs;
        if (softsgx_enter(f.s, &run) != -EINVAL)
            fail_msg("EENTER on %s", tcs_rows[i].name);
        if (softsgx_resume(f.s, &run) != -EINVAL)
            fail_msg("ERESUME on %s", tcs_rows[i].name);
    }
    struct softsgx_run run = te_run(0, C_NOP, 0, 0, 0, 0);
    assert_int_equal(softsgx_resume(f.s, &run), -EINVAL); /* CSSA 0 */
    te_do(&f, 0, C_NOP, 0, 0, 0, 0);
    fixture_down(&f);
}

/* CSSA grows to NSSA, then EENTER is refused and ERESUME still works. */
static void test_nssa(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, true);
    for (uint32_t cssa = 0; cssa < TE_NSSA; cssa++) {
        struct softsgx_run run = te_run(0, C_READ, 0xdead000000, 0, 0, 0);
        te_enter(&f, &run);
        assert_int_equal(run.exit, SOFTSGX_EXCEPTION);
        assert_int_equal(run.vector, SGX_VECTOR_PF);
        assert_int_equal(run.address, 0xdead000000);
    }
    struct softsgx_run run = te_run(0, C_NOP, 0, 0, 0, 0);
    assert_int_equal(softsgx_enter(f.s, &run), -EINVAL);
    te_resume(&f, &run); /* the same fault again, in frame 1 */
    assert_int_equal(run.exit, SOFTSGX_EXCEPTION);
    assert_int_equal(softsgx_enter(f.s, &run), -EINVAL);
    fixture_down(&f);
}

static void test_ssa_missing(void **state UNUSED)
{
    struct fixture f;
    uint64_t done;
    fixture_up(&f, 1, true);
    te_do(&f, 0, C_NOP, 0, 0, 0, 0);
    /* An SSA page without W: #PF of EENTER. */
    assert_int_equal(softsgx_restrict(f.s, te_thread(0) + TE_SSA + 0x1000, 1, SGX_SECINFO_R, &done),
                     0);
    struct softsgx_run run = te_run(0, C_NOP, 0, 0, 0, 0);
    assert_int_equal(softsgx_enter(f.s, &run), -EINVAL);
    fixture_down(&f);
}

static void *enter_busy(void *arg)
{
    struct fixture *f = arg;
    struct softsgx_run run = te_run(0, C_NOP, 0, 0, 0, 0);
    assert_int_equal(softsgx_enter(f->s, &run), -EINVAL); /* this thread has not begun */
    assert_int_equal(softsgx_thread_begin(f->s, NULL), 0);
    while (!atomic_load(&tcs_find(f->s, run.tcs)->active))
        usleep(100);
    assert_int_equal(softsgx_enter(f->s, &run), -EINVAL); /* TCS active */
    assert_int_equal(softsgx_resume(f->s, &run), -EINVAL);
    run = te_run(1, C_NOP, 0, 0, 0, 0);
    te_enter(f, &run);
    te_poke(f, TE_DATA, 1);
    softsgx_thread_end(f->s);
    return NULL;
}

static void test_busy(void **state UNUSED)
{
    struct fixture f;
    pthread_t thread;
    fixture_up(&f, 2, true);
    pthread_create(&thread, NULL, enter_busy, &f);
    te_do(&f, 0, C_SPIN, TE_DATA, 0, 0, 0);
    assert_int_equal(te_result(&f, 0, 0), 0);
    pthread_join(thread, NULL);
    te_do(&f, 0, C_NOP, 0, 0, 0, 0);
    fixture_down(&f);
}

/* ---- registers ------------------------------------------------------------------------------ */

static void test_registers(void **state UNUSED)
{
    for (int jumps = 0; jumps < 2; jumps++) {
        struct fixture f;
        fixture_up(&f, 1, jumps);
        te_do(&f, 0, C_REGS, 0x1001, 0x1002, 0x1003, 0x1004);
        assert_int_equal(te_result(&f, 0, 0), 0); /* rax: CSSA */
        assert_int_equal(te_result(&f, 0, 1), te_thread(0) + TE_TCS);
        assert_true(te_result(&f, 0, 2) >= TE_SIZE); /* rcx: behind EENTER, outside */
        assert_int_equal(te_result(&f, 0, 3), 0x1002);
        assert_int_equal(te_result(&f, 0, 4), 0x1001);
        assert_int_equal(te_result(&f, 0, 5), C_REGS);
        assert_int_equal(te_result(&f, 0, 8), 0x1003);
        assert_int_equal(te_result(&f, 0, 9), 0x1004);
        uint64_t rsp = te_result(&f, 0, 7);
        assert_true(rsp >= TE_SIZE && rsp % 16 == 0); /* the host's */
        assert_int_equal(te_peek(&f, GPR(0, 0, ursp)), rsp);
        assert_int_equal(te_peek(&f, GPR(0, 0, urbp)), te_result(&f, 0, 6));
        te_do(&f, 0, C_FSGS, 0, 0, 0, 0);
        assert_int_equal(te_result(&f, 0, 0), BLOCK(0));
        assert_int_equal(te_result(&f, 0, 1), BLOCK(0));
        fixture_down(&f);
    }
}

/* ---- AEX and ERESUME keep everything -------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t fault, vector, info, skip;
    bool rcx_r11_lost, rax_cut;
} fault_rows[] = {
    { "syscall", F_SYSCALL, SGX_VECTOR_UD, 0x80000306, 2, true, false },
    { "ud2", F_UD2, SGX_VECTOR_UD, 0x80000306, 2, false, false },
    { "div", F_DIV, SGX_VECTOR_DE, 0x80000300, 3, false, false },
    { "int3 after opt-out entry", F_INT3, SGX_VECTOR_UD, 0x80000306, 1, false, false },
    { "#GP", F_GP, SGX_VECTOR_GP, 0x8000030d, 2, false, false },
    { "int 0x80", F_INT80, SGX_VECTOR_UD, 0x80000306, 2, false, true },
};

static const uint64_t gpr_want[] = {
    0x1111111111111101, 0x1111111111111102, 0x1111111111111103, 0x1111111111111104,
    0x1111111111111105, 0x1111111111111106, 0x1111111111111107, 0,
    0x1111111111111109, 0x111111111111110a, 0x111111111111110b, 0x111111111111110c,
    0x111111111111110d, 0x111111111111110e, 0x111111111111110f,
};

static void check_ssa(struct fixture *f, const char *name, bool lost, bool cut)
{
    uint64_t rax = te_peek(f, GPR(0, 0, rax));
    assert_int_equal(cut ? rax | gpr_want[0] >> 32 << 32 : rax, gpr_want[0]);
    assert_int_equal(te_peek(f, GPR(0, 0, rbx)), gpr_want[1]);
    if (!lost)
        assert_int_equal(te_peek(f, GPR(0, 0, rcx)), gpr_want[2]);
    assert_int_equal(te_peek(f, GPR(0, 0, rdx)), gpr_want[3]);
    assert_int_equal(te_peek(f, GPR(0, 0, rsi)), gpr_want[4]);
    assert_int_equal(te_peek(f, GPR(0, 0, rdi)), gpr_want[5]);
    assert_int_equal(te_peek(f, GPR(0, 0, rbp)), gpr_want[6]);
    assert_int_equal(te_peek(f, GPR(0, 0, r8)), gpr_want[8]);
    if (!lost)
        assert_int_equal(te_peek(f, GPR(0, 0, r11)), gpr_want[11]);
    assert_int_equal(te_peek(f, GPR(0, 0, r14)), gpr_want[14]);
    assert_int_equal(te_peek(f, GPR(0, 0, rflags)) & 0x8d5, 0x8d5);
    assert_int_equal(te_peek(f, GPR(0, 0, rflags)) & SOFT_RFLAGS_TF, 0);
    assert_int_equal(te_peek(f, GPR(0, 0, fs_base)), BLOCK(0));
    assert_int_equal(te_peek(f, GPR(0, 0, gs_base)), BLOCK(0));
    /* XSAVE area: MXCSR, XSTATE_BV, XCOMP_BV, ymm3 */
    uint64_t xsave = te_thread(0) + TE_SSA;
    assert_int_equal((uint32_t)te_peek(f, xsave + 24), 0x3f80);
    if ((te_peek(f, xsave + 512) & 7) != 7 || te_peek(f, xsave + 520) != 0)
        fail_msg("%s: XSTATE_BV 0x%llx", name, (unsigned long long)te_peek(f, xsave + 512));
    assert_int_equal(te_peek(f, xsave + 160 + 3 * 16), 0x5000000000000003);
    assert_int_equal(te_peek(f, xsave + 576 + 3 * 16), 0x5200000000000003);
}

static void check_after(struct fixture *f, const char *name, bool lost, bool cut)
{
    for (uint32_t i = 0; i < ARRAY_SIZE(gpr_want); i++) {
        if (i == 7 || (lost && (i == 2 || i == 11)))
            continue;
        uint64_t got = te_result(f, 0, i);
        if ((cut && i == 0 ? got | gpr_want[0] >> 32 << 32 : got) != gpr_want[i])
            fail_msg("%s: register %u is 0x%llx", name, i, (unsigned long long)te_result(f, 0, i));
    }
    if ((te_result(f, 0, 15) & 0xdd5) != 0x8d5)
        fail_msg("%s: flags 0x%llx", name, (unsigned long long)te_result(f, 0, 15));
    assert_int_equal((uint32_t)te_result(f, 0, 16), 0x3f80);
    assert_int_equal(te_result(f, 0, 17), 0xc90fdaa22168c235); /* pi on the x87 stack */
    assert_int_equal(te_result(f, 0, 20), 0);                  /* ymm0-15 unchanged */
}

static void test_faults(void **state UNUSED)
{
    for (size_t i = 0; i < 2 * ARRAY_SIZE(fault_rows); i++) {
        const typeof(fault_rows[0]) *row = &fault_rows[i / 2];
        struct fixture f;
        fixture_up(&f, 1, i % 2);
        te_poke(&f, BLOCK(0) + B_RESULT + 320, TE_CODE + test_fault_at[row->fault]);
        struct softsgx_run run = te_run(0, C_STATE, 0, 0, 0, 0);
        te_enter(&f, &run);
        if (run.exit != SOFTSGX_EXCEPTION || run.vector != row->vector)
            fail_msg("%s: exit %d, vector %u", row->name, run.exit, run.vector);
        assert_int_equal(te_peek(&f, GPR(0, 0, rip)), TE_CODE + test_fault_at[row->fault]);
        if (exit_info(&f, 0) != row->info)
            fail_msg("%s: EXITINFO 0x%x", row->name, exit_info(&f, 0));
        check_ssa(&f, row->name, row->rcx_r11_lost, row->rax_cut);
        if (row->rcx_r11_lost) /* nobody may rely on what SYSCALL left there */
            assert_true(te_peek(&f, GPR(0, 0, rcx)) != TE_CODE + test_fault_at[row->fault] + 2);

        /* Nested: another level with its own state in between, then on behind the fault. */
        te_do(&f, 0, C_REGS, 0, 0, 0, 0);
        assert_int_equal(te_result(&f, 0, 0), 1); /* rax: CSSA */
        te_do(&f, 0, C_SSA_ZERO, 0, 0, 0, 0);
        assert_int_equal(exit_info(&f, 0), 0);
        te_do(&f, 0, C_SSA_RIP, row->skip, 0, 0, 0);
        te_resume(&f, &run);
        if (run.exit != SOFTSGX_EEXIT)
            fail_msg("%s: after ERESUME: exit %d, vector %u", row->name, run.exit, run.vector);
        check_after(&f, row->name, row->rcx_r11_lost, row->rax_cut);
        fixture_down(&f);
    }
}

/* Without a fault everything holds too: the test enclave itself is right. */
static void test_no_fault(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, true);
    te_poke(&f, BLOCK(0) + B_RESULT + 320, TE_CODE + test_fault_at[F_NONE]);
    te_do(&f, 0, C_STATE, 0, 0, 0, 0);
    check_after(&f, "no fault", false, false);
    fixture_down(&f);
}

static void test_cpuid(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, true);
    if (!soft_self()->cpuid_faults) {
        fixture_down(&f);
        skip();
    }
    te_poke(&f, BLOCK(0) + B_RESULT + 320, TE_CODE + test_fault_at[F_CPUID]);
    struct softsgx_run run = te_run(0, C_STATE, 0, 0, 0, 0);
    te_enter(&f, &run);
    assert_int_equal(run.vector, SGX_VECTOR_UD);
    fixture_down(&f);
}

/* ---- page faults ---------------------------------------------------------------------------- */

#define P   SGX_PFEC_P
#define U   SGX_PFEC_U
#define W   SGX_PFEC_W
#define I   SGX_PFEC_I
#define SGX SGX_PFEC_SGX

static const struct {
    const char *name;
    uint64_t command, address;
    uint32_t code;
} page_rows[] = {
    { "read of a pending page", C_READ, 0x10000010, P | U | SGX },
    { "write to a pending page", C_WRITE, 0x10000018, P | U | W | SGX },
    { "fetch from a pending page", C_FETCH, 0x10000020, P | U | I | SGX },
    { "write to code", C_WRITE, TE_CODE + 0x3ff8, P | U | W | SGX },
    { "fetch from data", C_FETCH, TE_DATA + 64, P | U | I | SGX },
    { "read of a TCS", C_READ, TE_THREADS, P | U | SGX },
    { "below ELRANGE", C_READ, 0x8, U },
    { "outside, nothing there", C_READ, 0xdead000000, U },
    { "outside, write", C_WRITE, 0xdead000000, U | W },
};

static void test_page_faults(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(page_rows); i++) {
        struct fixture f;
        fixture_up(&f, 1, true);
        struct softsgx_run run = te_run(0, page_rows[i].command, page_rows[i].address, 0, 0, 0);
        te_enter(&f, &run);
        uint64_t maddr = te_peek(&f, EXINFO(0, 0)), code = te_peek(&f, EXINFO(0, 0) + 8);
        if (run.exit != SOFTSGX_EXCEPTION || run.vector != SGX_VECTOR_PF ||
            run.address != page_rows[i].address || run.error_code != page_rows[i].code ||
            exit_info(&f, 0) != 0x8000030e || maddr != page_rows[i].address ||
            code != page_rows[i].code)
            fail_msg(
                "%s: exit %d, vector %u, code 0x%llx, MADDR 0x%llx, ERRCD 0x%llx, EXITINFO 0x%x",
                page_rows[i].name, run.exit, run.vector, (unsigned long long)run.error_code,
                (unsigned long long)maddr, (unsigned long long)code, exit_info(&f, 0));
        fixture_down(&f);
    }
}

/* A page that the EPCM allows never shows, whatever the page tables held. */
static void test_fill(void **state UNUSED)
{
    struct fixture f;
    struct softsgx_stats stats;
    fixture_up(&f, 1, true);
    for (uint64_t page = 0; page < TE_DATA_PAGES; page++) {
        assert_int_equal(syscall(10 /* mprotect */, TE_DATA + page * 4096, 4096, 0), 0);
        te_do(&f, 0, C_WRITE, TE_DATA + page * 4096, page, 0, 0);
        te_do(&f, 0, C_READ, TE_DATA + page * 4096, 0, 0, 0);
        assert_int_equal(te_result(&f, 0, 0), page);
    }
    softsgx_stats(f.s, &stats);
    assert_true(stats.faults_filled >= TE_DATA_PAGES || stats.aex > 0);
    fixture_down(&f);
}

/* ERESUME of an SSA that XRSTOR refuses. */
static void test_bad_ssa(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, true);
    struct softsgx_run run = te_run(0, C_READ, 0xdead000000, 0, 0, 0);
    te_enter(&f, &run);
    te_do(&f, 0, C_XRSTOR, 0, 0, 0, 0);
    assert_int_equal(softsgx_resume(f.s, &run), -EINVAL);
    te_do(&f, 0, C_REGS, 0, 0, 0, 0); /* the TCS is as it was: CSSA 1 */
    assert_int_equal(te_result(&f, 0, 0), 1);
    fixture_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_nssa),
        cmocka_unit_test(test_ssa_missing), cmocka_unit_test(test_busy),
        cmocka_unit_test(test_registers),   cmocka_unit_test(test_no_fault),
        cmocka_unit_test(test_faults),      cmocka_unit_test(test_cpuid),
        cmocka_unit_test(test_page_faults), cmocka_unit_test(test_fill),
        cmocka_unit_test(test_bad_ssa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
