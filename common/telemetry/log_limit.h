/*
 * log_limit: how often one event may be logged, so that a failure that repeats a thousand times a second
 * fills no disk and hides no other.
 */
#ifndef CORBEL_TELEMETRY_LOG_LIMIT_H
#define CORBEL_TELEMETRY_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct log_limit;

/* `per_s` records of each event in each second; at least 1. */
struct log_limit *log_limit_new(uint32_t per_s);
void log_limit_free(struct log_limit *limit);
/* Whether a record of this event may be written at this monotonic time. If so, `suppressed` is how many of
 * it were not, since the last one that was. Any thread. */
bool log_limit_admits(struct log_limit *limit, const char *event, uint64_t now_ms, uint64_t *suppressed);

#endif
