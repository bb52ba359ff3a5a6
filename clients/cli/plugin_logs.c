/*
 * plugin_logs: `corbel plugins logs`: runs as they end, with what they printed.
 *
 * Runs are asked for by the time at which they ended. An end becomes visible a little after its time, so each
 * look goes back some seconds behind the last one seen, and on page by page to the newest; what was shown
 * before is known by its id.
 */
#include <string.h>
#include <time.h>

#include "base/id.h"
#include "base/text.h"
#include "corbel/contract.gen.h"
#include "own.h"

#define SHOWN_FIRST 20
#define BACK_MS     10000
#define PAGE        25

struct logs {
	struct command command;
	const char *plugin_id, *outcome, *tenant_id;
	bool is_json;
	json_t *seen;              /* id: its end; those that may come again */
	int64_t last_ms, since_ms; /* the newest end seen; from when this look goes */
};

static const char *
text_of(const json_t *run, const char *name)
{
	const char *text = json_string_value(json_object_get(run, name));
	return text ? text : "";
}

static int64_t
ended_ms(const json_t *run)
{
	const char *text = text_of(run, "ended_at");
	int64_t ms = 0;
	return text_to_timestamp_ms(text, strlen(text), &ms) ? ms : 0;
}

/* ---- showing ---- */

static void
show_lines(struct arena *arena, const char *log)
{
	while (*log) {
		size_t length = strcspn(log, "\n");
		printf("    %s\n", show_text(arena, arena_strndup(arena, log, length)));
		log += length + (log[length] == '\n');
	}
}

static void
show(const struct logs *logs, struct arena *arena, const json_t *run)
{
	const char *message = text_of(run, "message");

	if (logs->is_json) {
		printf("%s\n", show_json(arena, run, JSON_COMPACT));
		return;
	}
	printf("%s  %s  %s  %s  %.1f ms%s%s\n", show_text(arena, text_of(run, "ended_at")), text_of(run, "id"),
	       show_text(arena, text_of(run, "plugin_id")), text_of(run, "outcome"),
	       (double)json_integer_value(json_object_get(run, "wall_us")) / 1000, *message ? "  " : "",
	       show_text(arena, message));
	show_lines(arena, text_of(run, "log"));
}

/* ---- asking ---- */

static int
ask(struct logs *logs, bool is_first, const char *page_token, json_t **reply)
{
	struct command *command = &logs->command;
	char since[TEXT_TIMESTAMP_MAX] = {0};

	json_decref(command->fields);
	command->fields = json_pack("{s:i, s:b}", "page_size", is_first ? SHOWN_FIRST : PAGE, "with_log", 1);
	if (logs->plugin_id)
		json_object_set_new(command->fields, "plugin_id", json_string(logs->plugin_id));
	if (logs->outcome)
		json_object_set_new(command->fields, "outcome", json_string(logs->outcome));
	if (logs->tenant_id)
		json_object_set_new(command->fields, "tenant_id", json_string(logs->tenant_id));
	if (page_token)
		json_object_set_new(command->fields, "page_token", json_string(page_token));
	if (is_first) {
		json_object_set_new(command->fields, "state", json_string("RUN_ENDED"));
	} else {
		text_from_timestamp_ms(logs->since_ms, since);
		json_object_set_new(command->fields, "ended_since", json_string(since));
	}
	return call_make(command, reply);
}

static bool
is_new(struct logs *logs, const json_t *run)
{
	int64_t ms = ended_ms(run);

	if (json_object_get(logs->seen, text_of(run, "id")))
		return false;
	json_object_set_new(logs->seen, text_of(run, "id"), json_integer(ms));
	logs->last_ms = ms > logs->last_ms ? ms : logs->last_ms;
	return true;
}

static void
forget_old(struct logs *logs)
{
	const char *id;
	void *next;
	json_t *ms;

	json_object_foreach_safe(logs->seen, next, id, ms)
	{
		if (json_integer_value(ms) < logs->last_ms - 2 * BACK_MS)
			json_object_del(logs->seen, id);
	}
}

/* The first page comes newest first, all others in the order of the ends. `token` is "" at the last one. */
static int
look_at_page(struct logs *logs, bool is_first, char token[ID_MAX])
{
	struct arena arena, *own = logs->command.arena;
	json_t *reply = NULL;

	arena_init(&arena, 16u << 10, SIZE_MAX);
	logs->command.arena = &arena;
	int code = ask(logs, is_first, *token ? token : NULL, &reply);
	const json_t *runs = json_object_get(reply, "runs");
	size_t count = json_array_size(runs);
	for (size_t i = 0; code == EXIT_CODE_OK && i < count; i++) {
		const json_t *run = json_array_get(runs, is_first ? count - 1 - i : i);
		if (is_new(logs, run))
			show(logs, &arena, run);
	}
	const char *next = json_string_value(json_object_get(reply, "next_page_token"));
	snprintf(token, ID_MAX, "%s", next && !is_first ? next : "");
	(void)fflush(stdout);
	json_decref(reply);
	arena_fini(&arena);
	logs->command.arena = own;
	return code;
}

static int
look(struct logs *logs, bool is_first)
{
	char token[ID_MAX] = "";
	int code;

	logs->since_ms = logs->last_ms > BACK_MS ? logs->last_ms - BACK_MS : 0;
	do
		code = look_at_page(logs, is_first, token);
	while (code == EXIT_CODE_OK && *token);
	forget_old(logs);
	return code;
}

/* A server that restarts is waited for. */
static int
follow(struct logs *logs)
{
	const struct timespec pause = {.tv_sec = 1};
	int code = EXIT_CODE_OK;

	while ((code == EXIT_CODE_OK || code == EXIT_CODE_UNAVAILABLE || code == EXIT_CODE_LIMITED) &&
	       !ferror(stdout)) {
		(void)nanosleep(&pause, NULL);
		code = look(logs, false);
	}
	return code;
}

/* ---- the command ---- */

/* Takes "--follow", which has no value, out of the words. */
static bool
take_follow(int *argc, char **argv)
{
	for (int i = 0; i < *argc; i++) {
		if (strcmp(argv[i], "--follow") != 0)
			continue;
		for (; i + 1 < *argc; i++)
			argv[i] = argv[i + 1];
		--*argc;
		return true;
	}
	return false;
}

static int
run(int argc, char **argv, struct arena *arena)
{
	struct logs logs = {.command = {.arena = arena, .method = PLUGIN_RUNS_LIST}};
	const char *output = NULL;
	const struct own_flag flags[] = {
	    {"outcome", "OUTCOME", "Only runs that ended so, such as RUNTIME_ERROR.", &logs.outcome, false},
	    {"tenant-id", "ID", "For operators: whose runs.", &logs.tenant_id, false},
	    {"output", "FORMAT", "table (for people) or json (the run, on a line).", &output, false},
	    {.name = NULL}};
	int code;
	bool follows = take_follow(&argc, argv), has_id = argc > 0 && argv[0][0] != '-';

	if (has_id)
		logs.plugin_id = argv[0];
	if (!own_flags(&own_plugin_logs, flags, argc - has_id, argv + has_id, &logs.command.settings, arena,
	               &code))
		return code;
	logs.is_json = output && strcmp(output, "json") == 0;
	if (output && !logs.is_json && strcmp(output, "table") != 0) {
		fputs("corbel: --output must be table or json here\n", stderr);
		return EXIT_CODE_USAGE;
	}
	logs.seen = json_object();
	logs.last_ms = (int64_t)time(NULL) * 1000;
	code = look(&logs, true);
	if (code == EXIT_CODE_OK && follows)
		code = follow(&logs);
	json_decref(logs.seen);
	json_decref(logs.command.fields);
	return code;
}

const struct own_command own_plugin_logs = {
    .resource = "plugins",
    .action = "logs",
    .summary = "Shows runs of plugins with what they printed: plugins logs [PLUGIN] [--follow].",
    .help = "The last 20 runs, of one plugin (its id or name) or all; with --follow those that come, too, "
            "until\nit is stopped. The key needs the scope plugins.read.",
    .flags = "--follow --outcome --tenant-id --output",
    .run = run};
