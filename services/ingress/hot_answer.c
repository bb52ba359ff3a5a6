/*
 * hot_answer: the answers to checks of busy keys, the same as ratelimitd's, headers included, and given as if
 * they had come over the bus.
 */
#include "hot.h"
#include "http/ratelimit_headers.h"

static void
add_header(Corbel__Bus__Reply *reply, struct arena *arena, const char *name, char *value)
{
	Corbel__Bus__Header *header = ARENA_NEW(arena, Corbel__Bus__Header);

	corbel__bus__header__init(header);
	header->name = (char *)(uintptr_t)name;
	header->value = value;
	reply->headers[reply->n_headers++] = header;
}

static void
add_headers(Corbel__Bus__Reply *reply, struct arena *arena, const Corbel__V1__LimitState *state)
{
	uint64_t more_ms = state->has_retry_after_ms ? state->retry_after_ms : state->reset_ms;
	struct strbuf policy, left;

	strbuf_init(&policy, arena);
	strbuf_init(&left, arena);
	ratelimit_policy_add(&policy, state->limit, state->quota, state->window_ms);
	ratelimit_add(&left, state->limit, state->remaining, more_ms);
	reply->headers = ARENA_ARRAY(arena, Corbel__Bus__Header *, 3);
	add_header(reply, arena, "RateLimit-Policy", policy.data);
	add_header(reply, arena, "RateLimit", left.data);
	if (!state->allowed && !state->impossible)
		add_header(
		    reply, arena, "Retry-After",
		    arena_printf(arena, "%llu", (unsigned long long)retry_after_seconds(state->retry_after_ms)));
}

void
hot_answer_state(struct request *request, Corbel__V1__LimitState *state)
{
	Corbel__V1__CheckReply decision = CORBEL__V1__CHECK_REPLY__INIT;
	Corbel__V1__LimitState *states[] = {state};
	Corbel__Bus__Reply reply = CORBEL__BUS__REPLY__INIT;

	decision.has_allowed = true;
	decision.allowed = state->allowed;
	decision.n_limits = 1;
	decision.limits = states;
	reply.has_payload = true;
	reply.payload.data =
	    arena_alloc_raw(&request->arena, corbel__v1__check_reply__get_packed_size(&decision) + 1);
	reply.payload.len = corbel__v1__check_reply__pack(&decision, reply.payload.data);
	add_headers(&reply, &request->arena, state);
	respond_reply(request, &reply);
}

void
hot_answer(const struct hot *hot, struct request *request, bool is_allowed, uint64_t now_ms)
{
	Corbel__V1__LimitState state = CORBEL__V1__LIMIT_STATE__INIT;

	counter_add(hot->answered, 1);
	state.limit = hot->check.limit;
	state.key = hot->check.key;
	state.has_allowed = state.has_quota = state.has_window_ms = state.has_remaining = state.has_reset_ms =
	    true;
	state.allowed = is_allowed;
	state.quota = hot->quota;
	state.window_ms = hot->window_ms;
	state.remaining = is_allowed ? hot->remaining + hot->units : hot->remaining;
	state.reset_ms = hot->reset_at_ms > now_ms ? hot->reset_at_ms - now_ms : 0;
	state.has_retry_after_ms = !is_allowed && !hot->is_impossible;
	state.retry_after_ms = hot->retry_at_ms > now_ms ? hot->retry_at_ms - now_ms : 1;
	state.has_impossible = state.impossible = !is_allowed && hot->is_impossible;
	hot_answer_state(request, &state);
}
