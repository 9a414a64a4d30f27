/* behave: cc -static-pie
 * Position-independent and static: relocates itself. */
#include <stdio.h>

static const char *const g_words[] = { "relocated", "pointers" };

int main(void)
{
    for (int i = 0; i < 2; i++)
        puts(g_words[i]);
    return 0;
}
