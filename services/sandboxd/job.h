/*
 * job: one run on its way, from the call or the row that asks for it to the record of its end.
 *
 * It lies in the arena of the call that waits for it, or in one of its own when it comes from the queue.
 * While the scheduler has it, it is the scheduler's alone.
 */
#ifndef CORBEL_SANDBOXD_JOB_H
#define CORBEL_SANDBOXD_JOB_H

#include "corbel/contract.gen.h"
#include "daemon/service.h"
#include "fair.h"
#include "library.h"
#include "runner.h"

typedef Corbel__V1__PluginRun PluginRun;
typedef Corbel__V1__PluginLimits PluginLimits;

struct job {
	struct fair_item item;         /* first */
	struct arena *arena;           /* of it and all that it points at */
	PluginRun *run;                /* what is known of it; complete when it has ended */
	const struct program *program; /* its own reference; NULL: code without a plugin */
	const char *event_type;        /* of the event that it is for; NULL: none */
	size_t at_once_max;            /* runs of the tenant under way at once; 0: no such bound */
	struct runner_request request;
	struct call *call; /* that waits for it; NULL: none */
	int64_t token;     /* of the claim, when it comes from the queue */
	/* Once, on any thread, which it must not block for long. Either `run` is complete, or it was never run,
	 * and `refused` tells why. */
	void (*ended)(struct job *job);
	void *user;
	struct status refused;
	/* the scheduler's: */
	struct scheduler *scheduler;
	struct job *next, **link; /* among all that it has */
	bool is_under_way;
	bool is_abandoned; /* who waited has hung up */
	uint64_t runner_id, queued_mono_us;
};

/* A run that begins with an id (NULL: a new one) and the time. */
struct job *job_new(struct arena *arena, const struct service_env *env, const char *tenant, const char *id);
/* What is known of a run so far, but for its log and result. */
PluginRun *run_copy(struct arena *arena, const PluginRun *run);
/* The limits that are asked for, cut to those that are allowed; what is absent is the default. */
void job_limit(struct job *job, const PluginLimits *asked, const PluginLimits *allowed);
/* As the runner told it; texts are copied. */
void job_take_result(struct job *job, const struct runner_result *result, int64_t now_ms);
/* Ends it without the runner. */
void job_end_as(struct job *job, Corbel__V1__RunOutcome outcome, const char *message, int64_t now_ms);

#endif
