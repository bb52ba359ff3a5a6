/*
 * value_room: how many bytes of values still go into a message, wherever they come from.
 *
 * Values are copied into the arena of a message's calls; between entering and leaving, its ceiling is as low
 * as what is left. One thread at a time.
 */
#ifndef CORBEL_CACHED_VALUE_ROOM_H
#define CORBEL_CACHED_VALUE_ROOM_H

#include "base/arena.h"

struct value_room {
	size_t left;          /* bytes */
	size_t ceiling, used; /* of the arena when it was entered */
};

static inline void
value_room_enter(struct value_room *room, struct arena *arena)
{
	room->ceiling = arena->ceiling_bytes;
	room->used = arena->used_bytes;
	if (room->left < arena->ceiling_bytes && room->used < arena->ceiling_bytes - room->left)
		arena->ceiling_bytes = room->used + room->left;
}

static inline void
value_room_leave(struct value_room *room, struct arena *arena)
{
	size_t taken = arena->used_bytes - room->used;

	arena->ceiling_bytes = room->ceiling;
	room->left -= taken < room->left ? taken : room->left;
}

#endif
