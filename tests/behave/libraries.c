/* behave: cc -ldl -lm
 * dlopen at run time, symbols, errors, constructors and their order. */
#include <dlfcn.h>
#include <stdio.h>

__attribute__((constructor)) static void first(void)
{
    puts("constructor");
}
__attribute__((destructor)) static void last(void)
{
    puts("destructor");
}

int main(void)
{
    void *library = dlopen("libz.so.1", RTLD_NOW);
    const char *(*version)(void) = (const char *(*)(void))dlsym(library, "zlibVersion");
    printf("%d %c\n", library != NULL, version()[0]);
    printf("%d\n", dlclose(library));
    printf("%d %d\n", dlopen("libnot-there.so", RTLD_NOW) == NULL, dlerror() != NULL);
    double (*cosine)(double) = (double (*)(double))dlsym(dlopen("libm.so.6", RTLD_LAZY), "cos");
    printf("%.3f\n", cosine(1));
    return 0;
}
