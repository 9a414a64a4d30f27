/*
 * JSON objects from tables: one table of fields says what a struct's members are called, and
 * drives both writing and strict reading. Tier: hosted; used by cascade.c alone.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "util/err.h"

enum json_kind {
    JSON_BYTES, /* char *; under KEY_hex if it is no UTF-8 */
    JSON_U32,
    JSON_U64, /* up to INT64_MAX */
    JSON_I64,
    JSON_OCTAL,   /* uint32_t as a string of octal digits */
    JSON_HASH,    /* 32 bytes as hex */
    JSON_WORD,    /* uint32_t as one of words[] */
    JSON_BITS,    /* uint32_t as a sorted list of words[] */
    JSON_STRINGS, /* char **, with its size_t count at count_offset; an element that is no UTF-8 is
                     {"hex": ...} */
};

struct json_word {
    const char *word;
    uint32_t value;
};

struct json_field {
    const char *key;
    enum json_kind kind;
    size_t offset;
    bool optional;                 /* left out while zero, NULL or empty; absent reads as that */
    const struct json_word *words; /* ends with a NULL word */
    size_t count_offset;
    uint64_t max; /* largest number; 0: what the type holds */
};

/* Where reading is, for messages: file and place. */
struct json_place {
    const char *file;
    char text[200];
    struct err *err;
};

/* A new object, or NULL without memory. */
json_t *json_pack_fields(const struct json_field *fields, size_t count, const void *base);
/* Reads all fields and refuses other keys, but for those in also[] (NULL-terminated; may be NULL).
 * base's members are zero before; what was read stays in base on failure (free it). */
MUST_CHECK int json_read_fields(const struct json_place *at, json_t *object,
                                const struct json_field *fields, size_t count,
                                const char *const *also, void *base);
/* err_set(-EBADMSG, "file: place.key: reason"). key may be NULL. */
int json_refuse(const struct json_place *at, const char *key, const char *format, ...) PRINTF(3, 4);
