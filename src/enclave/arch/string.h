/* What the compiler and the rest of the library OS need of <string.h>. Tier: enclave. */
#pragma once

#include <stddef.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t size);
void *memmove(void *dst, const void *src, size_t size);
void *memset(void *dst, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t max);
void *memchr(const void *s, int byte, size_t size);
void *memrchr(const void *s, int byte, size_t size);
char *strchr(const char *s, int byte);
char *strrchr(const char *s, int byte);

/* A freestanding compiler does not expand these by itself. */
#define memcpy(dst, src, size)  __builtin_memcpy(dst, src, size)
#define memset(dst, byte, size) __builtin_memset(dst, byte, size)
