/*
 * tail: `corbel events tail`.
 */
#include <string.h>

#include "base/text.h"
#include "follow.h"
#include "own.h"

struct tail {
	struct arena arena; /* of one event */
	bool is_json;
};

static const char *
member(const json_t *event, const char *name)
{
	const char *text = json_string_value(json_object_get(event, name));
	return text ? text : "";
}

static void
print_line(struct tail *tail, const struct follow_event *event)
{
	json_t *value = json_loadb(event->json, event->json_size, JSON_DECODE_ANY, NULL);
	const json_t *data = json_object_get(value, "data");

	printf("%llu  %s  %s  %s  %s\n", (unsigned long long)event->sequence,
	       show_text(&tail->arena, member(value, "recorded_at")),
	       show_text(&tail->arena, member(value, "type")), show_text(&tail->arena, member(value, "subject")),
	       data ? show_json(&tail->arena, data, JSON_COMPACT | JSON_ENCODE_ANY) : "");
	json_decref(value);
}

static void
take(void *arg, const struct follow_event *event)
{
	struct tail *tail = arg;

	if (tail->is_json)
		printf("%.*s\n", (int)event->json_size, event->json);
	else
		print_line(tail, event);
	(void)fflush(stdout);
	arena_reset(&tail->arena);
}

static bool
read_after(const char *text, struct follow *follow)
{
	follow->has_after = text != NULL;
	if (!text || text_to_u64(text, strlen(text), &follow->after))
		return true;
	fputs("corbel: --after needs the sequence of an event\n", stderr);
	return false;
}

static int
run(int argc, char **argv, struct arena *arena)
{
	struct settings settings = {.output = OUTPUT_TABLE};
	struct follow follow = {.has_after = false};
	struct tail tail = {.is_json = false};
	const char *after = NULL, *output = NULL;
	const struct own_flag flags[] = {
	    {"type", "PATTERN", "Only events of these types, such as 'file.*'; commas may stand between several.",
	     &follow.types, true},
	    {"subject", "TEXT", "Only events with this subject.", &follow.subject, false},
	    {"after", "SEQUENCE", "Begins behind this event; with what happens from now on when absent.", &after,
	     false},
	    {"tenant-id", "ID", "For operators: whose events.", &follow.tenant_id, false},
	    {"output", "FORMAT", "table (a line for each event) or json (the event, on a line).", &output, false},
	    {.name = NULL}};
	int code;

	if (!own_flags(&own_tail, flags, argc, argv, &settings, arena, &code))
		return code;
	if (output && (!output_format_from(output, &settings.output) ||
	               (settings.output != OUTPUT_TABLE && settings.output != OUTPUT_JSON))) {
		fputs("corbel: --output must be table or json here\n", stderr);
		return EXIT_CODE_USAGE;
	}
	if (!read_after(after, &follow))
		return EXIT_CODE_USAGE;
	tail.is_json = settings.output == OUTPUT_JSON;
	arena_init(&tail.arena, 16u << 10, SIZE_MAX);
	follow.url = settings.url;
	follow.api_key = settings.api_key;
	follow.is_verbose = settings.is_verbose;
	follow.take = take;
	follow.arg = &tail;
	code = follow_run(&follow);
	arena_fini(&tail.arena);
	return code;
}

const struct own_command own_tail = {.resource = "events",
                                     .action = "tail",
                                     .summary = "Shows events as they happen, until it is stopped.",
                                     .help =
                                         "When the server restarts or the connection breaks it goes on "
                                         "behind the last event shown: none is left\n"
                                         "out and none is shown twice. The key needs the scope events.read.",
                                     .flags = "--type --subject --after --tenant-id --output",
                                     .run = run};
