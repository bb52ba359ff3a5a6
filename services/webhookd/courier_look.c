/*
 * courier_look: which of many lanes have something to load, asked at once.
 *
 * A hint names a tenant, and all of its lanes may have more: asking for each would be hundreds of round trips
 * for an event that one endpoint takes. A lane with something loaded is not asked about, since that still
 * waits; nor is an ordered one, whose first is not the one that is due first.
 */
#include <stdlib.h>
#include <string.h>

#include "courier_internal.h"

static bool
is_asked_about(const struct lane *lane)
{
	return lane->is_dirty && !lane->is_lost && lane->loaded_count == 0 &&
	       !(lane->endpoint->has_ordered && lane->endpoint->ordered);
}

static int
by_endpoint(const void *a, const void *b)
{
	return strcmp((*(struct lane *const *)a)->endpoint_id, (*(struct lane *const *)b)->endpoint_id);
}

static int
endpoint_is(const void *id, const void *lane)
{
	return strcmp(id, (*(struct lane *const *)lane)->endpoint_id);
}

/* One that was changed, disabled or lost stays dirty: loading finds out what it is now. */
static void
heed(const struct outlook *seen, struct lane *lane, int64_t now_ms)
{
	if (seen->token != lane->token || seen->version != lane->version || seen->next_at <= now_ms)
		return;
	lane->is_dirty = lane->is_full = false;
	lane->not_before = 0;
	lane->cursor = (struct due_place){0};
}

struct status
courier_look(struct courier *courier, struct store_conn *conn)
{
	struct arena *arena = &courier->arena;
	struct lane **lanes = ARENA_ARRAY(arena, struct lane *, courier->lane_count + 1);
	struct store_value *ids = ARENA_ARRAY(arena, struct store_value, courier->lane_count + 1);
	int64_t now_ms = clock_wall_ms(courier->self->env.clock);
	size_t count = 0, found = 0;
	struct outlook *seen;

	for (struct lane *lane = courier->lanes; lane; lane = lane->next)
		if (is_asked_about(lane))
			lanes[count++] = lane;
	if (count < 2)
		return status_ok_value();
	qsort(lanes, count, sizeof(*lanes), by_endpoint);
	for (size_t i = 0; i < count; i++)
		ids[i] = store_text(lanes[i]->endpoint_id);
	struct status st = ledger_look(conn, arena, ids, count, &seen, &found);
	for (size_t i = 0; i < found; i++) {
		struct lane **lane = bsearch(seen[i].endpoint_id, lanes, count, sizeof(*lanes), endpoint_is);
		if (lane)
			heed(&seen[i], *lane, now_ms);
	}
	return st;
}
