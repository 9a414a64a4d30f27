/*
 * The line discipline (ldisc.h). Tier: enclave.
 */
#include "ipc/ldisc.h"

#include <asm/errno.h>
#include <asm/ioctls.h>
#include <linux/signal.h>

#include "arch/string.h"

/* Of the output: what the master has got, though it has not read it. */
#define ON_WAY   (LDISC_IN - 1)
/* _POSIX_VDISABLE; in the input, where a line ends: an end of file. */
#define DISABLED 0

static bool has_i(const struct ldisc *l, uint32_t flag)
{
    return l->termios.c_iflag & flag;
}

static bool has_o(const struct ldisc *l, uint32_t flag)
{
    return l->termios.c_oflag & flag;
}

static bool has_l(const struct ldisc *l, uint32_t flag)
{
    return l->termios.c_lflag & flag;
}

static bool is_cc(const struct ldisc *l, uint8_t c, int which)
{
    return c != DISABLED && c == l->termios.c_cc[which];
}

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

/* ISO 8859-1, as the kernel has it. */
static bool is_word(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

/* Inside a character of UTF-8. */
static bool is_rest(const struct ldisc *l, uint8_t c)
{
    return has_i(l, IUTF8) && (c & 0xc0) == 0x80;
}

static uint8_t in_at(const struct ldisc *l, uint32_t at)
{
    return l->in[at % LDISC_IN];
}

static bool ends_at(const struct ldisc *l, uint32_t at)
{
    return l->ends[at % LDISC_IN / 64] >> (at % 64) & 1;
}

static void set_end(struct ldisc *l, uint32_t at, bool end)
{
    uint64_t bit = 1ull << (at % 64), *word = &l->ends[at % LDISC_IN / 64];
    *word = end ? *word | bit : *word & ~bit;
}

static bool is_stopped(const struct ldisc *l)
{
    return l->stopped || l->held;
}

/* --- output ----------------------------------------------------------------------------------- */

static uint32_t under_way(const struct ldisc *l)
{
    return l->out_tail - l->out_head;
}

/* Echoes that nobody fetches are lost in the end. */
static void emit(struct ldisc *l, uint8_t c)
{
    if (under_way(l) < LDISC_OUT)
        l->out[l->out_tail++ % LDISC_OUT] = c;
}

static void home(struct ldisc *l)
{
    l->column = l->line_column = 0;
}

/* With OPOST; false: it takes more than room bytes. */
static bool post(struct ldisc *l, uint8_t c, uint32_t room)
{
    uint32_t spaces = 8 - (l->column & 7);
    if (room == 0)
        return false;
    switch (c) {
    case '\n':
        if (has_o(l, ONLRET))
            l->column = 0;
        if (has_o(l, ONLCR)) {
            if (room < 2)
                return false;
            home(l);
            emit(l, '\r');
            break;
        }
        l->line_column = l->column;
        break;
    case '\r':
        if (has_o(l, ONOCR) && l->column == 0)
            return true;
        if (has_o(l, OCRNL))
            c = '\n';
        if (c == '\r' || has_o(l, ONLRET))
            home(l);
        break;
    case '\t':
        if ((l->termios.c_oflag & TABDLY) == XTABS) {
            if (room < spaces)
                return false;
            for (uint32_t i = 0; i < spaces; i++)
                emit(l, ' ');
            l->column += spaces;
            return true;
        }
        l->column += spaces;
        break;
    case '\b': l->column -= l->column > 0; break;
    default:
        if (is_control(c))
            break;
        if (has_o(l, OLCUC) && c >= 'a' && c <= 'z')
            c = (uint8_t)(c - 0x20);
        l->column += !is_rest(l, c);
        break;
    }
    emit(l, c);
    return true;
}

uint32_t ldisc_write(struct ldisc *l, const uint8_t *bytes, uint32_t size)
{
    uint32_t done = 0;
    if (is_stopped(l))
        return 0;
    for (; done < size; done++) {
        uint32_t room = under_way(l) < LDISC_OUT_MAX ? LDISC_OUT_MAX - under_way(l) : 0;
        if (!room)
            break;
        if (!has_o(l, OPOST))
            emit(l, bytes[done]);
        else if (!post(l, bytes[done], room))
            break;
    }
    return done;
}

static uint32_t visible(const struct ldisc *l)
{
    return (is_stopped(l) ? l->stop_at : l->out_tail) - l->out_head;
}

int64_t ldisc_output(struct ldisc *l, uint8_t *buf, uint32_t size)
{
    uint32_t n = visible(l), head = 0;
    if (!size)
        return 0;
    if (l->packet && l->packet_status) {
        buf[0] = l->packet_status;
        l->packet_status = 0;
        return 1;
    }
    if (!n)
        return -EAGAIN;
    if (l->packet)
        buf[head++] = TIOCPKT_DATA;
    n = n < ON_WAY ? n : ON_WAY;
    n = n < size - head ? n : size - head;
    for (uint32_t i = 0; i < n; i++)
        buf[head++] = l->out[l->out_head++ % LDISC_OUT];
    return head;
}

static void tell_packet(struct ldisc *l, uint8_t set, uint8_t clear)
{
    if (l->packet)
        l->packet_status = (uint8_t)((l->packet_status & ~clear) | set);
}

static void set_stopped(struct ldisc *l, bool stopped, bool held)
{
    bool was = is_stopped(l);
    l->stopped = stopped;
    l->held = held;
    if (was == is_stopped(l))
        return;
    l->stop_at = l->out_tail;
    if (was)
        tell_packet(l, TIOCPKT_START, TIOCPKT_STOP);
    else
        tell_packet(l, TIOCPKT_STOP, TIOCPKT_START);
}

/* What is behind `from` cannot have reached the master; and it takes no more than ON_WAY. */
static void drop_output(struct ldisc *l, uint32_t from)
{
    if (from - l->out_head < under_way(l))
        l->out_tail = from;
    if (under_way(l) > ON_WAY)
        l->out_tail = l->out_head + ON_WAY;
    if (is_stopped(l) && l->stop_at - l->out_head > under_way(l))
        l->stop_at = l->out_tail;
    tell_packet(l, TIOCPKT_FLUSHWRITE, 0);
}

void ldisc_flush_output(struct ldisc *l)
{
    drop_output(l, l->out_tail);
}

/* --- echo ------------------------------------------------------------------------------------- */

static void echo_raw(struct ldisc *l, uint8_t c)
{
    if (!has_o(l, OPOST))
        emit(l, c);
    else
        (void)post(l, c, LDISC_OUT);
}

static void echo_text(struct ldisc *l, const char *text)
{
    for (; *text; text++)
        echo_raw(l, (uint8_t)*text);
}

static void echo(struct ldisc *l, uint8_t c)
{
    if (has_l(l, ECHOCTL) && is_control(c) && c != '\t') {
        emit(l, '^');
        emit(l, c ^ 0100);
        l->column += 2;
    } else {
        echo_raw(l, c);
    }
}

/* A character of the line: where the line starts on the screen is known from its first. */
static void echo_typed(struct ldisc *l, uint8_t c)
{
    if (l->line_end == l->in_head)
        l->line_column = l->column;
    echo(l, c);
}

static void finish_erasing(struct ldisc *l)
{
    if (l->erasing)
        echo_raw(l, '/');
    l->erasing = false;
}

/* Back over a tab: how far depends on what stands before it, down to the tab before or the line's
 * start. */
static void echo_erase_tab(struct ldisc *l)
{
    uint32_t columns = 0, at = l->in_head;
    bool after_tab = false;
    while (at != l->line_end && !after_tab) {
        uint8_t c = in_at(l, --at);
        if (c == '\t')
            after_tab = true;
        else if (is_control(c))
            columns += has_l(l, ECHOCTL) ? 2 : 0;
        else
            columns += !is_rest(l, c);
    }
    if (!after_tab)
        columns += l->line_column;
    for (uint32_t n = 8 - (columns & 7); n; n--) {
        emit(l, '\b');
        l->column -= l->column > 0;
    }
}

/* --- erasing ---------------------------------------------------------------------------------- */

enum erase { ERASE_ONE, ERASE_WORD, ERASE_LINE };

/* The character of count bytes that starts at l->in_head, which is erased already. */
static void echo_erased(struct ldisc *l, enum erase what, uint32_t count)
{
    uint8_t c = in_at(l, l->in_head);
    if (has_l(l, ECHOPRT)) {
        if (!l->erasing)
            echo_raw(l, '\\');
        l->erasing = true;
        echo(l, c);
        for (uint32_t i = 1; i < count; i++) {
            echo_raw(l, in_at(l, l->in_head + i));
            l->column -= l->column > 0;
        }
    } else if (what == ERASE_ONE && !has_l(l, ECHOE)) {
        echo(l, l->termios.c_cc[VERASE]);
    } else if (c == '\t') {
        echo_erase_tab(l);
    } else {
        if (is_control(c) && has_l(l, ECHOCTL))
            echo_text(l, "\b \b");
        if (!is_control(c) || has_l(l, ECHOCTL))
            echo_text(l, "\b \b");
    }
}

static void drop_line(struct ldisc *l)
{
    l->in_head = l->line_end;
    if (!has_l(l, ECHO))
        return;
    finish_erasing(l);
    echo(l, l->termios.c_cc[VKILL]);
    if (has_l(l, ECHOK))
        echo_raw(l, '\n');
}

static void erase(struct ldisc *l, enum erase what)
{
    bool in_word = false;
    if (l->in_head == l->line_end)
        return;
    if (what == ERASE_LINE &&
        (!has_l(l, ECHO) || !has_l(l, ECHOK) || !has_l(l, ECHOKE) || !has_l(l, ECHOE))) {
        drop_line(l);
        return;
    }
    while (l->in_head != l->line_end) {
        uint32_t at = l->in_head;
        uint8_t c;
        do {
            c = in_at(l, --at);
        } while (is_rest(l, c) && at != l->line_end);
        if (is_rest(l, c)) /* not the whole character is there */
            break;
        if (what == ERASE_WORD && !is_word(c) && in_word)
            break;
        in_word |= is_word(c);
        uint32_t count = l->in_head - at;
        l->in_head = at;
        if (has_l(l, ECHO))
            echo_erased(l, what, count);
        if (what == ERASE_ONE)
            break;
    }
    if (l->in_head == l->line_end && has_l(l, ECHO))
        finish_erasing(l);
}

/* --- input ------------------------------------------------------------------------------------ */

static void put(struct ldisc *l, uint8_t c)
{
    set_end(l, l->in_head, false);
    l->in[l->in_head++ % LDISC_IN] = c;
}

static void end_line(struct ldisc *l, uint8_t c)
{
    put(l, c);
    set_end(l, l->in_head - 1, true);
    l->line_end = l->in_head;
}

static void put_marked(struct ldisc *l, uint8_t c)
{
    if (c == 0xff && has_i(l, PARMRK))
        put(l, c);
    put(l, c);
}

static void drop_input(struct ldisc *l)
{
    l->in_tail = l->line_end = l->in_head;
    l->erasing = false;
    memset(l->ends, 0, sizeof(l->ends));
}

static void type_signal(struct ldisc *l, int number, uint8_t c)
{
    l->signals |= 1u << number;
    if (!has_l(l, NOFLSH)) {
        drop_output(l, l->echo_from);
        drop_input(l);
        tell_packet(l, TIOCPKT_FLUSHREAD, 0);
    }
    if (has_i(l, IXON))
        set_stopped(l, false, l->held);
    if (has_l(l, ECHO))
        echo(l, c);
}

/* An ordinary character, or one that was quoted. */
static void type_plain(struct ldisc *l, uint8_t c)
{
    if (l->stopped && !l->held && has_i(l, IXON) && has_i(l, IXANY))
        set_stopped(l, false, false);
    if (has_l(l, ECHO)) {
        finish_erasing(l);
        echo_typed(l, c);
    }
    put_marked(l, c);
}

static void reprint(struct ldisc *l, uint8_t c)
{
    finish_erasing(l);
    echo(l, c);
    echo_raw(l, '\n');
    for (uint32_t at = l->line_end; at != l->in_head; at++)
        echo(l, in_at(l, at));
}

static void quote(struct ldisc *l)
{
    l->literal = true;
    if (!has_l(l, ECHO))
        return;
    finish_erasing(l);
    if (has_l(l, ECHOCTL))
        echo_text(l, "^\b");
}

/* ICANON: true if c was taken. */
static bool type_editing(struct ldisc *l, uint8_t c)
{
    bool more = has_l(l, IEXTEN);
    if (is_cc(l, c, VERASE)) {
        erase(l, ERASE_ONE);
    } else if (is_cc(l, c, VKILL)) {
        erase(l, ERASE_LINE);
    } else if (more && is_cc(l, c, VWERASE)) {
        erase(l, ERASE_WORD);
    } else if (more && is_cc(l, c, VLNEXT)) {
        quote(l);
    } else if (more && is_cc(l, c, VREPRINT) && has_l(l, ECHO)) {
        reprint(l, c);
    } else if (c == '\n') {
        if (has_l(l, ECHO | ECHONL))
            echo_raw(l, '\n');
        end_line(l, c);
    } else if (is_cc(l, c, VEOF)) {
        end_line(l, DISABLED);
    } else if (is_cc(l, c, VEOL) || (more && is_cc(l, c, VEOL2))) {
        if (has_l(l, ECHO))
            echo_typed(l, c);
        if (c == 0xff && has_i(l, PARMRK))
            put(l, c);
        end_line(l, c);
    } else {
        return false;
    }
    return true;
}

static int signal_of(const struct ldisc *l, uint8_t c)
{
    return !has_l(l, ISIG)      ? 0
           : is_cc(l, c, VINTR) ? SIGINT
           : is_cc(l, c, VQUIT) ? SIGQUIT
           : is_cc(l, c, VSUSP) ? SIGTSTP
                                : 0;
}

static void type_special(struct ldisc *l, uint8_t c)
{
    int number = signal_of(l, c);
    bool entered = c == '\r';
    if (has_i(l, IXON) && (is_cc(l, c, VSTART) || is_cc(l, c, VSTOP))) {
        set_stopped(l, !is_cc(l, c, VSTART), l->held);
        return;
    }
    if (number) {
        type_signal(l, number, c);
        return;
    }
    if (l->stopped && !l->held && has_i(l, IXON) && has_i(l, IXANY))
        set_stopped(l, false, false);
    if (c == '\r') {
        if (has_i(l, IGNCR))
            return;
        if (has_i(l, ICRNL))
            c = '\n';
    } else if (c == '\n' && has_i(l, INLCR)) {
        c = '\r';
    }
    if (has_l(l, ICANON) && type_editing(l, c))
        return;
    if (has_l(l, ECHO)) {
        finish_erasing(l);
        if (c == '\n' && entered)
            echo_raw(l, '\n');
        else
            echo_typed(l, c);
    }
    put_marked(l, c);
}

static void type(struct ldisc *l, uint8_t c)
{
    bool changes = has_i(l, ISTRIP) || (has_i(l, IUCLC) && has_l(l, IEXTEN));
    if (has_l(l, EXTPROC) && !changes) {
        put(l, c);
        return;
    }
    if (has_i(l, ISTRIP))
        c &= 0x7f;
    if (has_i(l, IUCLC) && has_l(l, IEXTEN) && c >= 'A' && c <= 'Z')
        c = (uint8_t)(c + 0x20);
    if (has_l(l, EXTPROC)) {
        put(l, c);
    } else if (l->literal || c == DISABLED) {
        l->literal = false;
        type_plain(l, c);
    } else {
        type_special(l, c);
    }
}

/*
 * From the wire, as long as there is room. A line that is being typed may always go on, so that it
 * can be erased or ended: what does not fit takes the place of its last character.
 */
static void pump(struct ldisc *l)
{
    l->echo_from = l->out_tail;
    while (l->wire_head != l->wire_tail) {
        int32_t room = (int32_t)(LDISC_IN - (l->in_head - l->in_tail));
        room = (has_i(l, PARMRK) ? (room + 2) / 3 : room) - 1;
        if (room <= 0) {
            if (!has_l(l, ICANON) || l->line_end != l->in_tail)
                return;
            if (room < 0) /* one too many, with PARMRK perhaps more */
                l->in_head = l->in_tail + LDISC_IN - 1;
        }
        type(l, l->wire[l->wire_head++ % LDISC_WIRE]);
    }
}

uint32_t ldisc_type(struct ldisc *l, const uint8_t *bytes, uint32_t size)
{
    uint32_t done = 0;
    while (done < size) {
        uint32_t before = done;
        while (done < size && l->wire_tail - l->wire_head < LDISC_WIRE)
            l->wire[l->wire_tail++ % LDISC_WIRE] = bytes[done++];
        pump(l);
        if (done == before)
            break;
    }
    return done;
}

bool ldisc_by_line(const struct ldisc *l)
{
    return has_l(l, ICANON) && !has_l(l, EXTPROC);
}

static bool has_input(const struct ldisc *l, uint32_t least)
{
    return ldisc_by_line(l) ? l->line_end != l->in_tail : l->in_head - l->in_tail >= least;
}

static void eat_end(struct ldisc *l)
{
    set_end(l, l->in_tail++, false);
}

/* Also an end of file right behind what filled the buffer belongs to it. */
static uint32_t read_line(struct ldisc *l, uint8_t *buf, uint32_t size)
{
    uint32_t n = 0;
    while (n < size && l->in_tail != l->line_end) {
        bool end = ends_at(l, l->in_tail);
        uint8_t c = in_at(l, l->in_tail);
        if (!end || c != DISABLED)
            buf[n++] = c;
        eat_end(l);
        if (end)
            return n;
    }
    if (l->in_tail != l->line_end && ends_at(l, l->in_tail) && in_at(l, l->in_tail) == DISABLED)
        eat_end(l);
    return n;
}

int64_t ldisc_read(struct ldisc *l, uint8_t *buf, uint32_t size)
{
    uint32_t n = 0;
    if (!has_input(l, 1))
        return -EAGAIN;
    if (ldisc_by_line(l)) {
        n = read_line(l, buf, size);
    } else {
        while (n < size && n < LDISC_IN - 1 && l->in_tail != l->in_head)
            buf[n++] = in_at(l, l->in_tail++);
    }
    pump(l);
    return n;
}

/* --- state ------------------------------------------------------------------------------------ */

bool ldisc_readable(const struct ldisc *l)
{
    uint8_t least = l->termios.c_cc[VMIN];
    return has_input(l, least && !l->termios.c_cc[VTIME] ? least : 1);
}

bool ldisc_writable(const struct ldisc *l)
{
    return !is_stopped(l) && under_way(l) < LDISC_OUT_MAX;
}

bool ldisc_has_output(const struct ldisc *l)
{
    return visible(l) || (l->packet && l->packet_status);
}

bool ldisc_takes_input(const struct ldisc *l)
{
    return l->wire_tail - l->wire_head < LDISC_WIRE;
}

uint32_t ldisc_input_size(const struct ldisc *l)
{
    uint32_t n = 0;
    if (!ldisc_by_line(l))
        return l->in_head - l->in_tail;
    for (uint32_t at = l->in_tail; at != l->line_end; at++)
        n += !ends_at(l, at) || in_at(l, at) != DISABLED;
    return n;
}

uint32_t ldisc_output_size(const struct ldisc *l)
{
    return visible(l) < ON_WAY ? visible(l) : ON_WAY;
}

uint32_t ldisc_take_signals(struct ldisc *l)
{
    uint32_t signals = l->signals;
    l->signals = 0;
    return signals;
}

void ldisc_flush_input(struct ldisc *l)
{
    l->wire_head = l->wire_tail;
    drop_input(l);
    tell_packet(l, TIOCPKT_FLUSHREAD, 0);
}

void ldisc_master_flush(struct ldisc *l, bool input, bool output)
{
    if (input)
        l->stop_at = l->out_tail = l->out_head;
    if (output)
        l->wire_head = l->wire_tail;
}

int ldisc_flow(struct ldisc *l, uint32_t action)
{
    static const uint8_t sent[] = { [TCIOFF] = VSTOP, [TCION] = VSTART };
    switch (action) {
    case TCOOFF: set_stopped(l, l->stopped, true); return 0;
    case TCOON: set_stopped(l, false, false); return 0;
    case TCIOFF:
    case TCION:
        if (l->termios.c_cc[sent[action]] != DISABLED)
            emit(l, l->termios.c_cc[sent[action]]);
        return 0;
    default: return -EINVAL;
    }
}

/* What was typed so far: a line from now on, or just bytes. */
static void change_mode(struct ldisc *l)
{
    memset(l->ends, 0, sizeof(l->ends));
    l->line_end = l->in_tail;
    if (has_l(l, ICANON) && l->in_head != l->in_tail) {
        set_end(l, l->in_head - 1, true);
        l->line_end = l->in_head;
    }
    l->erasing = l->literal = false;
}

static bool usual_flow(const struct termios2 *t)
{
    return (t->c_iflag & IXON) && t->c_cc[VSTOP] == 023 && t->c_cc[VSTART] == 021;
}

void ldisc_set_termios(struct ldisc *l, const struct termios2 *to)
{
    struct termios2 was = l->termios;
    bool extproc = (was.c_lflag | to->c_lflag) & EXTPROC;
    l->termios = *to;
    l->termios.c_cflag = (to->c_cflag & ~(uint32_t)(CSIZE | PARENB)) | CS8 | CREAD;
    if ((was.c_lflag ^ to->c_lflag) & (ICANON | EXTPROC))
        change_mode(l);
    if (!has_i(l, IXON) && (was.c_iflag & IXON) && !l->held)
        set_stopped(l, false, false);
    if (usual_flow(&was) != usual_flow(to))
        tell_packet(l, usual_flow(to) ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP,
                    TIOCPKT_DOSTOP | TIOCPKT_NOSTOP);
    if (extproc)
        tell_packet(l, TIOCPKT_IOCTL, 0);
    pump(l);
}

uint32_t ldisc_speed(uint32_t cflag)
{
    static const uint32_t low[] = { 0,   50,   75,   110,  134,  150,  200,   300,
                                    600, 1200, 1800, 2400, 4800, 9600, 19200, 38400 };
    static const uint32_t high[] = { 0,       57600,   115200,  230400,  460800,  500000,
                                     576000,  921600,  1000000, 1152000, 1500000, 2000000,
                                     2500000, 3000000, 3500000, 4000000 };
    return cflag & CBAUDEX ? high[cflag & 0xf] : low[cflag & 0xf];
}

void ldisc_init(struct ldisc *l)
{
    memset(l, 0, sizeof(*l));
    l->termios = (struct termios2){
        .c_iflag = ICRNL | IXON,
        .c_oflag = OPOST | ONLCR,
        .c_cflag = B38400 | CS8 | CREAD,
        .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        .c_cc = { [VINTR] = 003,
                  [VQUIT] = 034,
                  [VERASE] = 0177,
                  [VKILL] = 025,
                  [VEOF] = 004,
                  [VMIN] = 1,
                  [VSTART] = 021,
                  [VSTOP] = 023,
                  [VSUSP] = 032,
                  [VREPRINT] = 022,
                  [VDISCARD] = 017,
                  [VWERASE] = 027,
                  [VLNEXT] = 026 },
        .c_ispeed = 38400,
        .c_ospeed = 38400,
    };
}
