/*
 * alarms: refusals that the event log is to hear of, sampled.
 *
 * At most one a limit, key and minute, with how many refusals it stands for. Noting one costs a hash and a
 * lock of its stripe, under which nothing waits; only refusals are noted. A fixed number of places: while all
 * that a key could have are taken by others of the last minute, it is not told of. Kept in memory alone: an
 * end of the process forgets what was not collected.
 */
#ifndef CORBEL_RATELIMITD_ALARMS_H
#define CORBEL_RATELIMITD_ALARMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"

#define ALARM_EVERY_MS UINT64_C(60000)

/* What was refused. */
struct alarm {
	const char *tenant, *limit, *key;
	uint64_t quota, window_ms, retry_ms;
	uint64_t refused; /* out: since the last alarm of the same */
};

struct alarms;

struct alarms *alarms_new(const struct clock *clock);
void alarms_free(struct alarms *alarms);
/* Any thread. Copies. */
void alarms_note(struct alarms *alarms, const struct alarm *alarm);
/* Takes up to `most` that nobody was told of; copies live in the arena. */
size_t alarms_collect(struct alarms *alarms, struct arena *arena, struct alarm *out, size_t most);

#endif
