/* behave: cc -lm */
/* A new thread inherits rounding mode and exception masks (C11 7.26.5.1, clone(2)). */
#include <fenv.h>
#include <pthread.h>
#include <stdio.h>

static void *show(void *arg)
{
    volatile double one = 1.0, three = 3.0;
    printf("%s: rounding %d, 1/3 = %.20f, long double 1/3 = %.22Lf, flags %d\n", (const char *)arg,
           fegetround(), one / three, (long double)one / three, fetestexcept(FE_DIVBYZERO));
    return NULL;
}

int main(void)
{
    static const int modes[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        pthread_t thread;
        fesetround(modes[i]);
        feraiseexcept(FE_DIVBYZERO);
        pthread_create(&thread, NULL, show, "thread");
        pthread_join(thread, NULL);
        show("main");
        feclearexcept(FE_ALL_EXCEPT);
    }
    return 0;
}
