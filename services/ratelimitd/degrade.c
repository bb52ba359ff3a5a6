/*
 * degrade: decisions while Redis is away.
 *
 * LOCAL_SHARE counts in memory against the limit divided by the number of replicas, so that all of them
 * together admit about the limit; FAIL_OPEN admits; FAIL_CLOSED refuses. A call over several limits is
 * admitted when each of them admits.
 */
#include "job.h"

#include <string.h>

#define CLOSED_RETRY_US UINT64_C(1000000)

static uint64_t
share_of(uint64_t units, uint64_t replicas)
{
	return units == 0 ? 0 : units / replicas > 0 ? units / replicas : 1;
}

static uint64_t
replicas_of(struct ratelimitd *self)
{
	struct pool *pool = host_pool(self->env.host, "ratelimitd");
	size_t replicas = pool ? pool_replicas(pool) : 1;
	return replicas > 0 ? replicas : 1;
}

static void
admit(struct table_item *item)
{
	item->decision =
	    (struct decision){.is_allowed = true, .quota = item->rule->limit, .remaining = item->rule->limit};
}

static void
refuse(struct table_item *item)
{
	item->decision = (struct decision){.quota = item->rule->limit, .retry_us = CLOSED_RETRY_US};
}

/* The limits that count locally, as one decision with their share of each limit. */
static struct status
take_shares(struct ratelimitd *self, struct job *job)
{
	struct inquiry *inquiry = &job->inquiry;
	struct rule *shares = ARENA_ARRAY(call_arena(job->call), struct rule, inquiry->count);
	uint64_t replicas = replicas_of(self);

	for (size_t i = 0; i < inquiry->count; i++) {
		shares[i] = *inquiry->items[i].rule;
		shares[i].limit = share_of(shares[i].limit, replicas);
		shares[i].burst = share_of(shares[i].burst, replicas);
		shares[i].floor = share_of(shares[i].floor, replicas);
		shares[i].ceiling = share_of(shares[i].ceiling, replicas);
		inquiry->items[i].rule = &shares[i];
	}
	return job_decide_in_table(self, job);
}

struct status
job_decide_degraded(struct ratelimitd *self, struct job *job)
{
	struct inquiry *inquiry = &job->inquiry;
	size_t open = 0, closed = 0;

	job->is_degraded = true;
	counter_add(self->degraded, 1);
	for (size_t i = 0; i < inquiry->count; i++) {
		open += inquiry->definitions[i]->on_failure == CORBEL__V1__FAILURE_MODE__FAIL_OPEN;
		closed += inquiry->definitions[i]->on_failure == CORBEL__V1__FAILURE_MODE__FAIL_CLOSED;
	}
	if (closed > 0 && job->kind == JOB_TAKE) {
		for (size_t i = 0; i < inquiry->count; i++) {
			if (inquiry->definitions[i]->on_failure == CORBEL__V1__FAILURE_MODE__FAIL_CLOSED)
				refuse(&inquiry->items[i]);
			else
				admit(&inquiry->items[i]);
		}
		job->is_allowed = false;
		return status_ok_value();
	}
	if (open == inquiry->count) {
		for (size_t i = 0; i < inquiry->count; i++)
			admit(&inquiry->items[i]);
		job->is_allowed = true;
		job->granted = job->kind == JOB_LEASE ? inquiry->items[0].cost : 0;
		return status_ok_value();
	}
	/* A mixture counts all of it: the ones that fail open are then no looser than the others. */
	return take_shares(self, job);
}
