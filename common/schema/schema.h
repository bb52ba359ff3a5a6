/*
 * schema: whether an event's data is as its type promises. JSON Schema 2020-12, a subset.
 *
 * Any value:    type, enum, const, $ref to "#" or "#/$defs/NAME", allOf, anyOf, oneOf, not, true, false
 * Objects:      properties, required, additionalProperties
 * Arrays:       prefixItems, items, minItems, maxItems, uniqueItems
 * Strings:      minLength, maxLength, pattern (PCRE2 syntax, regex.h), format
 * Numbers:      minimum, maximum, exclusiveMinimum, exclusiveMaximum
 * At the root:  $schema (this dialect or absent), $id (not used), $defs
 * Not used:     title, description, $comment, default, examples, deprecated, readOnly, writeOnly
 *
 * A format is checked, not only noted: date-time, email, uri or uuid. A schema that uses anything else is
 * refused when it is registered, so that nobody relies on a rule that is not checked. Numbers are compared
 * exactly.
 *
 * The cost of a check is bounded: references nest to a depth only, and every step is counted. A pattern that
 * cannot be matched within its bounds counts as not matched.
 *
 * A leaf. A schema never changes: any thread may check with it.
 */
#ifndef CORBEL_SCHEMA_SCHEMA_H
#define CORBEL_SCHEMA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "api/violations.h"
#include "base/arena.h"

#define SCHEMA_TEXT_MAX  (32u << 10)
#define SCHEMA_NODES_MAX 2000u /* subschemas */

struct json_value;
struct schema;

/* NULL when the text is no schema of this subset: all that is wrong is added to `violations` with pointers
 * below `pointer` ("/schema"). Copies the text. */
struct schema *schema_compile(const char *text, size_t length, const char *pointer, struct arena *arena,
                              struct violations *violations);
void schema_free(struct schema *schema); /* NULL is allowed */

/* Adds what is wrong with a value, with pointers below `pointer` ("/data"); true when nothing is. */
bool schema_check(const struct schema *schema, const struct json_value *value, const char *pointer,
                  struct arena *arena, struct violations *violations);
/* The same for JSON text, which the arena takes a tree of (json_value.h). */
bool schema_check_text(const struct schema *schema, const char *text, size_t length, const char *pointer,
                       struct arena *arena, struct violations *violations);

#endif
