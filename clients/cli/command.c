/*
 * command: from words to a call, and its outcome to an exit code.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "base/text.h"
#include "cli.h"

#define PAGES_MAX 1000

void
command_each(void (*each)(void *arg, const struct api_method *method), void *arg)
{
	for (const struct api_service *const *service = api_services; *service; service++)
		for (size_t i = 0; i < (*service)->method_count; i++)
			if ((*service)->methods[i].cli[0] && (*service)->methods[i].path)
				each(arg, &(*service)->methods[i]);
}

/* How many of the words spell the method's command; 0: they do not. */
static int
words_matched(const struct api_method *method, int argc, char *const *argv)
{
	const char *at = method->cli;
	int used = 0;
	while (*at) {
		size_t length = strcspn(at, " ");
		if (used == argc || strlen(argv[used]) != length || memcmp(argv[used], at, length) != 0)
			return 0;
		used++;
		at += length + (at[length] == ' ');
	}
	return used;
}

const struct api_method *
command_find(int argc, char *const *argv, int *used)
{
	for (const struct api_service *const *service = api_services; *service; service++) {
		for (size_t i = 0; i < (*service)->method_count; i++) {
			const struct api_method *method = &(*service)->methods[i];
			*used = method->path && method->cli[0] ? words_matched(method, argc, argv) : 0;
			if (*used > 0)
				return method;
		}
	}
	return NULL;
}

/* ---- the URL ---- */

static void
put_encoded(struct strbuf *out, const char *text)
{
	static const char PLAIN[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	for (; *text; text++) {
		if (strchr(PLAIN, *text))
			strbuf_putc(out, *text);
		else
			strbuf_printf(out, "%%%02X", (unsigned char)*text);
	}
}

static char *
value_text(struct arena *arena, const json_t *value)
{
	if (json_is_string(value))
		return arena_strdup(arena, json_string_value(value));
	char *dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	char *text = arena_strdup(arena, dumped ? dumped : "");
	free(dumped);
	return text;
}

/* The path with its parameters, which leave the fields. */
static bool
put_path(struct command *command, struct strbuf *out)
{
	for (const char *at = command->method->path; *at;) {
		if (*at != '{') {
			strbuf_putc(out, *at++);
			continue;
		}
		size_t length = strcspn(at, ".}");
		const char *name = arena_strndup(command->arena, at + 1, length - 1);
		const json_t *value = json_object_get(command->fields, name);
		if (!value || (json_is_string(value) && json_string_length(value) == 0)) {
			fprintf(stderr, "corbel: %s is needed\n", name);
			return false;
		}
		put_encoded(out, value_text(command->arena, value));
		json_object_del(command->fields, name);
		at = strchr(at, '}') + 1;
	}
	return true;
}

static void
put_query(struct command *command, struct strbuf *out)
{
	const char *name;
	json_t *value, *item;
	size_t index;
	char separator = '?';

	json_object_foreach(command->fields, name, value)
	{
		json_t *list = json_is_array(value) ? json_incref(value) : json_pack("[O]", value);
		json_array_foreach(list, index, item)
		{
			strbuf_putc(out, separator);
			put_encoded(out, name);
			strbuf_putc(out, '=');
			put_encoded(out, value_text(command->arena, item));
			separator = '&';
		}
		json_decref(list);
	}
}

/* ---- asking before what cannot be undone ---- */

static bool
is_confirmed(const struct command *command)
{
	char answer[16];

	if (!command->method->confirm[0] || command->settings.is_yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		fprintf(stderr, "corbel: %s Say --yes to do it without being asked.\n", command->method->confirm);
		return false;
	}
	fprintf(stderr, "%s [y/N] ", command->method->confirm);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int
exit_code_of(long status)
{
	switch (status) {
	case 401:
	case 403:
		return EXIT_CODE_FORBIDDEN;
	case 404:
		return EXIT_CODE_NOT_FOUND;
	case 409:
	case 422:
		return EXIT_CODE_CONFLICT;
	case 429:
		return EXIT_CODE_LIMITED;
	default:
		break;
	}
	if (status >= 200 && status < 300)
		return EXIT_CODE_OK;
	if (status == 0 || status >= 500)
		return EXIT_CODE_UNAVAILABLE;
	return status >= 400 ? EXIT_CODE_INVALID : EXIT_CODE_OTHER;
}

/* `size` random bytes, at most 16, in hexadecimal. */
static const char *
random_hex(struct arena *arena, size_t size)
{
	uint8_t bytes[16];
	char text[33] = {0};
	random_fill(random_system(), bytes, size);
	text_hex_encode(bytes, size, text);
	return arena_strdup(arena, text);
}

/* One call; *reply is the caller's to free. */
static int
call_once(struct command *command, json_t **reply)
{
	static const char *const VERBS[] = {"", "GET", "POST", "PUT", "PATCH", "DELETE"};
	enum api_verb verb = command->method->verb;
	bool has_body = verb == API_POST || verb == API_PUT || verb == API_PATCH;
	struct strbuf url;

	strbuf_init(&url, command->arena);
	strbuf_puts(&url, command->settings.url);
	if (!put_path(command, &url))
		return EXIT_CODE_USAGE;
	if (!has_body)
		put_query(command, &url);
	char *body = has_body ? json_dumps(command->fields, JSON_COMPACT) : NULL;
	struct exchange exchange = {.verb = VERBS[verb],
	                            .url = url.data,
	                            .body = body,
	                            .api_key = command->settings.api_key,
	                            .idempotency_key = verb == API_POST ? random_hex(command->arena, 16) : NULL,
	                            .trace_id = random_hex(command->arena, 16),
	                            .span_id = random_hex(command->arena, 8),
	                            .is_verbose = command->settings.is_verbose};
	http_exchange(&exchange, command->arena);
	free(body);
	if (exchange.status == 0) {
		fprintf(stderr, "corbel: %s\n", exchange.error);
		return EXIT_CODE_UNAVAILABLE;
	}
	*reply = json_loads(exchange.response, JSON_DECODE_ANY, NULL);
	int code = exit_code_of(exchange.status);
	if (code != EXIT_CODE_OK)
		output_problem(exchange.status, *reply, stderr);
	if (code == EXIT_CODE_OK && !*reply && exchange.response[0]) {
		fprintf(stderr, "corbel: %s answered %ld, but not in JSON: is this Corbel?\n", url.data,
		        exchange.status);
		return EXIT_CODE_OTHER;
	}
	return code;
}

/* Adds the page's list to the one of the pages before. */
static void
join_pages(json_t *all, const json_t *page)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)page, name,
	                    value) if (json_is_array(value) && json_is_array(json_object_get(all, name)))
	    json_array_extend(json_object_get(all, name), value);
}

static int
call_all_pages(struct command *command, json_t **reply)
{
	json_t *fields = json_deep_copy(command->fields);
	int code = call_once(command, reply);

	for (int pages = 1; code == EXIT_CODE_OK && command->settings.takes_all && pages < PAGES_MAX; pages++) {
		json_t *token = json_object_get(*reply, "next_page_token"), *page = NULL;
		if (!token)
			break;
		json_decref(command->fields);
		command->fields = json_deep_copy(fields);
		json_object_set(command->fields, "page_token", token);
		json_object_del(*reply, "next_page_token");
		code = call_once(command, &page);
		if (code == EXIT_CODE_OK) {
			join_pages(*reply, page);
			if (json_object_get(page, "next_page_token"))
				json_object_set(*reply, "next_page_token", json_object_get(page, "next_page_token"));
		}
		json_decref(page);
	}
	json_decref(fields);
	return code;
}

int
command_run(struct command *command)
{
	json_t *reply = NULL;

	if (!command->settings.url) {
		fputs("corbel: say where Corbel is: --url, CORBEL_URL, or a profile\n", stderr);
		return EXIT_CODE_USAGE;
	}
	if (!is_confirmed(command))
		return EXIT_CODE_OTHER;
	int code = call_all_pages(command, &reply);
	if (code == EXIT_CODE_OK && reply)
		output_reply(command, reply, stdout);
	json_decref(reply);
	return code;
}
