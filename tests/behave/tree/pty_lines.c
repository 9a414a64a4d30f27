/* What the line discipline makes of typed bytes, mode by mode: what is read, what is echoed. */
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "twice.h"

static int g_master, g_slave;

static void show(const char *name, const char *bytes, ssize_t size)
{
    printf("%s \"", name);
    for (ssize_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c >= ' ' && c < 127 && c != '\\')
            putchar(c);
        else
            printf("\\%03o", c);
    }
    printf("\"\n");
}

/* All that the master has got, up to a mark that the program's end writes now. */
static void show_echo(const char *name)
{
    static char buf[65536];
    ssize_t size = 0;
    if (write(g_slave, "#", 1) != 1)
        abort();
    do {
        ssize_t n = read(g_master, buf + size, sizeof(buf) - (size_t)size);
        if (n <= 0)
            abort();
        size += n;
    } while (buf[size - 1] != '#');
    show(name, buf, size - 1);
}

/* Reads until Z or 9 has come. */
static void show_input(size_t room)
{
    char buf[5000];
    ssize_t n;
    do {
        n = read(g_slave, buf, room);
        show("  read", buf, n);
    } while (n <= 0 || !(memchr(buf, 'Z', (size_t)n) || memchr(buf, '9', (size_t)n)));
}

static const struct row {
    const char *name;
    tcflag_t i_set, i_clear, o_set, o_clear, l_set, l_clear;
    const char *typed;
    int size; /* 0: strlen */
    int room; /* of reads; 0: much */
} rows[] = {
    { "plain", 0, 0, 0, 0, 0, 0, "abZ\n", 0, 0 },
    { "pieces", 0, 0, 0, 0, 0, 0, "abcdefghZ\n", 0, 4 },
    { "carriage return", 0, 0, 0, 0, 0, 0, "abZ\r", 0, 0 },
    { "no ICRNL", 0, ICRNL, 0, 0, 0, 0, "a\rbZ\n", 0, 0 },
    { "IGNCR", IGNCR, 0, 0, 0, 0, 0, "a\rbZ\n", 0, 0 },
    { "INLCR, raw", INLCR, ICRNL, 0, 0, 0, ICANON, "a\nbZ", 0, 0 },
    { "ISTRIP", ISTRIP, 0, 0, 0, 0, 0, "\xe1\xe2Z\n", 0, 0 },
    { "IUCLC", IUCLC, 0, 0, 0, 0, 0, "ABC9\n", 0, 0 },
    { "no ECHO", 0, 0, 0, 0, 0, ECHO, "abc\177Z\n", 0, 0 },
    { "ECHONL", 0, 0, 0, 0, ECHONL, ECHO, "abZ\n", 0, 0 },
    { "no OPOST", 0, 0, 0, OPOST, 0, 0, "abZ\n", 0, 0 },
    { "no ONLCR", 0, 0, 0, ONLCR, 0, 0, "a\nbZ\n", 0, 0 },
    { "OCRNL", 0, ICRNL, OCRNL, 0, 0, 0, "a\rbZ\n", 0, 0 },
    { "ONLRET", 0, 0, ONLRET, ONLCR, 0, 0, "a\nb\tZ\n", 0, 0 },
    { "OLCUC", 0, 0, OLCUC, 0, 0, 0, "abZ\n", 0, 0 },
    { "XTABS", 0, 0, XTABS, 0, 0, 0, "a\tb\tZ\n", 0, 0 },
    { "controls", 0, 0, 0, 0, 0, 0, "a\001\002\033Z\n", 0, 0 },
    { "no ECHOCTL", 0, 0, 0, 0, 0, ECHOCTL, "a\001\002\033Z\n", 0, 0 },
    { "nul", 0, 0, 0, 0, 0, 0, "a\0bZ\n", 5, 0 },
    { "erase", 0, 0, 0, 0, 0, 0, "abc\177\177xZ\n", 0, 0 },
    { "erase too much", 0, 0, 0, 0, 0, 0, "a\177\177\177Z\n", 0, 0 },
    { "erase a control", 0, 0, 0, 0, 0, 0, "a\001\177Z\n", 0, 0 },
    { "erase a tab", 0, 0, 0, 0, 0, 0, "ab\t\177Z\n", 0, 0 },
    { "erase the second tab", 0, 0, 0, 0, 0, 0, "ab\tcde\t\177Z\n", 0, 0 },
    { "erase a tab behind a control", 0, 0, 0, 0, 0, 0, "a\001\t\177Z\n", 0, 0 },
    { "erase without ECHOE", 0, 0, 0, 0, 0, ECHOE, "ab\177Z\n", 0, 0 },
    { "ECHOPRT", 0, 0, 0, 0, ECHOPRT, 0, "abc\177\177dZ\n", 0, 0 },
    { "ECHOPRT to the start", 0, 0, 0, 0, ECHOPRT, 0, "ab\177\177Z\n", 0, 0 },
    { "UTF-8", IUTF8, 0, 0, 0, 0, 0, "a\xc3\xa4\xe2\x82\xac\177\177Z\n", 0, 0 },
    { "UTF-8 without IUTF8", 0, IUTF8, 0, 0, 0, 0, "a\xc3\xa4\177Z\n", 0, 0 },
    { "word", 0, 0, 0, 0, 0, 0, "one two_3 .. \027Z\n", 0, 0 },
    { "word, twice", 0, 0, 0, 0, 0, 0, "one two\027\027Z\n", 0, 0 },
    { "word without IEXTEN", 0, 0, 0, 0, 0, IEXTEN, "one\027Z\n", 0, 0 },
    { "kill", 0, 0, 0, 0, 0, 0, "one two\025Z\n", 0, 0 },
    { "kill without ECHOKE", 0, 0, 0, 0, 0, ECHOKE, "one two\025Z\n", 0, 0 },
    { "kill without ECHOK", 0, 0, 0, 0, 0, ECHOK | ECHOKE, "one two\025Z\n", 0, 0 },
    { "reprint", 0, 0, 0, 0, 0, 0, "ab\001\022Z\n", 0, 0 },
    { "literal", 0, 0, 0, 0, 0, 0, "a\026\177\026\026\026\003Z\n", 0, 0 },
    { "end of file", 0, 0, 0, 0, 0, 0, "\004a\004\004Z\n", 0, 0 },
    { "end of file behind a full buffer", 0, 0, 0, 0, 0, 0, "abcd\004Z\n", 0, 4 },
    { "end of file, literal", 0, 0, 0, 0, 0, 0, "a\026\004Z\n", 0, 0 },
    { "flow control", 0, 0, 0, 0, 0, 0, "a\023\021Z\n", 0, 0 },
    { "no IXON", 0, IXON, 0, 0, 0, 0, "a\023\021Z\n", 0, 0 },
    { "IXANY", IXANY, 0, 0, 0, 0, 0, "a\023bZ\n", 0, 0 },
    { "no ISIG", 0, 0, 0, 0, 0, ISIG, "a\003\034\032Z\n", 0, 0 },
    { "ISIG drops", 0, 0, 0, 0, 0, 0, "lost\nalso\003Z\n", 0, 0 },
    { "ISIG, NOFLSH", 0, 0, 0, 0, NOFLSH, 0, "kept\nalso\003Z\n", 0, 0 },
    { "PARMRK", PARMRK, 0, 0, 0, 0, 0, "a\377Z\n", 0, 0 },
    { "not canonical", 0, 0, 0, 0, 0, ICANON, "a\004\177\r\nZ", 0, 0 },
    { "raw", 0, ICRNL | IXON, 0, OPOST, 0, ICANON | ISIG | ECHO | IEXTEN, "a\004\003\r\n\0Z", 7,
      0 },
};

static void run(const struct row *row)
{
    struct termios t;
    size_t size = row->size ? (size_t)row->size : strlen(row->typed);
    if (openpty(&g_master, &g_slave, NULL, NULL, NULL) < 0 || tcgetattr(g_slave, &t) < 0)
        abort();
    t.c_iflag = (t.c_iflag | row->i_set) & ~row->i_clear;
    t.c_oflag = (t.c_oflag | row->o_set) & ~row->o_clear;
    t.c_lflag = (t.c_lflag | row->l_set) & ~row->l_clear;
    if (tcsetattr(g_slave, TCSANOW, &t) < 0)
        abort();
    printf("%s\n", row->name);
    if (write(g_master, row->typed, size) != (ssize_t)size)
        abort();
    show_input(row->room ? (size_t)row->room : 5000);
    show_echo("  echo");
    close(g_slave);
    close(g_master);
}

/* Columns: where programs write, tabs and backspaces count. */
static void run_columns(void)
{
    struct termios t;
    if (openpty(&g_master, &g_slave, NULL, NULL, NULL) < 0 || tcgetattr(g_slave, &t) < 0)
        abort();
    t.c_oflag |= XTABS | ONOCR;
    tcsetattr(g_slave, TCSANOW, &t);
    dprintf(g_slave, "prompt> ");
    if (write(g_master, "a\t\177\177Z\n", 6) != 6)
        abort();
    show_input(100);
    show_echo("columns");
    dprintf(g_slave, "\r\rab\b\b\b\tc\n\r\td");
    show_echo("output");
    close(g_slave);
    close(g_master);
}

/* A line has 4,095 bytes and its end; what else is typed takes the last one's place. */
static void run_long(void)
{
    static char line[6000], buf[6000];
    struct termios t;
    if (openpty(&g_master, &g_slave, NULL, NULL, NULL) < 0 || tcgetattr(g_slave, &t) < 0)
        abort();
    t.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(g_slave, TCSANOW, &t);
    memset(line, 'x', sizeof(line));
    line[5998] = 'y';
    line[5999] = '\n';
    for (size_t at = 0; at < sizeof(line);)
        at += (size_t)write(g_master, line + at, sizeof(line) - at);
    ssize_t n = read(g_slave, buf, sizeof(buf));
    printf("long %zd", n);
    show("", buf + n - 4, 4);
    /* More lines than fit wait, and come. */
    for (int i = 0; i < 1500; i++)
        if (write(g_master, "123\n", 4) != 4)
            abort();
    size_t sum = 0;
    for (int i = 0; i < 1500; i++) {
        n = read(g_slave, buf, sizeof(buf));
        sum += n == 4 && memcmp(buf, "123\n", 4) == 0;
    }
    printf("lines %zu\n", sum);
    close(g_slave);
    close(g_master);
}

/* What was typed before the mode changed. */
static void run_switch(void)
{
    struct termios t, raw;
    char buf[100];
    if (openpty(&g_master, &g_slave, NULL, NULL, NULL) < 0 || tcgetattr(g_slave, &t) < 0)
        abort();
    raw = t;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    if (write(g_master, "part", 4) != 4)
        abort();
    struct pollfd p = { g_master, POLLIN, 0 };
    poll(&p, 1, -1); /* the echo: it has arrived */
    tcsetattr(g_slave, TCSANOW, &raw);
    show("to raw", buf, read(g_slave, buf, sizeof(buf)));
    if (write(g_master, "raw", 3) != 3)
        abort();
    p.fd = g_slave;
    poll(&p, 1, -1);
    tcsetattr(g_slave, TCSANOW, &t);
    if (write(g_master, "line\n", 5) != 5)
        abort();
    show("to lines", buf, read(g_slave, buf, sizeof(buf)));
    show("to lines", buf, read(g_slave, buf, sizeof(buf)));
    close(g_slave);
    close(g_master);
}

static void all(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        run(&rows[i]);
    run_columns();
    run_long();
    run_switch();
}

int main(void)
{
    return twice(all);
}
