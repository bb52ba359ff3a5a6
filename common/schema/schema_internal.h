/*
 * schema_internal: a compiled schema. Written by schema_compile.c, read by schema_check.c.
 */
#ifndef CORBEL_SCHEMA_SCHEMA_INTERNAL_H
#define CORBEL_SCHEMA_SCHEMA_INTERNAL_H

#include <stdint.h>

#include "schema/json_value.h"
#include "schema/regex.h"
#include "schema/schema.h"

/* Bits of schema_node.types, by enum json_value_type, and one for "integer". */
#define SCHEMA_TYPE(type)   (1u << (type))
#define SCHEMA_TYPE_INTEGER (1u << 6)

enum schema_format { SCHEMA_ANY_FORMAT, SCHEMA_DATE_TIME, SCHEMA_EMAIL, SCHEMA_URI, SCHEMA_UUID };

struct schema_property {
	const char *name;
	size_t length;
	struct schema_node *node;
};

struct schema_list {
	size_t count;
	struct schema_node **nodes;
};

enum schema_mark { SCHEMA_UNSEEN, SCHEMA_OPEN, SCHEMA_DONE };

/* One subschema. NULL, 0 and UINT64_MAX (maximums) mean that nothing is said. */
struct schema_node {
	bool is_false; /* nothing passes */
	unsigned types;
	const struct json_value *constant, *enumeration;
	struct schema_node *reference;
	struct schema_list all_of, any_of, one_of;
	struct schema_node *not_this;
	size_t property_count;
	struct schema_property *properties; /* sorted by name, see schema_property_order() */
	const struct json_value *required;  /* array of strings */
	struct schema_node *additional;
	struct schema_list prefix_items;
	struct schema_node *items;
	uint64_t min_items, max_items;
	bool has_unique_items;
	uint64_t min_length, max_length; /* characters */
	struct regex *pattern;           /* owned */
	const char *pattern_text;
	enum schema_format format;
	const struct json_value *minimum, *maximum, *exclusive_minimum, *exclusive_maximum;
	/* schema_compile.c only: */
	struct schema_node *made_before;
	const char *pointer; /* where it stands */
	enum schema_mark mark;
};

struct schema {
	struct arena arena;
	struct schema_node *newest; /* all nodes, by made_before */
	struct schema_node *root;
};

/* schema_keywords.c: keywords whose value is no schema. False: `name` is none of them. `st` tells what is
 * wrong with the value. */
bool schema_keyword_read(struct schema_node *node, const char *name, const struct json_value *value,
                         struct status *st);

int schema_property_order(const char *a, size_t a_length, const char *b, size_t b_length);

/* By name; SCHEMA_ANY_FORMAT: unknown. */
enum schema_format schema_format_find(const char *name);
const char *schema_format_name(enum schema_format format);
bool schema_format_fits(enum schema_format format, const char *text, size_t length);

#endif
