/* Stage 1 writes registers to the thread's own runtime stack and nowhere else (arch/exception.c).
 */
#include <asm/prctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "arch/cpuid.h"
#include "arch/exception.h"
#include "arch/thread.h"
#include "border/border.h"
#include "mm/mm.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/signal.h"
#include "thread/threads.h"

/* What entry.S, the linker script and the rest of the library OS give. The image ends where this
 * lies, so everything from LAYOUT_IMAGE on is library OS code but for the ranges. */
char g_image_end[1];
extern char sysret_window[], sysret_window_end[], restore_window[], restore_window_end[];
extern char user_code[], user_code_end[], user_fault[];
char sysret_window[8], sysret_window_end[1], restore_window[8], restore_window_end[1];
char user_code[8], user_code_end[1], user_fault[1];
void fault_entry(void);
void fault_entry(void)
{
}
void sys_entry(void)
{
}
void cpuid_answer(struct sgx_gprsgx *gpr)
{
    (void)gpr;
}
enum mm_fault mm_fault(uint64_t address, uint64_t error)
{
    return address + error ? MM_FAULT_BUS : MM_FAULT_DONE;
}
void signal_force(struct thread *thread, const struct signal_info *info)
{
    (void)thread, (void)info;
}
void signal_collect_host(void)
{
}
void signal_deliver(struct regs *regs)
{
    (void)regs;
}
void log_error(const char *format, ...)
{
    (void)format;
}
bool user_range_ok(const void *user, uint64_t size)
{
    return user && size;
}
void process_killed(int number)
{
    (void)number;
    abort();
}
void thread_exit(int status)
{
    (void)status;
    abort();
}
void panic(const char *format, ...)
{
    (void)format;
    abort();
}

#define AREA   LAYOUT_THREAD_STRIDE
#define VICTIM (16 * LAYOUT_PAGE) /* memory of somebody else */

static uint8_t *g_area, *g_victim;

static int setup(void **state)
{
    (void)state;
    g_area = mmap(NULL, AREA + VICTIM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_victim = g_area + AREA;
    return g_area == MAP_FAILED ||
           syscall(SYS_arch_prctl, ARCH_SET_GS, g_area + LAYOUT_THREAD_BLOCK) != 0;
}

#define STACK_TOP (LAYOUT_THREAD_STACK + LAYOUT_THREAD_STACK_PAGES * LAYOUT_PAGE)
#define LIBRARY   LAYOUT_IMAGE
#define PROGRAM   0x400000ull

static const struct {
    const char *name;
    uint64_t state, rip;
    uint64_t rsp; /* from the area's start */
    uint32_t vector;
    uint64_t highest; /* the frame ends here or up to 256 bytes lower; 0: it goes on where it was */
} rows[] = {
    { "library code on its stack", THREAD_STATE_RUNNING, LIBRARY, STACK_TOP - 4096, SGX_VECTOR_UD,
      STACK_TOP - 4096 },
    { "library code, made-up page faults", THREAD_STATE_RUNNING, LIBRARY, STACK_TOP - 4096,
      SGX_VECTOR_PF, STACK_TOP - 4096 },
    { "an entry with the host's rsp, never started", THREAD_STATE_NEW, LIBRARY, AREA + 0x8000,
      SGX_VECTOR_PF, 0 },
    { "an entry while the area is filled", THREAD_STATE_FILLED, LIBRARY, STACK_TOP - 64,
      SGX_VECTOR_PF, 0 },
    { "an entry with the host's rsp, dead", THREAD_STATE_DEAD, LIBRARY, AREA + 0x8000,
      SGX_VECTOR_UD, STACK_TOP },
    { "an OCALL's way out or back", THREAD_STATE_OCALL, LIBRARY, AREA + 0x8000, SGX_VECTOR_PF,
      STACK_TOP - 8192 },
    { "an OCALL, the host's rsp among what is waited for", THREAD_STATE_OCALL, LIBRARY,
      STACK_TOP - 64, SGX_VECTOR_PF, STACK_TOP - 8192 },
    { "never started, the host's rsp low on the stack", THREAD_STATE_NEW, LIBRARY,
      LAYOUT_THREAD_STACK + 8, SGX_VECTOR_PF, 0 },
    { "the program's rsp, at a stub", THREAD_STATE_RUNNING, LAYOUT_STUBS, AREA + 0x8000,
      SGX_VECTOR_PF, STACK_TOP },
    { "the thread's own block", THREAD_STATE_OCALL, LIBRARY, LAYOUT_THREAD_BLOCK + 4096,
      SGX_VECTOR_PF, STACK_TOP - 8192 },
    { "one byte above the stack", THREAD_STATE_RUNNING, LIBRARY, STACK_TOP + 1, SGX_VECTOR_PF,
      STACK_TOP },
    { "the program", THREAD_STATE_RUNNING, PROGRAM, AREA + 0x8000, SGX_VECTOR_PF, STACK_TOP },
};

static void test_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(g_area, 0, AREA);
        memset(g_victim, 0x5a, VICTIM);
        struct thread *thread = (struct thread *)(void *)(g_area + LAYOUT_THREAD_BLOCK);
        struct sgx_gprsgx *gpr =
            (struct sgx_gprsgx *)(void *)(g_area + LAYOUT_THREAD_SSA + 4 * LAYOUT_PAGE) - 1;
        thread->self = (uint64_t)thread;
        thread->state = rows[i].state;
        if (rows[i].state != THREAD_STATE_NEW)
            thread->stack_top = (uint64_t)g_area + STACK_TOP;
        thread->ocall_rsp = (uint64_t)g_area + STACK_TOP - 8192;
        gpr->rip = rows[i].rip;
        gpr->rsp = (uint64_t)g_area + rows[i].rsp;
        for (int n = 0; n < 1100 && gpr->rip == rows[i].rip; n++) {
            gpr->exit_info = SGX_EXIT_VALID | rows[i].vector;
            exception_stage1();
        }
        bool moved = rows[i].highest != 0;
        if (gpr->rip != (moved ? (uint64_t)fault_entry : rows[i].rip) ||
            thread->state != (moved ? THREAD_STATE_RUNNING : rows[i].state))
            fail_msg("%s: goes on at %lx", rows[i].name, (unsigned long)gpr->rip);
        uint64_t end = gpr->rdi - (uint64_t)g_area + sizeof(struct fault_frame);
        if (moved && (end > rows[i].highest || end + 256 < rows[i].highest))
            fail_msg("%s: the frame ends at %lx of the area", rows[i].name, (unsigned long)end);
        for (size_t k = 0; k < VICTIM; k++)
            if (g_victim[k] != 0x5a)
                fail_msg("%s: writes elsewhere", rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_frames) };
    return cmocka_run_group_tests_name("exception", tests, setup, NULL);
}
