/*
 * id: names of things, such as "key_018f3c2e6b7a7c1e9d0a4b5c6d7e8f90".
 *
 * A prefix of 2 to 8 lowercase letters, an underscore, and a UUIDv7 (RFC 9562) as 32 lowercase
 * hexadecimal digits, so that ids sort by time of creation. Ids made by one process in the same
 * millisecond are ordered too (12 bits of counter, RFC 9562 section 6.2 method 1).
 */
#ifndef CORBEL_BASE_ID_H
#define CORBEL_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/random.h"

#define ID_MAX 48 /* with the NUL */

struct id {
	char text[ID_MAX];
};

struct id id_make(const char *prefix, const struct clock *clock, const struct random *random);
/* Sorts before every id with this prefix that is made at `wall_ms` or later, behind those made before. */
struct id id_before(const char *prefix, int64_t wall_ms);
/* The form only: prefix (NULL accepts any), underscore, 32 lowercase hexadecimal digits. */
bool id_is_valid(const char *text, const char *prefix);

#endif
