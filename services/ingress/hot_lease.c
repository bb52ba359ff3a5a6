/*
 * hot_lease: leases of busy keys: asking ratelimitd for one, and what its answer changes.
 *
 * What is held never admits more than the limit: leased units are taken from the window before they are spent
 * and end with it. To admit hardly less, a lease is a hundredth of the limit at most, and a sixteenth of what
 * is left of it, so that the last units of a window are not stranded where nobody asks for them.
 */
#include <string.h>

#include "base/hash.h"
#include "hot.h"

#define ASK_MS    1000u
#define HOLD_MS   1000u /* for how long a refusal is believed, at most */
#define TRAVEL_MS 250u  /* for how long a key travels before a lease is asked for again */
#define UNITS_MAX 4096u
#define WANT_MIN  8u

uint64_t
hot_lease_bound(const struct hot *hot)
{
	uint64_t bound = hot->quota / 100 < hot->remaining / 16 ? hot->quota / 100 : hot->remaining / 16;
	return bound < UNITS_MAX ? bound : UNITS_MAX;
}

/* Takes what a lease says into what is held. */
static void
learn(struct hot *hot, const Corbel__V1__LeaseReply *reply, uint64_t now_ms)
{
	const Corbel__V1__LimitState *state = reply->state;
	bool is_sure = !state->degraded && !state->shadow_refused && !hot->is_ended;

	if (hot->until_ms <= now_ms)
		hot->units = 0;
	hot->quota = state->quota;
	hot->window_ms = state->window_ms;
	hot->remaining = state->remaining;
	hot->reset_at_ms = now_ms + state->reset_ms;
	hot->is_impossible = state->impossible;
	if (is_sure && reply->granted == 0 && !state->allowed) {
		uint64_t retry_ms = state->has_retry_after_ms ? state->retry_after_ms : HOLD_MS;
		hot->retry_at_ms = now_ms + retry_ms;
		hot->refused_until_ms = now_ms + (retry_ms < HOLD_MS ? retry_ms : HOLD_MS);
	} else if (is_sure && reply->valid_ms > 0) {
		/* ratelimitd counted from when it decided, which was later than this. */
		hot->until_ms = hot->asked_ms + reply->valid_ms;
		hot->units += reply->granted;
	}
	uint64_t bound = hot_lease_bound(hot);
	hot->want = hot->want < WANT_MIN ? WANT_MIN : hot->want;
	hot->want = bound < 2 ? 1 : hot->want < bound ? hot->want : bound;
	if (!is_sure || (reply->granted > 0 && (reply->valid_ms == 0 || bound < 2)))
		hot->travels_until_ms = now_ms + TRAVEL_MS;
}

/* The one who waited has its unit whenever the answer came: it was taken for it. */
static void
answer_asker(struct hot *hot, const Corbel__V1__LeaseReply *reply)
{
	struct request *asker = hot->asker;
	Corbel__V1__LimitState state = *reply->state;

	hot->asker = NULL;
	if (!asker)
		return;
	if (reply->granted > 0 && hot->units > 0)
		hot->units--;
	if (reply->granted > 0)
		state.remaining += hot->units;
	state.allowed = state.allowed || reply->granted > 0;
	hot->spent += state.allowed ? 1u : 0u;
	hot->refused += state.allowed ? 0u : 1u;
	hot->waited_ms += state.has_retry_after_ms ? state.retry_after_ms : 0;
	hot_answer_state(asker, &state);
}

static Corbel__V1__LeaseReply *
read_reply(struct hot *hot, const struct pool_call *call)
{
	struct arena_allocator allocator = arena_allocator(&hot->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};

	if (call->code != STATUS_OK || !call->reply || call->reply->code != 0)
		return NULL;
	Corbel__V1__LeaseReply *reply =
	    corbel__v1__lease_reply__unpack(&protobuf, call->reply->payload.len, call->reply->payload.data);
	return reply && reply->state ? reply : NULL;
}

static void
on_lease(struct pool_call *call)
{
	struct hot *hot = call->user;
	uint64_t now_ms = shard_now_ms(hot->shard);
	const Corbel__V1__LeaseReply *reply = read_reply(hot, call);

	hot->is_asking = false;
	if (reply) {
		learn(hot, reply, now_ms);
		answer_asker(hot, reply);
		return;
	}
	struct request *asker = hot->asker;
	hot->asker = NULL;
	hot->travels_until_ms = now_ms + ASK_MS;
	if (asker && call->code == STATUS_CANCELLED) {
		struct status st = pool_call_status(call);
		respond_status(asker, &st);
	} else if (asker) {
		call_send(asker); /* whatever is wrong, it hears of it in the usual way */
	}
}

void
hot_ask(struct hot *hot, struct request *asker, uint64_t units, uint64_t now_ms)
{
	struct shard *shard = hot->shard;
	Corbel__V1__LeaseRequest question = CORBEL__V1__LEASE_REQUEST__INIT;

	arena_reset(&hot->arena);
	question.check = &hot->check;
	question.has_units = question.has_spent = question.has_refused = question.has_waited_ms = true;
	question.units = units;
	question.spent = hot->spent;
	question.refused = hot->refused;
	question.waited_ms = hot->waited_ms;
	question.tenant_id = hot->tenant;
	hot->spent = hot->refused = hot->waited_ms = 0;
	size_t size = corbel__v1__lease_request__get_packed_size(&question);
	uint8_t *bytes = arena_alloc_raw(&hot->arena, size + 1);
	corbel__v1__lease_request__pack(&question, bytes);
	hot->call = (struct pool_call){.method = RATELIMITS_LEASE->id,
	                               .is_fast = true,
	                               .has_route = true,
	                               .route = hash_stable64(hot->check.key, strlen(hot->check.key), 0),
	                               .deadline_mono_ms = now_ms + ASK_MS,
	                               .principal = &hot->principal,
	                               .payload = bytes,
	                               .payload_size = size,
	                               .done = on_lease,
	                               .user = hot};
	hot->asker = asker;
	hot->is_asking = true;
	hot->is_ended = false;
	hot->asked_ms = now_ms;
	port_call(shard->port, shard->ingress->ratelimits, &hot->call);
}
