/*
 * --poison and single step: what a host, or hardware, may do at any moment and usually does not.
 * Tier: hosted, untrusted; poison_step runs in handlers.
 *
 * Poison scrambles all that EENTER does not pass (registers, vectors, x87, MXCSR, RFLAGS with AC
 * and DF set), what SYSCALL clobbers, and what an XSAVE leaves unwritten in the SSA; turns faults
 * of the page tables alone into #PF that the enclave is told of; makes every interrupt an AEX;
 * enters the exception stage once more than needed, so that EXITINFO is stale; interrupts some
 * entries some instructions in; and takes away jump exits. Page tables mean nothing anyway: only
 * the EPCM is looked at.
 *
 * Single step sets TF in EENTER or ERESUME itself and interrupts at the n-th instruction after, one
 * later with each entry. TF never shows in the enclave: SSA frames lose it, and what PUSHF stores
 * and POPF loads is corrected in memory. (Tests set step_next themselves; 0: this time not.)
 */
#include "softsgx/state.h"

#define STEPS_MAX       3000 /* single step starts over after so many */
#define POISON_STEPS    300
#define POISON_STEP_ODD 64 /* one entry in so many is stepped under poison */

#define PUSHF 0x9c
#define POPF  0x9d

uint32_t soft_random(struct soft_thread *t)
{
    uint32_t x = t->random;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return t->random = x;
}

void poison_prepare(struct softsgx *s, struct soft_thread *t)
{
    t->poison = s->options.poison ? SOFT_POISON_REGISTERS : 0;
    t->stepping = s->options.single_step && t->step_next;
    if (s->options.poison && !s->options.single_step) {
        t->stepping = soft_random(t) % POISON_STEP_ODD == 0;
        t->step_next = 1 + soft_random(t) % POISON_STEPS;
    }
    t->flags = s->options.poison ? SOFT_RFLAGS_AC | SOFT_RFLAGS_DF | 0x8d7 : 0x202;
    if (s->options.poison)
        for (size_t i = 0; i < ARRAY_SIZE(t->junk); i++)
            t->junk[i] = (uint64_t)soft_random(t) << 32 | soft_random(t);
    if (t->stepping) {
        t->poison |= SOFT_POISON_STEP;
        t->flags |= SOFT_RFLAGS_TF;
        t->steps_left = t->step_next;
        t->step_next = t->step_next % STEPS_MAX + 1;
        t->step_rip = 0;
    }
}

void poison_stop(struct soft_thread *t, greg_t *r)
{
    t->stepping = false;
    r[REG_EFL] &= ~(greg_t)SOFT_RFLAGS_TF;
}

/* Is the byte at rip in ELRANGE this opcode? */
static bool opcode_is(struct softsgx *s, uint64_t rip, uint8_t opcode)
{
    uint8_t byte;
    return rip >= SOFT_ELRANGE_START && in_elrange(s, rip, 1) &&
           enclave_peek(s, rip, &byte, 1) == 0 && byte == opcode;
}

/* Sets or clears TF in the RFLAGS image on top of the interrupted stack. */
static void change_image(struct softsgx *s, uint64_t rsp, bool set)
{
    uint64_t image;
    if (enclave_peek(s, rsp, &image, sizeof(image)) < 0)
        return;
    image = set ? image | SOFT_RFLAGS_TF : image & ~(uint64_t)SOFT_RFLAGS_TF;
    (void)!enclave_poke(s, rsp, &image, sizeof(image));
}

/* The enclave, or a sequence of entry.S that is an instruction of it? */
static bool is_stepped(const struct softsgx *s, uint64_t rip)
{
    static const struct {
        const char *begin, *end;
    } sequences[] = {
        { soft_enter_begin, soft_enter_end },
        { soft_resume_begin, soft_resume_end },
        { soft_exit_begin, soft_exit_end },
        { soft_leaf_table, soft_leaf_end },
    };
    for (size_t i = 0; i < ARRAY_SIZE(sequences); i++)
        if (rip >= (uint64_t)sequences[i].begin && rip < (uint64_t)sequences[i].end)
            return true;
    return rip < s->size;
}

bool poison_step(struct softsgx *s, struct soft_thread *t, greg_t *r)
{
    uint64_t rip = (uint64_t)r[REG_RIP];
    if (!is_stepped(s, rip)) { /* left by a jump exit */
        poison_stop(t, r);
        return false;
    }
    if (opcode_is(s, t->step_rip, PUSHF))
        change_image(s, (uint64_t)r[REG_RSP], false);
    t->step_rip = rip;
    if (t->steps_left > 0)
        t->steps_left--;
    if (t->steps_left == 0) {
        poison_stop(t, r);
        return true;
    }
    if (opcode_is(s, rip, POPF))
        change_image(s, (uint64_t)r[REG_RSP], true);
    return false;
}
