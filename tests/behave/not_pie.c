/* behave: cc -no-pie
 * Dynamic, loaded at 0x400000 like Debian's python3. */
#include <stdio.h>

int main(void)
{
    printf("%d\n", (unsigned long)&main < 0x10000000);
    return 0;
}
