/* SGX2: EAUG on demand, EACCEPT, EACCEPTCOPY, EMODPE, and the driver's restrict, modify and remove;
 * each by trap and by jump. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define R    SGX_SECINFO_R
#define W    SGX_SECINFO_W
#define X    SGX_SECINFO_X
#define REG  SGX_SECINFO_REG
#define TRIM SGX_SECINFO_TRIM
#define PEND SGX_SECINFO_PENDING
#define MODI SGX_SECINFO_MODIFIED
#define PR   SGX_SECINFO_PR
#define PAGE 0x10000000ull

/* How a leaf ended: its RAX, or a fault. */
#define GP 0x100000
#define PF 0x200000

static uint64_t outcome(struct fixture *f, uint32_t leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
    struct softsgx_run run = te_run(0, C_ENCLU, leaf, rbx, rcx, rdx);
    te_enter(f, &run);
    if (run.exit == SOFTSGX_EEXIT) {
        assert_int_equal(te_result(f, 0, 2), 0);
        /* EACCEPT and EACCEPTCOPY: ZF says what RAX says, CF, PF, AF, OF, SF are clear. */
        if (leaf == SGX_EACCEPT || leaf == SGX_EACCEPTCOPY)
            assert_int_equal(te_result(f, 0, 1) & 0x8c5, te_result(f, 0, 0) ? 0x40 : 0);
        return leaf == SGX_EMODPE ? 0 : te_result(f, 0, 0);
    }
    assert_int_equal(run.exit, SOFTSGX_EXCEPTION);
    /* Give up on this leaf: behind the site, then out. */
    te_do(f, 0, C_SSA_RIP, 16, 0, 0, 0);
    uint32_t vector = run.vector;
    te_resume(f, &run);
    assert_int_equal(run.exit, SOFTSGX_EEXIT);
    return vector == SGX_VECTOR_GP ? GP : vector == SGX_VECTOR_PF ? PF : UINT64_MAX;
}

static void both_ways(void (*test)(struct fixture *f))
{
    for (int jumps = 0; jumps < 2; jumps++) {
        struct fixture f;
        fixture_up(&f, 2, jumps);
        test(&f);
        fixture_down(&f);
    }
}

/* ---- EACCEPT -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint64_t secinfo_at, page, flags;
    uint64_t want;
} accept_rows[] = {
    { "pending page, other permissions", TE_DATA, PAGE, REG | R | PEND,
      SGX_PAGE_ATTRIBUTES_MISMATCH },
    { "pending page, not said so", TE_DATA, PAGE, REG | R | W, SGX_PAGE_ATTRIBUTES_MISMATCH },
    { "PT_REG with MODIFIED", TE_DATA, PAGE, REG | R | W | MODI, GP },
    { "PT_TRIM without MODIFIED", TE_DATA, PAGE, TRIM, GP },
    { "PT_TRIM with PENDING", TE_DATA, PAGE, TRIM | MODI | PEND, GP },
    { "PT_VA", TE_DATA, PAGE, 3 << 8, GP },
    { "reserved flag", TE_DATA, PAGE, REG | R | W | PEND | 1 << 6, GP },
    { "SECINFO unaligned", TE_DATA + 8, PAGE, REG | R | W | PEND, GP },
    { "SECINFO outside", TE_SIZE, PAGE, REG | R | W | PEND, GP },
    { "SECINFO on a pending page", PAGE + 0x100000, PAGE, REG | R | W | PEND, PF },
    { "SECINFO below ELRANGE's pages", 0x40, PAGE, REG | R | W | PEND, PF },
    { "page unaligned", TE_DATA, PAGE + 8, REG | R | W | PEND, GP },
    { "page outside", TE_DATA, TE_SIZE, REG | R | W | PEND, GP },
    { "page below 64 KiB", TE_DATA, 0x1000, REG | R | W | PEND, PF },
    { "page trimmed by nobody", TE_DATA, PAGE, TRIM | MODI, SGX_PAGE_ATTRIBUTES_MISMATCH },
    { "right", TE_DATA, PAGE, REG | R | W | PEND, SGX_SUCCESS },
    { "twice", TE_DATA, PAGE, REG | R | W | PEND, SGX_PAGE_ATTRIBUTES_MISMATCH },
    { "again, without PENDING", TE_DATA, PAGE, REG | R | W, SGX_SUCCESS },
    { "a page of the build", TE_DATA, TE_DATA + 4096, REG | R | W | PEND,
      SGX_PAGE_ATTRIBUTES_MISMATCH },
};

static void accepts(struct fixture *f)
{
    for (size_t i = 0; i < ARRAY_SIZE(accept_rows); i++) {
        te_secinfo(f, accept_rows[i].flags);
        uint64_t got = outcome(f, SGX_EACCEPT, accept_rows[i].secinfo_at, accept_rows[i].page, 0);
        if (got != accept_rows[i].want)
            fail_msg("%s: got 0x%llx", accept_rows[i].name, (unsigned long long)got);
    }
    te_poke(f, TE_DATA + 56, 1); /* SECINFO's last reserved byte */
    te_secinfo(f, REG | R | W | PEND);
    assert_int_equal(outcome(f, SGX_EACCEPT, TE_DATA, PAGE + 4096, 0), GP);
    te_poke(f, TE_DATA + 56, 0);
    te_do(f, 0, C_WRITE, PAGE, 5, 0, 0);
    te_do(f, 0, C_READ, PAGE, 0, 0, 0);
    assert_int_equal(te_result(f, 0, 0), 5);
}

static void test_accept(void **state UNUSED)
{
    both_ways(accepts);
}

/* A big run: accepted page by page, touched, nothing shared or lost. */
static void accept_many(struct fixture *f)
{
    te_secinfo(f, REG | R | W | PEND);
    te_do(f, 0, C_MANY, 0, PAGE, TE_DATA, 500);
    assert_int_equal(te_result(f, 0, 0), 0);
    te_do(f, 0, C_TOUCH, PAGE, 500, 0, 0);
    for (uint64_t i = 0; i < 500; i += 99) {
        te_do(f, 0, C_READ, PAGE + i * 4096, 0, 0, 0);
        assert_int_equal(te_result(f, 0, 0), 0x5a);
    }
    te_do(f, 0, C_MANY, 0, PAGE, TE_DATA, 500);
    assert_int_equal(te_result(f, 0, 0), 500);
}

static void test_accept_many(void **state UNUSED)
{
    both_ways(accept_many);
}

/* ---- EACCEPTCOPY ---------------------------------------------------------------------------- */

#define SOURCE (TE_DATA + 0x2000)

static const struct {
    const char *name;
    uint64_t secinfo_at, page, source, flags;
    uint64_t want;
} copy_rows[] = {
    { "page unaligned", TE_DATA, PAGE + 8, SOURCE, REG | R, GP },
    { "source unaligned", TE_DATA, PAGE, SOURCE + 8, REG | R, GP },
    { "page outside", TE_DATA, TE_SIZE, SOURCE, REG | R, GP },
    { "source outside", TE_DATA, PAGE, TE_SIZE, REG | R, GP },
    { "SECINFO unaligned", TE_DATA + 1, PAGE, SOURCE, REG | R, GP },
    { "SECINFO outside", TE_SIZE + 64, PAGE, SOURCE, REG | R, GP },
    { "source pending", TE_DATA, PAGE, PAGE + 0x100000, REG | R, PF },
    { "source a TCS", TE_DATA, PAGE, TE_THREADS, REG | R, PF },
    { "PT_TCS", TE_DATA, PAGE, SOURCE, SGX_SECINFO_TCS | R, GP },
    { "W without R", TE_DATA, PAGE, SOURCE, REG | W, GP },
    { "PENDING", TE_DATA, PAGE, SOURCE, REG | R | PEND, GP },
    { "MODIFIED", TE_DATA, PAGE, SOURCE, REG | R | MODI, GP },
    { "page of the build", TE_DATA, TE_DATA + 4096, SOURCE, REG | R, SGX_PAGE_ATTRIBUTES_MISMATCH },
    { "page below 64 KiB", TE_DATA, 0xf000, SOURCE, REG | R, PF },
    { "read-only", TE_DATA, PAGE, SOURCE, REG | R, SGX_SUCCESS },
    { "twice", TE_DATA, PAGE, SOURCE, REG | R, SGX_PAGE_ATTRIBUTES_MISMATCH },
    { "executable", TE_DATA, PAGE + 4096, SOURCE, REG | R | X, SGX_SUCCESS },
    { "writable", TE_DATA, PAGE + 8192, SOURCE, REG | R | W, SGX_SUCCESS },
};

static void copy(struct fixture *f)
{
    te_poke(f, SOURCE + 16, 0xc30000002ab8); /* mov $42, %eax; ret */
    te_poke(f, SOURCE + 4088, 0x1234);
    for (size_t i = 0; i < ARRAY_SIZE(copy_rows); i++) {
        te_secinfo(f, copy_rows[i].flags);
        uint64_t got = outcome(f, SGX_EACCEPTCOPY, copy_rows[i].secinfo_at, copy_rows[i].page,
                               copy_rows[i].source);
        if (got != copy_rows[i].want)
            fail_msg("%s: got 0x%llx", copy_rows[i].name, (unsigned long long)got);
    }
    te_do(f, 0, C_READ, PAGE + 4088, 0, 0, 0);
    assert_int_equal(te_result(f, 0, 0), 0x1234);
    te_do(f, 0, C_CALL, PAGE + 4096 + 16, 0, 0, 0);
    assert_int_equal(te_result(f, 0, 0), 42);
    te_do(f, 0, C_WRITE, PAGE + 8192, 1, 0, 0);
    struct softsgx_run run = te_run(0, C_WRITE, PAGE, 1, 0, 0); /* read-only it is */
    te_enter(f, &run);
    assert_int_equal(run.exit, SOFTSGX_EXCEPTION);
    assert_int_equal(run.error_code, SGX_PFEC_P | SGX_PFEC_U | SGX_PFEC_W | SGX_PFEC_SGX);
}

static void test_copy(void **state UNUSED)
{
    both_ways(copy);
}

/* ---- EMODPE, EMODPR ------------------------------------------------------------------------- */

static bool allowed(struct fixture *f, uint64_t command, uint64_t address)
{
    struct softsgx_run run = te_run(0, command, address, 0xc3, 0, 0);
    te_enter(f, &run);
    if (run.exit == SOFTSGX_EEXIT)
        return true;
    assert_int_equal(run.vector, SGX_VECTOR_PF);
    te_do(f, 0, C_SSA_RIP, command == C_CALL ? 0 : 3, 0, 0, 0);
    if (command == C_CALL)
        return false; /* the frame stays taken: only as the last thing a test does */
    te_resume(f, &run);
    assert_int_equal(run.exit, SOFTSGX_EEXIT);
    return false;
}

static uint64_t extend(struct fixture *f, uint64_t page, uint64_t flags)
{
    te_secinfo(f, flags);
    return outcome(f, SGX_EMODPE, TE_DATA, page, 0);
}

static void permissions(struct fixture *f)
{
    uint64_t done;
    assert_int_equal(extend(f, PAGE, REG | R | X), PF); /* pending */
    assert_int_equal(te_accept(f, PAGE, REG | R | W | PEND), 0);
    assert_int_equal(extend(f, PAGE, REG | W), GP);
    assert_int_equal(extend(f, PAGE, REG | R | 1 << 7), GP);
    assert_int_equal(extend(f, PAGE + 8, REG | R), GP);
    assert_int_equal(extend(f, TE_THREADS, REG | R), PF);
    te_do(f, 0, C_WRITE, PAGE, 0xc3, 0, 0);
    assert_int_equal(extend(f, PAGE, REG | R | X), 0);
    te_do(f, 0, C_CALL, PAGE, 0, 0, 0);
    assert_true(allowed(f, C_WRITE, PAGE)); /* extended, W stays */

    /* EMODPR: R | X, then EACCEPT agrees; the effect is there before. */
    assert_int_equal(softsgx_restrict(f->s, PAGE, 1, R | X, &done), 0);
    assert_int_equal(done, 1);
    assert_false(allowed(f, C_WRITE, PAGE));
    assert_true(allowed(f, C_READ, PAGE));
    assert_int_equal(te_accept(f, PAGE, REG | R | W | PR), SGX_PAGE_ATTRIBUTES_MISMATCH);
    assert_int_equal(te_accept(f, PAGE, REG | R | X | PR), 0);
    assert_int_equal(extend(f, PAGE, REG | R | W), 0);
    assert_true(allowed(f, C_WRITE, PAGE));

    /* What the driver refuses. */
    assert_int_equal(softsgx_restrict(f->s, PAGE, 1, W, &done), -EINVAL);
    assert_int_equal(softsgx_restrict(f->s, PAGE, 1, R | 1 << 3, &done), -EINVAL);
    assert_int_equal(softsgx_restrict(f->s, PAGE + 1, 1, R, &done), -EINVAL);
    assert_int_equal(softsgx_restrict(f->s, TE_SIZE, 1, R, &done), -EINVAL);
    assert_int_equal(softsgx_restrict(f->s, TE_SIZE - 4096, 2, R, &done), -EINVAL);
    assert_int_equal(softsgx_restrict(f->s, TE_THREADS, 1, R, &done), -EINVAL);
    assert_int_equal(softsgx_restrict(f->s, PAGE + 0x200000, 1, R, &done), -EFAULT);
    assert_int_equal(softsgx_restrict(f->s, PAGE, 2, R, &done), -EFAULT); /* the second is absent */
    assert_int_equal(done, 1);
}

static void test_permissions(void **state UNUSED)
{
    both_ways(permissions);
}

/* ---- trim and remove ------------------------------------------------------------------------ */

static void trim(struct fixture *f)
{
    uint64_t done;
    assert_int_equal(te_accept(f, PAGE, REG | R | W | PEND), 0);
    te_do(f, 0, C_WRITE, PAGE, 99, 0, 0);
    assert_int_equal(softsgx_remove(f->s, PAGE, 1, &done), -EPERM); /* not trimmed */
    assert_int_equal(softsgx_modify_type(f->s, PAGE, 1, SGX_PT_REG, &done), -EINVAL);
    assert_int_equal(softsgx_modify_type(f->s, PAGE, 1, SGX_PT_TRIM, &done), 0);
    assert_int_equal(done, 1);
    assert_false(allowed(f, C_READ, PAGE));
    assert_int_equal(softsgx_remove(f->s, PAGE, 1, &done), -EPERM); /* not accepted */
    assert_int_equal(softsgx_modify_type(f->s, PAGE, 1, SGX_PT_TRIM, &done), -EINVAL);
    assert_int_equal(te_accept(f, PAGE, TRIM | MODI), 0);
    assert_int_equal(softsgx_remove(f->s, PAGE, 1, &done), 0);
    assert_int_equal(softsgx_remove(f->s, PAGE, 1, &done), -EFAULT); /* gone */
    assert_int_equal(te_accept(f, PAGE, REG | R | W | PEND), 0);     /* EAUG again */
    te_do(f, 0, C_READ, PAGE, 0, 0, 0);
    assert_int_equal(te_result(f, 0, 0), 0); /* zeros, not 99 */
}

static void test_trim(void **state UNUSED)
{
    both_ways(trim);
}

static const struct {
    const char *name;
    uint64_t at, value;
} tcs_rows[] = {
    { "STATE", offsetof(struct sgx_tcs, stage), 1 },
    { "FLAGS.DBGOPTIN", offsetof(struct sgx_tcs, flags), SGX_TCS_DBGOPTIN },
    { "FLAGS reserved", offsetof(struct sgx_tcs, flags), 1 << 5 },
    { "OSSA", offsetof(struct sgx_tcs, ossa), 8 },
    { "CSSA at NSSA", offsetof(struct sgx_tcs, cssa), (uint64_t)2 << 32 | 2 },
    { "AEP", offsetof(struct sgx_tcs, aep), 8 },
    { "OFSBASE", offsetof(struct sgx_tcs, ofs_base), 8 },
    { "OGSBASE", offsetof(struct sgx_tcs, ogs_base), 8 },
    { "reserved", offsetof(struct sgx_tcs, reserved) + 4000, 1 },
};

/* EACCEPT looks into a page that becomes a TCS. */
static void bad_tcs(struct fixture *f)
{
    uint64_t done;
    for (size_t i = 0; i < ARRAY_SIZE(tcs_rows); i++) {
        uint64_t page = PAGE + 0x40000 + i * 4096;
        assert_int_equal(te_accept(f, page, REG | R | W | PEND), 0);
        te_do(f, 0, C_WRITE, page + offsetof(struct sgx_tcs, cssa), (uint64_t)TE_NSSA << 32, 0, 0);
        te_do(f, 0, C_WRITE, page + tcs_rows[i].at, tcs_rows[i].value, 0, 0);
        assert_int_equal(softsgx_modify_type(f->s, page, 1, SGX_PT_TCS, &done), 0);
        te_secinfo(f, SGX_SECINFO_TCS | MODI);
        uint64_t got = outcome(f, SGX_EACCEPT, TE_DATA, page, 0);
        if (got != GP)
            fail_msg("%s: got 0x%llx", tcs_rows[i].name, (unsigned long long)got);
        struct softsgx_run run = te_run(1, C_NOP, 0, 0, 0, 0);
        run.tcs = page;
        assert_int_equal(softsgx_enter(f->s, &run), -EINVAL);
    }
}

static void test_bad_tcs(void **state UNUSED)
{
    both_ways(bad_tcs);
}

/* A regular page becomes a TCS; then it is entered. */
static void new_tcs(struct fixture *f)
{
    uint64_t done, at = te_thread(1);
    assert_int_equal(te_accept(f, PAGE, REG | R | W | PEND), 0);
    te_do(f, 0, C_WRITE, PAGE + offsetof(struct sgx_tcs, ossa), at + TE_SSA, 0, 0);
    te_do(f, 0, C_WRITE, PAGE + offsetof(struct sgx_tcs, oentry), TE_CODE, 0, 0);
    te_do(f, 0, C_WRITE, PAGE + offsetof(struct sgx_tcs, ofs_base), at + TE_BLOCK, 0, 0);
    te_do(f, 0, C_WRITE, PAGE + offsetof(struct sgx_tcs, ogs_base), at + TE_BLOCK, 0, 0);
    te_do(f, 0, C_WRITE, PAGE + offsetof(struct sgx_tcs, cssa), (uint64_t)TE_NSSA << 32, 0, 0);
    assert_int_equal(softsgx_modify_type(f->s, PAGE, 1, SGX_PT_TCS, &done), 0);
    struct softsgx_run run = te_run(1, C_FSGS, 0, 0, 0, 0);
    run.tcs = PAGE;
    assert_int_equal(softsgx_enter(f->s, &run), -EINVAL); /* still MODIFIED */
    assert_int_equal(te_accept(f, PAGE, SGX_SECINFO_TCS | MODI), 0);
    te_enter(f, &run);
    assert_int_equal(run.exit, SOFTSGX_EEXIT);
    assert_int_equal(te_result(f, 1, 1), at + TE_BLOCK);
    assert_int_equal(softsgx_modify_type(f->s, PAGE, 1, SGX_PT_TRIM, &done), 0);
    assert_int_equal(softsgx_enter(f->s, &run), -EINVAL);
}

static void test_new_tcs(void **state UNUSED)
{
    both_ways(new_tcs);
}

/* A kernel that forbids forced writes through /proc/self/mem. */
static void test_no_force(void **state UNUSED)
{
    for (int jumps = 0; jumps < 2; jumps++) {
        struct fixture f;
        fixture_up(&f, 2, jumps);
        int kept = f.s->mem_fd;
        f.s->mem_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int uffd = f.s->uffd;
        f.s->uffd = -1;
        accepts(&f);
        te_poke(&f, SOURCE + 4088, 0x4321);
        te_secinfo(&f, REG | R);
        assert_int_equal(te_enclu(&f, SGX_EACCEPTCOPY, TE_DATA, PAGE + 0x5000, SOURCE), 0);
        te_do(&f, 0, C_READ, PAGE + 0x5000 + 4088, 0, 0, 0);
        assert_int_equal(te_result(&f, 0, 0), 0x4321);
        assert_false(allowed(&f, C_WRITE, PAGE + 0x5000)); /* closed again */
        close(f.s->mem_fd);
        f.s->mem_fd = kept;
        f.s->uffd = uffd;
        fixture_down(&f);
    }
}

/* More pages than the stage holds, in runs and alone; from a page that is itself in it; into one
 * that is there already for the kernel; and pages that go before they are looked at. */
static void test_stage(void **state UNUSED)
{
    enum { COUNT = 3 * SOFT_STAGE_PAGES + 5 };
    for (int with = 0; with < 2; with++) {
        struct fixture f;
        uint64_t done, base = PAGE + 0x100000;
        fixture_up(&f, 2, true);
        int uffd = f.s->uffd;
        if (!with)
            f.s->uffd = -1;
        else if (uffd < 0)
            fprintf(stderr, "no userfaultfd here: not tried\n");
        te_secinfo(&f, REG | R);
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t page = base + (i + i / 7) * SGX_PAGE_SIZE;
            te_poke(&f, SOURCE + 4088, 0x1000 + i);
            assert_int_equal(te_enclu(&f, SGX_EACCEPTCOPY, TE_DATA, page, SOURCE), 0);
            assert_int_equal(te_enclu(&f, SGX_EACCEPTCOPY, TE_DATA, page, SOURCE),
                             SGX_PAGE_ATTRIBUTES_MISMATCH);
        }
        assert_true(g_soft_stage_count <= SOFT_STAGE_PAGES);
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t page = base + (i + i / 7) * SGX_PAGE_SIZE;
            te_do(&f, 0, C_READ, page + 4088, 0, 0, 0);
            assert_int_equal(te_result(&f, 0, 0), 0x1000 + i);
            assert_false(allowed(&f, C_WRITE, page));
        }
        assert_false(allowed(&f, C_READ, base + 7 * SGX_PAGE_SIZE));

        uint64_t chain = PAGE + 0x300000;
        assert_int_equal(te_enclu(&f, SGX_EACCEPTCOPY, TE_DATA, chain, SOURCE), 0);
        assert_int_equal(te_enclu(&f, SGX_EACCEPTCOPY, TE_DATA, chain + SGX_PAGE_SIZE, chain), 0);
        te_do(&f, 0, C_READ, chain + SGX_PAGE_SIZE + 4088, 0, 0, 0);
        assert_int_equal(te_result(&f, 0, 0), 0x1000 + COUNT - 1);

        /* The kernel has a page there; the stage's bytes are what counts. */
        uint64_t there = PAGE + 0x310000;
        assert_int_equal(enclave_poke(f.s, there + 8, "left over", 9), 0);
        assert_int_equal(te_enclu(&f, SGX_EACCEPTCOPY, TE_DATA, there, SOURCE), 0);
        te_do(&f, 0, C_READ, there + 8, 0, 0, 0);
        assert_int_equal(te_result(&f, 0, 0), 0);

        uint64_t gone = PAGE + 0x320000;
        assert_int_equal(te_enclu(&f, SGX_EACCEPTCOPY, TE_DATA, gone, SOURCE), 0);
        assert_int_equal(softsgx_modify_type(f.s, gone, 1, SGX_PT_TRIM, &done), 0);
        assert_int_equal(te_accept(&f, gone, SGX_SECINFO_TRIM | MODI), 0);
        assert_int_equal(softsgx_remove(f.s, gone, 1, &done), 0);
        assert_int_equal(te_accept(&f, gone, REG | R | W | PEND), 0);
        te_do(&f, 0, C_READ, gone + 4088, 0, 0, 0);
        assert_int_equal(te_result(&f, 0, 0), 0);
        f.s->uffd = uffd;
        fixture_down(&f);
    }
}

/* A forked child has no enclave. */
static void test_fork(void **state UNUSED)
{
    struct fixture f;
    int status;
    fixture_up(&f, 1, true);
    pid_t pid = fork();
    if (pid == 0) {
        struct softsgx_run run = te_run(0, C_NOP, 0, 0, 0, 0);
        _exit(softsgx_enter(f.s, &run) == 0 && run.exit == SOFTSGX_LOST &&
                      softsgx_resume(f.s, &run) == 0 && run.exit == SOFTSGX_LOST
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    te_do(&f, 0, C_NOP, 0, 0, 0, 0);
    fixture_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),   cmocka_unit_test(test_accept_many),
        cmocka_unit_test(test_copy),     cmocka_unit_test(test_permissions),
        cmocka_unit_test(test_trim),     cmocka_unit_test(test_new_tcs),
        cmocka_unit_test(test_no_force), cmocka_unit_test(test_fork),
        cmocka_unit_test(test_bad_tcs),  cmocka_unit_test(test_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
