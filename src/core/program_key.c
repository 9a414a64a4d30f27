#include "core/program_key.h"

#include "core/sha256.h"

/* How an interpreter reads its own arguments. Letters of one-dash options; digits are never letters. */
struct interpreter {
    const char *prefix;   /* of the executable's name; no letter follows */
    const char *commands; /* the program is text */
    const char *modules;  /* the program is a module's name */
    const char *inputs;   /* the program is standard input */
    const char *values;   /* take a value, attached or the next argument */
    const char *attached; /* take what follows in the same argument, if anything */
    /* The command is not the option's value but the first operand: sh -c -e TEXT. Options may begin with
     * "+" too, and a lone "-" ends them. */
    bool shell;
    bool goes_on; /* options may follow the command */
};
static const struct interpreter interpreters[] = {
    { .prefix = "python", .commands = "c", .modules = "m", .values = "WXQ" },
    { .prefix = "pypy", .commands = "c", .modules = "m", .values = "WX" },
    { .prefix = "perl", .commands = "eE", .values = "IMm", .attached = "CDFdix", .goes_on = true },
    { .prefix = "ruby", .commands = "e", .values = "IrEC", .attached = "FKTWix", .goes_on = true },
    { .prefix = "bash", .commands = "c", .inputs = "s", .values = "oO", .shell = true },
    { .prefix = "dash", .commands = "c", .inputs = "s", .values = "o", .shell = true },
    { .prefix = "sh", .commands = "c", .inputs = "s", .values = "o", .shell = true },
    { .prefix = "zsh", .commands = "c", .inputs = "s", .values = "o", .shell = true },
    { .prefix = "ksh", .commands = "c", .inputs = "s", .values = "o", .shell = true },
    { .prefix = "mksh", .commands = "c", .inputs = "s", .values = "o", .shell = true },
    { .prefix = "nodejs", .commands = "ep", .inputs = "i", .values = "r", .goes_on = true },
    { .prefix = "node", .commands = "ep", .inputs = "i", .values = "r", .goes_on = true },
};

/* Long options that are more than a flag, of whichever interpreter. */
static const struct {
    const char *option;
    enum program_kind kind; /* COMMAND; or 0: its value is the next argument */
} long_options[] = {
    { "--check-hash-based-pycs", 0 },
    { "--rcfile", 0 },
    { "--init-file", 0 },
    { "--require", 0 },
    { "--eval", PROGRAM_COMMAND },
    { "--print", PROGRAM_COMMAND },
};

static size_t length_of(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

static bool same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static bool holds(const char *letters, char c)
{
    for (; letters && *letters; letters++)
        if (*letters == c)
            return true;
    return false;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const struct interpreter *find_interpreter(const char *executable)
{
    const char *base = executable;
    for (const char *c = executable; *c; c++)
        if (*c == '/')
            base = c + 1;
    for (size_t i = 0; i < ARRAY_SIZE(interpreters); i++) {
        const char *p = interpreters[i].prefix, *b = base;
        while (*p && *p == *b)
            p++, b++;
        if (!*p && !is_letter(*b))
            return &interpreters[i];
    }
    return NULL;
}

static struct program_start start_at(enum program_kind kind, uint32_t arg, uint32_t argc)
{
    if (arg >= argc)
        return (struct program_start){ .kind = PROGRAM_STDIN };
    return (struct program_start){ .kind = kind, .arg = arg };
}

/* A one-dash group of letters at argv[i]. Whether it ends the options: then *ret says what starts. */
static bool read_group(const struct interpreter *in, const char *arg, uint32_t argc, uint32_t *i,
                       bool *command, struct program_start *ret)
{
    uint32_t at = *i;
    for (const char *c = arg + 1; *c; c++) {
        /* Attached, the whole argument stands for the text: -cTEXT. */
        uint32_t value = c[1] ? at : at + 1;
        if (holds(in->commands, *c) && !in->shell) {
            *ret = start_at(PROGRAM_COMMAND, value, argc);
            return true;
        }
        if (holds(in->modules, *c)) {
            *ret = start_at(PROGRAM_MODULE, value, argc);
            return true;
        }
        if (holds(in->commands, *c)) {
            *command = true;
        } else if (holds(in->inputs, *c)) {
            *ret = (struct program_start){ .kind = PROGRAM_STDIN };
            return true;
        } else if (holds(in->values, *c)) {
            /* A shell's takes the next argument, and the group goes on: sh -oe NAME. */
            *i += in->shell || !c[1];
            if (!in->shell)
                return false;
        } else if (holds(in->attached, *c)) {
            return false;
        }
    }
    return false;
}

struct program_start program_start(const char *executable, uint32_t argc, const char *const *argv)
{
    const struct interpreter *in = find_interpreter(executable);
    if (!in)
        return (struct program_start){ .kind = PROGRAM_PLAIN };

    bool command = false;
    uint32_t i = 1;
    for (; i < argc; i++) {
        const char *arg = argv[i];
        if (arg[0] != '-' && !(in->shell && arg[0] == '+' && arg[1]))
            break;
        if (arg[1] == '\0' && !in->shell)
            return (struct program_start){ .kind = PROGRAM_STDIN };
        if (arg[1] == '\0' || (arg[0] == '-' && arg[1] == '-' && arg[2] == '\0')) {
            i++;
            break;
        }
        if (arg[1] == '-') {
            for (size_t k = 0; k < ARRAY_SIZE(long_options); k++) {
                if (!same(arg, long_options[k].option))
                    continue;
                if (long_options[k].kind)
                    return start_at(long_options[k].kind, i + 1, argc);
                i++;
                break;
            }
            continue;
        }
        struct program_start start;
        if (read_group(in, arg, argc, &i, &command, &start))
            return start;
    }
    return start_at(command ? PROGRAM_COMMAND : PROGRAM_SCRIPT, i, argc);
}

/* "tmp" and 8 of [a-z0-9_] at text. */
static bool is_temporary(const char *text, size_t size)
{
    if (size < 11 || text[0] != 't' || text[1] != 'm' || text[2] != 'p')
        return false;
    for (size_t i = 3; i < 11; i++)
        if (!(text[i] >= 'a' && text[i] <= 'z') && !is_digit(text[i]) && text[i] != '_')
            return false;
    return true;
}

/* How many bytes at text differ from run to run, and what stands for them; 0: none. */
static size_t varying(const char *text, size_t size, const char **ret_instead)
{
    size_t n = 0;
    while (n < size && is_digit(text[n]))
        n++;
    if (n == 0 && is_temporary(text, size)) {
        *ret_instead = "tmp*";
        return 11;
    }
    *ret_instead = "#";
    return n;
}

size_t program_text(struct program_start start, const char *text, size_t size, char *ret)
{
    size_t out = 0;
    for (size_t i = 0; i < size;) {
        const char *instead;
        size_t skip = start.kind == PROGRAM_COMMAND ? varying(text + i, size - i, &instead) : 0;
        if (skip == 0) {
            ret[out++] = text[i++];
            continue;
        }
        while (*instead)
            ret[out++] = *instead++;
        i += skip;
    }
    return out;
}

bool program_text_same(const char *a, const char *b)
{
    size_t a_size = length_of(a), b_size = length_of(b), i = 0, k = 0;
    while (i < a_size && k < b_size) {
        const char *a_instead = NULL, *b_instead = NULL;
        size_t a_skip = varying(a + i, a_size - i, &a_instead);
        size_t b_skip = varying(b + k, b_size - k, &b_instead);
        if (!a_skip != !b_skip || (a_skip ? !same(a_instead, b_instead) : a[i] != b[k]))
            return false;
        i += a_skip ? a_skip : 1;
        k += b_skip ? b_skip : 1;
    }
    return i == a_size && k == b_size;
}

bool program_options_go_on(const char *executable)
{
    const struct interpreter *in = find_interpreter(executable);
    return in && in->goes_on;
}

static void hash_command(struct sha256 *h, const char *text, size_t size)
{
    size_t plain = 0; /* from here on to i: as it stands */
    for (size_t i = 0; i < size;) {
        const char *instead;
        size_t skip = varying(text + i, size - i, &instead);
        if (skip == 0) {
            i++;
            continue;
        }
        sha256_update(h, text + plain, i - plain);
        sha256_update(h, instead, length_of(instead));
        i += skip;
        plain = i;
    }
    sha256_update(h, text + plain, size - plain);
}

void program_key(struct program_start start, const char *text, size_t size, struct program_key *ret)
{
    *ret = (struct program_key){ .kind = start.kind };
    if (start.kind != PROGRAM_SCRIPT && start.kind != PROGRAM_MODULE &&
        start.kind != PROGRAM_COMMAND)
        return;
    struct sha256 h;
    uint8_t kind = (uint8_t)start.kind;
    sha256_init(&h);
    sha256_update(&h, &kind, 1);
    if (start.kind == PROGRAM_COMMAND)
        hash_command(&h, text, size);
    else
        sha256_update(&h, text, size);
    sha256_final(&h, ret->hash);
}
