/*
 * schema_check: one check of a value against a schema, under way. Used by schema_check.c and
 * schema_content.c only; see schema.h.
 */
#ifndef CORBEL_SCHEMA_SCHEMA_CHECK_H
#define CORBEL_SCHEMA_SCHEMA_CHECK_H

#include "schema/schema_internal.h"

/* Where a value lies: the chain to the root, written out only when there is something to say. */
struct place {
	const struct place *parent;
	const struct json_value *value; /* a member has its name */
	size_t index;                   /* of an element */
};

struct check {
	const char *pointer;
	struct arena *arena;
	struct violations *violations; /* NULL while alternatives are tried */
	size_t steps;
	uint64_t regex_steps;
	unsigned depth;
	bool is_exhausted;
};

/* Whether the value at `place` is as the subschema says; adds what is not. */
bool schema_node_fits(struct check *check, const struct schema_node *node, const struct place *place);
/* The part of it that depends on the kind of value. */
bool schema_content_fits(struct check *check, const struct schema_node *node, const struct place *place);

/* Adds a violation at `place`, at its member `name` when that is not NULL. Returns false, for the caller to
 * return. */
bool schema_wrong(struct check *check, const struct place *place, const struct json_value *name,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Takes steps; false when there are not enough left. */
bool schema_step(struct check *check, size_t count);
/* How many bytes of a value's text to show: 60 at most, whole characters. */
int schema_shown(const struct json_value *value);

#endif
