/* abort(): 128 + 6, also with SIGABRT blocked and handled by a handler that returns. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void on_abort(int number)
{
    char text[] = "handler \n";
    text[7] = (char)('0' + number);
    if (write(1, text, sizeof(text) - 1) < 0)
        _exit(9);
}

int main(void)
{
    signal(SIGABRT, on_abort);
    puts("before");
    fflush(stdout);
    abort();
}
