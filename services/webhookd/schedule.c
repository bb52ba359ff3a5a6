/*
 * schedule: see schedule.h.
 */
#include "schedule.h"

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

static const uint64_t STANDARD_MS[] = {5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR,
                                       10 * HOUR,  14 * HOUR,  20 * HOUR,   24 * HOUR};

static uint64_t
at_most(uint64_t value, uint64_t most)
{
	return value < most ? value : most;
}

void
schedule_init(struct schedule *schedule, const uint64_t *retry_ms, size_t count)
{
	if (count == 0) {
		retry_ms = STANDARD_MS;
		count = sizeof(STANDARD_MS) / sizeof(STANDARD_MS[0]);
	}
	schedule->count = count < SCHEDULE_RETRIES_MAX ? count : SCHEDULE_RETRIES_MAX;
	for (size_t i = 0; i < schedule->count; i++)
		schedule->retry_ms[i] = at_most(retry_ms[i], SCHEDULE_WAIT_MAX_MS);
}

static uint64_t
jitter_max(uint64_t wait_ms)
{
	return wait_ms * SCHEDULE_JITTER_PERCENT / 100;
}

bool
schedule_next(const struct schedule *schedule, unsigned failures, uint64_t hint_ms,
              const struct random *random, uint64_t *wait_ms)
{
	if (failures == 0 || failures > schedule->count)
		return false;
	uint64_t base = schedule->retry_ms[failures - 1], hint = at_most(hint_ms, SCHEDULE_HINT_MAX_MS);
	uint64_t wait = base > hint ? base : hint;
	*wait_ms = wait + random_below(random, jitter_max(wait) + 1);
	return true;
}

uint64_t
schedule_span_ms(const struct schedule *schedule)
{
	uint64_t span = 0;
	for (size_t i = 0; i < schedule->count; i++)
		span += schedule->retry_ms[i] + jitter_max(schedule->retry_ms[i]);
	return span;
}
