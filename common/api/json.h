/*
 * json: JSON text to a message and back, by protobuf-c descriptors and the contract's field rules.
 *
 * Into a message: fields by their snake_case names; enums by name; bytes as base64; TIMESTAMP as
 * RFC 3339; whole numbers as numbers (also "1.0" and "1e3") or decimal strings; JSON fields keep their exact
 * bytes; null is the same as absence (and is noted in the `nulls` field where the message has one). Refused,
 * each with its JSON pointer: unknown and duplicate names, wrong types, overflow, bad UTF-8, lone surrogates,
 * more depth, elements or bytes than the bounds, and every rule of api_validate(). All violations of a text
 * are reported together, up to VIOLATIONS_MAX. What is not JSON, or is nested too deeply, is the last of
 * them, with line and column: nothing behind it is read.
 *
 * Out of a message: fields that are present, in the order of their numbers, 64-bit integers as
 * numbers when a double holds them exactly (up to 2^53) and as strings otherwise.
 *
 * Memory comes from the arena only. Depth is at most JSON_DEPTH_MAX; no recursion beyond it.
 */
#ifndef CORBEL_API_JSON_H
#define CORBEL_API_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "api/api.h"
#include "api/lexer.h"
#include "api/violations.h"
#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"

/* Decodes without validating rules that need the whole message (required …): api_validate() does. *out is
 * NULL when the text was not read to its end: then there is nothing to validate. */
struct status json_to_message(const char *text, size_t length, const struct api_message *rules,
                              struct arena *arena, struct violations *violations, ProtobufCMessage **out);
/* One field from a path segment or query value, as text: numbers, booleans, enums, timestamps are
 * parsed from it. `pointer` names it in violations. Repeated fields append. */
void json_set_field_from_text(ProtobufCMessage *message, const struct api_message *rules, const char *field,
                              const char *text, size_t length, struct arena *arena,
                              struct violations *violations);

struct json_write_options {
	bool is_pretty;
	bool is_redacted; /* secret fields as "[redacted]", for logs */
};
/* `options` may be NULL. */
void json_from_message(const ProtobufCMessage *message, const struct api_message *rules,
                       const struct json_write_options *options, struct strbuf *out);

/* Checks one message against the rules of its fields, and its messages' in turn: required, lengths,
 * ranges, items, patterns, formats, UTF-8, output_only. */
void api_validate(const ProtobufCMessage *message, const struct api_message *rules, struct arena *arena,
                  struct violations *violations);

/* Reads text as one JSON value within the bounds, without keeping it. */
struct status json_check(const char *text, size_t length);

#endif
