/*
 * lane: see lane.h.
 */
#include "lane.h"

#include <stdio.h>
#include <string.h>

#define CONCURRENCY  16u
#define WINDOW_START 4u
#define WIDE_FROM    32u
#define WIDE_MAX     400u /* parcels of some 5 KB */
#define PAUSE_AFTER  5u
#define PAUSE_MIN_MS 2000u
#define PAUSE_MAX_MS 60000u

static bool
is_ordered(const struct lane *lane)
{
	return lane->endpoint->has_ordered && lane->endpoint->ordered;
}

static unsigned
window_max(const struct lane *lane)
{
	if (is_ordered(lane))
		return 1;
	return lane->endpoint->has_concurrency ? lane->endpoint->concurrency : CONCURRENCY;
}

void
lane_configure(struct lane *lane, const struct claim *claim, int64_t now_ms)
{
	struct arena_allocator allocator;
	ProtobufCAllocator protobuf;
	bool has_previous = claim->has_previous_key && claim->previous_until > now_ms;

	arena_reset(&lane->arena);
	allocator = arena_allocator(&lane->arena);
	protobuf = (ProtobufCAllocator){
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	size_t size = corbel__v1__endpoint__get_packed_size(claim->endpoint);
	uint8_t *bytes = arena_alloc_raw(&lane->arena, size + 1);
	corbel__v1__endpoint__pack(claim->endpoint, bytes);
	lane->endpoint = corbel__v1__endpoint__unpack(&protobuf, size, bytes);
	lane->token = claim->token;
	lane->version = claim->version;
	lane->is_failing = claim->is_failing;
	lane->failing_since = claim->failing_since;
	lane->previous_until = has_previous ? claim->previous_until : 0;
	signer_free(lane->signer);
	lane->signer = NULL;
	if (claim->has_key)
		lane->signer =
		    signer_new(&claim->key, has_previous ? &claim->previous_key : NULL,
		               (struct signer_options){
		                   .with_ed25519 = lane->endpoint->signing == CORBEL__V1__SIGNING__HMAC_AND_ED25519,
		                   .with_hub = lane->endpoint->has_hub_signature && lane->endpoint->hub_signature});
	if (lane->window > window_max(lane))
		lane->window = window_max(lane);
}

struct lane *
lane_new(const struct claim *claim, struct tenant_share *share)
{
	struct lane *lane = mem_alloc(sizeof(*lane));

	snprintf(lane->endpoint_id, sizeof(lane->endpoint_id), "%s", claim->endpoint_id);
	lane->share = share;
	share->lanes++;
	lane->window = WINDOW_START;
	lane->last = &lane->first;
	lane->is_dirty = true;
	arena_init(&lane->arena, 2048, 4u << 20);
	return lane;
}

void
lane_free(struct lane *lane)
{
	lane_clear(lane);
	lane->share->lanes--;
	signer_free(lane->signer);
	arena_fini(&lane->arena);
	mem_free(lane->loaded);
	mem_free(lane);
}

bool
lane_has(const struct lane *lane, uint64_t sequence)
{
	for (size_t i = 0; i < lane->loaded_count; i++)
		if (lane->loaded[i] == sequence)
			return true;
	return false;
}

void
lane_forget(struct lane *lane, uint64_t sequence)
{
	for (size_t i = 0; i < lane->loaded_count; i++) {
		if (lane->loaded[i] != sequence)
			continue;
		lane->loaded[i] = lane->loaded[--lane->loaded_count];
		return;
	}
}

void
lane_add(struct lane *lane, struct parcel *parcel)
{
	if (lane->loaded_count == lane->loaded_capacity) {
		lane->loaded_capacity = lane->loaded_capacity ? lane->loaded_capacity * 2 : 32;
		lane->loaded = mem_resize(lane->loaded, lane->loaded_capacity, sizeof(*lane->loaded));
	}
	lane->loaded[lane->loaded_count++] = parcel->sequence;
	parcel->next = NULL;
	*lane->last = parcel;
	lane->last = &parcel->next;
	lane->queued++;
}

void
lane_clear(struct lane *lane)
{
	while (lane->first) {
		struct parcel *parcel = lane->first;
		lane->first = parcel->next;
		lane_forget(lane, parcel->sequence);
		parcel_free(parcel);
	}
	lane->last = &lane->first;
	lane->queued = 0;
	lane->cursor = (struct due_place){0};
}

/* Enough for what is sent while a commit takes its time: a wide window may have emptied several times until
 * then. */
size_t
lane_appetite(const struct lane *lane)
{
	size_t narrow = 2 * (size_t)lane->window + 8, wide = 4 * (size_t)lane->window;

	if (is_ordered(lane))
		return 1;
	if (wide > WIDE_MAX)
		wide = WIDE_MAX;
	return narrow > wide || lane->window < WIDE_FROM ? narrow : wide;
}

/* Between two deliveries, by what the endpoint asks for and by what its receiver agreed to; 0: no rate. */
static uint64_t
interval_us(const Endpoint *endpoint)
{
	uint64_t own = endpoint->has_rate_per_second ? 1000000u / endpoint->rate_per_second : 0;
	uint64_t agreed = endpoint->handshake && endpoint->has_allowed_per_minute
	                      ? UINT64_C(60000000) / endpoint->allowed_per_minute
	                      : 0;
	return own > agreed ? own : agreed;
}

/* One rate for all deliveries of an endpoint, with a second's worth at once (GCRA), or one. */
static bool
rate_allows(struct lane *lane, uint64_t now_mono)
{
	uint64_t interval = interval_us(lane->endpoint);
	uint64_t at_once = interval > 1000000u ? interval : 1000000u;
	uint64_t now_us = now_mono * 1000, tat = lane->next_send_mono > now_us ? lane->next_send_mono : now_us;
	if (tat + interval > now_us + at_once)
		return false;
	lane->next_send_mono = tat + interval;
	return true;
}

struct parcel *
lane_take(struct lane *lane, uint64_t now_mono)
{
	if (!lane->first || lane->is_lost || lane->in_flight >= lane->window ||
	    now_mono < lane->paused_until_mono || now_mono >= lane->valid_until_mono ||
	    !rate_allows(lane, now_mono))
		return NULL;
	struct parcel *parcel = lane->first;
	lane->first = parcel->next;
	if (!lane->first)
		lane->last = &lane->first;
	parcel->next = NULL;
	lane->queued--;
	lane->in_flight++;
	lane->share->in_flight++;
	return parcel;
}

void
lane_settle(struct lane *lane, const struct parcel *parcel, uint64_t now_mono)
{
	lane->in_flight--;
	lane->share->in_flight--;
	lane->is_dirty = true;
	if (parcel->end != PARCEL_UNWELL) {
		lane->failures = 0;
		if (parcel->end == PARCEL_DELIVERED && lane->window < window_max(lane))
			lane->window++;
		return;
	}
	lane->failures++;
	lane->window = lane->window > 1 ? lane->window / 2 : 1;
	if (lane->failures < PAUSE_AFTER)
		return;
	unsigned doublings = lane->failures - PAUSE_AFTER;
	uint64_t pause = doublings < 5 ? (uint64_t)PAUSE_MIN_MS << doublings : PAUSE_MAX_MS;
	lane->window = 1;
	lane->paused_until_mono = now_mono + (pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
}
