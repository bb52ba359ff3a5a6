/*
 * scheduler: jobs that wait for a slot of the runner, and those that have one.
 *
 * Which one is next is said by fair.h. Any thread may call; ends come on the runner's thread, or on that of
 * who submits, cancels or drains.
 */
#ifndef CORBEL_SANDBOXD_SCHEDULER_H
#define CORBEL_SANDBOXD_SCHEDULER_H

#include "job.h"
#include "telemetry/metric.h"

struct scheduler;

struct scheduler_options {
	size_t slots, waiting_max;
	const struct clock *clock;
	struct metrics *metrics;
};
struct scheduler *scheduler_new(const struct scheduler_options *options);
/* What runs them; before, all are refused. */
void scheduler_set_runner(struct scheduler *scheduler, struct runner *runner);
/* After scheduler_drain(), and when the runner has stopped. */
void scheduler_free(struct scheduler *scheduler);

/* Takes the job, which ends by its `ended`, maybe before this returns. RESOURCE_EXHAUSTED: too many wait, all
 * in all or of this tenant; ALREADY_EXISTS: one of its id is here; UNAVAILABLE: draining, or no runner. The
 * job is still the caller's then. */
struct status scheduler_submit(struct scheduler *scheduler, struct job *job);
/* Ends the run of that id as cancelled, within 50 ms, unless it is another tenant's (NULL: whoever's). `was`
 * is what was known of it until then, in the arena; both may be NULL. False: it is not here. */
bool scheduler_cancel(struct scheduler *scheduler, const char *run_id, const char *tenant,
                      struct arena *arena, PluginRun **was);
/* The same for the run that a call with this traceparent waits for, which is told CANCELLED: nobody reads how
 * it ended. */
bool scheduler_abandon(struct scheduler *scheduler, const char *traceparent);
/* Slots that are free, and how many more runs of a tenant would get one at once; none while it drains. */
size_t scheduler_free_slots(struct scheduler *scheduler);
size_t scheduler_room_of(struct scheduler *scheduler, const char *tenant);
/* Refuses what waits, and waits for what is under way; what does not end in time is cancelled. */
void scheduler_drain(struct scheduler *scheduler, uint32_t grace_ms);
/* Whether runs are cut off by a drain: what ends cancelled now was not cancelled by anybody. */
bool scheduler_is_draining(struct scheduler *scheduler);

#endif
