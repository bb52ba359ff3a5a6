/*
 * engine_figures: statistics, hot keys, and entries for a snapshot.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

static struct space *
own(const struct space *space)
{
	return (struct space *)(uintptr_t)space;
}

static uint64_t
count_of(const struct space *space, enum get_outcome outcome)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < STRIPES; i++)
		count += atomic_load_explicit(&space->stripes[i].counts[outcome], memory_order_relaxed);
	return count;
}

void
engine_space_stats(const struct space *space, struct space_stats *stats)
{
	pthread_mutex_lock(&own(space)->lock);
	*stats = space->counts;
	stats->entries = l1_count(space->l1);
	stats->bytes = l1_bytes(space->l1);
	struct l1_part negatives = l1_negatives(space->l1);
	stats->negative_entries = negatives.count;
	stats->negative_bytes = negatives.bytes;
	pthread_mutex_unlock(&own(space)->lock);
	stats->shared_hits = space->copies ? atomic_load_explicit(&space->copies->hits, memory_order_relaxed) : 0;
	stats->hits = count_of(space, GET_HIT);
	stats->misses = count_of(space, GET_MISS);
	stats->stale = count_of(space, GET_STALE);
	stats->negative = count_of(space, GET_NEGATIVE);
}

uint64_t
engine_bytes(const struct engine *engine)
{
	return atomic_load(&engine->bytes);
}

size_t
engine_hot_keys(struct space *space, struct hot_key *keys, size_t count, struct arena *arena)
{
	return hot_keys_list(space->hot_keys, keys, count, arena);
}

/* ---- snapshots ---- */

struct walk {
	const struct space *space;
	uint64_t now_ms;
	engine_entry_fn *each;
	void *arg;
};

/* What is from before the shared log was lost is given for a while only, whoever keeps it. False: not any
 * more. */
static bool
cut_life(const struct walk *walk, struct entry_parts *parts)
{
	const struct copies *copies = walk->space->copies;

	if (!copies || parts->version >= atomic_load(&copies->trust->renewed))
		return true;
	uint64_t until_ms = space_bearable_until(walk->space, parts, atomic_load(&copies->trust->lost_ms));
	parts->fresh_ms = parts->fresh_ms < until_ms ? parts->fresh_ms : until_ms;
	uint64_t left_ms = until_ms - parts->fresh_ms;
	parts->grace_ms = parts->grace_ms < left_ms ? parts->grace_ms : (uint32_t)left_ms;
	parts->error_grace_ms = parts->error_grace_ms < left_ms ? parts->error_grace_ms : (uint32_t)left_ms;
	return walk->now_ms < until_ms;
}

static bool
hand_over(void *arg, const struct entry *entry)
{
	const struct walk *walk = arg;
	struct entry_parts parts;
	uint64_t tags[ENGINE_TAGS_MAX];
	char type[ENGINE_TYPE_MAX + 1] = "";

	entry_read(entry, &parts);
	if (!cut_life(walk, &parts) || space_life(walk->space, &parts, walk->now_ms) <= LIFE_OVER)
		return true;
	if (parts.tag_count > 0)
		memcpy(tags, parts.tags, parts.tag_count * sizeof(tags[0]));
	if (parts.type_length > 0)
		memcpy(type, parts.type, parts.type_length);
	struct kept_entry kept = {
	    .set = {.key = parts.key,
	            .key_length = parts.key_length,
	            .value = parts.value,
	            .value_length = parts.value_length,
	            .content_type = type,
	            .tag_hashes = tags,
	            .tag_count = parts.tag_count,
	            .grace_ms = parts.grace_ms,
	            .error_grace_ms = parts.error_grace_ms,
	            .is_negative = parts.is_negative,
	            .version = parts.version},
	    .past = {.age_ms = walk->now_ms > parts.stored_ms ? walk->now_ms - parts.stored_ms : 0,
	             .fresh_ms = (int64_t)(parts.fresh_ms - walk->now_ms),
	             .delta_ms = parts.delta_ms}};
	kept.set.past = &kept.past;
	walk->each(walk->arg, &kept);
	return true;
}

bool
engine_each_entry(struct space *space, uint64_t *cursor, size_t count, engine_entry_fn *each, void *arg)
{
	struct walk walk = {space, engine_now_ms(space->engine), each, arg};
	uint32_t at = *cursor < UINT32_MAX ? (uint32_t)*cursor : UINT32_MAX;

	pthread_mutex_lock(&space->lock);
	bool is_more =
	    l1_sweep(space->l1, &at, count < UINT32_MAX ? (uint32_t)count : UINT32_MAX, hand_over, &walk);
	pthread_mutex_unlock(&space->lock);
	*cursor = at;
	return is_more;
}
