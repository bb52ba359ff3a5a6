/*
 * test_crowd: see test_crowd.h.
 */
#include "support/test_crowd.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void
done(struct reading *reading)
{
	struct test_crowd *crowd = reading->user;

	pthread_mutex_lock(&crowd->lock);
	crowd->left--;
	pthread_cond_signal(&crowd->wake);
	pthread_mutex_unlock(&crowd->lock);
}

void
test_crowd_init(struct test_crowd *crowd, struct test_replica *replica, size_t readings, size_t each,
                bool may_fill)
{
	*crowd = (struct test_crowd){.replica = replica,
	                             .readings = mem_array(readings, sizeof(struct reading)),
	                             .gets = mem_array(readings * each, sizeof(struct get)),
	                             .keys = mem_array(readings * each, CROWD_KEY_BYTES),
	                             .count = readings,
	                             .each = each,
	                             .left = readings,
	                             .room = {.left = SIZE_MAX}};
	arena_init(&crowd->arena, 65536, SIZE_MAX);
	pthread_mutex_init(&crowd->lock, NULL);
	pthread_cond_init(&crowd->wake, NULL);
	for (size_t i = 0; i < readings * each; i++) {
		snprintf(crowd->keys[i], CROWD_KEY_BYTES, "k/%zu", i);
		crowd->gets[i] =
		    (struct get){.key = crowd->keys[i], .key_length = strlen(crowd->keys[i]), .may_fill = may_fill};
	}
	for (size_t i = 0; i < readings; i++)
		crowd->readings[i] = (struct reading){.space = replica->space,
		                                      .gets = crowd->gets + i * each,
		                                      .count = each,
		                                      .arena = &crowd->arena,
		                                      .room = &crowd->room,
		                                      .has_room = true,
		                                      .done = done,
		                                      .user = crowd,
		                                      .next = i + 1 < readings ? &crowd->readings[i + 1] : NULL};
}

void
test_crowd_name_all(struct test_crowd *crowd, const char *key)
{
	for (size_t i = 0; i < crowd->count * crowd->each; i++) {
		crowd->gets[i].key = key;
		crowd->gets[i].key_length = strlen(key);
	}
}

static void
await(struct test_crowd *crowd)
{
	pthread_mutex_lock(&crowd->lock);
	while (crowd->left > 0)
		pthread_cond_wait(&crowd->wake, &crowd->lock);
	pthread_mutex_unlock(&crowd->lock);
}

void
test_crowd_ask(struct test_crowd *crowd)
{
	for (size_t i = 0; i < crowd->count; i++) {
		struct reading *reading = &crowd->readings[i];
		engine_get(reading->space, reading->gets, reading->count, reading->arena, NULL);
	}
	fleet_read(crowd->replica->fleet, crowd->readings);
	await(crowd);
}

void
test_crowd_ask_redis(struct test_crowd *crowd)
{
	for (size_t i = 0; i < crowd->count * crowd->each; i++)
		crowd->gets[i].is_shared = true;
	fleet_read(crowd->replica->fleet, crowd->readings);
	await(crowd);
}

void
test_crowd_fini(struct test_crowd *crowd)
{
	pthread_cond_destroy(&crowd->wake);
	pthread_mutex_destroy(&crowd->lock);
	arena_fini(&crowd->arena);
	mem_free(crowd->readings);
	mem_free(crowd->gets);
	mem_free(crowd->keys);
}
