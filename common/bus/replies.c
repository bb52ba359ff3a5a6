/*
 * replies: what one message answered, in memory that is used again.
 *
 * It is filled by one of nng's threads and let go by the callers' threads. Given back to malloc each time,
 * blocks of this size made it take the process's memory down and up again with every message.
 */
#include "flight.h"

#define SPARE_MAX     16u
#define BLOCK_BYTES   (64u << 10) /* of replies to calls that travelled together */
#define CEILING_SPARE (1u << 20)

struct replies *
replies_take(struct bus *bus)
{
	pthread_mutex_lock(&bus->replies_lock);
	struct replies *replies = bus->spare_replies;
	if (replies) {
		bus->spare_replies = replies->next;
		bus->spare_count--;
	}
	pthread_mutex_unlock(&bus->replies_lock);
	if (!replies) {
		replies = mem_alloc(sizeof(*replies));
		replies->bus = bus;
		arena_init(&replies->arena, BLOCK_BYTES, bus->message_max * 4 + CEILING_SPARE);
	}
	atomic_store(&replies->holders, 1);
	return replies;
}

static void
replies_free(struct replies *replies)
{
	arena_fini(&replies->arena);
	mem_free(replies);
}

void
replies_release(struct replies *replies)
{
	if (!replies || atomic_fetch_sub(&replies->holders, 1) != 1)
		return;
	struct bus *bus = replies->bus;
	arena_reset(&replies->arena);
	pthread_mutex_lock(&bus->replies_lock);
	bool is_kept = bus->spare_count < SPARE_MAX;
	if (is_kept) {
		replies->next = bus->spare_replies;
		bus->spare_replies = replies;
		bus->spare_count++;
	}
	pthread_mutex_unlock(&bus->replies_lock);
	if (!is_kept)
		replies_free(replies);
}

void
replies_free_spare(struct bus *bus)
{
	while (bus->spare_replies) {
		struct replies *replies = bus->spare_replies;
		bus->spare_replies = replies->next;
		replies_free(replies);
	}
}
