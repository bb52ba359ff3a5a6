/*
 * call: one call over HTTP, tried as often as the caller allows, and its outcome as an exit code.
 *
 * A call is tried again only if running it twice does no harm: the contract says so, or it carries an
 * idempotency key, which is the same for all tries of one call.
 */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "cli.h"

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

/* ---- outcomes ---- */

int
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

/* ---- the call ---- */

static bool
may_run_twice(const struct command *command)
{
	return command->method->is_idempotent || command->method->verb == API_POST;
}

static void
try_until_done(const struct command *command, struct exchange *exchange)
{
	struct retry retry = {.left = may_run_twice(command) ? command->settings.retries : 0};

	http_exchange(exchange, command->arena);
	while (retry_is_due(&retry, exchange)) {
		retry_wait(&retry, exchange);
		exchange->span_id = random_hex(command->arena, 8);
		http_exchange(exchange, command->arena);
	}
}

static const char *
idempotency_key(const struct command *command)
{
	if (command->method->verb != API_POST)
		return NULL;
	return command->settings.idempotency_key ? command->settings.idempotency_key
	                                         : random_hex(command->arena, 16);
}

static int
outcome(const struct command *command, const struct exchange *exchange, json_t **reply)
{
	if (exchange->status == 0) {
		fprintf(stderr, "corbel: %s\n", show_text(command->arena, exchange->error));
		return EXIT_CODE_UNAVAILABLE;
	}
	int code = exit_code_of(exchange->status);
	if (code == EXIT_CODE_OK && command->method->raw_answer) {
		(void)fwrite(exchange->response, 1, exchange->response_size, stdout);
		return code;
	}
	*reply = json_loads(exchange->response, JSON_DECODE_ANY, NULL);
	if (code != EXIT_CODE_OK)
		output_problem(command->arena, exchange->status, *reply, stderr);
	if (code == EXIT_CODE_OK && !*reply && exchange->response[0]) {
		fprintf(stderr, "corbel: %s answered %ld, but not in JSON: is this Corbel?\n",
		        show_text(command->arena, exchange->url), exchange->status);
		return EXIT_CODE_OTHER;
	}
	return code;
}

/* A body that is one field as it is, and its type; both leave the fields. Without the field it is empty, and
 * has no type that was not said. */
static char *
raw_body(struct command *command, const char **type)
{
	const struct api_message *rules = command->method->request;
	const json_t *said = json_object_get(command->fields, "content_type");
	char *body = NULL;

	*type = said ? value_text(command->arena, said) : "";
	for (unsigned i = 0; i < rules->descriptor->n_fields; i++) {
		const char *name = rules->descriptor->fields[i].name;
		const json_t *value = json_object_get(command->fields, name);
		if (!value || rules->descriptor->fields[i].type != PROTOBUF_C_TYPE_BYTES)
			continue;
		bool is_json = rules->fields[i].format == API_JSON;
		char *dumped = is_json ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
		body = is_json ? dumped : strdup(value_text(command->arena, value));
		if (is_json || !said)
			*type = is_json ? "application/json" : "application/octet-stream";
		json_object_del(command->fields, name);
		break;
	}
	json_object_del(command->fields, "content_type");
	return body ? body : strdup("");
}

int
call_make(struct command *command, json_t **reply)
{
	static const char *const VERBS[] = {"", "GET", "POST", "PUT", "PATCH", "DELETE"};
	enum api_verb verb = command->method->verb;
	bool has_body = verb == API_POST || verb == API_PUT || verb == API_PATCH;
	struct strbuf url;

	strbuf_init(&url, command->arena);
	strbuf_puts(&url, command->settings.url);
	if (!put_path(command, &url))
		return EXIT_CODE_USAGE;
	const char *type = NULL;
	char *body = command->method->raw_body ? raw_body(command, &type)
	             : has_body                ? json_dumps(command->fields, JSON_COMPACT)
	                                       : NULL;
	if (!has_body || command->method->raw_body)
		put_query(command, &url);
	struct exchange exchange = {.verb = VERBS[verb],
	                            .url = url.data,
	                            .body = body,
	                            .content_type = type,
	                            .api_key = command->settings.api_key,
	                            .idempotency_key = idempotency_key(command),
	                            .trace_id = random_hex(command->arena, 16),
	                            .span_id = random_hex(command->arena, 8),
	                            .is_verbose = command->settings.is_verbose};
	try_until_done(command, &exchange);
	free(body);
	return outcome(command, &exchange, reply);
}
