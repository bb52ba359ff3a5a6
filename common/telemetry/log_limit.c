/*
 * log_limit: a small table by the event's hash, of the second that runs and what was written in it.
 *
 * Two events that meet in one place push each other out, which writes too much rather than too little.
 */
#include "telemetry/log_limit.h"

#include <pthread.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"

#define PLACES 256u

struct place {
	uint64_t event; /* hash; 0: nothing yet */
	uint64_t second;
	uint32_t written;
	uint64_t suppressed;
};

struct log_limit {
	uint32_t per_s;
	pthread_mutex_t lock;
	struct place places[PLACES]; /* `lock` */
};

struct log_limit *
log_limit_new(uint32_t per_s)
{
	struct log_limit *limit = mem_alloc(sizeof(*limit));
	limit->per_s = per_s;
	pthread_mutex_init(&limit->lock, NULL);
	return limit;
}

void
log_limit_free(struct log_limit *limit)
{
	if (!limit)
		return;
	pthread_mutex_destroy(&limit->lock);
	mem_free(limit);
}

static bool
admit(struct log_limit *limit, struct place *place, uint64_t event, uint64_t second, uint64_t *suppressed)
{
	if (place->event != event)
		*place = (struct place){.event = event, .second = second};
	if (place->second != second) {
		place->second = second;
		place->written = 0;
	}
	if (place->written >= limit->per_s) {
		place->suppressed++;
		return false;
	}
	place->written++;
	*suppressed = place->suppressed;
	place->suppressed = 0;
	return true;
}

bool
log_limit_admits(struct log_limit *limit, const char *event, uint64_t now_ms, uint64_t *suppressed)
{
	uint64_t hash = hash_table64(event, strlen(event)) | 1;

	*suppressed = 0;
	pthread_mutex_lock(&limit->lock);
	bool is_admitted = admit(limit, &limit->places[(hash >> 8) % PLACES], hash, now_ms / 1000, suppressed);
	pthread_mutex_unlock(&limit->lock);
	return is_admitted;
}
