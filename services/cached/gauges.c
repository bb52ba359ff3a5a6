/*
 * gauges: the figures of all spaces as metrics.
 *
 * The engine counts for each space; what was added to the sums since the last turn is added to the counters.
 */
#include <string.h>

#include "cached_internal.h"

enum series {
	HITS,
	MISSES,
	STALE,
	NEGATIVE,
	SETS,
	FILLS,
	REFUSED,
	LEASES,
	LEASES_LOST,
	INVALIDATIONS,
	EVICTIONS, /* one for each cause, from here on */
	SERIES = EVICTIONS + EVICTION_CAUSES
};

struct gauges {
	struct metric_counter *counters[SERIES];
	uint64_t before[SERIES];
	struct metric_gauge *entries, *bytes;
};

struct sums {
	uint64_t now[SERIES], entries, bytes;
};

static struct metric_counter *
labelled(struct metrics *metrics, const struct metric_spec *spec, const char *value)
{
	return metrics_counter(metrics, spec, &value);
}

struct gauges *
gauges_new(const struct cached *self)
{
	static const char *const OUTCOME[] = {"outcome", NULL}, *const CAUSE[] = {"cause", NULL};
	static const char *const CAUSES[EVICTION_CAUSES] = {"room",    "tenant",      "space",
	                                                    "expired", "invalidated", "shrunk"};
	static const struct metric_spec GETS = {
	    .name = "corbel_cache_gets", .help = "Keys asked for, by what was found.", .labels = OUTCOME};
	static const struct metric_spec WRITES = {
	    .name = "corbel_cache_sets", .help = "Values written, by what became of them.", .labels = OUTCOME};
	static const struct metric_spec TOKENS = {.name = "corbel_cache_leases",
	                                          .help = "Tokens to fill with, by what became of them.",
	                                          .labels = OUTCOME};
	static const struct metric_spec ENDED = {.name = "corbel_cache_invalidations",
	                                         .help = "Invalidations by tag, prefix, pattern, or of all."};
	static const struct metric_spec LEFT = {
	    .name = "corbel_cache_evictions", .help = "Entries that left, by cause.", .labels = CAUSE};
	static const struct metric_spec ENTRIES = {.name = "corbel_cache_entries", .help = "Entries held."};
	static const struct metric_spec BYTES = {
	    .name = "corbel_cache_bytes", .help = "Memory of the entries, all told.", .unit = "bytes"};
	struct metrics *metrics = self->env.metrics;
	struct gauges *gauges = mem_alloc(sizeof(*gauges));

	gauges->counters[HITS] = labelled(metrics, &GETS, "hit");
	gauges->counters[MISSES] = labelled(metrics, &GETS, "miss");
	gauges->counters[STALE] = labelled(metrics, &GETS, "stale");
	gauges->counters[NEGATIVE] = labelled(metrics, &GETS, "negative");
	gauges->counters[SETS] = labelled(metrics, &WRITES, "stored");
	gauges->counters[FILLS] = labelled(metrics, &WRITES, "filled");
	gauges->counters[REFUSED] = labelled(metrics, &WRITES, "refused");
	gauges->counters[LEASES] = labelled(metrics, &TOKENS, "given");
	gauges->counters[LEASES_LOST] = labelled(metrics, &TOKENS, "lost");
	gauges->counters[INVALIDATIONS] = metrics_counter(metrics, &ENDED, NULL);
	for (int cause = 0; cause < EVICTION_CAUSES; cause++)
		gauges->counters[EVICTIONS + cause] = labelled(metrics, &LEFT, CAUSES[cause]);
	gauges->entries = metrics_gauge(metrics, &ENTRIES, NULL);
	gauges->bytes = metrics_gauge(metrics, &BYTES, NULL);
	return gauges;
}

void
gauges_free(struct gauges *gauges)
{
	mem_free(gauges);
}

static void
add_space(void *arg, struct space *space)
{
	struct sums *sums = arg;
	struct space_stats stats;

	engine_space_stats(space, &stats);
	sums->now[HITS] += stats.hits;
	sums->now[MISSES] += stats.misses;
	sums->now[STALE] += stats.stale;
	sums->now[NEGATIVE] += stats.negative;
	sums->now[SETS] += stats.sets;
	sums->now[FILLS] += stats.fills;
	sums->now[REFUSED] += stats.refused;
	sums->now[LEASES] += stats.leases;
	sums->now[LEASES_LOST] += stats.leases_lost;
	sums->now[INVALIDATIONS] += stats.invalidations;
	for (int cause = 0; cause < EVICTION_CAUSES; cause++)
		sums->now[EVICTIONS + cause] += stats.evicted[cause];
	sums->entries += stats.entries;
}

void
gauges_tick(struct gauges *gauges, struct engine *engine)
{
	struct sums sums = {.entries = 0};

	engine_each_space(engine, NULL, add_space, &sums);
	for (int i = 0; i < SERIES; i++) {
		if (sums.now[i] > gauges->before[i])
			counter_add(gauges->counters[i], sums.now[i] - gauges->before[i]);
		gauges->before[i] = sums.now[i];
	}
	gauge_set(gauges->entries, (int64_t)sums.entries);
	gauge_set(gauges->bytes, (int64_t)engine_bytes(engine));
}
