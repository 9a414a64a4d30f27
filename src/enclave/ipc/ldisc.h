/*
 * The line discipline of a terminal, and the bytes on their way through it: termios(3),
 * ioctl_tty(2). What the master writes is typed: erased, echoed, made into lines and signals; what
 * programs write is put out to the master. Pure: no locks, no waiting, no memory. The caller
 * serialises. Tier: enclave.
 *
 *   master ldisc_type() ──► wire ──► (characters) ──► in ──► ldisc_read() program
 *                                        │ echo
 *   master ldisc_output() ◄── out ◄──────┴──────────────── ldisc_write() program
 *
 * As Linux's N_TTY: lines of up to 4,095 bytes and their end, 8 KiB more under way in each
 * direction; an end of file is a mark in the input; ISIG drops input and what the master could not
 * have seen yet, unless NOFLSH.
 */
#pragma once

#include <asm/termbits.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

#define LDISC_IN      4096u /* the input, a power of two; one less of them can be read */
#define LDISC_WIRE    8192u
#define LDISC_OUT     16384u                      /* the last 4 KiB are for echoes */
#define LDISC_OUT_MAX (LDISC_IN - 1 + LDISC_WIRE) /* bytes that programs may have under way */

struct ldisc {
    struct termios2 termios;
    /* Positions only grow; a byte's place is its position modulo the size. */
    uint32_t in_head, in_tail; /* programs read at tail */
    uint32_t line_end;         /* behind the last complete line (ICANON) */
    uint32_t wire_head, wire_tail, out_head, out_tail;
    uint32_t stop_at; /* stopped: the master gets nothing from here on */
    uint32_t
        echo_from; /* what is typed at once is echoed at once: it has not arrived before its end */
    uint32_t column, line_column; /* of the cursor; where the line that is being typed started */
    uint32_t signals;      /* bit n: signal n for the foreground group: ldisc_take_signals() */
    bool erasing, literal; /* between \ and / (ECHOPRT); the next is no special character */
    bool stopped, held;    /* by STOP (IXON); by TCXONC */
    bool packet;           /* TIOCPKT */
    uint8_t packet_status; /* TIOCPKT_ bits that the master has not read */
    uint64_t ends[LDISC_IN / 64]; /* bit: here a line ends; a NUL there is an end of file */
    uint8_t in[LDISC_IN], wire[LDISC_WIRE], out[LDISC_OUT];
};

/* As a new /dev/pts/N has them: stty sane. */
void ldisc_init(struct ldisc *l);
/* How many of the bytes were taken; fewer: the program has to read first. */
MUST_CHECK uint32_t ldisc_type(struct ldisc *l, const uint8_t *bytes, uint32_t size);
/* One line or what is left of it, or (not ICANON) what there is, up to LDISC_IN - 1 bytes. 0: an
 * end of file was typed. -EAGAIN: nothing. What VMIN and VTIME ask for is the caller's business. */
MUST_CHECK int64_t ldisc_read(struct ldisc *l, uint8_t *buf, uint32_t size);
/* How many were taken. */
MUST_CHECK uint32_t ldisc_write(struct ldisc *l, const uint8_t *bytes, uint32_t size);
/* The master reads; in packet mode a byte of status or TIOCPKT_DATA first. -EAGAIN. */
MUST_CHECK int64_t ldisc_output(struct ldisc *l, uint8_t *buf, uint32_t size);

/* Is there input for poll(2)? Without VTIME that is VMIN bytes. */
bool ldisc_readable(const struct ldisc *l);
bool ldisc_writable(const struct ldisc *l);
bool ldisc_has_output(const struct ldisc *l);
bool ldisc_takes_input(const struct ldisc *l);
/* ICANON, as ldisc_read() takes it. */
bool ldisc_by_line(const struct ldisc *l);
/* FIONREAD of the program's and the master's end. */
uint32_t ldisc_input_size(const struct ldisc *l);
uint32_t ldisc_output_size(const struct ldisc *l);
/* SIGINT and so on that were typed since the last call. */
uint32_t ldisc_take_signals(struct ldisc *l);

void ldisc_set_termios(struct ldisc *l, const struct termios2 *to);
/* TCFLSH of a program: what it has not read, what the master has not got yet. */
void ldisc_flush_input(struct ldisc *l);
void ldisc_flush_output(struct ldisc *l);
/* TCFLSH of the master: its input is the output, all of it; its output what is on the wire. */
void ldisc_master_flush(struct ldisc *l, bool input, bool output);
/* TCXONC: TCOOFF, TCOON, TCIOFF, TCION. -EINVAL. */
MUST_CHECK int ldisc_flow(struct ldisc *l, uint32_t action);
/* Speed in bits per second of a CBAUD code; 0: none. */
uint32_t ldisc_speed(uint32_t cflag);
