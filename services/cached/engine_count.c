/*
 * engine_count: what gets came to, and a sample of them for hot keys.
 */
#include "engine_internal.h"

#define SAMPLE    32u   /* one get in so many is counted for hot keys, */
#define COUNT_ALL 4096u /* once there were so many */

/* Every get at first, so that little use shows, too, and a sample later. */
static void
count_hot(struct space *space, const struct get *gets, const uint64_t *hashes, size_t count, uint64_t before)
{
	uint64_t step = before < COUNT_ALL ? 1 : SAMPLE;

	for (size_t i = (size_t)((step - before % step) % step); i < count; i += step)
		hot_keys_see(space->hot_keys, hashes[i], gets[i].key, gets[i].key_length, step);
}

static unsigned
counted_as(const struct get *get)
{
	return get->is_shared ? COUNTED_SHARED : get->outcome;
}

/* Returns how many there were before. */
static uint64_t
add(struct space *space, unsigned thread, unsigned counted, uint64_t count)
{
	_Atomic uint64_t *counter =
	    &space->stripes[thread < SHARED_STRIPE ? thread : SHARED_STRIPE].counts[counted];

	if (thread >= SHARED_STRIPE)
		return atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
	uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, before + count, memory_order_relaxed);
	return before;
}

/* What was counted before among those of the same outcomes says which are the next of the sample. */
static uint64_t
count_outcomes(struct space *space, unsigned thread, const struct get *gets, size_t count)
{
	uint64_t counts[COUNTED_SHARED + 1] = {0}, before = 0;

	for (size_t i = 0; i < count; i++)
		counts[counted_as(&gets[i])]++;
	for (unsigned counted = 0; counted <= COUNTED_SHARED; counted++)
		if (counts[counted] > 0)
			before += add(space, thread, counted, counts[counted]);
	return before;
}

void
space_count_gets(struct space *space, unsigned thread, const struct get *gets, const uint64_t *hashes,
                 size_t count)
{
	if (count == 1 && gets->is_counted)
		return;
	uint64_t before =
	    count == 1 ? add(space, thread, counted_as(gets), 1) : count_outcomes(space, thread, gets, count);

	count_hot(space, gets, hashes, count, before);
}

void
space_count_get(struct space *space, const struct get *get)
{
	if (!get->is_counted)
		(void)add(space, SHARED_STRIPE, get->outcome, 1);
}
