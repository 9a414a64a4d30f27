#include "manifest/json_io.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/fs.h"

#define HASH_SIZE 32

static const char digits[] = "0123456789abcdef";

int json_refuse(const struct json_place *at, const char *key, const char *format, ...)
{
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    return err_set(at->err, -EBADMSG, "'%s': %s%s%s: %s", at->file, at->text,
                   key && at->text[0] ? "." : "", key ? key : "", reason);
}

static json_t *hex_new(const void *data, size_t size)
{
    CLEANUP(free_p) char *text = malloc(size * 2 + 1);
    if (!text)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[((const uint8_t *)data)[i] >> 4];
        text[2 * i + 1] = digits[((const uint8_t *)data)[i] & 15];
    }
    return json_stringn_nocheck(text, size * 2);
}

static int hex_digit(char c)
{
    const char *p = c ? strchr(digits, c) : NULL;
    return p ? (int)(p - digits) : -1;
}

/* Lower case only: one spelling. */
static bool hex_read(const char *text, size_t size, uint8_t *ret)
{
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * size] == '\0';
}

/* ---- writing ---- */

static json_t *strings_new(char **strings, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        json_t *item = json_string(strings[i]);
        if (!item)
            item = json_pack("{s:o}", "hex", hex_new(strings[i], strlen(strings[i])));
        if (json_array_append_new(list, item) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *bits_new(const struct json_word *words, uint32_t bits)
{
    json_t *list = json_array();
    for (; list && words->word; words++)
        if ((bits & words->value) && json_array_append_new(list, json_string(words->word)) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static const char *word_of(const struct json_word *words, uint32_t value)
{
    for (; words->word; words++)
        if (words->value == value)
            return words->word;
    return NULL;
}

static bool is_empty(const struct json_field *f, const void *base)
{
    static const uint8_t zero[HASH_SIZE];
    const void *p = (const char *)base + f->offset;
    switch (f->kind) {
    case JSON_BYTES: return *(char *const *)p == NULL;
    case JSON_U64:
    case JSON_I64: return *(const uint64_t *)p == 0;
    case JSON_HASH: return memcmp(p, zero, HASH_SIZE) == 0;
    case JSON_STRINGS: return *(const size_t *)((const char *)base + f->count_offset) == 0;
    default: return *(const uint32_t *)p == 0;
    }
}

static json_t *value_new(const struct json_field *f, const void *base)
{
    const void *p = (const char *)base + f->offset;
    char text[16];
    switch (f->kind) {
    case JSON_U32: return json_integer(*(const uint32_t *)p);
    case JSON_U64: return json_integer((json_int_t) * (const uint64_t *)p);
    case JSON_I64: return json_integer(*(const int64_t *)p);
    case JSON_OCTAL:
        snprintf(text, sizeof(text), "%o", *(const uint32_t *)p);
        return json_string(text);
    case JSON_HASH: return hex_new(p, HASH_SIZE);
    case JSON_WORD: return json_string(word_of(f->words, *(const uint32_t *)p));
    case JSON_BITS: return bits_new(f->words, *(const uint32_t *)p);
    case JSON_STRINGS:
        return strings_new(*(char **const *)p,
                           *(const size_t *)((const char *)base + f->count_offset));
    case JSON_BYTES: break;
    }
    return NULL;
}

json_t *json_pack_fields(const struct json_field *fields, size_t count, const void *base)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < count; i++) {
        const struct json_field *f = &fields[i];
        if (f->optional && is_empty(f, base))
            continue;
        char key[64];
        snprintf(key, sizeof(key), "%s", f->key);
        json_t *value;
        if (f->kind == JSON_BYTES) {
            const char *bytes = *(char *const *)((const char *)base + f->offset);
            value = json_string(bytes);
            if (!value && bytes) {
                snprintf(key, sizeof(key), "%s_hex", f->key);
                value = hex_new(bytes, strlen(bytes));
            }
        } else {
            value = value_new(f, base);
        }
        if (json_object_set_new(object, key, value) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* ---- reading ---- */

static int read_bytes(const struct json_place *at, const char *key, json_t *value, bool hex,
                      char **ret)
{
    if (!json_is_string(value))
        return json_refuse(at, key, "must be a string");
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    char *bytes;
    if (!hex) {
        bytes = strdup(text);
        if (!bytes)
            return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
        *ret = bytes;
        return 0;
    }
    bytes = malloc(size / 2 + 1);
    if (!bytes)
        return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
    bytes[size / 2] = '\0';
    json_t *same = NULL;
    bool bad = size % 2 || !hex_read(text, size / 2, (uint8_t *)bytes) ||
               strlen(bytes) != size / 2 || (same = json_string(bytes));
    json_decref(same);
    if (bad) {
        free(bytes);
        return json_refuse(at, key, "must be hex digits of a text that is no UTF-8");
    }
    *ret = bytes;
    return 0;
}

static int read_number(const struct json_place *at, const struct json_field *f, json_t *value,
                       int64_t low, uint64_t high, int64_t *ret)
{
    if (!json_is_integer(value))
        return json_refuse(at, f->key, "must be a whole number");
    int64_t n = json_integer_value(value);
    if (f->max)
        high = f->max;
    if (n < low || (n >= 0 && (uint64_t)n > high))
        return json_refuse(at, f->key, "%lld is out of range", (long long)n);
    *ret = n;
    return 0;
}

static int read_octal(const struct json_place *at, const struct json_field *f, json_t *value,
                      uint32_t *ret)
{
    const char *text = json_string_value(value);
    char again[16];
    uint32_t n = 0;
    size_t size = text ? strlen(text) : 0;
    if (size == 0 || size > 7 || strspn(text, "01234567") != size)
        return json_refuse(at, f->key, "must be a string of octal digits");
    for (size_t i = 0; i < size; i++)
        n = n * 8 + (uint32_t)(text[i] - '0');
    snprintf(again, sizeof(again), "%o", n);
    if (strcmp(again, text) != 0 || (f->max && n > f->max))
        return json_refuse(at, f->key, "'%s' is out of range", text);
    *ret = n;
    return 0;
}

static int read_word(const struct json_place *at, const struct json_field *f, json_t *value,
                     uint32_t *ret)
{
    const char *text = json_string_value(value);
    for (const struct json_word *w = f->words; text && w->word; w++)
        if (strcmp(w->word, text) == 0) {
            *ret = w->value;
            return 0;
        }
    return json_refuse(at, f->key, "'%.100s' is no known word", text ? text : "?");
}

static int read_bits(const struct json_place *at, const struct json_field *f, json_t *value,
                     uint32_t *ret)
{
    if (!json_is_array(value))
        return json_refuse(at, f->key, "must be a list of words");
    uint32_t bits = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        uint32_t bit;
        int r = read_word(at, f, json_array_get(value, i), &bit);
        if (r < 0)
            return r;
        if (bits & bit)
            return json_refuse(at, f->key, "repeats a word");
        bits |= bit;
    }
    *ret = bits;
    return 0;
}

static int read_strings(const struct json_place *at, const struct json_field *f, json_t *value,
                        char ***ret, size_t *ret_count)
{
    if (!json_is_array(value))
        return json_refuse(at, f->key, "must be a list of strings");
    size_t count = json_array_size(value);
    if (count > (f->max ? f->max : 1u << 16))
        return json_refuse(at, f->key, "has too many elements");
    char **list = calloc(count + 1, sizeof(*list));
    if (!list)
        return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
    *ret = list;
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(value, i);
        bool hex = json_is_object(item);
        if (hex && json_object_size(item) != 1)
            return json_refuse(at, f->key, "element %zu must be a string or {\"hex\": ...}", i);
        if (hex)
            item = json_object_get(item, "hex");
        int r = read_bytes(at, f->key, item, hex, &list[i]);
        if (r < 0)
            return r;
        *ret_count = i + 1;
    }
    return 0;
}

static int read_value(const struct json_place *at, const struct json_field *f, json_t *value,
                      void *base)
{
    void *p = (char *)base + f->offset;
    int64_t n = 0;
    int r;
    switch (f->kind) {
    case JSON_BYTES: return read_bytes(at, f->key, value, false, p);
    case JSON_U32:
        if ((r = read_number(at, f, value, 0, UINT32_MAX, &n)) == 0)
            *(uint32_t *)p = (uint32_t)n;
        return r;
    case JSON_U64:
        if ((r = read_number(at, f, value, 0, INT64_MAX, &n)) == 0)
            *(uint64_t *)p = (uint64_t)n;
        return r;
    case JSON_I64:
        if ((r = read_number(at, f, value, INT64_MIN, INT64_MAX, &n)) == 0)
            *(int64_t *)p = n;
        return r;
    case JSON_OCTAL: return read_octal(at, f, value, p);
    case JSON_HASH:
        if (json_string_length(value) != 2 * HASH_SIZE ||
            !hex_read(json_string_value(value), HASH_SIZE, p))
            return json_refuse(at, f->key, "must be a hash of 64 hex digits");
        return 0;
    case JSON_WORD: return read_word(at, f, value, p);
    case JSON_BITS: return read_bits(at, f, value, p);
    case JSON_STRINGS:
        return read_strings(at, f, value, p, (size_t *)((char *)base + f->count_offset));
    }
    return -EINVAL;
}

static bool is_known(const char *key, const struct json_field *fields, size_t count,
                     const char *const *also)
{
    for (; also && *also; also++)
        if (strcmp(*also, key) == 0)
            return true;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(fields[i].key);
        if (strncmp(fields[i].key, key, size) != 0)
            continue;
        if (key[size] == '\0' || (fields[i].kind == JSON_BYTES && strcmp(key + size, "_hex") == 0))
            return true;
    }
    return false;
}

int json_read_fields(const struct json_place *at, json_t *object, const struct json_field *fields,
                     size_t count, const char *const *also, void *base)
{
    if (!json_is_object(object))
        return json_refuse(at, NULL, "must be an object");

    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (!is_known(key, fields, count, also))
            return json_refuse(at, NULL, "unknown key '%.100s'", key);
    }

    for (size_t i = 0; i < count; i++) {
        const struct json_field *f = &fields[i];
        char hex_key[64];
        snprintf(hex_key, sizeof(hex_key), "%s_hex", f->key);
        value = json_object_get(object, f->key);
        json_t *hex = f->kind == JSON_BYTES ? json_object_get(object, hex_key) : NULL;
        int r = 0;
        if (value && hex)
            return json_refuse(at, f->key, "stands twice, plain and as hex");
        if (value)
            r = read_value(at, f, value, base);
        else if (hex)
            r = read_bytes(at, hex_key, hex, true, (char **)((char *)base + f->offset));
        else if (!f->optional)
            return json_refuse(at, f->key, "is missing");
        if (r < 0)
            return r;
    }
    return 0;
}
