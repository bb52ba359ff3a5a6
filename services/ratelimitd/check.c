/*
 * check: decisions, for all calls of a bus message at once.
 *
 * Runs on the bus's threads: resolves names in the snapshot of definitions, decides in the table, answers.
 * Nothing here waits.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "http/ratelimit_headers.h"
#include "ratelimitd_internal.h"

typedef Corbel__V1__CheckRequest CheckRequest;
typedef Corbel__V1__CheckReply CheckReply;
typedef Corbel__V1__LimitCheck LimitCheck;
typedef Corbel__V1__LimitState LimitState;

enum operation { TAKE, LOOK, RETURN };

/* What one call asks about, resolved. */
struct inquiry {
	const char *tenant;
	size_t count;
	const LimitCheck *checks[TABLE_ITEMS_MAX];
	const char *keys[TABLE_ITEMS_MAX];
	const struct definition *definitions[TABLE_ITEMS_MAX];
	struct table_item items[TABLE_ITEMS_MAX];
	bool was_refused[TABLE_ITEMS_MAX]; /* by a shadow limit */
};

struct table_key
counter_key(const char *tenant, const struct definition *definition, const char *key)
{
	size_t tenant_length = strlen(tenant), key_length = strlen(key);
	uint64_t low = hash_stable64(key, key_length, definition->identity);
	uint64_t high = hash_stable64(tenant, tenant_length, low);
	return (struct table_key){.high = hash_mix64(hash_stable64(key, key_length, high), definition->identity),
	                          .low = hash_mix64(low, high)};
}

/* The tenant a call is for: its own, or the one an operator names. */
static struct status
tenant_of(const struct call *call, const char *named, const char **out)
{
	*out = call_tenant(call);
	if (!named || strcmp(named, *out) == 0)
		return status_ok_value();
	if (!call_is_operator(call))
		return status_make(STATUS_PERMISSION_DENIED, "tenant_id: only operators may name another tenant");
	*out = named;
	return status_ok_value();
}

static struct status
resolve_one(struct call *call, const struct snapshot *snapshot, struct inquiry *inquiry, const LimitCheck *check)
{
	size_t at = inquiry->count;
	const char *plan = check->plan && call_is_operator(call) ? check->plan : call_plan(call);
	const char *key = check->key ? check->key : call_key_id(call);
	const struct limit_query query = {
	    .tenant = inquiry->tenant, .name = check->limit, .key = key, .route = check->route, .plan = plan};
	const struct definition *definition = snapshot_find(snapshot, &query);

	if (!definition) {
		call_violation(call, arena_printf(call_arena(call), "/checks/%zu/limit", at), "limit '%s' is not defined",
		               check->limit);
		return status_make(STATUS_NOT_FOUND, "limit '%s' is not defined", check->limit);
	}
	inquiry->checks[at] = check;
	inquiry->keys[at] = key;
	inquiry->definitions[at] = definition;
	inquiry->items[at] = (struct table_item){.key = counter_key(inquiry->tenant, definition, key),
	                                         .rule = &definition->rule,
	                                         .cost = check->has_cost ? check->cost : 1};
	inquiry->was_refused[at] = false;
	inquiry->count++;
	return status_ok_value();
}

static struct status
resolve(struct call *call, const struct snapshot *snapshot, const CheckRequest *request, const char *tenant_id,
        struct inquiry *inquiry)
{
	struct status st = tenant_of(call, request->tenant_id ? request->tenant_id : tenant_id, &inquiry->tenant);
	inquiry->count = 0;
	for (size_t i = 0; i < request->n_checks && status_ok(&st); i++)
		st = resolve_one(call, snapshot, inquiry, request->checks[i]);
	return st;
}

/* Shadow limits decide by themselves: they count, report what they would have refused, and never stand in
 * the way of the others. */
static void
take_shadows(struct ratelimitd *self, struct inquiry *inquiry)
{
	for (size_t i = 0; i < inquiry->count; i++) {
		if (!inquiry->definitions[i]->is_shadow)
			continue;
		inquiry->was_refused[i] = table_take(self->table, &inquiry->items[i], 1) == TABLE_REFUSED;
		inquiry->items[i].decision.is_allowed = true;
	}
}

/* Decides about what is not in shadow, as one. */
static enum table_result
take_all(struct ratelimitd *self, struct inquiry *inquiry)
{
	struct table_item real[TABLE_ITEMS_MAX];
	size_t from[TABLE_ITEMS_MAX], count = 0;

	for (size_t i = 0; i < inquiry->count; i++) {
		if (inquiry->definitions[i]->is_shadow)
			continue;
		from[count] = i;
		real[count++] = inquiry->items[i];
	}
	enum table_result result = count > 0 ? table_take(self->table, real, count) : TABLE_OK;
	for (size_t i = 0; i < count; i++)
		inquiry->items[from[i]].decision = real[i].decision;
	if (result != TABLE_FULL)
		take_shadows(self, inquiry);
	return result;
}

static uint64_t
to_ms(uint64_t us)
{
	return us / 1000 + (us % 1000 != 0);
}

static void
fill_state(LimitState *out, const struct inquiry *inquiry, size_t i)
{
	const struct decision *decision = &inquiry->items[i].decision;
	const struct definition *definition = inquiry->definitions[i];

	corbel__v1__limit_state__init(out);
	out->limit = (char *)(uintptr_t)definition->name;
	out->key = (char *)(uintptr_t)inquiry->keys[i];
	out->has_allowed = out->has_quota = out->has_window_ms = out->has_remaining = out->has_reset_ms = true;
	out->allowed = decision->is_allowed;
	out->quota = decision->quota;
	out->window_ms = definition->rule.window_us / 1000;
	out->remaining = decision->remaining;
	out->reset_ms = to_ms(decision->reset_us);
	out->has_retry_after_ms = !decision->is_allowed && !decision->is_impossible;
	out->retry_after_ms = to_ms(decision->retry_us);
	out->has_delay_ms = definition->rule.strategy == STRATEGY_LEAKY_QUEUE;
	out->delay_ms = to_ms(decision->delay_us);
	out->has_impossible = out->impossible = decision->is_impossible;
	out->has_shadow_refused = out->shadow_refused = inquiry->was_refused[i];
}

static void
fill_reply(struct call *call, const struct inquiry *inquiry, bool is_allowed, CheckReply *reply)
{
	struct arena *arena = call_arena(call);
	LimitState *states = ARENA_ARRAY(arena, LimitState, inquiry->count);

	reply->has_allowed = true;
	reply->allowed = is_allowed;
	reply->n_limits = inquiry->count;
	reply->limits = ARENA_ARRAY(arena, LimitState *, inquiry->count);
	for (size_t i = 0; i < inquiry->count; i++) {
		fill_state(&states[i], inquiry, i);
		reply->limits[i] = &states[i];
	}
}

/* Headers for the HTTP caller, from the states. */
static void
add_headers(struct call *call, const CheckReply *reply)
{
	struct strbuf policy, state;
	uint64_t retry_ms = 0;
	bool is_for_good = false;

	strbuf_init(&policy, call_arena(call));
	strbuf_init(&state, call_arena(call));
	for (size_t i = 0; i < reply->n_limits; i++) {
		const LimitState *limit = reply->limits[i];
		uint64_t more_ms = limit->has_retry_after_ms ? limit->retry_after_ms : limit->reset_ms;
		ratelimit_policy_add(&policy, limit->limit, limit->quota, limit->window_ms);
		ratelimit_add(&state, limit->limit, limit->remaining, more_ms);
		if (limit->has_retry_after_ms && limit->retry_after_ms > retry_ms)
			retry_ms = limit->retry_after_ms;
		is_for_good = is_for_good || limit->impossible;
	}
	call_header(call, "RateLimit-Policy", policy.data);
	call_header(call, "RateLimit", state.data);
	if (!reply->allowed && !is_for_good)
		call_header(call, "Retry-After", arena_printf(call_arena(call), "%llu",
		                                              (unsigned long long)retry_after_seconds(retry_ms)));
}

static void
note(struct ratelimitd *self, const struct inquiry *inquiry)
{
	for (size_t i = 0; i < inquiry->count; i++) {
		const struct decision *decision = &inquiry->items[i].decision;
		const struct outcome outcome = {
		    .is_throttled = !decision->is_allowed,
		    .is_shadow_throttled = inquiry->was_refused[i],
		    .waited_ms = to_ms(decision->is_allowed ? decision->delay_us : decision->retry_us)};
		statistics_note(self->statistics, inquiry->tenant, inquiry->definitions[i]->name, inquiry->keys[i], &outcome);
	}
}

static struct status
decide(struct ratelimitd *self, struct inquiry *inquiry, enum operation operation, bool *is_allowed)
{
	enum table_result result = TABLE_OK;

	if (operation == RETURN) {
		for (size_t i = 0; i < inquiry->count && result == TABLE_OK; i++)
			result = table_give_back(self->table, &inquiry->items[i]);
	} else {
		for (size_t i = 0; operation == LOOK && i < inquiry->count; i++)
			inquiry->items[i].cost = 0;
		result = take_all(self, inquiry);
		if (operation == TAKE && result != TABLE_FULL)
			note(self, inquiry);
	}
	*is_allowed = result == TABLE_OK;
	if (result == TABLE_FULL)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "the table of counters is full");
	if (operation == TAKE)
		counter_add(*is_allowed ? self->allowed : self->refused, 1);
	return status_ok_value();
}

static void
check_one(struct ratelimitd *self, struct call *call, const struct snapshot *snapshot, enum operation operation)
{
	struct inquiry inquiry;
	CheckReply *reply = (CheckReply *)call_reply(call);
	bool is_allowed = false;
	/* CheckRequest and GiveBackRequest have the same fields. */
	struct status st = resolve(call, snapshot, (const CheckRequest *)call_request(call), NULL, &inquiry);

	if (status_ok(&st))
		st = decide(self, &inquiry, operation, &is_allowed);
	if (status_ok(&st)) {
		fill_reply(call, &inquiry, is_allowed, reply);
		add_headers(call, reply);
	}
	call_end(call, st);
}

static void
for_each(struct ratelimitd *self, struct call *calls[], size_t count, enum operation operation)
{
	struct snapshot *snapshot = registry_get(self->registry);
	for (size_t i = 0; i < count; i++)
		check_one(self, calls[i], snapshot, operation);
	snapshot_release(snapshot);
}

static void
check_batch(void *self, struct call *calls[], size_t count)
{
	for_each(self, calls, count, TAKE);
}

static void
peek_batch(void *self, struct call *calls[], size_t count)
{
	for_each(self, calls, count, LOOK);
}

/* GiveBackRequest is unpacked by its own descriptor; its fields are those of a check. */
static void
give_back_batch(void *self, struct call *calls[], size_t count)
{
	_Static_assert(sizeof(Corbel__V1__GiveBackRequest) == sizeof(CheckRequest), "the same fields");
	for_each(self, calls, count, RETURN);
}

/* ---- many decisions in one call ---- */

static void
batch_item(struct ratelimitd *self, struct call *call, const struct snapshot *snapshot, const CheckRequest *request,
           Corbel__V1__BatchCheckReply__Item *item)
{
	const Corbel__V1__BatchCheckRequest *all = (const Corbel__V1__BatchCheckRequest *)call_request(call);
	struct inquiry inquiry;
	bool is_allowed = false;
	struct status st = resolve(call, snapshot, request, all->tenant_id, &inquiry);

	if (status_ok(&st))
		st = decide(self, &inquiry, TAKE, &is_allowed);
	if (!status_ok(&st)) {
		item->error = arena_strdup(call_arena(call), st.message);
		return;
	}
	item->reply = ARENA_NEW(call_arena(call), CheckReply);
	corbel__v1__check_reply__init(item->reply);
	fill_reply(call, &inquiry, is_allowed, item->reply);
}

static void
batch_check_batch(void *self, struct call *calls[], size_t count)
{
	struct snapshot *snapshot = registry_get(((struct ratelimitd *)self)->registry);
	for (size_t c = 0; c < count; c++) {
		const Corbel__V1__BatchCheckRequest *request = (const Corbel__V1__BatchCheckRequest *)call_request(calls[c]);
		Corbel__V1__BatchCheckReply *reply = (Corbel__V1__BatchCheckReply *)call_reply(calls[c]);
		struct arena *arena = call_arena(calls[c]);
		reply->items = ARENA_ARRAY(arena, Corbel__V1__BatchCheckReply__Item *, request->n_requests);
		reply->n_items = request->n_requests;
		for (size_t i = 0; i < request->n_requests; i++) {
			reply->items[i] = ARENA_NEW(arena, Corbel__V1__BatchCheckReply__Item);
			corbel__v1__batch_check_reply__item__init(reply->items[i]);
			batch_item(self, calls[c], snapshot, request->requests[i], reply->items[i]);
		}
		call_end(calls[c], status_ok_value());
	}
	snapshot_release(snapshot);
}

/* ---- one limit and key ---- */

/* Resolves the (limit, key) of Reset and ReportOutcome as a check of cost 0. */
static struct status
resolve_pair(struct call *call, const struct snapshot *snapshot, const char *limit, const char *key,
             const char *tenant_id, struct inquiry *inquiry)
{
	LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT, *checks[1] = {&check};
	CheckRequest request = CORBEL__V1__CHECK_REQUEST__INIT;

	check.limit = (char *)(uintptr_t)limit;
	check.key = (char *)(uintptr_t)key;
	check.has_cost = true;
	request.n_checks = 1;
	request.checks = checks;
	request.tenant_id = (char *)(uintptr_t)tenant_id;
	return resolve(call, snapshot, &request, NULL, inquiry);
}

static void
reset_batch(void *arg, struct call *calls[], size_t count)
{
	struct ratelimitd *self = arg;
	struct snapshot *snapshot = registry_get(self->registry);
	for (size_t i = 0; i < count; i++) {
		const Corbel__V1__ResetRequest *request = (const Corbel__V1__ResetRequest *)call_request(calls[i]);
		struct inquiry inquiry;
		struct status st =
		    resolve_pair(calls[i], snapshot, request->limit, request->key, request->tenant_id, &inquiry);
		if (status_ok(&st)) {
			table_reset(self->table, &inquiry.items[0]);
			fill_state((LimitState *)call_reply(calls[i]), &inquiry, 0);
		}
		call_end(calls[i], st);
	}
	snapshot_release(snapshot);
}

static void
report_batch(void *arg, struct call *calls[], size_t count)
{
	struct ratelimitd *self = arg;
	struct snapshot *snapshot = registry_get(self->registry);
	for (size_t i = 0; i < count; i++) {
		const Corbel__V1__ReportOutcomeRequest *request =
		    (const Corbel__V1__ReportOutcomeRequest *)call_request(calls[i]);
		struct inquiry inquiry;
		struct status st =
		    resolve_pair(calls[i], snapshot, request->limit, request->key, request->tenant_id, &inquiry);
		if (status_ok(&st) && inquiry.definitions[0]->rule.strategy != STRATEGY_ADAPTIVE)
			st = status_make(STATUS_FAILED_PRECONDITION, "limit '%s' is not adaptive", request->limit);
		if (status_ok(&st) && table_report(self->table, &inquiry.items[0], request->throttled, request->latency_ms) ==
		                          TABLE_FULL)
			st = status_make(STATUS_RESOURCE_EXHAUSTED, "the table of counters is full");
		if (status_ok(&st))
			fill_state((LimitState *)call_reply(calls[i]), &inquiry, 0);
		call_end(calls[i], st);
	}
	snapshot_release(snapshot);
}

/* ---- leases ---- */

#define LEASE_MS 1000u

/* Grants what there is, up to what is wanted. Only fixed windows are leased: their units may be spent at
 * any time of the window without admitting more, which holds for no other strategy. */
static void
grant(struct ratelimitd *self, struct inquiry *inquiry, uint64_t units, Corbel__V1__LeaseReply *reply)
{
	struct table_item *item = &inquiry->items[0];
	uint64_t granted = 0;

	item->cost = 0;
	(void)table_take(self->table, item, 1);
	bool is_leasable = item->rule->strategy == STRATEGY_FIXED_WINDOW && !inquiry->definitions[0]->is_shadow;
	/* Another may take between the look and the take: try again with what is left then. */
	for (int tries = 0; is_leasable && tries < 8 && granted == 0 && item->decision.remaining > 0; tries++) {
		item->cost = units < item->decision.remaining ? units : item->decision.remaining;
		if (table_take(self->table, item, 1) == TABLE_OK)
			granted = item->cost;
	}
	reply->has_granted = reply->has_valid_ms = true;
	reply->granted = granted;
	uint64_t left_ms = item->decision.reset_us / 1000;
	reply->valid_ms = left_ms < LEASE_MS ? left_ms : LEASE_MS;
}

static void
lease_batch(void *arg, struct call *calls[], size_t count)
{
	struct ratelimitd *self = arg;
	struct snapshot *snapshot = registry_get(self->registry);
	for (size_t i = 0; i < count; i++) {
		const Corbel__V1__LeaseRequest *request = (const Corbel__V1__LeaseRequest *)call_request(calls[i]);
		Corbel__V1__LeaseReply *reply = (Corbel__V1__LeaseReply *)call_reply(calls[i]);
		CheckRequest check = CORBEL__V1__CHECK_REQUEST__INIT;
		LimitCheck *checks[1] = {request->check};
		struct inquiry inquiry;

		check.n_checks = 1;
		check.checks = checks;
		check.tenant_id = request->tenant_id;
		struct status st = call_is_internal(calls[i])
		                       ? resolve(calls[i], snapshot, &check, NULL, &inquiry)
		                       : status_make(STATUS_PERMISSION_DENIED, "leases are for ingresses");
		if (status_ok(&st)) {
			if (request->unused > 0) {
				inquiry.items[0].cost = request->unused;
				(void)table_give_back(self->table, &inquiry.items[0]);
			}
			grant(self, &inquiry, request->has_units ? request->units : 1, reply);
			reply->state = ARENA_NEW(call_arena(calls[i]), LimitState);
			fill_state(reply->state, &inquiry, 0);
		}
		call_end(calls[i], st);
	}
	snapshot_release(snapshot);
}

service_batch
ratelimitd_batch(void *self, const struct api_method *method)
{
	static const struct {
		const char *name;
		service_batch batch;
	} BATCHES[] = {
	    {"Ratelimits/Check", check_batch},        {"Ratelimits/Peek", peek_batch},
	    {"Ratelimits/GiveBack", give_back_batch}, {"Ratelimits/Reset", reset_batch},
	    {"Ratelimits/BatchCheck", batch_check_batch}, {"Ratelimits/ReportOutcome", report_batch},
	    {"Ratelimits/Lease", lease_batch},
	};
	(void)self;
	for (size_t i = 0; i < sizeof(BATCHES) / sizeof(BATCHES[0]); i++)
		if (strcmp(BATCHES[i].name, method->name) == 0)
			return BATCHES[i].batch;
	return NULL;
}
