/* The line discipline (src/enclave/ipc/ldisc.c). The rows are what Linux does:
 * tests/behave/tree/pty_lines.c has them from a real terminal. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <asm/ioctls.h>

#include "core/attr.h"
#include "ipc/ldisc.h"

static struct ldisc *fresh(void)
{
    struct ldisc *l = malloc(sizeof(*l));
    assert_non_null(l);
    ldisc_init(l);
    return l;
}

static void set(struct ldisc *l, uint32_t i_set, uint32_t i_clear, uint32_t o_set, uint32_t o_clear,
                uint32_t l_set, uint32_t l_clear)
{
    struct termios2 t = l->termios;
    t.c_iflag = (t.c_iflag | i_set) & ~i_clear;
    t.c_oflag = (t.c_oflag | o_set) & ~o_clear;
    t.c_lflag = (t.c_lflag | l_set) & ~l_clear;
    ldisc_set_termios(l, &t);
}

static void type_bytes(struct ldisc *l, const char *text, uint32_t size)
{
    assert_int_equal(ldisc_type(l, (const uint8_t *)text, size), size);
}

static void type(struct ldisc *l, const char *text)
{
    type_bytes(l, text, (uint32_t)strlen(text));
}

static void put_out(struct ldisc *l, const char *text)
{
    assert_int_equal(ldisc_write(l, (const uint8_t *)text, (uint32_t)strlen(text)), strlen(text));
}

/* All reads of up to room bytes, each with a bar behind it. */
static void read_all(struct ldisc *l, uint32_t room, char *ret, size_t size)
{
    uint8_t buf[LDISC_IN];
    int64_t n;
    size_t used = 0;
    while ((n = ldisc_read(l, buf, room)) != -EAGAIN) {
        assert_true(n >= 0 && n <= room && used + (size_t)n + 2 <= size);
        memcpy(ret + used, buf, (size_t)n);
        used += (size_t)n;
        ret[used++] = '|';
    }
    ret[used] = '\0';
}

static void output_all(struct ldisc *l, char *ret, size_t size)
{
    int64_t n;
    size_t used = 0;
    while ((n = ldisc_output(l, (uint8_t *)ret + used, (uint32_t)(size - used - 1))) > 0)
        used += (size_t)n;
    ret[used] = '\0';
}

static const struct row {
    const char *name;
    uint32_t i_set, i_clear, o_set, o_clear, l_set, l_clear;
    const char *typed;
    uint32_t room;
    const char *reads, *echo;
    uint32_t signals;
} rows[] = {
    { "a line", 0, 0, 0, 0, 0, 0, "ab\n", 99, "ab\n|", "ab\r\n", 0 },
    { "no end yet", 0, 0, 0, 0, 0, 0, "ab", 99, "", "ab", 0 },
    { "two lines", 0, 0, 0, 0, 0, 0, "a\nb\n", 99, "a\n|b\n|", "a\r\nb\r\n", 0 },
    { "in pieces", 0, 0, 0, 0, 0, 0, "abcdef\n", 4, "abcd|ef\n|", "abcdef\r\n", 0 },
    { "a line of just that size", 0, 0, 0, 0, 0, 0, "abc\n", 4, "abc\n|", "abc\r\n", 0 },
    { "carriage return", 0, 0, 0, 0, 0, 0, "ab\r", 99, "ab\n|", "ab\r\n", 0 },
    { "no ICRNL", 0, ICRNL, 0, 0, 0, 0, "a\rb\n", 99, "a\rb\n|", "a^Mb\r\n", 0 },
    { "IGNCR", IGNCR, 0, 0, 0, 0, 0, "a\rb\n", 99, "ab\n|", "ab\r\n", 0 },
    { "INLCR", INLCR, ICRNL, 0, 0, 0, ICANON, "a\nb", 99, "a\rb|", "a^Mb", 0 },
    { "ISTRIP", ISTRIP, 0, 0, 0, 0, 0, "\xe1\n", 99, "a\n|", "a\r\n", 0 },
    { "IUCLC", IUCLC, 0, 0, 0, 0, 0, "AB\n", 99, "ab\n|", "ab\r\n", 0 },
    { "no ECHO", 0, 0, 0, 0, 0, ECHO, "ab\177\n", 99, "a\n|", "", 0 },
    { "ECHONL", 0, 0, 0, 0, ECHONL, ECHO, "ab\n", 99, "ab\n|", "\r\n", 0 },
    { "no OPOST", 0, 0, 0, OPOST, 0, 0, "ab\n", 99, "ab\n|", "ab\n", 0 },
    { "OCRNL", 0, ICRNL, OCRNL, ONLCR, 0, ECHOCTL, "a\rb\n", 99, "a\rb\n|", "a\nb\n", 0 },
    { "OLCUC", 0, 0, OLCUC, 0, 0, 0, "ab\n", 99, "ab\n|", "AB\r\n", 0 },
    { "XTABS", 0, 0, XTABS, 0, 0, 0, "a\tb\n", 99, "a\tb\n|", "a       b\r\n", 0 },
    { "controls", 0, 0, 0, 0, 0, 0, "\001\033\n", 99, "\001\033\n|", "^A^[\r\n", 0 },
    { "erase", 0, 0, 0, 0, 0, 0, "ab\177x\n", 99, "ax\n|", "ab\b \bx\r\n", 0 },
    { "erase too much", 0, 0, 0, 0, 0, 0, "a\177\177b\n", 99, "b\n|", "a\b \bb\r\n", 0 },
    { "erase no further than the line", 0, 0, 0, 0, 0, 0, "a\n\177b\n", 99, "a\n|b\n|",
      "a\r\nb\r\n", 0 },
    { "erase a control", 0, 0, 0, 0, 0, 0, "\001\177x\n", 99, "x\n|", "^A\b \b\b \bx\r\n", 0 },
    { "erase a tab", 0, 0, 0, 0, 0, 0, "ab\t\177x\n", 99, "abx\n|", "ab\t\b\b\b\b\b\bx\r\n", 0 },
    { "erase without ECHOE", 0, 0, 0, 0, 0, ECHOE, "ab\177\n", 99, "a\n|", "ab^?\r\n", 0 },
    { "ECHOPRT", 0, 0, 0, 0, ECHOPRT, 0, "abc\177\177d\n", 99, "ad\n|", "abc\\cb/d\r\n", 0 },
    { "UTF-8", IUTF8, 0, 0, 0, 0, 0, "a\xc3\xa4\177\n", 99, "a\n|", "a\xc3\xa4\b \b\r\n", 0 },
    { "half a character", IUTF8, 0, 0, 0, 0, 0, "\xa4\177x\n", 99, "\xa4x\n|", "\xa4x\r\n", 0 },
    { "word", 0, 0, 0, 0, 0, 0, "a bc_1. \027x\n", 99, "a x\n|",
      "a bc_1. \b \b\b \b\b \b\b \b\b \b\b \bx\r\n", 0 },
    { "word without IEXTEN", 0, 0, 0, 0, 0, IEXTEN, "a\027\n", 99, "a\027\n|", "a^W\r\n", 0 },
    { "kill", 0, 0, 0, 0, 0, 0, "ab\025x\n", 99, "x\n|", "ab\b \b\b \bx\r\n", 0 },
    { "kill without ECHOKE", 0, 0, 0, 0, 0, ECHOKE, "ab\025x\n", 99, "x\n|", "ab^U\r\nx\r\n", 0 },
    { "kill without ECHOK", 0, 0, 0, 0, 0, ECHOK | ECHOKE, "ab\025x\n", 99, "x\n|", "ab^Ux\r\n",
      0 },
    { "reprint", 0, 0, 0, 0, 0, 0, "ab\022\n", 99, "ab\n|", "ab^R\r\nab\r\n", 0 },
    { "literal", 0, 0, 0, 0, 0, 0, "\026\003\026\177\n", 99, "\003\177\n|", "^\b^C^\b^?\r\n", 0 },
    { "end of file", 0, 0, 0, 0, 0, 0, "a\004\004b\n", 99, "a||b\n|", "ab\r\n", 0 },
    { "end of file that fills a buffer", 0, 0, 0, 0, 0, 0, "abcd\004x\n", 4, "abcd|x\n|",
      "abcdx\r\n", 0 },
    { "not canonical", 0, 0, 0, 0, 0, ICANON, "a\004\177\r\n", 3, "a\004\177|\n\n|", "a^D^?\r\n^J",
      0 },
    { "signals", 0, 0, 0, 0, 0, 0, "lost\n\003ab\n", 99, "ab\n|", "^Cab\r\n", 1u << SIGINT },
    { "all signals", 0, 0, 0, 0, NOFLSH, 0, "k\n\003\034\032\n", 99, "k\n|\n|", "k\r\n^C^\\^Z\r\n",
      1u << SIGINT | 1u << SIGQUIT | 1u << SIGTSTP },
    { "no ISIG", 0, 0, 0, 0, 0, ISIG, "\003\n", 99, "\003\n|", "^C\r\n", 0 },
    { "flow control", 0, 0, 0, 0, 0, 0, "\023\021a\n", 99, "a\n|", "a\r\n", 0 },
    { "stopped", 0, 0, 0, 0, 0, 0, "a\023b\n", 99, "ab\n|", "a", 0 },
    { "IXANY", IXANY, 0, 0, 0, 0, 0, "a\023b\n", 99, "ab\n|", "ab\r\n", 0 },
    { "no IXON", 0, IXON, 0, 0, 0, 0, "\023\n", 99, "\023\n|", "^S\r\n", 0 },
    { "PARMRK", PARMRK, 0, 0, 0, 0, 0, "\377\n", 99, "\377\377\n|", "\377\r\n", 0 },
    { "EXTPROC", 0, 0, 0, 0, EXTPROC, 0, "a\177\r", 99, "a\177\r|", "", 0 },
};

static void test_rows(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        struct ldisc *l = fresh();
        char reads[200], echo[200];
        set(l, row->i_set, row->i_clear, row->o_set, row->o_clear, row->l_set, row->l_clear);
        type(l, row->typed);
        uint32_t signals = ldisc_take_signals(l);
        read_all(l, row->room, reads, sizeof(reads));
        output_all(l, echo, sizeof(echo));
        if (strcmp(reads, row->reads) != 0)
            fail_msg("%s: read \"%s\", want \"%s\"", row->name, reads, row->reads);
        if (strcmp(echo, row->echo) != 0)
            fail_msg("%s: echo \"%s\", want \"%s\"", row->name, echo, row->echo);
        if (signals != row->signals || ldisc_take_signals(l))
            fail_msg("%s: signals %x, want %x", row->name, signals, row->signals);
        free(l);
    }
}

/* A NUL is a byte like others, and at the end of a line the end of file. */
static void test_nul(void **state UNUSED)
{
    struct ldisc *l = fresh();
    uint8_t buf[10];
    type_bytes(l, "a\0b\n", 4);
    assert_int_equal(ldisc_read(l, buf, sizeof(buf)), 4);
    assert_memory_equal(buf, "a\0b\n", 4);
    free(l);
}

static void test_long_line(void **state UNUSED)
{
    struct ldisc *l = fresh();
    uint8_t buf[LDISC_IN];
    set(l, 0, 0, 0, 0, 0, ECHO);
    for (int i = 0; i < 20000; i++)
        type(l, i < 19999 ? "x" : "y");
    assert_false(ldisc_readable(l));
    type(l, "\177\n"); /* y is what is erased */
    assert_true(ldisc_readable(l));
    assert_int_equal(ldisc_read(l, buf, sizeof(buf)), LDISC_IN - 1);
    assert_memory_equal(buf + LDISC_IN - 4, "xx\n", 3);
    free(l);
}

/* Lines that nobody reads fill the input, then the wire; then no more are taken, and none is lost.
 */
static void test_full_input(void **state UNUSED)
{
    struct ldisc *l = fresh();
    uint8_t buf[100];
    uint32_t sum = 0;
    set(l, 0, 0, 0, 0, 0, ECHO);
    for (uint32_t n = 4; n == 4; sum += n)
        n = ldisc_type(l, (const uint8_t *)"123\n", 4);
    assert_int_equal(sum, LDISC_IN - 1 + LDISC_WIRE);
    assert_false(ldisc_takes_input(l));
    for (uint32_t i = 0; i < sum / 4; i++) {
        assert_int_equal(ldisc_read(l, buf, sizeof(buf)), 4);
        assert_memory_equal(buf, "123\n", 4);
    }
    assert_true(ldisc_takes_input(l));
    type(l, "\n");
    assert_int_equal(ldisc_read(l, buf, sizeof(buf)), 4); /* 123 and the end that was not taken */
    free(l);
}

static void test_full_output(void **state UNUSED)
{
    struct ldisc *l = fresh();
    uint8_t *out = malloc(LDISC_OUT);
    char echo[10];
    uint32_t sum = 0, n;
    while ((n = ldisc_write(l, (const uint8_t *)"ab\n", 3)) == 3)
        sum += 4;
    sum += n;
    assert_in_range(sum, LDISC_OUT_MAX - 1, LDISC_OUT_MAX);
    assert_int_equal(ldisc_output_size(l), LDISC_IN - 1);
    type(l, "echo"); /* has its own room */
    uint32_t got = 0;
    for (int64_t m; (m = ldisc_output(l, out, LDISC_OUT)) > 0; got += (uint32_t)m) {
        assert_in_range(m, 1, LDISC_IN - 1);
        assert_true(ldisc_writable(l) || got == 0);
        memcpy(echo, out + m - 4, 4);
    }
    assert_int_equal(got, sum + 4);
    assert_memory_equal(echo, "echo", 4);
    /* What nobody fetches is lost in the end, and hurts nobody. */
    for (int i = 0; i < 30000; i++)
        type(l, "\001");
    assert_int_equal(l->out_tail - l->out_head, LDISC_OUT);
    free(out);
    free(l);
}

static void test_stop(void **state UNUSED)
{
    struct ldisc *l = fresh();
    char out[100];
    put_out(l, "before");
    type(l, "\023");
    assert_false(ldisc_writable(l));
    assert_int_equal(ldisc_write(l, (const uint8_t *)"x", 1), 0);
    type(l, "typed"); /* its echo waits */
    output_all(l, out, sizeof(out));
    assert_string_equal(out, "before");
    type(l, "\021");
    output_all(l, out, sizeof(out));
    assert_string_equal(out, "typed");
    assert_int_equal(ldisc_flow(l, TCOOFF), 0);
    type(l, "\021"); /* the keys do not undo it */
    assert_false(ldisc_writable(l));
    assert_int_equal(ldisc_flow(l, TCOON), 0);
    assert_true(ldisc_writable(l));
    type(l, "\023");
    set(l, 0, IXON, 0, 0, 0, 0); /* nobody could let it go on */
    assert_true(ldisc_writable(l));
    assert_int_equal(ldisc_flow(l, TCIOFF), 0);
    output_all(l, out, sizeof(out));
    assert_string_equal(out, "\023");
    assert_int_equal(ldisc_flow(l, 4), -EINVAL);
    free(l);
}

static void test_flush(void **state UNUSED)
{
    struct ldisc *l = fresh();
    char out[200], in[200];
    set(l, 0, 0, 0, 0, 0, ECHO);
    type(l, "line\npart");
    ldisc_flush_input(l);
    assert_false(ldisc_readable(l));
    type(l, "\n");
    read_all(l, 99, in, sizeof(in));
    assert_string_equal(in, "\n|");
    put_out(l, "arrived");
    ldisc_flush_output(l); /* what the master has got stays */
    assert_int_equal(ldisc_output_size(l), 7);
    ldisc_master_flush(l, true, false);
    assert_int_equal(ldisc_output_size(l), 0);
    /* Signals drop what was not fetched beyond that too, but not what the program has put out
     * before. */
    put_out(l, "kept");
    set(l, 0, 0, 0, 0, ECHO, 0);
    type(l, "lost\003");
    output_all(l, out, sizeof(out));
    assert_string_equal(out, "kept^C");
    free(l);
}

static void test_modes(void **state UNUSED)
{
    struct ldisc *l = fresh();
    struct termios2 t;
    char in[100];
    type(l, "part");
    assert_int_equal(ldisc_input_size(l), 0);
    set(l, 0, 0, 0, 0, 0, ICANON);
    assert_int_equal(ldisc_input_size(l), 4);
    read_all(l, 99, in, sizeof(in));
    assert_string_equal(in, "part|");
    t = l->termios;
    t.c_cc[VMIN] = 3;
    ldisc_set_termios(l, &t);
    type(l, "ab");
    assert_false(ldisc_readable(l));
    t.c_cc[VTIME] = 1;
    ldisc_set_termios(l, &t);
    assert_true(ldisc_readable(l));
    set(l, 0, 0, 0, 0, ICANON, 0); /* what is there is a line */
    type(l, "c\004\n");
    assert_int_equal(ldisc_input_size(l), 4);
    read_all(l, 99, in, sizeof(in));
    assert_string_equal(in, "ab|c|\n|");
    assert_int_equal(l->termios.c_cflag & (CSIZE | CREAD), CS8 | CREAD);
    assert_int_equal(ldisc_speed(B38400), 38400);
    assert_int_equal(ldisc_speed(B115200), 115200);
    free(l);
}

static void test_packets(void **state UNUSED)
{
    struct ldisc *l = fresh();
    uint8_t out[100];
    put_out(l, "old");
    l->packet = true;
    assert_int_equal(ldisc_output(l, out, sizeof(out)), 4);
    assert_memory_equal(out, "\0old", 4);
    static const struct {
        const char *name, *typed;
        uint8_t want;
    } keys[] = {
        { "stop", "\023", TIOCPKT_STOP },
        { "start", "\021", TIOCPKT_START },
        { "interrupt", "\003", TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE },
    };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        type(l, keys[i].typed);
        assert_true(ldisc_has_output(l));
        if (ldisc_output(l, out, sizeof(out)) != 1 || out[0] != keys[i].want)
            fail_msg("%s: status %x, want %x", keys[i].name, out[0], keys[i].want);
    }
    set(l, 0, IXON, 0, 0, 0, 0);
    (void)!ldisc_output(l, out, sizeof(out));
    assert_int_equal(out[0], TIOCPKT_NOSTOP);
    set(l, IXON, 0, 0, 0, EXTPROC, 0);
    (void)!ldisc_output(l, out, sizeof(out));
    assert_int_equal(out[0], TIOCPKT_DOSTOP | TIOCPKT_IOCTL);
    assert_int_equal(ldisc_output(l, out, 1),
                     1); /* the interrupt's echo: room for the head alone */
    assert_int_equal(ldisc_output(l, out, 2), 2);
    assert_memory_equal(out, "\0^", 2);
    free(l);
}

/* Whatever happens, nothing is out of its place (with the sanitizers: nothing is touched beside
 * it). */
static void test_anything(void **state UNUSED)
{
    static const char keys[] =
        "ab \t\n\r\177\025\027\022\026\003\034\032\004\021\023\0\xc3\xa4\xff";
    struct ldisc *l = fresh();
    uint8_t buf[LDISC_IN];
    unsigned seed = 1;
    for (int i = 0; i < 50000; i++) {
        uint32_t n = (uint32_t)(rand_r(&seed) % (i % 100 ? 40 : 3000)) + 1;
        for (uint32_t k = 0; k < n; k++)
            buf[k] = (uint8_t)keys[(unsigned)rand_r(&seed) % (sizeof(keys) - 1)];
        struct termios2 t = l->termios;
        switch (rand_r(&seed) % 12) {
        case 0:
            t.c_iflag = (uint32_t)rand_r(&seed) & 077777;
            t.c_oflag = (uint32_t)rand_r(&seed) & 017777;
            t.c_lflag = (uint32_t)rand_r(&seed) & 0377777;
            ldisc_set_termios(l, &t);
            break;
        case 1: (void)!ldisc_flow(l, (uint32_t)rand_r(&seed) % 4); break;
        case 2: ldisc_flush_input(l); break;
        case 3: ldisc_flush_output(l); break;
        case 4: ldisc_master_flush(l, rand_r(&seed) % 2, rand_r(&seed) % 2); break;
        case 5: l->packet = rand_r(&seed) % 2; break;
        case 6: assert_true(ldisc_output(l, buf, n) <= (int64_t)n); break;
        case 7: assert_true(ldisc_read(l, buf, n) <= (int64_t)n); break;
        case 8: assert_true(ldisc_write(l, buf, n) <= n); break;
        default: assert_true(ldisc_type(l, buf, n) <= n); break;
        }
        (void)ldisc_take_signals(l);
        uint32_t in = l->in_head - l->in_tail, line = l->line_end - l->in_tail;
        if (in > LDISC_IN || l->out_tail - l->out_head > LDISC_OUT ||
            l->wire_tail - l->wire_head > LDISC_WIRE || (ldisc_by_line(l) && line > in) ||
            ldisc_output_size(l) > LDISC_OUT || ldisc_input_size(l) > LDISC_IN)
            fail_msg("step %d: in %u line %u out %u", i, in, line, l->out_tail - l->out_head);
    }
    free(l);
}

/* With PARMRK a \377 takes two places: one line without an end must not count on and on, as every
 * reprint and erase looks at what it has. */
static void test_marked_line(void **state UNUSED)
{
    struct ldisc *l = fresh();
    uint8_t bytes[4096], buf[LDISC_IN];
    memset(bytes, 0xff, sizeof(bytes));
    set(l, PARMRK, 0, 0, 0, 0, ECHO);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(ldisc_type(l, bytes, sizeof(bytes)), sizeof(bytes));
        if (l->in_head - l->in_tail > LDISC_IN + 1)
            fail_msg("a line of %u bytes", l->in_head - l->in_tail);
    }
    type(l, "\n");
    int64_t n = ldisc_read(l, buf, sizeof(buf));
    assert_true(n > 0 && n <= (int64_t)sizeof(buf));
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_nul),
        cmocka_unit_test(test_long_line),  cmocka_unit_test(test_marked_line),
        cmocka_unit_test(test_full_input), cmocka_unit_test(test_full_output),
        cmocka_unit_test(test_stop),       cmocka_unit_test(test_flush),
        cmocka_unit_test(test_modes),      cmocka_unit_test(test_packets),
        cmocka_unit_test(test_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
