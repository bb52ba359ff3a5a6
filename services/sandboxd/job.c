/*
 * job: see job.h.
 */
#include "job.h"

#include <string.h>

#include "base/id.h"
#include "daemon/service.h"
#include "schema/schema.h"

#define CPU_MS       10000u
#define WALL_MS      30000u
#define MEMORY_BYTES (UINT64_C(256) << 20)
#define OUTPUT_BYTES (1u << 20)
#define LOG_BYTES    (64u << 10)
#define TREE_BYTES   (64u << 20) /* of a result that is looked into */

struct job *
job_new(struct arena *arena, const struct service_env *env, const char *tenant, const char *id)
{
	struct job *job = ARENA_NEW(arena, struct job);
	PluginRun *run = ARENA_NEW(arena, PluginRun);

	corbel__v1__plugin_run__init(run);
	run->id = arena_strdup(arena, id ? id : id_make("run", env->clock, env->random).text);
	run->tenant_id = arena_strdup(arena, tenant);
	run->has_trigger = run->has_state = run->has_attempts = run->has_created_at = true;
	run->trigger = CORBEL__V1__RUN_TRIGGER__BY_API;
	run->state = CORBEL__V1__RUN_STATE__RUN_QUEUED;
	run->attempts = 1;
	run->created_at = clock_wall_ms(env->clock);
	job->arena = arena;
	job->run = run;
	job->refused = status_ok_value();
	return job;
}

PluginRun *
run_copy(struct arena *arena, const PluginRun *run)
{
	PluginRun bare = *run;
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};

	bare.log = NULL;
	bare.has_result = false;
	size_t size = corbel__v1__plugin_run__get_packed_size(&bare);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);
	corbel__v1__plugin_run__pack(&bare, bytes);
	return corbel__v1__plugin_run__unpack(&allocator, size, bytes);
}

/* ---- limits ---- */

#define CUT(field, otherwise)                                                                                \
	limits->has_##field = true;                                                                              \
	limits->field = asked && asked->has_##field ? asked->field : (otherwise);                                \
	if (allowed->has_##field && limits->field > allowed->field)                                              \
	limits->field = allowed->field

void
job_limit(struct job *job, const PluginLimits *asked, const PluginLimits *allowed)
{
	PluginLimits *limits = ARENA_NEW(job->arena, PluginLimits);

	corbel__v1__plugin_limits__init(limits);
	CUT(cpu_ms, CPU_MS);
	CUT(wall_ms, WALL_MS);
	CUT(memory_bytes, MEMORY_BYTES);
	CUT(output_bytes, OUTPUT_BYTES);
	CUT(log_bytes, LOG_BYTES);
	job->run->limits = limits;
	job->request.limits = (struct runner_limits){.cpu_ms = limits->cpu_ms,
	                                             .wall_ms = limits->wall_ms,
	                                             .memory_bytes = limits->memory_bytes,
	                                             .output_bytes = limits->output_bytes,
	                                             .log_bytes = limits->log_bytes > 0 ? limits->log_bytes : 1};
}

#undef CUT

/* ---- the end ---- */

static Corbel__V1__RunOutcome
outcome_of(enum runner_outcome outcome)
{
	static const Corbel__V1__RunOutcome OUTCOMES[RUNNER_OUTCOMES] = {
	    [RUNNER_OK] = CORBEL__V1__RUN_OUTCOME__OK,
	    [RUNNER_INVALID_CODE] = CORBEL__V1__RUN_OUTCOME__INVALID_CODE,
	    [RUNNER_RUNTIME_ERROR] = CORBEL__V1__RUN_OUTCOME__RUNTIME_ERROR,
	    [RUNNER_CPU_LIMIT] = CORBEL__V1__RUN_OUTCOME__CPU_LIMIT,
	    [RUNNER_MEMORY_LIMIT] = CORBEL__V1__RUN_OUTCOME__MEMORY_LIMIT,
	    [RUNNER_TIMEOUT] = CORBEL__V1__RUN_OUTCOME__TIMEOUT,
	    [RUNNER_OUTPUT_LIMIT] = CORBEL__V1__RUN_OUTCOME__OUTPUT_LIMIT,
	    [RUNNER_SECURITY_VIOLATION] = CORBEL__V1__RUN_OUTCOME__SECURITY_VIOLATION,
	    [RUNNER_RESULT_NOT_JSON] = CORBEL__V1__RUN_OUTCOME__RESULT_NOT_JSON,
	    [RUNNER_CANCELLED] = CORBEL__V1__RUN_OUTCOME__CANCELLED,
	    [RUNNER_HOST_ERROR] = CORBEL__V1__RUN_OUTCOME__HOST_ERROR};
	return OUTCOMES[outcome];
}

static char *
copy_text(struct arena *arena, const char *text)
{
	return text && *text ? arena_strdup(arena, text) : NULL;
}

static void
take_violations(struct job *job, const struct runner_result *result)
{
	PluginRun *run = job->run;

	run->violations = ARENA_ARRAY(job->arena, Corbel__V1__CodeViolation *, result->violation_count + 1);
	for (size_t i = 0; i < result->violation_count; i++) {
		const struct runner_violation *from = &result->violations[i];
		Corbel__V1__CodeViolation *to = ARENA_NEW(job->arena, Corbel__V1__CodeViolation);
		corbel__v1__code_violation__init(to);
		to->has_line = from->line > 0;
		to->line = from->line;
		to->has_column = from->column > 0;
		to->column = from->column;
		to->reason = copy_text(job->arena, from->reason);
		to->hint = copy_text(job->arena, from->hint);
		run->violations[run->n_violations++] = to;
	}
}

/* A result that the output schema does not take is none. The first few faults are told. */
static void
judge_result(struct job *job, const struct runner_result *result)
{
	PluginRun *run = job->run;
	struct violations found = {.count = 0};
	struct arena tree;

	if (job->program && job->program->output) {
		arena_init(&tree, 64u << 10, TREE_BYTES);
		if (!schema_check_text(job->program->output, result->result, result->result_size, "", &tree,
		                       &found)) {
			struct status st = violations_status(&found);
			run->outcome = CORBEL__V1__RUN_OUTCOME__INVALID_RESULT;
			run->message =
			    arena_printf(job->arena, "the result is not as the output schema says: %s", st.message);
		}
		arena_fini(&tree);
	}
	if (run->outcome != CORBEL__V1__RUN_OUTCOME__OK)
		return;
	run->has_result = true;
	run->result.len = result->result_size;
	run->result.data = arena_memdup(job->arena, result->result, result->result_size);
}

static void
end(PluginRun *run, Corbel__V1__RunOutcome outcome, int64_t now_ms)
{
	run->has_state = run->has_outcome = run->has_ended_at = true;
	run->state = CORBEL__V1__RUN_STATE__RUN_ENDED;
	run->outcome = outcome;
	run->ended_at = now_ms;
}

void
job_take_result(struct job *job, const struct runner_result *result, int64_t now_ms)
{
	PluginRun *run = job->run;

	end(run, outcome_of(result->outcome), now_ms);
	run->message = copy_text(job->arena, result->message);
	run->traceback = copy_text(job->arena, result->traceback);
	run->system_call = copy_text(job->arena, result->system_call);
	if (result->log_size > 0)
		run->log = arena_strndup(job->arena, result->log, result->log_size);
	run->has_log_truncated = result->is_log_cut;
	run->log_truncated = result->is_log_cut;
	run->has_cpu_us = run->has_wall_us = run->has_memory_bytes = true;
	run->cpu_us = result->cpu_us;
	run->wall_us = result->wall_us;
	run->memory_bytes = result->memory_peak_bytes;
	take_violations(job, result);
	if (result->outcome == RUNNER_OK && result->result)
		judge_result(job, result);
}

void
job_end_as(struct job *job, Corbel__V1__RunOutcome outcome, const char *message, int64_t now_ms)
{
	end(job->run, outcome, now_ms);
	job->run->message = arena_strdup(job->arena, message);
}
