/* Vector registers and rounding mode survive signals that come at any instruction of the program.
 */
/* behave: cc -mavx -lm */
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define SIGNALS 300

static atomic_int stop, handled;
static pthread_t main_thread;

static void handler(int number)
{
    (void)number;
    __asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n\t"
                     "vpxor %%xmm8, %%xmm8, %%xmm8\n\t"
                     "vpxor %%xmm15, %%xmm15, %%xmm15\n\t"
                     "vzeroall" ::
                         : "xmm0", "xmm8", "xmm15");
    fesetround(FE_DOWNWARD);
    atomic_fetch_add(&handled, 1);
}

static void *sender(void *arg)
{
    while (!atomic_load(&stop)) {
        pthread_kill(main_thread, SIGUSR1);
        usleep(200);
    }
    return arg;
}

int main(void)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    pthread_t thread;
    long bad = 0;

    sigaction(SIGUSR1, &action, NULL);
    main_thread = pthread_self();
    pthread_create(&thread, NULL, sender, NULL);
    fesetround(FE_UPWARD);
    for (long i = 0; atomic_load(&handled) < SIGNALS; i++) {
        double in[4] = { i, i + 1, i + 2, i + 3 }, out[4];
        __asm__ volatile("vmovupd %1, %%ymm15\n\t"
                         "vmovupd %1, %%ymm0\n\t"
                         "mov $300, %%ecx\n\t"
                         "1: dec %%ecx\n\t"
                         "jnz 1b\n\t"
                         "vaddpd %%ymm0, %%ymm15, %%ymm15\n\t"
                         "vmovupd %%ymm15, %0"
                         : "=m"(out)
                         : "m"(in)
                         : "ecx", "xmm15", "xmm0");
        for (int k = 0; k < 4; k++)
            bad += out[k] != 2 * in[k];
        bad += fegetround() != FE_UPWARD;
    }
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    printf("bad: %ld\n", bad);
    return bad != 0;
}
