/*
 * stream_filter: which events a stream shows.
 *
 * A leaf. A filter is one piece of memory and never changes, so it may move from one thread to another.
 */
#ifndef CORBEL_INGRESS_STREAM_FILTER_H
#define CORBEL_INGRESS_STREAM_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"

#define STREAM_PATTERNS_MAX 32u

struct stream_filter;

/* Patterns with commas between them, spaces around them ignored; *out gets them and *count how many.
 * INVALID_ARGUMENT says what is wrong. */
struct status stream_patterns_parse(const char *text, struct arena *arena, const char ***out, size_t *count);

struct stream_filter_options {
	const char *const *types; /* patterns of which one must match; none: every type */
	size_t type_count;
	const char *const *granted; /* the same once more: what a token allows */
	size_t granted_count;
	const char *subject; /* NULL: any */
};
/* Copies what it is given; mem_free() frees it. */
struct stream_filter *stream_filter_new(const struct stream_filter_options *options);
/* `subject` may be NULL. */
bool stream_filter_passes(const struct stream_filter *filter, const char *type, const char *subject);

#endif
