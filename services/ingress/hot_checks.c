/*
 * hot_checks: see hot_checks.h.
 *
 * What is held never admits more than the limit: leased units are taken from the window before they are spent
 * and end with it. To admit hardly less, a lease is a hundredth of the limit at most, and a sixteenth of what
 * is left of it, so that the last units of a window are not stranded where nobody asks for them.
 *
 *   cold --HEAT checks in a turn of HEAT_MS--> asked --units--> spent here --fewer than half--> asked again
 *                                                    --refusal--> remembered --over--> asked again
 *                                                    --neither (another strategy, nearly used up)--> travels
 *
 * While ratelimitd is asked, checks beyond the one that waits for the lease travel.
 */
#include "hot_checks.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "http/ratelimit_headers.h"

#define BUCKETS    1024u
#define HOT_MAX    1024u /* keys */
#define HEAT_MAX   4096u /* cold keys that are watched */
#define HEAT       32u
#define HEAT_MS    128u
#define ASK_MS     1000u
#define HOLD_MS    1000u /* for how long a refusal is believed, at most */
#define TRAVEL_MS  250u  /* for how long a key travels before a lease is asked for again */
#define IDLE_MS    2000u
#define UNITS_MAX  4096u
#define WANT_MIN   8u
#define NAME_BYTES 1024u

struct hot {
	struct hot *next;
	struct hot_checks *checks;
	uint64_t hash;
	uint8_t *name; /* tenant, plan, route, limit, key */
	size_t name_size;
	char tenant[72];
	uint64_t units, until_ms; /* to spend */
	uint64_t want;            /* units to ask for next */
	uint64_t travels_until_ms, refused_until_ms, retry_at_ms, used_ms;
	uint64_t quota, window_ms, remaining, reset_at_ms; /* as last told; remaining without our units */
	bool is_impossible, is_asking, is_ended;           /* ended: what is asked for now is not to be held */
	uint64_t spent, refused, waited_ms;                /* not yet told */
	uint64_t asked_ms;
	struct request *asker; /* waits for the lease, or NULL */
	struct pool_call call;
	struct arena arena; /* of the call */
	Corbel__Bus__Principal principal;
	Corbel__V1__LimitCheck check; /* a copy, for calls without a request */
	struct arena check_arena;
};

struct heat {
	uint64_t hash;
	uint32_t turn, count;
};

struct hot_checks {
	struct shard *shard;
	struct hot *buckets[BUCKETS];
	size_t count;
	struct heat heat[HEAT_MAX];
	struct metric_counter *answered;
};

static void ask(struct hot *hot, struct request *asker, uint64_t units, uint64_t now_ms);

/* ---- life ---- */

struct hot_checks *
hot_checks_new(struct shard *shard)
{
	struct hot_checks *checks = mem_alloc(sizeof(*checks));

	checks->shard = shard;
	checks->answered = metrics_counter(
	    shard->ingress->env.metrics,
	    &(struct metric_spec){.name = "corbel_ingress_checks_held",
	                          .help = "Checks answered from leased units or remembered refusals"},
	    NULL);
	return checks;
}

static void
hot_free(struct hot *hot)
{
	arena_fini(&hot->arena);
	arena_fini(&hot->check_arena);
	mem_free(hot->name);
	mem_free(hot);
}

void
hot_checks_free(struct hot_checks *checks)
{
	for (size_t b = 0; checks && b < BUCKETS; b++) {
		while (checks->buckets[b]) {
			struct hot *hot = checks->buckets[b];
			checks->buckets[b] = hot->next;
			hot_free(hot);
		}
	}
	mem_free(checks);
}

/* ---- which checks ---- */

/* The one check of a request that can be answered from what is held; NULL: it has to travel. */
static const Corbel__V1__LimitCheck *
simple_check(const struct request *request)
{
	if (request->message->descriptor != &corbel__v1__check_request__descriptor || !request->key ||
	    request->key->principal.n_limits > 0 || request->call.idempotency_key)
		return NULL;
	const Corbel__V1__CheckRequest *message = (const void *)request->message;
	if (message->n_checks != 1 || message->tenant_id)
		return NULL;
	const Corbel__V1__LimitCheck *check = message->checks[0];
	return (check->has_cost && check->cost != 1) || check->plan ? NULL : check;
}

static const char *
key_of(const struct request *request, const Corbel__V1__LimitCheck *check)
{
	return check->key ? check->key : request->key->principal.key_id;
}

/* Appends a text with its length, so that no two lists of texts are the same bytes. */
static size_t
put(uint8_t name[NAME_BYTES], size_t at, const char *text)
{
	size_t size = text ? strlen(text) : 0;

	if (at > NAME_BYTES || size + 2 > NAME_BYTES - at)
		return NAME_BYTES + 1;
	name[at] = (uint8_t)(size >> 8);
	name[at + 1] = (uint8_t)size;
	if (size > 0)
		memcpy(name + at + 2, text, size);
	return at + 2 + size;
}

static size_t
put_name(uint8_t name[NAME_BYTES], const struct request *request, const Corbel__V1__LimitCheck *check)
{
	const Corbel__Bus__Principal *who = &request->key->principal;
	size_t size = put(name, 0, who->tenant);

	size = put(name, size, who->plan);
	size = put(name, size, check->route);
	size = put(name, size, check->limit);
	return put(name, size, key_of(request, check));
}

/* Counts a check of a cold key; true when there were many within a short time. */
static bool
is_hot(struct hot_checks *checks, uint64_t hash, uint64_t now_ms)
{
	struct heat *heat = &checks->heat[hash % HEAT_MAX];
	uint32_t turn = (uint32_t)(now_ms / HEAT_MS);

	if (heat->hash != hash || heat->turn != turn)
		*heat = (struct heat){.hash = hash, .turn = turn};
	return ++heat->count >= HEAT;
}

static struct hot *
hot_new(struct hot_checks *checks, const struct request *request, const Corbel__V1__LimitCheck *check,
        uint64_t hash, const uint8_t *name, size_t size)
{
	struct hot *hot = mem_alloc(sizeof(*hot));

	hot->checks = checks;
	hot->hash = hash;
	hot->name = mem_array(size, 1);
	memcpy(hot->name, name, size);
	hot->name_size = size;
	snprintf(hot->tenant, sizeof(hot->tenant), "%s", request->key->principal.tenant);
	hot->want = 1;
	corbel__bus__principal__init(&hot->principal);
	hot->principal.tenant = hot->tenant;
	hot->principal.has_internal = hot->principal.internal = true;
	arena_init(&hot->arena, 1024, 1u << 20);
	arena_init(&hot->check_arena, 256, 64u << 10);
	corbel__v1__limit_check__init(&hot->check);
	hot->check.limit = arena_strdup(&hot->check_arena, check->limit);
	hot->check.key = arena_strdup(&hot->check_arena, key_of(request, check));
	hot->check.route = check->route ? arena_strdup(&hot->check_arena, check->route) : NULL;
	const char *plan = request->key->principal.plan;
	hot->check.plan = plan ? arena_strdup(&hot->check_arena, plan) : NULL;
	hot->next = checks->buckets[hash % BUCKETS];
	checks->buckets[hash % BUCKETS] = hot;
	checks->count++;
	return hot;
}

static struct hot *
hot_find(struct hot_checks *checks, const struct request *request, const Corbel__V1__LimitCheck *check,
         uint64_t now_ms)
{
	uint8_t name[NAME_BYTES];
	size_t size = put_name(name, request, check);

	if (size > NAME_BYTES)
		return NULL;
	uint64_t hash = hash_table64(name, size);
	for (struct hot *hot = checks->buckets[hash % BUCKETS]; hot; hot = hot->next)
		if (hot->hash == hash && hot->name_size == size && memcmp(hot->name, name, size) == 0)
			return hot;
	if (checks->count >= HOT_MAX || !is_hot(checks, hash, now_ms))
		return NULL;
	return hot_new(checks, request, check, hash, name, size);
}

/* ---- answering ---- */

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

/* The same answer as ratelimitd's, as if it had come over the bus. */
static void
respond(struct request *request, Corbel__V1__LimitState *state)
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

static void
respond_from(const struct hot *hot, struct request *request, bool is_allowed, uint64_t now_ms)
{
	Corbel__V1__LimitState state = CORBEL__V1__LIMIT_STATE__INIT;

	counter_add(hot->checks->answered, 1);
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
	respond(request, &state);
}

static void
refuse(struct hot *hot, struct request *request, uint64_t now_ms)
{
	hot->refused++;
	hot->waited_ms += !hot->is_impossible && hot->retry_at_ms > now_ms ? hot->retry_at_ms - now_ms : 0;
	respond_from(hot, request, false, now_ms);
}

/* How many units a lease may have; fewer than two are not worth one. */
static uint64_t
lease_bound(const struct hot *hot)
{
	uint64_t bound = hot->quota / 100 < hot->remaining / 16 ? hot->quota / 100 : hot->remaining / 16;
	return bound < UNITS_MAX ? bound : UNITS_MAX;
}

static void
spend(struct hot *hot, struct request *request, uint64_t now_ms)
{
	hot->units--;
	hot->spent++;
	respond_from(hot, request, true, now_ms);
	if (hot->units >= hot->want / 2 || hot->is_asking || lease_bound(hot) < 2)
		return;
	/* A lease that is used up within a tenth of a second was too small, one that lasts half of it too large.
	 */
	if (now_ms - hot->asked_ms < 100)
		hot->want *= 2;
	else if (now_ms - hot->asked_ms > 500)
		hot->want /= 2;
	ask(hot, NULL, hot->want, now_ms);
}

bool
hot_checks_take(struct hot_checks *checks, struct request *request)
{
	const Corbel__V1__LimitCheck *check = simple_check(request);
	uint64_t now_ms = shard_now_ms(checks->shard);
	struct hot *hot = check ? hot_find(checks, request, check, now_ms) : NULL;

	if (!hot)
		return false;
	hot->used_ms = now_ms;
	if (hot->units > 0 && hot->until_ms > now_ms) {
		spend(hot, request, now_ms);
	} else if (hot->refused_until_ms > now_ms) {
		refuse(hot, request, now_ms);
	} else {
		if (hot->is_asking || hot->travels_until_ms > now_ms)
			return false;
		ask(hot, request, hot->want, now_ms);
		request_hold(request);
	}
	return true;
}

/* ---- asking ---- */

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
	uint64_t bound = lease_bound(hot);
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
	respond(asker, &state);
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
	uint64_t now_ms = shard_now_ms(hot->checks->shard);
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

static void
ask(struct hot *hot, struct request *asker, uint64_t units, uint64_t now_ms)
{
	struct shard *shard = hot->checks->shard;
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

/* ---- ending ---- */

void
hot_checks_end(struct hot_checks *checks, const char *tenant)
{
	for (size_t b = 0; checks && b < BUCKETS; b++) {
		for (struct hot *hot = checks->buckets[b]; hot; hot = hot->next) {
			if (tenant && tenant[0] && strcmp(hot->tenant, tenant) != 0)
				continue;
			hot->units = hot->refused_until_ms = hot->travels_until_ms = 0;
			hot->is_ended = true;
		}
	}
}

void
hot_checks_tidy(struct hot_checks *checks, uint64_t now_ms)
{
	for (size_t b = 0; checks && b < BUCKETS; b++) {
		for (struct hot **slot = &checks->buckets[b]; *slot;) {
			struct hot *hot = *slot;
			bool has_news = hot->spent > 0 || hot->refused > 0;
			if (has_news && !hot->is_asking)
				ask(hot, NULL, 0, now_ms);
			if (hot->is_asking || now_ms - hot->used_ms < IDLE_MS) {
				slot = &hot->next;
				continue;
			}
			*slot = hot->next;
			hot_free(hot);
			checks->count--;
		}
	}
}
