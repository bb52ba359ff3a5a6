/*
 * json_value: JSON text as a tree to look into, with numbers as they were written.
 *
 * Filters and schemas compare numbers as the decimals that they are: 9007199254740993 is not
 * 9007199254740992, 18446744073709551616 and 1e400 are numbers like others, and 1.0 equals 1.
 *
 * A leaf. A tree lies in an arena and never changes: any thread may read it. Of members with one name the
 * last counts.
 */
#ifndef CORBEL_SCHEMA_JSON_VALUE_H
#define CORBEL_SCHEMA_JSON_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

enum json_value_type {
	JSON_VALUE_NULL,
	JSON_VALUE_BOOLEAN,
	JSON_VALUE_NUMBER,
	JSON_VALUE_STRING,
	JSON_VALUE_ARRAY,
	JSON_VALUE_OBJECT
};

struct json_value {
	enum json_value_type type;
	uint32_t name_length;
	uint32_t length;  /* of `text` */
	uint32_t count;   /* array, object: elements or members */
	const char *name; /* of a member, decoded */
	/* string: decoded, with a NUL behind; all others: the bytes of the text, which must outlive the tree */
	const char *text;
	const struct json_value *first, *next; /* elements or members in order; the next beside this one */
};

/* INVALID_ARGUMENT: not JSON, or nested deeper than JSON_DEPTH_MAX (api/lexer.h); RESOURCE_EXHAUSTED: the
 * arena's ceiling is reached. A tree takes up to 32 times the text's size. */
struct status json_value_parse(const char *text, size_t length, struct arena *arena,
                               const struct json_value **out);

/* The member of that name; NULL: none, or no object. */
const struct json_value *json_value_member(const struct json_value *object, const char *name, size_t length);
bool json_value_is_true(const struct json_value *value);

/* JSON pointer, RFC 6901. */
bool json_pointer_is_valid(const char *pointer, size_t length);
/* What a valid pointer points at; NULL: nothing. */
const struct json_value *json_value_at(const struct json_value *root, const char *pointer, size_t length);

/* Equal as JSON values: numbers by their value, objects whatever their order. What a name given twice in one
 * object means is left open: such an object may count as different from any other. */
bool json_value_equal(const struct json_value *a, const struct json_value *b);
/* The same for equal values. Seeded by process. */
uint64_t json_value_hash(const struct json_value *value);

/* -1, 0 or 1. Exact; exponents of more than 15 digits count as the largest of 15. */
int json_number_compare(const struct json_value *a, const struct json_value *b);
/* Whether a number has no fraction: 1, 1.0, 1e3. */
bool json_number_is_integer(const struct json_value *number);

/* Characters (Unicode code points) of a string. */
size_t json_string_characters(const struct json_value *string);

#endif
