/*
 * origin: what is asked of an origin, and what its answer means. A leaf.
 */
#ifndef CORBEL_CACHED_ORIGIN_H
#define CORBEL_CACHED_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

#define ORIGIN_KEY "{key}"

/* Whether the template is an http or https URL with "{key}" once, behind its host, and without a segment "."
 * or "..". */
bool origin_is_template(const char *url);
/* The template with the key, percent-encoded but for its slashes. NULL when that makes a segment "." or
 * "..", which would lead elsewhere. The template is one. */
char *origin_url(const char *url, const char *key, struct arena *arena);
/* A token of RFC 9110 section 5.6.2 that is not the protocol's own, and a value of visible characters. */
bool origin_is_header(const char *name, const char *value);
/* The value of a header in a head with line ends, in the arena; NULL when it is not there. */
char *origin_header(const char *head, size_t size, const char *name, struct arena *arena);

#endif
