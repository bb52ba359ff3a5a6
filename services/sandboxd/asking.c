/*
 * asking: runs that somebody waits for: a caller of the API, or webhookd for an event or a payload.
 *
 *   call ── the program from memory ──► scheduler ── its turn, its run ──► answer, record
 *     └──── not there, or much to look at ── a worker reads and checks ──┘
 *
 * The first way is taken on the bus's own thread, so it never waits.
 */
#include <string.h>

#include "events/body.h"
#include "chronicle.h"
#include "sandboxd_internal.h"
#include "schema/schema.h"

#define SMALL_BYTES (16u << 10) /* a context that is handed on without a worker */
#define TREE_BYTES  (64u << 20) /* of a context that is looked into */
#define RETRY_MS    1000u

typedef Corbel__V1__RunPluginRequest RunPluginRequest;
typedef Corbel__V1__RunCodeRequest RunCodeRequest;
typedef Corbel__V1__RunForEventRequest HookRequest; /* TransformPayloadRequest has the same fields */
typedef Corbel__V1__PluginHookReply HookReply;

/* ---- what a run needs ---- */

struct status
program_may_run(const struct program *program, uint32_t wanted)
{
	if (program->is_disabled)
		return status_make(STATUS_FAILED_PRECONDITION, "the plugin is disabled");
	if (program->version == 0 && wanted > 0)
		return scope_not_found("version of the plugin");
	if (program->version == 0)
		return status_make(STATUS_FAILED_PRECONDITION, "no version of the plugin is installed");
	return status_ok_value();
}

struct status
program_takes(const struct program *program, const ProtobufCBinaryData *context, struct call *call)
{
	struct violations found = {.count = 0};
	struct arena tree;
	bool is_there = context->len > 0;

	if (!program->input)
		return status_ok_value();
	arena_init(&tree, 64u << 10, TREE_BYTES);
	(void)schema_check_text(program->input, is_there ? (const char *)context->data : "null",
	                        is_there ? context->len : 4, "/context", &tree, &found);
	for (size_t i = 0; call && i < found.count; i++)
		call_violation(call, found.items[i].pointer, "%s", found.items[i].detail);
	struct status st = violations_status(&found);
	arena_fini(&tree);
	return st;
}

void
job_of_program(struct job *job, const struct program *program, const ProtobufCBinaryData *context,
               const struct caps *caps)
{
	job->program = program;
	job->run->plugin_id = arena_strdup(job->arena, program->id);
	job->run->has_version = true;
	job->run->version = program->version;
	job->at_once_max = caps->at_once;
	job->request.code = program->code;
	job->request.code_size = program->code_size;
	job->request.file_name = program->name;
	job->request.context = context->len > 0 ? (const char *)context->data : NULL;
	job->request.context_size = context->len;
	job_limit(job, program->limits, &caps->limits);
}

/* ---- the end ---- */

static void
refuse(struct call *call, struct status st)
{
	if (st.code == STATUS_RESOURCE_EXHAUSTED)
		call_problem(call, "overloaded");
	if (st.code == STATUS_RESOURCE_EXHAUSTED || st.code == STATUS_UNAVAILABLE)
		call_retry_after_ms(call, RETRY_MS);
	call_end(call, st);
}

/* Tells of a run that ended, and whether the call did well. A run that our own end cut off was cancelled by
 * nobody; one whose caller has gone fails its call, so that what is asked again under the same idempotency
 * key runs. */
static struct status
take_end(const struct sandboxd *self, const struct job *job)
{
	if (!status_ok(&job->refused))
		return job->refused;
	if (job->run->outcome == CORBEL__V1__RUN_OUTCOME__CANCELLED && scheduler_is_draining(self->scheduler))
		return status_make(STATUS_UNAVAILABLE, "this replica is about to stop");
	chronicle_add(self->chronicle, job);
	if (job->run->outcome == CORBEL__V1__RUN_OUTCOME__CANCELLED && job->is_abandoned)
		return status_make(STATUS_CANCELLED, "who waited for the run has hung up");
	return status_ok_value();
}

static void
on_ended(struct job *job)
{
	struct sandboxd *self = job->user;
	struct call *call = job->call;
	struct status st = take_end(self, job);

	program_release(job->program);
	if (!status_ok(&st)) {
		refuse(call, st);
		return;
	}
	*(PluginRun *)(void *)call_reply(call) = *job->run;
	call_end(call, st);
}

/* Why a hook that ran did not come to a result. */
static struct status
judge_hook(const PluginRun *run)
{
	const ProtobufCEnumValue *name =
	    protobuf_c_enum_descriptor_get_value(&corbel__v1__run_outcome__descriptor, (int)run->outcome);
	enum status_code code = STATUS_FAILED_PRECONDITION;

	if (run->outcome == CORBEL__V1__RUN_OUTCOME__OK)
		return status_ok_value();
	if (run->outcome == CORBEL__V1__RUN_OUTCOME__HOST_ERROR ||
	    run->outcome == CORBEL__V1__RUN_OUTCOME__CANCELLED)
		code = STATUS_UNAVAILABLE;
	return status_make(code, "%s: %s (%s)", name ? name->name : "", run->message ? run->message : "",
	                   run->id);
}

static void
on_hook_ended(struct job *job)
{
	struct sandboxd *self = job->user;
	HookReply *reply = (HookReply *)(void *)call_reply(job->call);
	struct status st = take_end(self, job);

	program_release(job->program);
	if (status_ok(&st))
		st = judge_hook(job->run);
	if (!status_ok(&st)) {
		refuse(job->call, st);
		return;
	}
	reply->run_id = job->run->id;
	reply->has_result = job->run->has_result;
	reply->result = job->run->result;
	call_end(job->call, st);
}

static void
submit(struct sandboxd *self, struct job *job, struct call *call, void (*ended)(struct job *))
{
	job->call = call;
	job->user = self;
	job->ended = ended;
	struct status st = scheduler_submit(self->scheduler, job);
	if (status_ok(&st))
		return;
	program_release(job->program);
	refuse(call, st);
}

/* ---- plugins, by callers ---- */

/* Takes the reference to the program. */
static void
run_program(struct sandboxd *self, struct call *call, const struct program *program)
{
	const RunPluginRequest *request = (const void *)call_request(call);
	struct caps caps;
	struct status st = scope_sees(call, program->tenant) ? program_may_run(program, request->version)
	                                                     : scope_not_found("plugin");

	if (status_ok(&st))
		st = program_takes(program, &request->context, call);
	if (!status_ok(&st)) {
		program_release(program);
		refuse(call, st);
		return;
	}
	caps_of_call(self->plans, call, &caps);
	struct job *job = job_new(call_arena(call), &self->env, program->tenant, request->run_id);
	job_of_program(job, program, &request->context, &caps);
	submit(self, job, call, on_ended);
}

static struct status
no_store(void)
{
	return status_make(STATUS_UNAVAILABLE, "the store is away");
}

static void
load_and_run(void *arg, struct store_conn *conn)
{
	struct call *call = arg;
	struct sandboxd *self = call_service(call);
	const RunPluginRequest *request = (const void *)call_request(call);
	const struct program *program = NULL;
	const char *id;
	struct status st = conn ? plugin_named(call, conn, call_tenant(call), request->id, &id) : no_store();

	if (status_ok(&st))
		st = library_load(self->library, conn, id, request->version, &program);
	if (status_ok(&st))
		run_program(self, call, program);
	else
		refuse(call, st);
}

/* Hands the call to a worker. */
static void
to_worker(struct sandboxd *self, struct call *call, void (*run)(void *arg, struct store_conn *conn))
{
	if (!host_work(self->env.host, &sandboxd_service, run, call))
		refuse(call, status_make(STATUS_RESOURCE_EXHAUSTED, "too much work waits; try again later"));
}

void
plugin_runs_run_batch(void *arg, struct call *calls[], size_t count)
{
	struct sandboxd *self = arg;

	for (size_t i = 0; i < count; i++) {
		const RunPluginRequest *request = (const void *)call_request(calls[i]);
		const struct program *program = library_find(self->library, request->id, request->version);
		bool is_light = program && !program->input && request->context.len <= SMALL_BYTES;
		if (is_light) {
			run_program(self, calls[i], program);
			continue;
		}
		program_release(program);
		to_worker(self, calls[i], load_and_run);
	}
}

/* ---- code without a plugin ---- */

static void
run_code(struct sandboxd *self, struct call *call)
{
	const RunCodeRequest *request = (const void *)call_request(call);
	const char *tenant;
	struct caps caps;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (!status_ok(&st)) {
		call_end(call, st);
		return;
	}
	caps_of_call(self->plans, call, &caps);
	struct job *job = job_new(call_arena(call), &self->env, tenant, request->run_id);
	job->at_once_max = caps.at_once;
	job->request.code = request->code;
	job->request.code_size = strlen(request->code);
	job->request.context = request->has_context ? (const char *)request->context.data : NULL;
	job->request.context_size = request->context.len;
	job_limit(job, request->limits, &caps.limits);
	submit(self, job, call, on_ended);
}

void
plugin_runs_run_code_batch(void *arg, struct call *calls[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		run_code(arg, calls[i]);
}

/* ---- hooks, by webhookd ---- */

static void
write_context(struct arena *arena, const Corbel__V1__Event *event, ProtobufCBinaryData *out)
{
	const struct event_body body = {.id = event->id,
	                                .type = event->type,
	                                .subject = event->subject,
	                                .timestamp_ms = event->timestamp,
	                                .sequence = event->sequence,
	                                .data = event->data.data,
	                                .data_size = event->data.len};
	struct strbuf text;

	strbuf_init(&text, arena);
	event_body_write(&body, &text);
	out->data = (uint8_t *)text.data;
	out->len = text.length;
}

/* False: the plan has no more runs, and the call has ended. */
static bool
count_run(struct sandboxd *self, struct call *call, const char *tenant, const struct caps *caps)
{
	uint32_t retry_ms = 0;
	struct status st = caps_count_run(self->plans, tenant, caps, &retry_ms);

	if (status_ok(&st))
		return true;
	call_problem(call, "quota-exceeded");
	call_retry_after_ms(call, retry_ms);
	call_end(call, st);
	return false;
}

/* Takes the reference to the program. */
static struct status
run_hook(struct sandboxd *self, struct call *call, const struct program *program)
{
	const HookRequest *request = (const void *)call_request(call);
	bool is_transformation = strcmp(call_method(call)->name, "PluginHooks/Transform") == 0;
	ProtobufCBinaryData context;
	struct caps caps;
	struct status st = strcmp(program->tenant, request->event->tenant_id) == 0 ? program_may_run(program, 0)
	                                                                           : scope_not_found("plugin");

	write_context(call_arena(call), request->event, &context);
	if (status_ok(&st))
		st = program_takes(program, &context, NULL);
	if (status_ok(&st))
		st = caps_of_tenant(self->plans, program->tenant, &caps);
	if (!status_ok(&st) || !count_run(self, call, program->tenant, &caps)) {
		program_release(program);
		return st;
	}
	struct job *job = job_new(call_arena(call), &self->env, program->tenant, NULL);
	job_of_program(job, program, &context, &caps);
	job->run->event_id = request->event->id;
	job->event_type = request->event->type;
	job->run->trigger =
	    is_transformation ? CORBEL__V1__RUN_TRIGGER__BY_TRANSFORMATION : CORBEL__V1__RUN_TRIGGER__BY_EVENT;
	submit(self, job, call, on_hook_ended);
	return st;
}

static void
hook(void *arg, struct store_conn *conn)
{
	struct call *call = arg;
	struct sandboxd *self = call_service(call);
	const HookRequest *request = (const void *)call_request(call);
	const struct program *program = NULL;
	bool is_whole = request->event && request->event->tenant_id && request->event->id &&
	                request->event->type && request->plugin_id;
	struct status st = is_whole ? status_ok_value()
	                            : status_make(STATUS_INVALID_ARGUMENT, "there is no event, or no plugin");

	if (status_ok(&st))
		program = library_find(self->library, request->plugin_id, 0);
	if (status_ok(&st) && !program)
		st = conn ? library_load(self->library, conn, request->plugin_id, 0, &program) : no_store();
	if (status_ok(&st))
		st = run_hook(self, call, program);
	if (!status_ok(&st))
		refuse(call, st);
}

void
plugin_hooks_batch(void *arg, struct call *calls[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		to_worker(arg, calls[i], hook);
}
