/*
 * pattern: which event types are meant.
 *
 * Words joined by dots, as in a type; "*" stands for one word, "**" for one or more, once at most:
 *
 *   file.uploaded   that type                  file.*    file.uploaded, not file.version.created
 *   **              every type                 file.**   everything below file, not "file" itself
 *   *.failed        report.failed              **.failed report.failed, bulk.job.failed
 *
 * A leaf: no memory, matching in one pass over both.
 */
#ifndef CORBEL_EVENTS_PATTERN_H
#define CORBEL_EVENTS_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#define EVENT_TYPE_MAX 128u /* bytes, of types and patterns */

/* Whether it is a type: words of letters, digits, "_" and "-", the first beginning with a letter.
 * INVALID_ARGUMENT says what is wrong. */
struct status event_type_check(const char *type, size_t length);
/* The same for a pattern. */
struct status pattern_check(const char *pattern, size_t length);

/* `pattern` and `type` are valid. */
bool pattern_matches(const char *pattern, const char *type);

/* What an index on types can tell before each one is matched: every type that matches is at least `from` and
 * less than `to`, byte by byte (COLLATE "C" in PostgreSQL); "" in `to`: no such bound, and none
 * when it is exact. */
struct pattern_range {
	bool is_exact; /* it matches the type `from` alone */
	char from[EVENT_TYPE_MAX + 1];
	char to[EVENT_TYPE_MAX + 1];
};
void pattern_range(const char *pattern, struct pattern_range *out);

#endif
