/*
 * catalogue: the event types that Corbel knows from the start, with what their data looks like.
 *
 * catalogue.json is part of the program. Schemas grow only by properties that need not be there; a type that
 * must break gets a new name. Data may hold more than its schema names.
 *
 * A leaf. It is read once, when a process starts, and never changes: any thread may look into it.
 */
#ifndef CORBEL_WEBHOOKD_CATALOGUE_H
#define CORBEL_WEBHOOKD_CATALOGUE_H

#include <stddef.h>

#define CATALOGUE_SCHEMA_VERSION 1u /* of every type in it */

struct schema;

struct catalogue_type {
	const char *name;        /* "file.uploaded" */
	const char *description; /* one sentence or two */
	const char *schema_json; /* JSON Schema of the data, of schema.h's subset; not NUL-terminated */
	size_t schema_length;
	const char *example_json; /* data that fits it; not NUL-terminated */
	size_t example_length;
	const struct schema *schema; /* owned by the catalogue */
};

struct catalogue;

struct catalogue *catalogue_new(void);
void catalogue_free(struct catalogue *catalogue); /* NULL is allowed */

/* NULL: unknown. */
const struct catalogue_type *catalogue_find(const struct catalogue *catalogue, const char *name);
size_t catalogue_count(const struct catalogue *catalogue);
/* In the order of their names; `index` is less than the count. */
const struct catalogue_type *catalogue_at(const struct catalogue *catalogue, size_t index);

#endif
