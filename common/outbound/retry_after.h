/*
 * retry_after: the value of Retry-After (RFC 9110 section 10.2.3), as a time to wait.
 */
#ifndef CORBEL_OUTBOUND_RETRY_AFTER_H
#define CORBEL_OUTBOUND_RETRY_AFTER_H

#include <stddef.h>
#include <stdint.h>

#define RETRY_AFTER_MAX_MS (UINT64_C(10) * 366 * 86400 * 1000)

/* Seconds, or a date in any of the three forms of HTTP; at most RETRY_AFTER_MAX_MS. 0 for a date that has
 * passed and for what is neither. `now_ms` is wall time. */
uint64_t retry_after_ms(const char *value, size_t length, int64_t now_ms);

#endif
