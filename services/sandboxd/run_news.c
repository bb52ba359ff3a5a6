/*
 * run_news: see run_news.h.
 */
#include "run_news.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "sandboxd_internal.h"

#define PLACES 1024u /* two plugins that share one are told of less often */

typedef Corbel__V1__RunOutcome Outcome;

struct news_filter {
	const struct clock *clock;
	uint64_t next_mono_ms[PLACES];
};

struct news_filter *
news_filter_new(const struct clock *clock)
{
	struct news_filter *filter = mem_alloc(sizeof(*filter));
	filter->clock = clock;
	return filter;
}

void
news_filter_free(struct news_filter *filter)
{
	mem_free(filter);
}

bool
news_filter_takes(struct news_filter *filter, const char *plugin_id)
{
	uint64_t *next = &filter->next_mono_ms[hash_table64(plugin_id, strlen(plugin_id)) % PLACES];
	uint64_t now = clock_mono_ms(filter->clock);

	if (now < *next)
		return false;
	*next = now + NEWS_EVERY_MS;
	return true;
}

static bool
is_worth_telling(struct news_filter *filter, const struct run_news *news)
{
	const Corbel__V1__PluginRun *run = news->run;
	bool is_own = news->event_type && strncmp(news->event_type, "sandbox.", 8) == 0;

	if (!run->plugin_id || is_own || run->outcome == CORBEL__V1__RUN_OUTCOME__CANCELLED)
		return false;
	if (news->is_queued)
		return true;
	return run->outcome != CORBEL__V1__RUN_OUTCOME__OK && news_filter_takes(filter, run->plugin_id);
}

/* ---- the types ---- */

struct telling {
	struct sandboxd *self;
	struct store_tx *tx;
	struct arena *arena;
	const struct run_news *news;
};

static const char *
outcome_name(Outcome outcome)
{
	const ProtobufCEnumValue *value =
	    protobuf_c_enum_descriptor_get_value(&corbel__v1__run_outcome__descriptor, (int)outcome);
	return value ? value->name : "";
}

#define FIELDS_MAX 10

/* The fields that all types have, and those of one. */
static struct status
tell(const struct telling *telling, const char *type, const struct outbox_field *own)
{
	const Corbel__V1__PluginRun *run = telling->news->run;
	struct outbox_field fields[FIELDS_MAX + 1] = {{.name = "id", .text = run->id},
	                                              {.name = "plugin_id", .text = run->plugin_id},
	                                              {.name = "version", .text = telling->news->version}};
	size_t count = 3;

	for (; own->name && count < FIELDS_MAX; own++)
		fields[count++] = *own;
	return outbox_add(
	    telling->self->env.outbox, telling->tx, telling->arena,
	    &(struct outbox_event){
	        .tenant = run->tenant_id, .type = type, .subject = run->plugin_id, .fields = fields});
}

static struct outbox_field
number(const char *name, uint64_t value)
{
	return (struct outbox_field){.name = name, .type = OUTBOX_I64, .number = (int64_t)value};
}

static struct status
tell_completed(const struct telling *telling)
{
	const Corbel__V1__PluginRun *run = telling->news->run;
	return tell(telling, "sandbox.run.completed",
	            (const struct outbox_field[]){number("duration_ms", run->wall_us / 1000),
	                                          number("cpu_ms", run->cpu_us / 1000),
	                                          number("memory_bytes", run->memory_bytes),
	                                          {.name = NULL}});
}

static struct status
tell_failed(const struct telling *telling)
{
	const Corbel__V1__PluginRun *run = telling->news->run;
	const char *said = run->message ? run->message : "";
	return tell(telling, "sandbox.run.failed",
	            (const struct outbox_field[]){
	                {.name = "error",
	                 .text = arena_printf(telling->arena, "%s: %.500s", outcome_name(run->outcome), said)},
	                number("duration_ms", run->wall_us / 1000),
	                number("cpu_ms", run->cpu_us / 1000),
	                number("memory_bytes", run->memory_bytes),
	                {.name = NULL}});
}

static struct status
tell_timed_out(const struct telling *telling, uint64_t limit_ms)
{
	return tell(telling, "sandbox.run.timed_out",
	            (const struct outbox_field[]){number("limit_ms", limit_ms),
	                                          number("cpu_ms", telling->news->run->cpu_us / 1000),
	                                          {.name = NULL}});
}

static struct status
tell_memory(const struct telling *telling, uint64_t limit_bytes)
{
	return tell(telling, "sandbox.run.oom_killed",
	            (const struct outbox_field[]){number("limit_bytes", limit_bytes),
	                                          number("duration_ms", telling->news->run->wall_us / 1000),
	                                          {.name = NULL}});
}

static struct status
tell_denied(const struct telling *telling)
{
	const Corbel__V1__PluginRun *run = telling->news->run;
	const char *action = run->system_call ? run->system_call : "a system call";
	return tell(telling, "sandbox.run.denied",
	            (const struct outbox_field[]){
	                {.name = "action", .text = action}, {.name = "rule", .text = "seccomp"}, {.name = NULL}});
}

struct status
tell_run(struct sandboxd *self, struct news_filter *filter, struct store_tx *tx, struct arena *arena,
         const struct run_news *news)
{
	const struct telling telling = {self, tx, arena, news};
	const Corbel__V1__PluginLimits *limits = news->run->limits;

	if (!is_worth_telling(filter, news))
		return status_ok_value();
	switch (news->run->outcome) {
	case CORBEL__V1__RUN_OUTCOME__OK:
		return tell_completed(&telling);
	case CORBEL__V1__RUN_OUTCOME__TIMEOUT:
		return tell_timed_out(&telling, limits ? limits->wall_ms : 0);
	case CORBEL__V1__RUN_OUTCOME__CPU_LIMIT:
		return tell_timed_out(&telling, limits ? limits->cpu_ms : 0);
	case CORBEL__V1__RUN_OUTCOME__MEMORY_LIMIT:
		return tell_memory(&telling, limits ? limits->memory_bytes : 0);
	case CORBEL__V1__RUN_OUTCOME__SECURITY_VIOLATION:
		return tell_denied(&telling);
	default:
		return tell_failed(&telling);
	}
}
