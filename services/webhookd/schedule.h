/*
 * schedule: when a delivery is tried next.
 *
 * After each failure it waits the longer of the schedule's time and what the receiver asked for by
 * Retry-After (at most a day), and up to a fifth more, at random, so that what failed together does not come
 * back together. It never comes early.
 *
 * A leaf: time and randomness come from the caller.
 */
#ifndef CORBEL_WEBHOOKD_SCHEDULE_H
#define CORBEL_WEBHOOKD_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"

#define SCHEDULE_RETRIES_MAX    20u
#define SCHEDULE_HINT_MAX_MS    UINT64_C(86400000)  /* of Retry-After */
#define SCHEDULE_WAIT_MAX_MS    UINT64_C(604800000) /* of one waiting time, before the random part */
#define SCHEDULE_JITTER_PERCENT 20u

struct schedule {
	uint64_t retry_ms[SCHEDULE_RETRIES_MAX]; /* before the second try, the third … */
	size_t count;
};

/* An endpoint's own waiting times; with `count` 0 those that Standard Webhooks gives as its example: 5 s,
 * 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. More than the bounds are cut to them. */
void schedule_init(struct schedule *schedule, const uint64_t *retry_ms, size_t count);

/* How long to wait after the `failures`-th failed try (from 1); `hint_ms` is Retry-After, 0 without. False:
 * that was the last try. */
bool schedule_next(const struct schedule *schedule, unsigned failures, uint64_t hint_ms,
                   const struct random *random, uint64_t *wait_ms);

/* From the first try to the last at the latest, without hints. */
uint64_t schedule_span_ms(const struct schedule *schedule);

#endif
