/*
 * Single step: an interrupt at every instruction of every way in and out, the device's own
 * sequences and thunks included. Whatever instruction it is, the enclave and the host find their
 * state whole.
 */
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#define RW   (SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W)
#define PEND SGX_SECINFO_PENDING

static uint64_t g_interrupts;

/* Sees an entry through: an interrupt is answered with a nested entry and ERESUME, as the runtime
 * does. Only what comes first is stepped. */
static void finish(struct fixture *f, struct softsgx_run *run)
{
    soft_self()->step_next = 0;
    while (run->exit != SOFTSGX_EEXIT) {
        if (run->exit != SOFTSGX_INTERRUPT &&
            !(run->exit == SOFTSGX_EXCEPTION && run->vector == SGX_VECTOR_PF &&
              f->s->options.poison && !(run->error_code & SGX_PFEC_SGX)))
            fail_msg("exit %d, vector %u, address 0x%llx", run->exit, run->vector,
                     (unsigned long long)run->address);
        g_interrupts++;
        struct softsgx_run nested = te_run(0, C_NOP, 0, 0, 0, 0);
        assert_int_equal(softsgx_enter(f->s, &nested), 0);
        assert_int_equal(nested.exit, SOFTSGX_EEXIT);
        assert_int_equal(softsgx_resume(f->s, run), 0);
    }
}

static void through(struct fixture *f, uint32_t k, uint64_t command, uint64_t rsi, uint64_t rdx,
                    uint64_t r8, uint64_t r9)
{
    struct softsgx_run run = te_run(0, command, rsi, rdx, r8, r9);
    sigset_t all, old;
    soft_self()->step_next = k;
    assert_int_equal(softsgx_enter(f->s, &run), 0);
    /* A TF that came out with the enclave would kill us here: nobody takes its SIGTRAP. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    finish(f, &run);
}

/* From k = 1 on, until no entry is interrupted any more: the whole way was stepped. */
static void all_steps(struct fixture *f, const char *name, uint64_t command, uint64_t rsi,
                      uint64_t rdx, uint64_t r8, uint64_t r9, uint64_t stride,
                      void (*check)(struct fixture *f, uint64_t k, uint64_t rdx))
{
    uint32_t quiet = 0, k;
    /* The first steps are EENTER's own: nothing to see. Long ways (a page is copied in 128 rounds)
     * are stepped densely at their start and by samples then. */
    for (k = 1; quiet < (k < 300 ? 40u : 3u) && k < 2500; k += k < 300 ? 1 : 13) {
        uint64_t before = g_interrupts;
        through(f, k, command, rsi, rdx, r8, r9);
        quiet = g_interrupts == before ? quiet + 1 : 0;
        check(f, k, rdx);
        rdx += stride;
    }
    if (k < 80 || k >= 2500)
        fail_msg("%s: %u steps", name, k);
}

static void check_fsgs(struct fixture *f, uint64_t k, uint64_t rdx UNUSED)
{
    if (te_result(f, 0, 0) != te_thread(0) + TE_BLOCK ||
        te_result(f, 0, 1) != te_thread(0) + TE_BLOCK)
        fail_msg("step %llu: FS 0x%llx, GS 0x%llx", (unsigned long long)k,
                 (unsigned long long)te_result(f, 0, 0), (unsigned long long)te_result(f, 0, 1));
}

static void check_accepted(struct fixture *f, uint64_t k, uint64_t rdx)
{
    if (te_result(f, 0, 0) != 0 || epcm_get(f->s, rdx) != (EPCM_REG | 3) ||
        epcm_get(f->s, rdx + 4096) != (EPCM_REG | 3))
        fail_msg("step %llu: EACCEPT refused %llu, EPCM 0x%x", (unsigned long long)k,
                 (unsigned long long)te_result(f, 0, 0), epcm_get(f->s, rdx));
}

static void check_copied(struct fixture *f, uint64_t k, uint64_t rdx)
{
    if (te_result(f, 0, 0) != 0 || epcm_get(f->s, rdx) != (EPCM_REG | 3) ||
        te_peek(f, rdx) != 0xabcdef)
        fail_msg("step %llu: EACCEPTCOPY refused %llu, EPCM 0x%x", (unsigned long long)k,
                 (unsigned long long)te_result(f, 0, 0), epcm_get(f->s, rdx));
}

/* C_ENCLU: rax, flags, and all registers that a leaf must keep (result 2). */
static void check_leaf(struct fixture *f, uint64_t k, uint64_t rdx UNUSED)
{
    if (te_result(f, 0, 2) != 0)
        fail_msg("step %llu: a register was lost: 0x%llx", (unsigned long long)k,
                 (unsigned long long)te_result(f, 0, 2));
}

static void check_state(struct fixture *f, uint64_t k, uint64_t rdx UNUSED)
{
    static const uint64_t want = 0x1111111111111101;
    for (uint32_t i = 0; i < 15; i++)
        if (i != 7 && te_result(f, 0, i) != want + i)
            fail_msg("step %llu: register %u is 0x%llx", (unsigned long long)k, i,
                     (unsigned long long)te_result(f, 0, i));
    if ((te_result(f, 0, 15) & 0xdd5) != 0x8d5 || te_result(f, 0, 20) != 0 ||
        te_result(f, 0, 17) != 0xc90fdaa22168c235)
        fail_msg("step %llu: flags 0x%llx, vectors 0x%llx", (unsigned long long)k,
                 (unsigned long long)te_result(f, 0, 15), (unsigned long long)te_result(f, 0, 20));
}

static void step(bool jumps)
{
    struct fixture f;
    g_fixture_single_step = true;
    fixture_up(&f, 1, jumps);
    te_poke(&f, TE_DATA + 0x1000, 0xabcdef);
    te_poke(&f, te_thread(0) + TE_BLOCK + B_RESULT + 320, TE_CODE + test_fault_at[F_NONE]);
    all_steps(&f, "FS and GS", C_FSGS, 0, 0, 0, 0, 0, check_fsgs);
    if (!jumps) {
        /* By trap the leaves are one instruction each. */
        fixture_down(&f);
        g_fixture_single_step = false;
        return;
    }
    all_steps(&f, "registers", C_STATE, 0, 0, 0, 0, 0, check_state);
    te_secinfo(&f, RW | PEND);
    all_steps(&f, "EACCEPT", C_MANY, 0, 0x10000000, TE_DATA, 2, 8192, check_accepted);
    te_secinfo(&f, RW);
    all_steps(&f, "EACCEPTCOPY", C_COPIES, TE_DATA + 0x1000, 0x20000000, TE_DATA, 1, 4096,
              check_copied);
    /* Leaves that only check: already accepted pages, EMODPE, and copies that are refused. */
    all_steps(&f, "EMODPE", C_ENCLU, SGX_EMODPE, TE_DATA, 0x10000000, 0x77, 0, check_leaf);
    all_steps(&f, "EACCEPT, mismatch", C_ENCLU, SGX_EACCEPT, TE_DATA, TE_CODE, 0x77, 0, check_leaf);
    fixture_down(&f);
    g_fixture_single_step = false;
}

static void test_step_trap(void **state UNUSED)
{
    step(false);
}

static void test_step_jump(void **state UNUSED)
{
    if (fixture_options().poison) /* there are no jumps then */
        skip();
    step(true);
}

/* EACCEPTCOPY keeps every register at every instruction of its thunk. */
static void test_step_copy(void **state UNUSED)
{
    if (fixture_options().poison)
        skip();
    struct fixture f;
    g_fixture_single_step = true;
    fixture_up(&f, 1, true);
    te_secinfo(&f, RW);
    uint64_t page = 0x10000000;
    for (uint32_t k = 1; k < 1640; k++, page += 4096) {
        if (k == 140) /* the copy itself: 128 rounds of the same */
            k = 1460;
        through(&f, k, C_ENCLU, SGX_EACCEPTCOPY, TE_DATA, page, TE_DATA + 0x1000);
        assert_int_equal(te_result(&f, 0, 0), 0);
        check_leaf(&f, k, 0);
        assert_int_equal(epcm_get(f.s, page), EPCM_REG | 3);
    }
    fixture_down(&f);
    g_fixture_single_step = false;
}

/* ERESUME itself, and what follows it; then the exception stage's own way in and out. */
static void test_step_resume(void **state UNUSED)
{
    struct fixture f;
    g_fixture_single_step = true;
    fixture_up(&f, 1, true);
    te_poke(&f, te_thread(0) + TE_BLOCK + B_RESULT + 320, TE_CODE + test_fault_at[F_UD2]);
    for (uint32_t k = 1; k < 400; k += fixture_options().poison ? 7 : 1) {
        struct softsgx_run run = te_run(0, C_STATE, 0, 0, 0, 0);
        soft_self()->step_next = 0;
        te_enter(&f, &run);
        assert_int_equal(run.exit, SOFTSGX_EXCEPTION);
        struct softsgx_run nested = te_run(0, C_SSA_RIP, 2, 0, 0, 0);
        soft_self()->step_next = k; /* an interrupt here is not seen by the host */
        assert_int_equal(softsgx_enter(f.s, &nested), 0);
        assert_int_equal(nested.exit, SOFTSGX_EEXIT);
        soft_self()->step_next = k;
        assert_int_equal(softsgx_resume(f.s, &run), 0);
        finish(&f, &run);
        check_state(&f, k, 0);
    }
    fixture_down(&f);
    g_fixture_single_step = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_trap),
        cmocka_unit_test(test_step_jump),
        cmocka_unit_test(test_step_copy),
        cmocka_unit_test(test_step_resume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
