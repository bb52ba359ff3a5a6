/*
 * scheduler: see scheduler.h.
 */
#include "scheduler.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/monotonic.h"
#include "daemon/call.h"

#define CANCEL_MS 1000u /* for what is cancelled by a drain */

struct scheduler {
	struct scheduler_options options;
	pthread_mutex_t lock; /* guards all below; leaf but for the runner's own */
	pthread_cond_t emptied;
	struct runner *runner; /* NULL: none yet */
	struct fair *fair;
	struct job *first;
	bool is_draining;
	struct metric_gauge *waiting, *under_way;
	struct metric_histogram *waited;
};

static uint64_t
now_us(const struct scheduler *self)
{
	return clock_mono_ns(self->options.clock) / 1000;
}

static int64_t
wall_ms(const struct scheduler *self)
{
	return clock_wall_ms(self->options.clock);
}

/* ---- the list of all ---- */

static void
link_in(struct scheduler *self, struct job *job)
{
	job->next = self->first;
	job->link = &self->first;
	if (job->next)
		job->next->link = &job->next;
	self->first = job;
}

static void
link_out(struct scheduler *self, struct job *job)
{
	*job->link = job->next;
	if (job->next)
		job->next->link = job->link;
	job->next = NULL;
	gauge_set(self->waiting, (int64_t)fair_waiting(self->fair));
	gauge_set(self->under_way, (int64_t)fair_under_way(self->fair));
	if (!self->first)
		pthread_cond_broadcast(&self->emptied);
}

/* Ends those of a list, which are nobody's. Without the lock. */
static void
end_all(struct job *job)
{
	while (job) {
		struct job *next = job->next;
		job->ended(job);
		job = next;
	}
}

/* ---- beginning ---- */

static void on_done(void *arg, const struct runner_result *result);

static struct status
begin(struct scheduler *self, struct job *job)
{
	if (job->call && call_has_expired(job->call))
		return status_make(STATUS_DEADLINE_EXCEEDED, "the run waited for its turn until the deadline");
	job->run->state = CORBEL__V1__RUN_STATE__RUN_UNDER_WAY;
	job->run->has_started_at = true;
	job->run->started_at = wall_ms(self);
	histogram_observe(self->waited, (double)(now_us(self) - job->queued_mono_us) / 1e6);
	job->is_under_way = true;
	return runner_submit(self->runner, &job->request, on_done, job, &job->runner_id);
}

/* Gives slots to those that are next. Those that cannot begin are put before `ended`. */
static struct job *
pump(struct scheduler *self, struct job *ended)
{
	struct fair_item *item;

	while (!self->is_draining && (item = fair_pop(self->fair))) {
		struct job *job = (struct job *)item;
		job->refused = begin(self, job);
		if (status_ok(&job->refused))
			continue;
		fair_done(self->fair, item, 0);
		link_out(self, job);
		job->next = ended;
		ended = job;
	}
	gauge_set(self->waiting, (int64_t)fair_waiting(self->fair));
	gauge_set(self->under_way, (int64_t)fair_under_way(self->fair));
	return ended;
}

/* On the runner's thread. The next one begins before this one is told of. */
static void
on_done(void *arg, const struct runner_result *result)
{
	struct job *job = arg;
	struct scheduler *self = job->scheduler;

	pthread_mutex_lock(&self->lock);
	fair_done(self->fair, &job->item, result->wall_us);
	link_out(self, job);
	struct job *ended = pump(self, NULL);
	pthread_mutex_unlock(&self->lock);
	job_take_result(job, result, wall_ms(self));
	job->ended(job);
	end_all(ended);
}

/* ---- what others ask for ---- */

static struct job *
job_of(struct scheduler *self, const char *run_id)
{
	struct job *job = self->first;

	while (job && strcmp(job->run->id, run_id) != 0)
		job = job->next;
	return job;
}

struct status
scheduler_submit(struct scheduler *self, struct job *job)
{
	struct status st = status_ok_value();
	struct job *ended = NULL;

	job->scheduler = self;
	job->queued_mono_us = now_us(self);
	pthread_mutex_lock(&self->lock);
	if (self->is_draining)
		st = status_make(STATUS_UNAVAILABLE, "this replica is about to stop");
	else if (!self->runner)
		st = status_make(STATUS_UNAVAILABLE, "no plugin runs here: the zygote does not start");
	else if (job_of(self, job->run->id))
		st = status_make(STATUS_ALREADY_EXISTS, "a run of this id is under way");
	else if (!fair_push(self->fair, &job->item, job->run->tenant_id, job->at_once_max))
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "too many runs wait for their turn; try again later");
	if (status_ok(&st)) {
		link_in(self, job);
		ended = pump(self, NULL);
	}
	pthread_mutex_unlock(&self->lock);
	end_all(ended);
	return st;
}

/* The lock is held. One that waits comes to `ended`, the other ends on the runner's thread. */
static void
cut_off(struct scheduler *self, struct job *job, struct job **ended)
{
	if (job->is_under_way) {
		(void)runner_cancel(self->runner, job->runner_id);
	} else if (fair_remove(self->fair, &job->item)) {
		link_out(self, job);
		*ended = job;
	}
}

static void
end_unbegun(struct scheduler *self, struct job *ended)
{
	if (ended)
		job_end_as(ended, CORBEL__V1__RUN_OUTCOME__CANCELLED, "it was cancelled before its turn",
		           wall_ms(self));
	end_all(ended);
}

bool
scheduler_cancel(struct scheduler *self, const char *run_id, const char *tenant, struct arena *arena,
                 PluginRun **was)
{
	struct job *ended = NULL;

	pthread_mutex_lock(&self->lock);
	struct job *job = job_of(self, run_id);
	bool is_here = job && (!tenant || strcmp(job->run->tenant_id, tenant) == 0);
	if (is_here && was)
		*was = run_copy(arena, job->run);
	if (is_here)
		cut_off(self, job, &ended);
	pthread_mutex_unlock(&self->lock);
	end_unbegun(self, ended);
	return is_here;
}

bool
scheduler_abandon(struct scheduler *self, const char *traceparent)
{
	struct job *ended = NULL, *job;

	pthread_mutex_lock(&self->lock);
	for (job = self->first; job; job = job->next) {
		const char *of_call = job->call ? call_traceparent(job->call) : NULL;
		if (of_call && strcmp(of_call, traceparent) == 0)
			break;
	}
	if (job) {
		job->is_abandoned = true;
		cut_off(self, job, &ended);
	}
	pthread_mutex_unlock(&self->lock);
	end_unbegun(self, ended);
	return job != NULL;
}

size_t
scheduler_free_slots(struct scheduler *self)
{
	pthread_mutex_lock(&self->lock);
	size_t count = self->is_draining || !self->runner ? 0 : self->options.slots - fair_under_way(self->fair);
	pthread_mutex_unlock(&self->lock);
	return count;
}

size_t
scheduler_room_of(struct scheduler *self, const char *tenant)
{
	pthread_mutex_lock(&self->lock);
	size_t room = self->is_draining || !self->runner ? 0 : fair_room(self->fair, tenant);
	pthread_mutex_unlock(&self->lock);
	return room;
}

bool
scheduler_is_draining(struct scheduler *self)
{
	pthread_mutex_lock(&self->lock);
	bool is_draining = self->is_draining;
	pthread_mutex_unlock(&self->lock);
	return is_draining;
}

/* ---- the end ---- */

static struct job *
refuse_waiting(struct scheduler *self)
{
	struct job *ended = NULL;

	for (struct job *job = self->first, *next; job; job = next) {
		next = job->next;
		if (job->is_under_way || !fair_remove(self->fair, &job->item))
			continue;
		link_out(self, job);
		job->refused = status_make(STATUS_UNAVAILABLE, "this replica is about to stop");
		job->next = ended;
		ended = job;
	}
	return ended;
}

static void
wait_until_empty(struct scheduler *self, uint32_t ms)
{
	struct timespec until = monotonic_in_ms(ms);

	while (self->first)
		if (pthread_cond_timedwait(&self->emptied, &self->lock, &until) != 0)
			break;
}

void
scheduler_drain(struct scheduler *self, uint32_t grace_ms)
{
	pthread_mutex_lock(&self->lock);
	self->is_draining = true;
	struct job *ended = refuse_waiting(self);
	pthread_mutex_unlock(&self->lock);
	end_all(ended);
	pthread_mutex_lock(&self->lock);
	wait_until_empty(self, grace_ms > CANCEL_MS ? grace_ms - CANCEL_MS : 0);
	for (struct job *job = self->first; job; job = job->next)
		(void)runner_cancel(self->runner, job->runner_id);
	wait_until_empty(self, CANCEL_MS);
	pthread_mutex_unlock(&self->lock);
}

struct scheduler *
scheduler_new(const struct scheduler_options *options)
{
	static const double SECONDS[] = {0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30};
	struct scheduler *self = mem_alloc(sizeof(*self));

	self->options = *options;
	self->fair = fair_new(options->slots, options->waiting_max);
	pthread_mutex_init(&self->lock, NULL);
	monotonic_cond_init(&self->emptied);
	self->waiting = metrics_gauge(
	    options->metrics,
	    &(struct metric_spec){.name = "corbel_sandbox_waiting", .help = "Runs that wait for a slot"}, NULL);
	self->under_way = metrics_gauge(
	    options->metrics,
	    &(struct metric_spec){.name = "corbel_sandbox_under_way", .help = "Runs that have a slot"}, NULL);
	self->waited =
	    metrics_histogram(options->metrics,
	                      &(struct metric_spec){.name = "corbel_sandbox_wait_seconds",
	                                            .help = "Time that a run waits for a slot",
	                                            .unit = "seconds",
	                                            .buckets = SECONDS,
	                                            .bucket_count = sizeof(SECONDS) / sizeof(SECONDS[0])},
	                      NULL);
	return self;
}

void
scheduler_set_runner(struct scheduler *self, struct runner *runner)
{
	pthread_mutex_lock(&self->lock);
	self->runner = runner;
	pthread_mutex_unlock(&self->lock);
}

void
scheduler_free(struct scheduler *self)
{
	if (!self)
		return;
	fair_free(self->fair);
	pthread_cond_destroy(&self->emptied);
	pthread_mutex_destroy(&self->lock);
	mem_free(self);
}
