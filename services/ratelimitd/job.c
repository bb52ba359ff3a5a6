/*
 * job: deciding in memory, and answering.
 */
#include "job.h"

#include <stdio.h>
#include <string.h>

#include "alarms.h"
#include "http/ratelimit_headers.h"

typedef Corbel__V1__CheckReply CheckReply;
typedef Corbel__V1__LimitState LimitState;

#define LEASE_MS 1000u

/* ---- deciding ---- */

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

static enum table_result
give_back(struct ratelimitd *self, struct inquiry *inquiry)
{
	enum table_result result = TABLE_OK;
	for (size_t i = 0; i < inquiry->count && result == TABLE_OK; i++)
		result = table_give_back(self->table, &inquiry->items[i]);
	return result;
}

bool
job_is_simple(const struct job *job)
{
	return job->kind == JOB_TAKE && job->inquiry.count == 1 && !job->inquiry.definitions[0]->is_shadow;
}

/* Only fixed windows' units may be spent at any time of the window without admitting more, which holds for
 * no other strategy. */
bool
job_is_leasable(const struct job *job)
{
	return job->inquiry.items[0].rule->strategy == STRATEGY_FIXED_WINDOW &&
	       !job->inquiry.definitions[0]->is_shadow;
}

/* Grants what there is, up to what is wanted; when that is nothing, the decision is that of one unit. */
static enum table_result
lease(struct ratelimitd *self, struct job *job)
{
	struct table_item *item = &job->inquiry.items[0];
	bool is_shadow = job->inquiry.definitions[0]->is_shadow;
	uint64_t units = item->cost;
	enum table_result result = TABLE_REFUSED;

	/* Another may take between a look and a take: try again with what is left then. */
	for (int tries = 0; tries < 8 && result == TABLE_REFUSED; tries++) {
		item->cost = 0;
		if (table_take(self->table, item, 1) == TABLE_FULL)
			return TABLE_FULL;
		uint64_t left = item->decision.remaining > 0 ? item->decision.remaining : 1;
		item->cost = units < left ? units : left;
		result = table_take(self->table, item, 1);
		if (result == TABLE_REFUSED && left == 1)
			break;
	}
	job->granted = result == TABLE_OK ? item->cost : 0;
	if (is_shadow) {
		job->inquiry.was_refused[0] = job->granted < units;
		item->decision.is_allowed = true;
		job->granted = units;
	}
	return result == TABLE_FULL ? result : TABLE_OK;
}

static enum table_result
apply(struct ratelimitd *self, struct job *job)
{
	struct inquiry *inquiry = &job->inquiry;

	switch (job->kind) {
	case JOB_GIVE_BACK:
		return give_back(self, inquiry);
	case JOB_RESET:
		table_reset(self->table, &inquiry->items[0]);
		return TABLE_OK;
	case JOB_REPORT:
		return table_report(self->table, &inquiry->items[0], job->is_throttled, job->latency_ms);
	case JOB_LEASE:
		return lease(self, job);
	default:
		return take_all(self, inquiry);
	}
}

struct status
job_decide_in_table(struct ratelimitd *self, struct job *job)
{
	enum table_result result = apply(self, job);
	job->is_allowed = result == TABLE_OK;
	if (result == TABLE_FULL)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "the table of counters is full");
	return status_ok_value();
}

/* ---- answering ---- */

static uint64_t
to_ms(uint64_t us)
{
	return us / 1000 + (us % 1000 != 0);
}

static void
fill_state(LimitState *out, const struct job *job, size_t i)
{
	const struct inquiry *inquiry = &job->inquiry;
	const struct decision *decision = &inquiry->items[i].decision;
	const struct definition *definition = inquiry->definitions[i];

	corbel__v1__limit_state__init(out);
	out->limit =
	    arena_strdup(call_arena(job->call), definition->name); /* the snapshot goes before the reply */
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
	out->has_degraded = out->degraded = job->is_degraded;
}

static void
fill_reply(const struct job *job, CheckReply *reply)
{
	const struct inquiry *inquiry = &job->inquiry;
	struct arena *arena = call_arena(job->call);
	LimitState *states = ARENA_ARRAY(arena, LimitState, inquiry->count);

	reply->has_allowed = true;
	reply->allowed = job->is_allowed;
	reply->n_limits = inquiry->count;
	reply->limits = ARENA_ARRAY(arena, LimitState *, inquiry->count);
	for (size_t i = 0; i < inquiry->count; i++) {
		fill_state(&states[i], job, i);
		reply->limits[i] = &states[i];
	}
}

void
job_headers(struct call *call, const CheckReply *reply)
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
		call_header(
		    call, "Retry-After",
		    arena_printf(call_arena(call), "%llu", (unsigned long long)retry_after_seconds(retry_ms)));
}

/* Somebody may want to know that it is refused. */
static void
raise_alarm(struct ratelimitd *self, const struct job *job, size_t i)
{
	const struct inquiry *inquiry = &job->inquiry;
	const struct decision *decision = &inquiry->items[i].decision;
	const struct definition *definition = inquiry->definitions[i];

	alarms_note(self->alarms,
	            &(struct alarm){.tenant = inquiry->tenant,
	                            .limit = definition->name,
	                            .key = inquiry->keys[i],
	                            .quota = decision->quota,
	                            .window_ms = definition->rule.window_us / 1000,
	                            .retry_ms = decision->is_impossible ? 0 : to_ms(decision->retry_us)});
}

static void
note(struct ratelimitd *self, const struct job *job)
{
	const struct inquiry *inquiry = &job->inquiry;

	for (size_t i = 0; i < inquiry->count; i++) {
		const struct decision *decision = &inquiry->items[i].decision;
		const struct outcome outcome = {
		    .decisions = 1,
		    .is_throttled = !decision->is_allowed,
		    .is_shadow_throttled = inquiry->was_refused[i],
		    .is_degraded = job->is_degraded,
		    .waited_ms = to_ms(decision->is_allowed ? decision->delay_us : decision->retry_us)};
		statistics_note(self->statistics, inquiry->tenant, inquiry->definitions[i]->name, inquiry->keys[i],
		                &outcome);
		if (outcome.is_throttled)
			raise_alarm(self, job, i);
	}
}

static void
answer_lease(struct ratelimitd *self, const struct job *job)
{
	Corbel__V1__LeaseReply *reply = (Corbel__V1__LeaseReply *)call_reply(job->call);
	uint64_t left_ms = job->inquiry.items[0].decision.reset_us / 1000;

	reply->has_granted = reply->has_valid_ms = true;
	reply->granted = job->granted;
	reply->valid_ms = !job_is_leasable(job) ? 0 : left_ms < LEASE_MS ? left_ms : LEASE_MS;
	reply->state = ARENA_NEW(call_arena(job->call), LimitState);
	fill_state(reply->state, job, 0);
	if (job->granted == 0)
		raise_alarm(self, job, 0);
}

static void
answer_check(struct ratelimitd *self, struct job *job)
{
	CheckReply *reply =
	    job->item ? ARENA_NEW(call_arena(job->call), CheckReply) : (CheckReply *)call_reply(job->call);

	if (job->item) {
		corbel__v1__check_reply__init(reply);
		job->item->reply = reply;
	}
	fill_reply(job, reply);
	if (!job->item)
		job_headers(job->call, reply);
	if (job->kind == JOB_TAKE) {
		note(self, job);
		counter_add(job->is_allowed ? self->allowed : self->refused, 1);
	}
}

void
job_answer(struct ratelimitd *self, struct job *job, struct status st)
{
	if (status_ok(&st)) {
		if (job->kind == JOB_LEASE)
			answer_lease(self, job);
		else if (job->kind == JOB_RESET || job->kind == JOB_REPORT)
			fill_state((LimitState *)call_reply(job->call), job, 0);
		else
			answer_check(self, job);
	}
	snapshot_release(job->snapshot);
	if (!job->many) {
		call_end(job->call, st);
		return;
	}
	if (!status_ok(&st))
		job->item->error = arena_strdup(call_arena(job->call), st.message);
	if (--job->many->open == 0)
		call_end(job->many->call, status_ok_value());
}
