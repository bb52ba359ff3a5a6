/*
 * fetches: values that the cache gets from a namespace's origin by itself.
 *
 * Whoever got a token for a key of such a namespace starts a fetch with it and goes on; those who wait are
 * woken by the engine when the value is filled in, or when the token is given back because the origin failed.
 * A failure is remembered for a second, in which nobody asks for that key again, and values in their error
 * grace are given.
 */
#ifndef CORBEL_CACHED_FETCHES_H
#define CORBEL_CACHED_FETCHES_H

#include <stdbool.h>

#include "cached_internal.h"

struct fetches;

struct status fetches_new(struct cached *self, struct fetches **out);
/* Cancels what is under way; nothing is fetched from then on, whoever still asks. */
void fetches_stop(struct fetches *fetches);
void fetches_free(struct fetches *fetches);

/* Whether the namespace has an origin. Any thread, does not wait. */
bool fetches_has_origin(const struct cached *self, const struct space *space);
/* Whether the origin failed for this key just now. */
bool fetches_has_failed(const struct cached *self, const struct space *space, const char *key);
/* Takes the token. False when it cannot be fetched; the token is given back then. */
bool fetches_start(struct cached *self, struct space *space, const char *key, uint64_t token);

#endif
