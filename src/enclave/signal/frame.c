/*
 * The frame of a signal handler: what Linux puts on the stack, byte for byte
 * (arch/x86/kernel/signal_64.c; docs/signals.md draws it), and the way back. Tier: enclave.
 *
 * The program's vector state is live in the CPU here (the library OS uses general registers only).
 */
#include <linux/signal.h> /* before asm/ucontext.h, which wants its types */

#include <asm/errno.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>

#include "arch/string.h"
#include "mm/uaccess.h"
#include "signal/state.h"

#define RED_ZONE           128u
#define XSAVE_SIZE         2688u /* x87, SSE, AVX, AVX-512, as entry.S */
#define XSAVE_MASK         0xe7u
#define HEADER_AT          512u
#define SW_AT              464u
#define MXCSR_AT           24u
#define MXCSR_MASK_AT      28u
#define MXCSR_MASK_DEFAULT 0xffbfu

/* rflags the program may set by sigreturn (FIX_EFLAGS), and those a handler starts without. */
#define FLAGS_USER    0x50dd5u /* AC RF OF DF TF SF ZF AF PF CF */
#define FLAGS_HANDLER 0x10500u /* RF DF TF */

#define USER_CS 0x33u
#define USER_SS 0x2bu

struct rt_sigframe {
    uint64_t return_address;
    struct ucontext uc;
    uint8_t info[128];
};
static_assert(sizeof(struct rt_sigframe) == 440, "rt_sigframe");
static_assert(offsetof(struct rt_sigframe, uc.uc_mcontext) == 48, "rt_sigframe");
static_assert(sizeof(struct _fpx_sw_bytes) == 48, "fpx_sw_bytes");

/* The XSAVE image and what follows it in the frame. */
struct vectors {
    uint8_t image[XSAVE_SIZE];
    uint32_t magic2; /* right behind the image; for a smaller one it lies in image */
} ALIGNED(64);

/* --- vectors ---------------------------------------------------------------------------------- */

static uint64_t xfeatures(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo & XSAVE_MASK;
}

/* Bytes of the image: up to the end of the last component (SDM vol. 1, 13.4; AMD's are not larger).
 */
static uint32_t image_size(uint64_t features)
{
    if (features & 0xe0)
        return XSAVE_SIZE;
    return features & 4 ? 832 : 576;
}

static void vectors_save(struct vectors *v, uint64_t features)
{
    memset(v, 0, sizeof(*v));
    __asm__ volatile("xsave64 %0" : "+m"(v->image) : "a"((uint32_t)features), "d"(0) : "memory");
}

static void vectors_load(const struct vectors *v, uint64_t features)
{
    __asm__ volatile("xrstor64 %0" : : "m"(v->image), "a"((uint32_t)features), "d"(0) : "memory");
}

/* Makes an image that XRSTOR accepts of whatever it holds (SDM vol. 1, 13.8.2). valid: components
 * that count; the others become initial. */
static void vectors_make_safe(struct vectors *v, uint64_t valid)
{
    uint64_t header[8] = { 0 };
    memcpy(header, v->image + HEADER_AT, sizeof(header[0]));
    header[0] &= valid;
    memcpy(v->image + HEADER_AT, header, sizeof(header));

    /* MXCSR_MASK is what this CPU's own XSAVE wrote, not the program's word. */
    struct vectors own;
    vectors_save(&own, 3);
    uint32_t mxcsr, mask;
    memcpy(&mask, own.image + MXCSR_MASK_AT, sizeof(mask));
    memcpy(&mxcsr, v->image + MXCSR_AT, sizeof(mxcsr));
    mxcsr &= mask ? mask : MXCSR_MASK_DEFAULT;
    memcpy(v->image + MXCSR_AT, &mxcsr, sizeof(mxcsr));
}

static int vectors_push(uint64_t at, uint64_t features)
{
    struct vectors v;
    uint32_t size = image_size(features);
    struct _fpx_sw_bytes sw = {
        .magic1 = FP_XSTATE_MAGIC1,
        .extended_size = size + (uint32_t)FP_XSTATE_MAGIC2_SIZE,
        .xfeatures = features,
        .xstate_size = size,
    };
    uint32_t magic2 = FP_XSTATE_MAGIC2;

    vectors_save(&v, features);
    /* x87 and SSE count always, as on Linux: the legacy part is complete. */
    uint64_t present;
    memcpy(&present, v.image + HEADER_AT, sizeof(present));
    present |= 3;
    memcpy(v.image + HEADER_AT, &present, sizeof(present));
    memcpy(v.image + SW_AT, &sw, sizeof(sw));
    memcpy((uint8_t *)&v + size, &magic2, sizeof(magic2));
    return copy_to_user((void *)(uintptr_t)at, &v, size + sizeof(magic2));
}

static int vectors_pop(uint64_t at)
{
    struct vectors v;
    uint64_t features = xfeatures(), valid = 3;
    uint32_t size = image_size(features);
    struct _fpx_sw_bytes sw;

    memset(&v, 0, sizeof(v));
    if (!at) {
        vectors_make_safe(&v, 0);
        vectors_load(&v, features);
        return 0;
    }
    int ret = copy_from_user(&v, (const void *)(uintptr_t)at, 512);
    if (ret < 0)
        return ret;
    memcpy(&sw, v.image + SW_AT, sizeof(sw));
    /* As check_xstate_in_sigframe: the extended part counts if both magic words are there. */
    bool extended = sw.magic1 == FP_XSTATE_MAGIC1 && sw.xstate_size >= 576 &&
                    sw.xstate_size <= size && sw.extended_size >= sw.xstate_size + sizeof(uint32_t);
    if (extended) {
        uint32_t magic2;
        ret = copy_from_user((uint8_t *)&v + 512, (const void *)(uintptr_t)(at + 512),
                             sw.xstate_size + sizeof(magic2) - 512);
        if (ret < 0)
            return ret;
        memcpy(&magic2, (uint8_t *)&v + sw.xstate_size, sizeof(magic2));
        extended = magic2 == FP_XSTATE_MAGIC2;
    }
    if (extended) {
        valid = features & sw.xfeatures;
    } else {
        memset((uint8_t *)&v + 512, 0, sizeof(v) - 512);
        memcpy(v.image + HEADER_AT, &valid, sizeof(valid));
    }
    vectors_make_safe(&v, valid);
    vectors_load(&v, features);
    return 0;
}

/* --- the frame -------------------------------------------------------------------------------- */

bool signal_on_stack(const struct thread *thread, uint64_t sp)
{
    const struct thread_signal *s = &thread->signal;
    return s->stack_size && sp > s->stack_base && sp - s->stack_base <= s->stack_size;
}

uint64_t signal_frame_size(void)
{
    return RED_ZONE + image_size(xfeatures()) + sizeof(uint32_t) + 63 + sizeof(struct rt_sigframe) +
           16 + 8;
}

void signal_info_to_user(const struct signal_info *info, uint8_t ret[static 128])
{
    int32_t head[3] = { info->number, 0, info->code };
    memset(ret, 0, 128);
    memcpy(ret, head, sizeof(head));
    if (info->code == SI_KERNEL)
        return;
    if (info->code > 0 && info->number != SIGCHLD) { /* a fault, or what the program sent as one */
        memcpy(ret + 16, &info->address, sizeof(info->address));
    } else {
        memcpy(ret + 16, &info->pid, sizeof(info->pid));
        memcpy(ret + 20, &info->uid, sizeof(info->uid));
    }
    memcpy(ret + 24, &info->value, sizeof(info->value));
}

static void fill_context(struct ucontext *uc, const struct regs *regs, uint64_t mask)
{
    const struct thread *thread = current();
    const struct signal_private *private = signal_private(thread);
    uc->uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    uc->uc_stack.ss_sp = (void *)(uintptr_t)thread->signal.stack_base;
    uc->uc_stack.ss_size = thread->signal.stack_size;
    uc->uc_stack.ss_flags = (int)thread->signal.stack_flags;
    uc->uc_sigmask = mask;
    uc->uc_mcontext = (struct sigcontext){
        .r8 = regs->r8,
        .r9 = regs->r9,
        .r10 = regs->r10,
        .r11 = regs->r11,
        .r12 = regs->r12,
        .r13 = regs->r13,
        .r14 = regs->r14,
        .r15 = regs->r15,
        .rdi = regs->rdi,
        .rsi = regs->rsi,
        .rbp = regs->rbp,
        .rbx = regs->rbx,
        .rdx = regs->rdx,
        .rax = regs->rax,
        .rcx = regs->rcx,
        .rsp = regs->rsp,
        .rip = regs->rip,
        .eflags = regs->rflags,
        .cs = USER_CS,
        .ss = USER_SS,
        .err = private->fault_error,
        .trapno = private->fault_vector,
        .oldmask = mask,
        .cr2 = private->fault_address,
    };
}

bool signal_frame_push(struct regs *regs, const struct signal_info *info,
                       const struct signal_action *action, uint64_t mask)
{
    struct thread *thread = current();
    struct thread_signal *signal = &thread->signal;
    uint64_t features = xfeatures();
    uint64_t sp = regs->rsp - RED_ZONE;
    bool on_stack = signal_on_stack(thread, regs->rsp);

    if (action->flags & SA_ONSTACK && signal->stack_size &&
        (!on_stack || signal->stack_flags & SS_AUTODISARM)) {
        sp = signal->stack_base + signal->stack_size;
        on_stack = true;
    }
    uint64_t floor = on_stack ? signal->stack_base : 0;
    uint64_t total = signal_frame_size();
    if (sp < total || sp - total < floor)
        return false;

    sp = (sp - image_size(features) - sizeof(uint32_t)) & ~63ull;
    uint64_t vectors = sp;
    sp = ((sp - sizeof(struct rt_sigframe)) & ~15ull) - 8;

    struct rt_sigframe frame = { .return_address = action->restorer };
    fill_context(&frame.uc, regs, mask);
    frame.uc.uc_mcontext.fpstate = (void *)(uintptr_t)vectors;
    signal_info_to_user(info, frame.info);
    if (vectors_push(vectors, features) < 0 ||
        copy_to_user((void *)(uintptr_t)sp, &frame, sizeof(frame)) < 0)
        return false;

    if (signal->stack_flags & SS_AUTODISARM)
        signal->stack_base = signal->stack_size = signal->stack_flags = 0;
    regs->rdi = (uint64_t)info->number;
    regs->rsi = sp + offsetof(struct rt_sigframe, info);
    regs->rdx = sp + offsetof(struct rt_sigframe, uc);
    regs->rax = 0;
    regs->rsp = sp;
    regs->rip = action->handler;
    regs->rflags &= ~(uint64_t)FLAGS_HANDLER;
    regs->full = 1;
    __atomic_fetch_or(&thread->work, THREAD_WORK_FULL, __ATOMIC_SEQ_CST);
    return true;
}

int signal_frame_pop(struct regs *regs)
{
    struct thread *thread = current();
    /* The handler's `ret` has taken the return address. */
    uint64_t at = regs->rsp - sizeof(uint64_t);
    struct rt_sigframe frame;

    int ret = GET_USER(&frame, (const void *)(uintptr_t)at);
    if (ret < 0)
        return ret;
    const struct sigcontext *sc = &frame.uc.uc_mcontext;
    ret = vectors_pop((uint64_t)(uintptr_t)sc->fpstate);
    if (ret < 0)
        return ret;

    *regs = (struct regs){
        .r8 = sc->r8,
        .r9 = sc->r9,
        .r10 = sc->r10,
        .r11 = sc->r11,
        .r12 = sc->r12,
        .r13 = sc->r13,
        .r14 = sc->r14,
        .r15 = sc->r15,
        .rdi = sc->rdi,
        .rsi = sc->rsi,
        .rbp = sc->rbp,
        .rbx = sc->rbx,
        .rdx = sc->rdx,
        .rax = sc->rax,
        .rcx = sc->rcx,
        .rsp = sc->rsp,
        .rip = sc->rip,
        .rflags = (regs->rflags & ~(uint64_t)FLAGS_USER) | (sc->eflags & FLAGS_USER),
        .orig_rax = UINT64_MAX,
        .full = 1,
    };
    __atomic_fetch_or(&thread->work, THREAD_WORK_FULL, __ATOMIC_SEQ_CST);
    signal_set_mask(frame.uc.uc_sigmask);
    if (!signal_on_stack(thread, regs->rsp)) {
        uint64_t base = (uint64_t)(uintptr_t)frame.uc.uc_stack.ss_sp;
        bool off = frame.uc.uc_stack.ss_flags & SS_DISABLE;
        if (off || frame.uc.uc_stack.ss_size >= MINSIGSTKSZ) {
            thread->signal.stack_base = off ? 0 : base;
            thread->signal.stack_size = off ? 0 : frame.uc.uc_stack.ss_size;
            thread->signal.stack_flags =
                (uint32_t)frame.uc.uc_stack.ss_flags & (SS_DISABLE | SS_AUTODISARM);
        }
    }
    return 0;
}
