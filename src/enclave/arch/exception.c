#include "arch/exception.h"

#include "abi/layout.h"
#include "abi/sgx.h"
#include "arch/cpuid.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "mm/mm.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/signal.h"
#include "thread/threads.h"

#include <asm-generic/siginfo.h>
#include <asm/signal.h>

/* entry.S has these as numbers. */
static_assert(LAYOUT_THREAD_STACK + LAYOUT_THREAD_STACK_PAGES * LAYOUT_PAGE - LAYOUT_THREAD_BLOCK ==
                  0x16000,
              "runtime stack top");
static_assert(LAYOUT_THREAD_EXC_STACK + LAYOUT_THREAD_EXC_PAGES * LAYOUT_PAGE -
                      LAYOUT_THREAD_BLOCK ==
                  0x4000,
              "exception stack top");

#define FRAME_SIZE ((SGX_PAGE_SIZE)*4)
#define RED_ZONE   128

/* Flags the program may have: arithmetic, DF, AC, ID; never TF (the CPU would trap our own exit). */
#define FLAGS_PROGRAM 0x244cd5ull
#define FLAGS_FIXED   0x202ull

extern const char g_image_end[];
extern const char sysret_window[], sysret_window_end[], restore_window[], restore_window_end[];
extern const char user_code[], user_code_end[], user_fault[];
extern const char fault_entry[];

static bool within(uint64_t rip, const char *start, const char *end)
{
    return rip >= (uint64_t)start && rip < (uint64_t)end;
}

bool in_library_os(uint64_t rip)
{
    return (rip >= LAYOUT_IMAGE && rip < (uint64_t)g_image_end) || in_stub(rip);
}

static struct sgx_gprsgx *ssa_gpr(const struct thread *thread)
{
    uint64_t frame = thread->self - LAYOUT_THREAD_BLOCK + LAYOUT_THREAD_SSA;
    return (struct sgx_gprsgx *)(frame + FRAME_SIZE - sizeof(struct sgx_gprsgx));
}

static const struct sgx_exinfo *ssa_exinfo(const struct sgx_gprsgx *gpr)
{
    return (const struct sgx_exinfo *)gpr - 1;
}

/*
 * Where the registers of what was interrupted go. On the way in and out library OS code runs on the host's
 * or the program's rsp, and the host can have each of those instructions fault as often as it likes: so
 * rsp counts only where it is ours and on the thread's own runtime stack. What ocall_leave left there
 * stays, other threads wait for objects in it; in all other cases the stack is empty.
 */
static uint64_t frame_base(const struct thread *thread, const struct sgx_gprsgx *gpr)
{
    uint64_t bottom = thread->self - LAYOUT_THREAD_BLOCK + LAYOUT_THREAD_STACK;
    uint64_t top = bottom + LAYOUT_THREAD_STACK_PAGES * LAYOUT_PAGE;
    if (thread->state == THREAD_STATE_OCALL)
        return thread->ocall_rsp;
    if (thread->state != THREAD_STATE_RUNNING || !in_library_os(gpr->rip))
        return top;
    return gpr->rsp > bottom && gpr->rsp <= top ? gpr->rsp - RED_ZONE : top;
}

/* Copies the interrupted registers to the runtime stack and sends the thread to fault_entry. */
static void redirect(struct thread *thread, struct sgx_gprsgx *gpr, uint64_t vector,
                     uint64_t address, uint64_t error_code)
{
    struct fault_frame *frame =
        (struct fault_frame *)((frame_base(thread, gpr) - sizeof(struct fault_frame)) & ~15ull);
    struct regs *r = &frame->regs;
    thread->state = THREAD_STATE_RUNNING; /* fault_entry does, whoever was on the way in or out */
    r->r15 = gpr->r15;
    r->r14 = gpr->r14;
    r->r13 = gpr->r13;
    r->r12 = gpr->r12;
    r->rbp = gpr->rbp;
    r->rbx = gpr->rbx;
    r->r11 = gpr->r11;
    r->r10 = gpr->r10;
    r->r9 = gpr->r9;
    r->r8 = gpr->r8;
    r->rax = gpr->rax;
    r->rcx = gpr->rcx;
    r->rdx = gpr->rdx;
    r->rsi = gpr->rsi;
    r->rdi = gpr->rdi;
    r->orig_rax = UINT64_MAX;
    r->rip = gpr->rip;
    r->rflags = (gpr->rflags & FLAGS_PROGRAM) | FLAGS_FIXED;
    r->rsp = gpr->rsp;
    r->full = 1;
    frame->vector = vector;
    frame->address = address;
    frame->error_code = error_code;
    gpr->rdi = (uint64_t)frame;
    gpr->rsp = (uint64_t)frame;
    gpr->rip = (uint64_t)fault_entry;
    gpr->rflags = FLAGS_FIXED;
}

static void interrupt(struct thread *thread, struct sgx_gprsgx *gpr)
{
    __atomic_or_fetch(&thread->work, THREAD_WORK_SIGNAL, __ATOMIC_RELAXED);
    if (within(gpr->rip, sysret_window, sysret_window_end)) {
        gpr->rip = (uint64_t)sysret_window;
        return;
    }
    if (within(gpr->rip, restore_window, restore_window_end)) {
        gpr->rip = (uint64_t)restore_window;
        gpr->rflags = FLAGS_FIXED;
        return;
    }
    if (!in_library_os(gpr->rip))
        redirect(thread, gpr, FAULT_INTERRUPT, 0, 0);
}

/* #UD in program code: what an enclave may not execute and we answer for. */
static bool undefined(struct thread *thread, struct sgx_gprsgx *gpr)
{
    /* The CPU has just fetched these bytes, so they are there; another thread may have unmapped them
     * since, then the access faults at CSSA 1 and the thread is lost: its program's own doing. */
    const uint8_t *code = (const uint8_t *)gpr->rip;
    if (code[0] != 0x0f)
        return false;
    if (code[1] == 0x05) {
        thread->trapped = gpr->rip;
        thread->trap_count++;
        gpr->rcx = gpr->rip + 2;
        gpr->r11 = gpr->rflags;
        gpr->rip = (uint64_t)sys_entry;
        return true;
    }
    if (code[1] == 0xa2) {
        cpuid_answer(gpr);
        gpr->rip += 2;
        return true;
    }
    return false;
}

void exception_stage1(void)
{
    struct thread *thread = current();
    struct sgx_gprsgx *gpr = ssa_gpr(thread);
    uint32_t info = gpr->exit_info;
    gpr->exit_info = 0;
    if (!(info & SGX_EXIT_VALID)) {
        interrupt(thread, gpr);
        return;
    }
    /* Nobody is here yet: the first instructions of an entry, which fault by the host's doing only. */
    if (thread->state == THREAD_STATE_NEW || thread->state == THREAD_STATE_FILLED)
        return;

    uint32_t vector = info & SGX_EXIT_VECTOR_MASK;
    bool ours = in_library_os(gpr->rip) && !in_stub(gpr->rip);
    if (vector == SGX_VECTOR_PF) {
        uint64_t address = ssa_exinfo(gpr)->maddr;
        uint32_t error = ssa_exinfo(gpr)->errcd;
        if (!ours || within(gpr->rip, user_code, user_code_end)) {
            redirect(thread, gpr, vector, address, error);
            return;
        }
        /* Library OS code never touches a page that is not there: a record without a cause (the host's
         * doing, or the mode that plays it) is resumed; a real one comes again and again. */
        if (thread->scratch_fault == gpr->rip && ++thread->scratch_fault_count > 1000) {
            redirect(thread, gpr, vector, address, error);
            return;
        }
        if (thread->scratch_fault != gpr->rip) {
            thread->scratch_fault = gpr->rip;
            thread->scratch_fault_count = 0;
        }
        return;
    }
    if (!ours && vector == SGX_VECTOR_UD && undefined(thread, gpr))
        return;
    redirect(thread, gpr, vector, 0, 0);
}

static void force(int number, int code, uint64_t address, const struct fault_frame *frame)
{
    struct signal_info info = {
        .number = number,
        .code = code,
        .address = address,
        .vector = frame->vector,
        .error_code = frame->error_code,
    };
    signal_force(current(), &info);
}

static void page_fault(struct fault_frame *frame)
{
    switch (mm_fault(frame->address, frame->error_code)) {
    case MM_FAULT_DONE: return;
    case MM_FAULT_SEGV_MAPERR: force(SIGSEGV, SEGV_MAPERR, frame->address, frame); return;
    case MM_FAULT_SEGV_ACCERR: force(SIGSEGV, SEGV_ACCERR, frame->address, frame); return;
    case MM_FAULT_BUS: force(SIGBUS, BUS_ADRERR, frame->address, frame); return;
    case MM_FAULT_NOMEM:
        log_error("out of enclave memory at a page fault; --heap raises the limit (now %lu MiB)",
                  PARAMS->heap_size >> 20);
        process_killed(SIGKILL);
    }
}

bool fault_main(struct fault_frame *frame)
{
    struct thread *thread = current();
    thread->fault_count++;
    uint64_t rip = frame->regs.rip;
    if (in_library_os(rip) && !in_stub(rip)) { /* a stub's may read the program's stack */
        if (frame->vector != SGX_VECTOR_PF || !within(rip, user_code, user_code_end))
            panic("library OS fault: vector %lu at %lx, address %lx, rsp %lx", frame->vector, rip,
                  frame->address, frame->regs.rsp);
        if (!user_range_ok((const void *)frame->address, 1) ||
            mm_fault(frame->address, frame->error_code) != MM_FAULT_DONE) {
            frame->regs.rip = (uint64_t)user_fault;
        }
        return true;
    }
    switch (frame->vector) {
    case FAULT_INTERRUPT: signal_collect_host(); break;
    case SGX_VECTOR_PF: page_fault(frame); break;
    case SGX_VECTOR_UD: force(SIGILL, ILL_ILLOPN, rip, frame); break;
    case SGX_VECTOR_DE: force(SIGFPE, FPE_INTDIV, rip, frame); break;
    case SGX_VECTOR_MF:
    case SGX_VECTOR_XM: force(SIGFPE, FPE_FLTINV, rip, frame); break;
    case SGX_VECTOR_BP: force(SIGTRAP, SI_KERNEL, 0, frame); break;
    case SGX_VECTOR_DB: force(SIGTRAP, TRAP_TRACE, rip, frame); break;
    case SGX_VECTOR_AC: force(SIGBUS, BUS_ADRALN, 0, frame); break;
    default: force(SIGSEGV, SI_KERNEL, 0, frame); break;
    }
    return false;
}

bool return_work(struct regs *regs)
{
    struct thread *thread = current();
    for (;;) {
        uint64_t work = __atomic_load_n(&thread->work, __ATOMIC_ACQUIRE);
        if (work & THREAD_WORK_EXIT)
            thread_exit(0);
        if (!(work & THREAD_WORK_SIGNAL))
            break;
        __atomic_and_fetch(&thread->work, ~(uint64_t)THREAD_WORK_SIGNAL, __ATOMIC_ACQ_REL);
        signal_collect_host();
        signal_deliver(regs);
    }
    /* Also without a signal: TF would trap in our own way out. */
    regs->rflags = (regs->rflags & FLAGS_PROGRAM) | FLAGS_FIXED;
    if (thread->work & THREAD_WORK_FULL)
        regs->full = 1;
    return regs->full != 0;
}

/* The compiler's call when a canary is gone. */
NORETURN void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
    panic("the library OS overran its stack");
}
