/*
 * engine_wait: those who wait until somebody else has filled, and who gives up filling.
 */
#include "engine_internal.h"

bool
engine_wait(struct space *space, const char *key, size_t key_length, struct engine_waiter *waiter)
{
	uint64_t hash = space_hash(space, key, key_length), now_ms = engine_now_ms(space->engine);

	pthread_mutex_lock(&space->lock);
	bool is_waiting = leases_wait(space->leases, hash, now_ms, waiter);
	pthread_mutex_unlock(&space->lock);
	return is_waiting;
}

bool
engine_wait_end(struct space *space, struct engine_waiter *waiter)
{
	pthread_mutex_lock(&space->lock);
	bool was_waiting = leases_wait_end(waiter);
	pthread_mutex_unlock(&space->lock);
	return was_waiting;
}

bool
engine_release(struct space *space, const char *key, size_t key_length, uint64_t token)
{
	uint64_t hash = space_hash(space, key, key_length), now_ms = engine_now_ms(space->engine);
	struct engine_waiter *woken = NULL;

	pthread_mutex_lock(&space->lock);
	bool was_held = space->tier->release(space->tier, hash, token, now_ms, &woken);
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
	return was_held;
}
