/*
 * glob: a pattern of keys, and whether a key is of it.
 *
 * '*' stands for any bytes, also none and also '/'; '?' for one byte; '\' takes the next byte literally.
 * What stands between two '*' is at most GLOB_RUN_MAX bytes, so that it fits the bits of a word and matching
 * takes a few steps for a byte of the key: no pattern is slow.
 */
#ifndef CORBEL_CACHED_GLOB_H
#define CORBEL_CACHED_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#define GLOB_MAX     256u /* bytes of a pattern */
#define GLOB_RUN_MAX 64u

struct glob;

/* INVALID_ARGUMENT: empty, too long, a run too long, or a '\' at the end. */
struct status glob_new(const char *pattern, size_t length, struct glob **out);
void glob_free(struct glob *glob);
size_t glob_bytes(const struct glob *glob);
bool glob_matches(const struct glob *glob, const char *text, size_t length);

#endif
