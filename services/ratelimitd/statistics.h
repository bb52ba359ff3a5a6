/*
 * statistics: how often each limit decided, and for whom.
 *
 * Per tenant and limit name: totals, and the keys with the most decisions by a space-saving sketch
 * (Metwally, Agrawal, El Abbadi, 2005) of 32 counters, which never counts too low. Bounded to 10,000
 * limits; decisions of further ones are not itemised.
 */
#ifndef CORBEL_RATELIMITD_STATISTICS_H
#define CORBEL_RATELIMITD_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "corbel/contract.gen.h"

struct statistics;

/* What became of decisions about one key: of one, or of several that were the same. */
struct outcome {
	uint64_t decisions;
	bool is_throttled, is_shadow_throttled, is_degraded;
	uint64_t waited_ms; /* all together */
};

struct statistics *statistics_new(void);
void statistics_free(struct statistics *statistics);
void statistics_note(struct statistics *statistics, const char *tenant, const char *limit, const char *key,
                     const struct outcome *outcome);
/* Those of one tenant; `limit` NULL or "" takes all. Everything is made in the arena. */
void statistics_read(struct statistics *statistics, const char *tenant, const char *limit,
                     struct arena *arena, Corbel__V1__StatisticsReply *out);

#endif
