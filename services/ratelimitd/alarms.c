/*
 * alarms: see alarms.h. Places in sets of WAYS, found by hash; two keys that share all 64 bits count as one.
 */
#include "alarms.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/hash.h"

#define STRIPES 32u
#define SETS    64u /* of a stripe */
#define WAYS    4u

struct place {
	uint64_t hash;
	uint64_t until_ms; /* nothing more is told before; 0: free place */
	uint64_t refused;  /* not yet told */
	struct alarm *due; /* to be told; its texts behind it */
};

struct stripe {
	pthread_mutex_t lock;
	struct place places[SETS][WAYS];
} __attribute__((aligned(64)));

struct alarms {
	const struct clock *clock;
	_Atomic size_t due; /* places with something to tell; a hint outside the locks */
	struct stripe *stripes;
};

struct alarms *
alarms_new(const struct clock *clock)
{
	struct alarms *alarms = mem_alloc(sizeof(*alarms));

	alarms->clock = clock;
	alarms->stripes = mem_array(STRIPES, sizeof(*alarms->stripes));
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_init(&alarms->stripes[i].lock, NULL);
	return alarms;
}

void
alarms_free(struct alarms *alarms)
{
	if (!alarms)
		return;
	for (size_t i = 0; i < STRIPES; i++) {
		for (size_t p = 0; p < SETS * WAYS; p++)
			mem_free(alarms->stripes[i].places[p / WAYS][p % WAYS].due);
		pthread_mutex_destroy(&alarms->stripes[i].lock);
	}
	mem_free(alarms->stripes);
	mem_free(alarms);
}

static uint64_t
hash_of(const struct alarm *alarm)
{
	uint64_t hash = hash_mix64(hash_table64(alarm->tenant, strlen(alarm->tenant)),
	                           hash_table64(alarm->limit, strlen(alarm->limit)));
	return hash_mix64(hash, hash_table64(alarm->key, strlen(alarm->key)));
}

/* Its own place, or one that is free or whose minute is over; NULL: there is none. */
static struct place *
place_for(struct place *set, uint64_t hash, uint64_t now_ms)
{
	struct place *free_one = NULL;

	for (size_t way = 0; way < WAYS; way++) {
		if (set[way].until_ms && set[way].hash == hash)
			return &set[way];
		if (set[way].until_ms <= now_ms && !set[way].due)
			free_one = &set[way];
	}
	if (free_one)
		*free_one = (struct place){.hash = hash};
	return free_one;
}

static struct alarm *
copy_of(const struct alarm *alarm)
{
	size_t tenant = strlen(alarm->tenant) + 1, limit = strlen(alarm->limit) + 1, key = strlen(alarm->key) + 1;
	struct alarm *copy = mem_alloc(sizeof(*copy) + tenant + limit + key);
	char *text = (char *)(copy + 1);

	*copy = *alarm;
	copy->tenant = memcpy(text, alarm->tenant, tenant);
	copy->limit = memcpy(text + tenant, alarm->limit, limit);
	copy->key = memcpy(text + tenant + limit, alarm->key, key);
	return copy;
}

void
alarms_note(struct alarms *alarms, const struct alarm *alarm)
{
	uint64_t hash = hash_of(alarm), now_ms = clock_mono_ms(alarms->clock) + 1;
	struct stripe *stripe = &alarms->stripes[hash % STRIPES];

	pthread_mutex_lock(&stripe->lock);
	struct place *place = place_for(stripe->places[hash / STRIPES % SETS], hash, now_ms);
	if (place) {
		place->refused++;
		if (place->until_ms <= now_ms && !place->due) {
			place->due = copy_of(alarm);
			place->until_ms = now_ms + ALARM_EVERY_MS;
			atomic_fetch_add_explicit(&alarms->due, 1, memory_order_relaxed);
		}
	}
	pthread_mutex_unlock(&stripe->lock);
}

static void
take(struct alarms *alarms, struct place *place, struct arena *arena, struct alarm *out)
{
	*out = *place->due;
	out->tenant = arena_strdup(arena, out->tenant);
	out->limit = arena_strdup(arena, out->limit);
	out->key = arena_strdup(arena, out->key);
	out->refused = place->refused;
	mem_free(place->due);
	place->due = NULL;
	place->refused = 0;
	atomic_fetch_sub_explicit(&alarms->due, 1, memory_order_relaxed);
}

size_t
alarms_collect(struct alarms *alarms, struct arena *arena, struct alarm *out, size_t most)
{
	size_t count = 0;

	for (size_t s = 0; s < STRIPES && atomic_load_explicit(&alarms->due, memory_order_relaxed) > 0; s++) {
		struct stripe *stripe = &alarms->stripes[s];
		pthread_mutex_lock(&stripe->lock);
		for (size_t p = 0; p < SETS * WAYS && count < most; p++) {
			struct place *place = &stripe->places[p / WAYS][p % WAYS];
			if (place->due)
				take(alarms, place, arena, &out[count++]);
		}
		pthread_mutex_unlock(&stripe->lock);
	}
	return count;
}
