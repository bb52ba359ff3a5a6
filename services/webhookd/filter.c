/*
 * filter: see filter.h. Compiling is here, conditions are in condition.c.
 */
#include "filter.h"

#include <string.h>

#include "base/text.h"
#include "condition.h"
#include "events/pattern.h"
#include "schema/regex.h"

/* A data of 256 KiB makes a tree of 8 MiB at most. */
#define EVENT_BLOCK_BYTES   (16u << 10)
#define EVENT_CEILING_BYTES (32u << 20)
#define FILTER_BLOCK_BYTES  1024u
#define FILTER_BYTES_MAX    (8u << 20)

struct filter {
	struct arena arena; /* of everything below but what regexes are made of */
	size_t pattern_count;
	const char **patterns;
	struct regex *type_regex; /* NULL: none */
	size_t condition_count;
	struct condition *conditions;
};

/* ---- compiling ---- */

struct compiler {
	struct filter *filter;
	const char *pointer;
	struct arena *arena; /* of violations */
	struct violations *violations;
	size_t found; /* violations so far */
};

static void
refuse(struct compiler *compiler, const char *where, size_t index, const char *below, const char *detail)
{
	struct strbuf at;

	strbuf_init(&at, compiler->arena);
	strbuf_printf(&at, "%s/%s", compiler->pointer, where);
	if (index != SIZE_MAX)
		strbuf_printf(&at, "/%zu", index);
	strbuf_puts(&at, below);
	violations_add(compiler->violations, compiler->arena, at.data, "%s", detail);
	compiler->found++;
}

static void
compile_types(struct compiler *compiler, const Corbel__V1__EventFilter *message)
{
	struct filter *filter = compiler->filter;

	if (message->n_types > FILTER_TYPES_MAX) {
		refuse(compiler, "types", SIZE_MAX, "", "must have at most 100 items");
		return;
	}
	filter->patterns = ARENA_ARRAY(&filter->arena, const char *, message->n_types + 1);
	for (size_t i = 0; i < message->n_types; i++) {
		struct status st = pattern_check(message->types[i], strlen(message->types[i]));
		if (!status_ok(&st))
			refuse(compiler, "types", i, "", st.message);
		filter->patterns[filter->pattern_count++] = arena_strdup(&filter->arena, message->types[i]);
	}
}

static void
compile_type_regex(struct compiler *compiler, const Corbel__V1__EventFilter *message)
{
	if (!message->type_regex || message->type_regex[0] == '\0')
		return;
	struct status st =
	    regex_compile(message->type_regex, strlen(message->type_regex), &compiler->filter->type_regex);
	if (!status_ok(&st))
		refuse(compiler, "type_regex", SIZE_MAX, "", st.message);
}

static void
compile_conditions(struct compiler *compiler, const Corbel__V1__EventFilter *message)
{
	struct filter *filter = compiler->filter;

	if (message->n_conditions > FILTER_CONDITIONS_MAX) {
		refuse(compiler, "conditions", SIZE_MAX, "", "must have at most 20 items");
		return;
	}
	filter->conditions = ARENA_ARRAY(&filter->arena, struct condition, message->n_conditions + 1);
	for (size_t i = 0; i < message->n_conditions; i++) {
		const char *below = "";
		struct status st = condition_compile(message->conditions[i], &filter->arena,
		                                     &filter->conditions[filter->condition_count++], &below);
		if (!status_ok(&st))
			refuse(compiler, "conditions", i, below, st.message);
	}
}

void
filter_free(struct filter *filter)
{
	if (!filter)
		return;
	regex_free(filter->type_regex);
	for (size_t i = 0; i < filter->condition_count; i++)
		condition_fini(&filter->conditions[i]);
	arena_fini(&filter->arena);
	mem_free(filter);
}

/* NULL when something is wrong. */
static struct filter *
compile(const Corbel__V1__EventFilter *message, const char *pointer, struct arena *arena,
        struct violations *violations)
{
	struct filter *filter = mem_alloc(sizeof(*filter));
	struct compiler compiler = {filter, pointer, arena, violations, 0};

	arena_init(&filter->arena, FILTER_BLOCK_BYTES, FILTER_BYTES_MAX);
	compile_types(&compiler, message);
	compile_type_regex(&compiler, message);
	compile_conditions(&compiler, message);
	if (compiler.found == 0)
		return filter;
	filter_free(filter);
	return NULL;
}

bool
filter_check(const Corbel__V1__EventFilter *message, const char *pointer, struct arena *arena,
             struct violations *violations)
{
	struct filter *filter = compile(message, pointer, arena, violations);
	filter_free(filter);
	return filter != NULL;
}

struct status
filter_compile(const Corbel__V1__EventFilter *message, struct filter **out)
{
	static const Corbel__V1__EventFilter EVERYTHING = CORBEL__V1__EVENT_FILTER__INIT;
	struct violations violations = {.count = 0};
	struct arena arena;

	arena_init(&arena, FILTER_BLOCK_BYTES, FILTER_BYTES_MAX);
	*out = compile(message ? message : &EVERYTHING, "", &arena, &violations);
	struct status st = violations_status(&violations);
	arena_fini(&arena);
	return st;
}

/* ---- events ---- */

void
filter_event_init(struct filter_event *event, const char *type, const char *data, size_t data_length)
{
	memset(event, 0, sizeof(*event));
	event->type = type;
	event->data = data;
	event->data_length = data_length;
	arena_init(&event->arena, EVENT_BLOCK_BYTES, EVENT_CEILING_BYTES);
}

void
filter_event_fini(struct filter_event *event)
{
	arena_fini(&event->arena);
}

const struct json_value *
filter_event_root(struct filter_event *event)
{
	if (event->is_read)
		return event->root;
	event->is_read = true;
	struct status st = json_value_parse(event->data, event->data_length, &event->arena, &event->root);
	if (!status_ok(&st))
		event->root = NULL;
	return event->root;
}

/* ---- asking ---- */

/* What its regular expressions may cost one filter for one event. */
static uint64_t
steps_for(const struct filter_event *event)
{
	return regex_steps(event->data_length + strlen(event->type));
}

static bool
type_passes(const struct filter *filter, struct filter_event *event, uint64_t *steps)
{
	for (size_t i = 0; i < filter->pattern_count; i++) {
		if (pattern_matches(filter->patterns[i], event->type))
			return true;
	}
	if (!filter->type_regex)
		return filter->pattern_count == 0;
	enum regex_result result = regex_search(filter->type_regex, event->type, strlen(event->type), steps);
	event->regex_limits += result == REGEX_LIMIT;
	return result == REGEX_FOUND;
}

bool
filter_matches_type(const struct filter *filter, struct filter_event *event)
{
	uint64_t steps = steps_for(event);
	return type_passes(filter, event, &steps);
}

bool
filter_matches(const struct filter *filter, struct filter_event *event)
{
	uint64_t steps = steps_for(event);

	if (!type_passes(filter, event, &steps))
		return false;
	if (filter->condition_count == 0)
		return true;
	/* Data that cannot be read passes no condition. */
	const struct json_value *root = filter_event_root(event);
	for (size_t i = 0; i < filter->condition_count; i++) {
		if (!root || !condition_passes(&filter->conditions[i], root, &steps, &event->regex_limits))
			return false;
	}
	return true;
}
