/*
 * text: strings from outside, checked and turned into values, and back.
 *
 * Parsers take explicit lengths, accept exactly the documented form and consume all of it.
 */
#ifndef CORBEL_BASE_TEXT_H
#define CORBEL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* RFC 3629: no surrogates, nothing beyond U+10FFFF, shortest form only. */
bool text_is_utf8(const char *text, size_t length);
/* 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit. */
bool text_is_name(const char *text, size_t length);
/* The length of the first sentence of a comment, without its full stop: up to a '.' before white space or the
 * end, or up to an empty line. */
size_t text_sentence(const char *text);

/* Whole decimal numbers, no white space, no sign for unsigned; false on overflow. */
bool text_to_u64(const char *text, size_t length, uint64_t *out);
bool text_to_i64(const char *text, size_t length, int64_t *out);
/* "250ms", "10s", "5m", "2h", "7d": a number and a unit. */
bool text_to_duration_ms(const char *text, size_t length, uint64_t *out_ms);
/* "512", "64KiB", "16MiB", "2GiB", also "k", "m", "g" (binary). */
bool text_to_size_bytes(const char *text, size_t length, uint64_t *out_bytes);
/* true/false, yes/no, on/off, 1/0. */
bool text_to_bool(const char *text, size_t length, bool *out);

/* RFC 3339, any offset, fraction of 0 to 9 digits (cut to ms), a leap second (23:59:60 of
 * UTC only) read as :59.999. Years 0000 to 9999. */
bool text_to_timestamp_ms(const char *text, size_t length, int64_t *out_ms);
#define TEXT_TIMESTAMP_MAX 32
/* "2026-01-31T23:59:59.123Z"; the fraction is left out when zero. Returns the length. */
size_t text_from_timestamp_ms(int64_t ms, char out[TEXT_TIMESTAMP_MAX]);

/* Base64 of RFC 4648: standard alphabet with padding out; standard or URL-safe, padded or not, in. */
size_t text_base64_encoded_size(size_t length);                         /* without the NUL */
size_t text_base64_encode(const void *bytes, size_t length, char *out); /* writes no NUL */
bool text_base64_decode(const char *text, size_t length, uint8_t *out, size_t *out_length);
void text_hex_encode(const void *bytes, size_t length, char *out); /* 2 * length, no NUL */
bool text_hex_decode(const char *text, size_t length, uint8_t *out);

/* A growing string. In an arena, or in process memory when `arena` is NULL. */
struct strbuf {
	struct arena *arena;
	char *data; /* NUL-terminated once anything was added */
	size_t length;
	size_t capacity;
	size_t ceiling; /* 0: none; beyond it nothing is added and `is_cut` is set */
	bool is_cut;
};
void strbuf_init(struct strbuf *buf, struct arena *arena);
void strbuf_fini(struct strbuf *buf); /* frees process memory; a no-op in an arena */
void strbuf_clear(struct strbuf *buf);
void strbuf_add(struct strbuf *buf, const char *text, size_t length);
/* Adds `length` bytes for the caller to fill; NULL when the ceiling forbids. */
char *strbuf_grow(struct strbuf *buf, size_t length);
void strbuf_puts(struct strbuf *buf, const char *text);
void strbuf_putc(struct strbuf *buf, char c);
void strbuf_u64(struct strbuf *buf, uint64_t value);
void strbuf_i64(struct strbuf *buf, int64_t value);
/* The shortest decimal text that reads back as the same number; `value` is finite. */
void strbuf_double(struct strbuf *buf, double value);
void strbuf_printf(struct strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds a JSON string with its quotes; `text` is valid UTF-8. */
void strbuf_json_string(struct strbuf *buf, const char *text, size_t length);

#endif
