/*
 * validate: looking at code without running it. The check is a run like others: it takes its turn, and is
 * confined, since code may be made to bring a parser down.
 */
#include <pthread.h>
#include <string.h>

#include "corbel/sandboxd.methods.gen.h"
#include "sandboxd_internal.h"

#define CPU_MS       5000u
#define WALL_MS      10000u
#define MEMORY_BYTES (UINT64_C(256) << 20)

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool is_over;
};

static void
on_ended(struct job *job)
{
	struct waiting *waiting = job->user;

	pthread_mutex_lock(&waiting->lock);
	waiting->is_over = true;
	pthread_cond_signal(&waiting->ended);
	pthread_mutex_unlock(&waiting->lock);
}

static struct status
wait_for(struct sandboxd *self, struct job *job)
{
	struct waiting waiting = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};

	job->ended = on_ended;
	job->user = &waiting;
	struct status st = scheduler_submit(self->scheduler, job);
	if (!status_ok(&st))
		return st;
	pthread_mutex_lock(&waiting.lock);
	while (!waiting.is_over)
		pthread_cond_wait(&waiting.ended, &waiting.lock);
	pthread_mutex_unlock(&waiting.lock);
	return job->refused;
}

/* What the program is not to blame for: it could not be looked at. */
static struct status
judge(const PluginRun *run)
{
	if (run->outcome == CORBEL__V1__RUN_OUTCOME__HOST_ERROR ||
	    run->outcome == CORBEL__V1__RUN_OUTCOME__CANCELLED)
		return status_make(STATUS_UNAVAILABLE, "the code could not be checked: %s",
		                   run->message ? run->message : "the check was cut off");
	return status_ok_value();
}

struct status
code_check(struct sandboxd *self, struct arena *arena, const char *tenant, const char *code, size_t size,
           const PluginRun **out)
{
	struct job *job = job_new(arena, &self->env, tenant, NULL);

	job->request = (struct runner_request){
	    .code = code,
	    .code_size = size,
	    .mode = RUNNER_VALIDATE,
	    .limits = {.cpu_ms = CPU_MS, .wall_ms = WALL_MS, .memory_bytes = MEMORY_BYTES}};
	struct status st = wait_for(self, job);
	*out = job->run;
	return status_ok(&st) ? judge(job->run) : st;
}

struct status
plugins_validate(struct call *call, const Corbel__V1__ValidatePluginRequest *request,
                 Corbel__V1__ValidatePluginReply *reply)
{
	const PluginRun *run;
	struct status st = code_check(call_service(call), call_arena(call), call_tenant(call), request->code,
	                              strlen(request->code), &run);

	if (!status_ok(&st))
		return st;
	reply->has_valid = true;
	reply->valid = run->outcome == CORBEL__V1__RUN_OUTCOME__OK;
	reply->violations = run->violations;
	reply->n_violations = run->n_violations;
	if (reply->valid || run->n_violations > 0)
		return st;
	/* It took too much to be looked at: a fault, too, but of no line. */
	Corbel__V1__CodeViolation *one = ARENA_NEW(call_arena(call), Corbel__V1__CodeViolation);
	corbel__v1__code_violation__init(one);
	one->reason = run->message ? run->message : (char *)(uintptr_t) "it takes too long to be checked";
	reply->violations = ARENA_NEW(call_arena(call), Corbel__V1__CodeViolation *);
	reply->violations[0] = one;
	reply->n_violations = 1;
	return st;
}
