/*
 * statistics: what became of the calls of a tenant's namespaces in this process.
 */
#include <stdlib.h>
#include <string.h>

#include "cached_internal.h"
#include "everyone.h"
#include "windows.h"

typedef Corbel__V1__CacheNamespaceStatistics Figures;

struct gathering {
	struct cached *self;
	struct arena *arena;
	Corbel__V1__CacheStatisticsReply *reply;
};

static void
sum_up(const struct space_stats *stats, Figures *out)
{
	uint64_t found = stats->hits + stats->stale, gets = found + stats->misses + stats->negative;

#define TELL(field, number)                                                                                  \
	out->has_##field = true;                                                                                 \
	out->field = (number)
	TELL(hits, stats->hits);
	TELL(shared_hits, stats->shared_hits);
	TELL(misses, stats->misses);
	TELL(stale, stats->stale);
	TELL(negative, stats->negative);
	TELL(sets, stats->sets);
	TELL(fills, stats->fills);
	TELL(refused, stats->refused);
	TELL(deletes, stats->deletes);
	TELL(invalidations, stats->invalidations);
	TELL(leases, stats->leases);
	TELL(leases_lost, stats->leases_lost);
	TELL(early, stats->early);
	TELL(evicted, stats->evicted[EVICTED_FOR_ROOM] + stats->evicted[EVICTED_FOR_TENANT] +
	                  stats->evicted[EVICTED_FOR_SPACE] + stats->evicted[EVICTED_SHRUNK]);
	TELL(expired, stats->evicted[EVICTED_EXPIRED]);
	TELL(invalidated, stats->evicted[EVICTED_INVALIDATED]);
	TELL(entries, stats->entries);
	TELL(bytes, stats->bytes);
	TELL(hit_permille, gets > 0 ? (uint32_t)((double)found * 1000 / (double)gets) : 0);
#undef TELL
}

static void
put_windows(struct cached *self, const struct space *space, Figures *out)
{
	struct window windows[WINDOWS];

	windows_read(self->windows, space, windows);
	out->has_hit_permille_1m = out->has_gets_1m = windows[0].gets > 0;
	out->has_hit_permille_10m = out->has_gets_10m = windows[1].gets > 0;
	out->has_hit_permille_1h = out->has_gets_1h = windows[2].gets > 0;
	out->hit_permille_1m = windows[0].hit_permille;
	out->hit_permille_10m = windows[1].hit_permille;
	out->hit_permille_1h = windows[2].hit_permille;
	out->gets_1m = windows[0].gets;
	out->gets_10m = windows[1].gets;
	out->gets_1h = windows[2].gets;
}

static void
add_space(void *arg, struct space *space)
{
	struct gathering *gathering = arg;
	Corbel__V1__CacheStatisticsReply *reply = gathering->reply;
	struct space_stats stats;

	if (reply->n_namespaces == CACHE_STATISTICS_NAMESPACES)
		return;
	Figures *figures = ARENA_NEW(gathering->arena, Figures);
	corbel__v1__cache_namespace_statistics__init(figures);
	figures->namespace_ = arena_strdup(gathering->arena, space_name(space));
	engine_space_stats(space, &stats);
	sum_up(&stats, figures);
	put_windows(gathering->self, space, figures);
	reply->namespaces[reply->n_namespaces++] = figures;
}

static void
add_top_keys(struct space *space, struct arena *arena, Figures *out)
{
	struct hot_key hot[CACHE_STATISTICS_TOP];
	size_t count = engine_hot_keys(space, hot, CACHE_STATISTICS_TOP, arena);

	out->top_keys = ARENA_ARRAY(arena, Corbel__V1__CacheTopKey *, count + 1);
	for (; out->n_top_keys < count; out->n_top_keys++) {
		Corbel__V1__CacheTopKey *key = ARENA_NEW(arena, Corbel__V1__CacheTopKey);
		corbel__v1__cache_top_key__init(key);
		key->key = (char *)(uintptr_t)hot[out->n_top_keys].key;
		key->has_gets = true;
		key->gets = hot[out->n_top_keys].gets;
		out->top_keys[out->n_top_keys] = key;
	}
}

static int
by_name(const void *a, const void *b)
{
	const Figures *const *left = a, *const *right = b;
	return strcmp((*left)->namespace_, (*right)->namespace_);
}

void
cache_statistics_read(struct cached *self, const char *tenant, const char *namespace_, struct arena *arena,
                      Corbel__V1__CacheStatisticsReply *reply)
{
	struct gathering gathering = {.self = self, .arena = arena, .reply = reply};
	struct tenant_stats sums = {.bytes = 0};

	reply->namespaces = ARENA_ARRAY(arena, Figures *, CACHE_STATISTICS_NAMESPACES);
	struct space *space = namespace_ ? engine_find_space(self->engine, tenant, namespace_) : NULL;
	if (space) {
		add_space(&gathering, space);
		add_top_keys(space, arena, reply->namespaces[0]);
	} else if (!namespace_) {
		engine_each_space(self->engine, tenant, add_space, &gathering);
	}
	qsort(reply->namespaces, reply->n_namespaces, sizeof(Figures *), by_name);
	(void)engine_tenant_stats(self->engine, tenant, &sums);
	reply->has_bytes = reply->has_entries = true;
	reply->bytes = sums.bytes;
	reply->entries = sums.entries;
	everyone_name(&reply->answered, &reply->n_answered, arena_strdup(arena, bus_node(self->env.bus)), arena);
}
