/*
 * check: from calls to jobs, for all calls of a bus message at once.
 *
 * Runs on the bus's threads: resolves names in the snapshot of definitions, then has the jobs decided, in
 * memory here and now, or in Redis by the engine. Nothing here waits.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/scope.h"
#include "job.h"
#include "many.h"
#include "peers.h"
#include "together.h"

typedef Corbel__V1__CheckRequest CheckRequest;
typedef Corbel__V1__LimitCheck LimitCheck;

struct table_key
counter_key(const char *tenant, const struct definition *definition, const char *key)
{
	size_t tenant_length = strlen(tenant), key_length = strlen(key);
	uint64_t low = hash_stable64(key, key_length, definition->identity);
	uint64_t high = hash_stable64(tenant, tenant_length, low);
	return (struct table_key){.high = hash_mix64(hash_stable64(key, key_length, high), definition->identity),
	                          .low = hash_mix64(low, high)};
}

bool
limit_is_open(const struct call *call, const char *name)
{
	bool is_ours = strncmp(name, "api.", 4) == 0 || strncmp(name, "plugins.", 8) == 0;
	return call_is_operator(call) || !is_ours;
}

/* The limit of that name of the caller's API key alone, made in the call's arena; NULL: none. An operator
 * who acts for another tenant acts by that tenant's limits. */
static const struct definition *
own_definition(struct call *call, const char *tenant, const char *name)
{
	struct arena_allocator memory = arena_allocator(call_arena(call));
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	const ProtobufCBinaryData *limits;
	size_t count = call_key_limits(call, &limits);

	if (count > 0 && strcmp(call_tenant(call), tenant) != 0)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		const Corbel__V1__PlanLimit *limit =
		    corbel__v1__plan_limit__unpack(&allocator, limits[i].len, limits[i].data);
		if (!limit || !limit->resource || strcmp(limit->resource, name) != 0 || limit->window_ms == 0)
			continue;
		struct definition *definition = ARENA_NEW(call_arena(call), struct definition);
		definition_from_plan(limit, definition);
		return definition;
	}
	return NULL;
}

static struct status
resolve_one(struct call *call, const struct snapshot *snapshot, struct inquiry *inquiry,
            const LimitCheck *check)
{
	size_t at = inquiry->count;
	const char *plan = check->plan && call_is_operator(call) ? check->plan : call_plan(call);
	const char *key = check->key ? check->key : call_key_id(call);
	const struct limit_query query = {.tenant = inquiry->tenant,
	                                  .name = check->limit,
	                                  .key = key,
	                                  .route = check->route,
	                                  .plan = plan,
	                                  .own = own_definition(call, inquiry->tenant, check->limit)};
	const struct definition *definition = snapshot_find(snapshot, &query);

	if (!definition && !snapshot_is_complete(snapshot))
		return status_make(STATUS_UNAVAILABLE, "limit '%s': accountd has not told the plans yet",
		                   check->limit);
	if (!definition) {
		call_violation(call, arena_printf(call_arena(call), "/checks/%zu/limit", at),
		               "limit '%s' is not defined", check->limit);
		return status_make(STATUS_NOT_FOUND, "limit '%s' is not defined", check->limit);
	}
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
resolve(struct call *call, const struct snapshot *snapshot, const CheckRequest *request,
        const char *tenant_id, struct inquiry *inquiry)
{
	struct status st =
	    scope_tenant(call, request->tenant_id ? request->tenant_id : tenant_id, &inquiry->tenant);
	inquiry->count = 0;
	for (size_t i = 0; i < request->n_checks && status_ok(&st); i++)
		st = resolve_one(call, snapshot, inquiry, request->checks[i]);
	return st;
}

/* ---- jobs ---- */

void
gathering_begin(struct gathering *gathering, struct ratelimitd *self)
{
	gathering->self = self;
	gathering->snapshot = registry_get(self->registry);
	gathering->first = NULL;
	gathering->last = &gathering->first;
}

static struct job *
job_new(struct gathering *gathering, struct call *call, enum job_kind kind)
{
	struct job *job = arena_alloc_raw(call_arena(call), sizeof(*job));

	job->next = NULL;
	job->kind = kind;
	job->call = call;
	job->many = NULL;
	job->item = NULL;
	job->snapshot = snapshot_hold(gathering->snapshot);
	job->granted = 0;
	job->is_allowed = job->is_degraded = job->is_throttled = false;
	job->latency_ms = 0;
	return job;
}

static void
job_add(struct gathering *gathering, struct job *job, struct status st)
{
	/* What cannot be decided ends here, before the others are handed over: their memory is the engine's
	 * from then on. */
	if (!status_ok(&st)) {
		job_answer(gathering->self, job, st);
		return;
	}
	*gathering->last = job;
	gathering->last = &job->next;
}

void
gathering_check(struct gathering *gathering, struct many *many, const CheckRequest *request,
                const char *tenant_id, Corbel__V1__BatchCheckReply__Item *item)
{
	struct job *job = job_new(gathering, many->call, JOB_TAKE);

	job->many = many;
	job->item = item;
	job_add(gathering, job, resolve(many->call, gathering->snapshot, request, tenant_id, &job->inquiry));
}

void
gathering_end(struct gathering *gathering)
{
	struct ratelimitd *self = gathering->self;

	snapshot_release(gathering->snapshot);
	if (!gathering->first)
		return;
	if (self->engine) {
		shared_engine_push(self->engine, gathering->first);
		return;
	}
	for (const struct job *job = gathering->first; job; job = job->next)
		for (size_t i = 0; i < job->inquiry.count; i++)
			table_expect(self->table, &job->inquiry.items[i].key);
	for (const struct job *job = gathering->first; job; job = job->next)
		for (size_t i = 0; i < job->inquiry.count; i++)
			table_approach(self->table, &job->inquiry.items[i].key);
	for (struct job *job = gathering->first, *next; job; job = next) {
		next = job->next;
		job_answer(self, job, job_decide_in_table(self, job));
	}
}

static struct status
guard(const struct call *call, const struct inquiry *inquiry)
{
	for (size_t i = 0; i < inquiry->count; i++)
		if (!limit_is_open(call, inquiry->definitions[i]->name))
			return status_make(STATUS_PERMISSION_DENIED,
			                   "limit '%s': only operators change what is used of it",
			                   inquiry->definitions[i]->name);
	return status_ok_value();
}

/* CheckRequest and GiveBackRequest have the same fields. */
_Static_assert(sizeof(Corbel__V1__GiveBackRequest) == sizeof(CheckRequest), "the same fields");

/* What decides a call whose keys belong to several replicas. */
static void (*together_for(enum job_kind kind))(struct ratelimitd *self, struct call *call)
{
	return kind == JOB_LOOK ? together_look : kind == JOB_GIVE_BACK ? together_give_back : together_take;
}

static void
for_each(void *self, struct call *calls[], size_t count, enum job_kind kind)
{
	struct gathering gathering;
	size_t apart = 0; /* calls for several replicas, moved to the front */

	gathering_begin(&gathering, self);
	for (size_t i = 0; i < count; i++) {
		struct job *job = job_new(&gathering, calls[i], kind);
		struct status st = resolve(calls[i], gathering.snapshot, (const CheckRequest *)call_request(calls[i]),
		                           NULL, &job->inquiry);
		for (size_t c = 0; kind == JOB_LOOK && c < job->inquiry.count; c++)
			job->inquiry.items[c].cost = 0;
		if (status_ok(&st) && kind == JOB_GIVE_BACK)
			st = guard(calls[i], &job->inquiry);
		if (status_ok(&st) && together_is_needed(self, job)) {
			snapshot_release(job->snapshot);
			calls[apart++] = calls[i];
		} else {
			job_add(&gathering, job, st);
		}
	}
	gathering_end(&gathering);
	if (apart > 0)
		peers_later(self, calls, apart, together_for(kind));
}

static void
check_batch(void *self, struct call *calls[], size_t count)
{
	for_each(self, calls, count, JOB_TAKE);
}

static void
peek_batch(void *self, struct call *calls[], size_t count)
{
	for_each(self, calls, count, JOB_LOOK);
}

static void
give_back_batch(void *self, struct call *calls[], size_t count)
{
	for_each(self, calls, count, JOB_GIVE_BACK);
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
reset_batch(void *self, struct call *calls[], size_t count)
{
	struct gathering gathering;

	gathering_begin(&gathering, self);
	for (size_t i = 0; i < count; i++) {
		const Corbel__V1__ResetRequest *request = (const Corbel__V1__ResetRequest *)call_request(calls[i]);
		struct job *job = job_new(&gathering, calls[i], JOB_RESET);
		struct status st = resolve_pair(calls[i], gathering.snapshot, request->limit, request->key,
		                                request->tenant_id, &job->inquiry);
		if (status_ok(&st))
			st = guard(calls[i], &job->inquiry);
		job_add(&gathering, job, st);
	}
	gathering_end(&gathering);
}

static void
report_batch(void *self, struct call *calls[], size_t count)
{
	struct gathering gathering;

	gathering_begin(&gathering, self);
	for (size_t i = 0; i < count; i++) {
		const Corbel__V1__ReportOutcomeRequest *request =
		    (const Corbel__V1__ReportOutcomeRequest *)call_request(calls[i]);
		struct job *job = job_new(&gathering, calls[i], JOB_REPORT);
		struct status st = resolve_pair(calls[i], gathering.snapshot, request->limit, request->key,
		                                request->tenant_id, &job->inquiry);
		if (status_ok(&st) && job->inquiry.definitions[0]->rule.strategy != STRATEGY_ADAPTIVE)
			st = status_make(STATUS_FAILED_PRECONDITION, "limit '%s' is not adaptive", request->limit);
		job->is_throttled = request->throttled;
		job->latency_ms = request->latency_ms;
		job_add(&gathering, job, st);
	}
	gathering_end(&gathering);
}

/* What may not be kept is granted to those who wait for it. */
static uint64_t
lease_units(const struct job *job, const Corbel__V1__LeaseRequest *request)
{
	uint64_t units = request->has_units ? request->units : 1,
	         waiting = request->has_waiting ? request->waiting : 1;
	return job_is_leasable(job) ? units : waiting;
}

/* What the ingress has decided by itself since it last told. */
static void
note_told(struct ratelimitd *self, const Corbel__V1__LeaseRequest *request)
{
	const LimitCheck *check = request->check;
	const struct outcome spent = {.decisions = request->spent}, refused = {.decisions = request->refused,
	                                                                       .is_throttled = true,
	                                                                       .waited_ms = request->waited_ms};

	if (!request->tenant_id || !check->key)
		return;
	if (request->spent > 0)
		statistics_note(self->statistics, request->tenant_id, check->limit, check->key, &spent);
	if (request->refused > 0)
		statistics_note(self->statistics, request->tenant_id, check->limit, check->key, &refused);
	counter_add(self->allowed, request->spent);
	counter_add(self->refused, request->refused);
}

static struct status
lease_resolve(struct call *call, const struct gathering *gathering, struct job *job)
{
	const Corbel__V1__LeaseRequest *request = (const Corbel__V1__LeaseRequest *)call_request(call);
	CheckRequest check = CORBEL__V1__CHECK_REQUEST__INIT;
	LimitCheck *checks[1] = {request->check};

	check.n_checks = 1;
	check.checks = checks;
	check.tenant_id = request->tenant_id;
	struct status st = resolve(call, gathering->snapshot, &check, NULL, &job->inquiry);
	if (status_ok(&st))
		job->inquiry.items[0].cost = lease_units(job, request);
	return st;
}

static void
lease_batch(void *self, struct call *calls[], size_t count)
{
	struct gathering gathering;

	gathering_begin(&gathering, self);
	for (size_t i = 0; i < count; i++) {
		const Corbel__V1__LeaseRequest *request = (const Corbel__V1__LeaseRequest *)call_request(calls[i]);
		if (!call_is_internal(calls[i])) {
			call_end(calls[i], status_make(STATUS_PERMISSION_DENIED, "leases are for ingresses"));
			continue;
		}
		note_told(self, request);
		if (request->has_units && request->units == 0) {
			call_end(calls[i], status_ok_value());
			continue;
		}
		struct job *job = job_new(&gathering, calls[i], JOB_LEASE);
		job_add(&gathering, job, lease_resolve(calls[i], &gathering, job));
	}
	gathering_end(&gathering);
}

service_batch
ratelimitd_batch(void *self, const struct api_method *method)
{
	static const struct {
		const char *name;
		service_batch batch;
	} BATCHES[] = {
	    {"Ratelimits/Check", check_batch},          {"Ratelimits/Peek", peek_batch},
	    {"Ratelimits/GiveBack", give_back_batch},   {"Ratelimits/Reset", reset_batch},
	    {"Ratelimits/BatchCheck", many_decide},     {"Ratelimits/ReplicaCheck", many_decide_here},
	    {"Ratelimits/ReportOutcome", report_batch}, {"Ratelimits/Lease", lease_batch},
	};
	(void)self;
	for (size_t i = 0; i < sizeof(BATCHES) / sizeof(BATCHES[0]); i++)
		if (strcmp(BATCHES[i].name, method->name) == 0)
			return BATCHES[i].batch;
	return NULL;
}
