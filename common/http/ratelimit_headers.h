/*
 * ratelimit_headers: RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), as lists
 * of RFC 9651 strings with parameters.
 */
#ifndef CORBEL_HTTP_RATELIMIT_HEADERS_H
#define CORBEL_HTTP_RATELIMIT_HEADERS_H

#include <stdint.h>

#include "base/text.h"

/* Adds `"name";q=quota;w=window` to a RateLimit-Policy list. The window is left out below a second, which
 * the format cannot say. `name` is printable ASCII. */
void ratelimit_policy_add(struct strbuf *list, const char *name, uint64_t quota, uint64_t window_ms);
/* Adds `"name";r=remaining;t=seconds` to a RateLimit list: seconds until there is more, rounded up. */
void ratelimit_add(struct strbuf *list, const char *name, uint64_t remaining, uint64_t more_ms);
/* Seconds for Retry-After, rounded up: waiting them always suffices. */
uint64_t retry_after_seconds(uint64_t ms);

#endif
