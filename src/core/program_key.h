/*
 * Which program a command line starts, as far as process nodes go: the executable alone says it for most,
 * but an interpreter is what it interprets. The manifest builder (from a trace), a parent (before it starts
 * a child) and the child (from the arguments it received) all ask this one function. Tier: core.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"

#define PROGRAM_TEXT_MAX 65536u

enum program_kind {
    PROGRAM_PLAIN = 1,   /* the executable, whatever its arguments */
    PROGRAM_SCRIPT = 2,  /* an interpreter and a script: text is the script's canonical path */
    PROGRAM_MODULE = 3,  /* python -m: text is the module's name */
    PROGRAM_COMMAND = 4, /* -c: text is the command, normalized (below) */
    PROGRAM_STDIN = 5,   /* an interpreter that reads standard input, or is interactive */
    PROGRAM_ANY = 6,     /* only in manifests: any start of this executable */
};

struct program_start {
    enum program_kind kind;
    /* Which argument says it (script, module, command); 0 for PLAIN and STDIN. */
    uint32_t arg;
};

/* argv[0..argc) of a program whose ELF file is `executable` (canonical path; its last component tells the
 * interpreter: python*, sh, bash, dash, perl, ...). Never fails: what is odd is PLAIN or STDIN. */
struct program_start program_start(const char *executable, uint32_t argc, const char *const *argv);

struct program_key {
    enum program_kind kind;
    uint8_t hash[32]; /* zero for PLAIN, STDIN and ANY */
};

/*
 * text: for SCRIPT the canonical path, else argv[start.arg]; ignored for PLAIN and STDIN.
 * hash = SHA-256(kind byte, normalized text). SCRIPT and MODULE stand as they are. In a COMMAND what
 * differs from run to run is left out: each run of decimal digits becomes "#", and each random name of
 * Python's tempfile ("tmp" and 8 of [a-z0-9_]) becomes "tmp*".
 */
void program_key(struct program_start start, const char *text, size_t size,
                 struct program_key *ret);

/* The normalized text, into ret (size bytes are enough); its size. Normalizing it again changes nothing, so
 * it has the same key. */
size_t program_text(struct program_start start, const char *text, size_t size, char *ret);

/* Whether two texts (with NUL) are the same but for what differs from run to run, as in a COMMAND. */
bool program_text_same(const char *a, const char *b);
/* Whether this executable's interpreter reads options behind a command too (perl -e A -e B runs both). */
bool program_options_go_on(const char *executable);
