/* behave: cc -static -lm
 * behave: args a b
 * A static program: no interpreter, TLS and IRELATIVE relocations by itself. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

static __thread int t_value = 3;

int main(int argc, char **argv, char **envp)
{
    int count = 0;
    while (envp[count])
        count++;
    printf("%d %s %s, variables %d, HOME %d\n", argc, argv[1], argv[2], count > 0,
           getenv("HOME") != NULL);
    printf("%d %zu %.6f\n", t_value, strlen("strlen is an ifunc"), sqrt((double)argc));
    printf("page %lu, random %d, secure %lu, base %d\n", getauxval(AT_PAGESZ),
           getauxval(AT_RANDOM) != 0, getauxval(AT_SECURE), getauxval(AT_BASE) == 0);
    return 3;
}
