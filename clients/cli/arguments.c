/*
 * arguments: flags and positional words into the fields of a request.
 *
 *   --name Acme  --page-size=5  --scopes a --scopes b  --metadata team=x  --limits '[…]'  --checks @file
 *   --checks.limit charts --checks.key u   members of one item (flags.h)
 *   --data '{…}' | @file | -   a whole body, under the flags
 *
 * What a value means follows from its field: texts stay texts, messages are JSON, maps take key=value.
 * "null" clears a field in an update.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli.h"
#include "flags.h"

#define FILE_MAX    (16u << 20)
#define RETRIES_MAX 20u

static bool
complain(const char *what, const char *detail)
{
	fprintf(stderr, "corbel: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
	return false;
}

/* "@file" and "-" stand for what is in them; NULL, having told why, when they cannot be read. */
static const char *
content_of(struct command *command, const char *text)
{
	bool is_standard = strcmp(text, "-") == 0;
	if (text[0] != '@' && !is_standard)
		return text;
	return text_file_read(is_standard ? text : text + 1, FILE_MAX, command->arena);
}

static json_t *
parse_json(const char *flag, const char *text)
{
	json_error_t error;
	json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
	if (!value)
		fprintf(stderr, "corbel: --%s needs JSON: %s\n", flag, error.text);
	return value;
}

/* One element of the field's type. */
static json_t *
scalar_value(const ProtobufCFieldDescriptor *field, const struct api_field *rules, const char *flag,
             const char *text)
{
	bool boolean;
	int64_t number;

	if (rules->format == API_TIMESTAMP || field->type == PROTOBUF_C_TYPE_STRING ||
	    field->type == PROTOBUF_C_TYPE_BYTES || field->type == PROTOBUF_C_TYPE_ENUM)
		return rules->format == API_JSON ? parse_json(flag, text) : json_string(text);
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return parse_json(flag, text);
	if (field->type == PROTOBUF_C_TYPE_BOOL && text_to_bool(text, strlen(text), &boolean))
		return json_boolean(boolean);
	if (field->type != PROTOBUF_C_TYPE_BOOL && text_to_i64(text, strlen(text), &number))
		return json_integer(number);
	/* The service says what is wrong with it, and where. */
	return json_string(text);
}

static bool
set_map(struct command *command, const struct place *place, const char *flag, const char *text)
{
	const char *equals = strchr(text, '='), *name = place->field->name;
	json_t *map = json_object_get(place->object, name);

	if (text[0] == '{') {
		json_t *whole = parse_json(flag, text);
		return whole && json_object_set_new(place->object, name, whole) == 0;
	}
	if (!equals)
		return complain(flag, "needs key=value");
	if (!map) {
		map = json_object();
		json_object_set_new(place->object, name, map);
	}
	return json_object_set_new(map, arena_strndup(command->arena, text, (size_t)(equals - text)),
	                           json_string(equals + 1)) == 0;
}

static bool
set_repeated(const struct place *place, const char *flag, const char *text)
{
	json_t *list = json_object_get(place->object, place->field->name);
	json_t *value = scalar_value(place->field, place->rules, flag, text);

	if (!value)
		return false;
	if (json_is_array(value))
		return json_object_set_new(place->object, place->field->name, value) == 0;
	if (!list) {
		list = json_array();
		json_object_set_new(place->object, place->field->name, list);
	}
	return json_array_append_new(list, value) == 0;
}

static bool
set_field(struct command *command, const struct place *place, const char *flag, const char *text)
{
	text = content_of(command, text);
	if (!text)
		return false;
	if (strcmp(text, "null") == 0 && command->method->verb == API_PATCH)
		return json_object_set_new(place->object, place->field->name, json_null()) == 0;
	if (place->rules->is_map)
		return set_map(command, place, flag, text);
	if (place->field->label == PROTOBUF_C_LABEL_REPEATED)
		return set_repeated(place, flag, text);
	json_t *value = scalar_value(place->field, place->rules, flag, text);
	return value && json_object_set_new(place->object, place->field->name, value) == 0;
}

static bool
set_data(struct command *command, const char *text)
{
	json_error_t error;
	text = content_of(command, text);
	json_t *data = text ? json_loads(text, 0, &error) : NULL;
	if (!data || !json_is_object(data)) {
		json_decref(data);
		return complain("--data needs a JSON object", text ? error.text : NULL);
	}
	json_object_update_missing(command->fields, data);
	json_decref(data);
	return true;
}

static bool
set_retries(struct settings *settings, const char *text)
{
	uint64_t number;
	if (!text_to_u64(text, strlen(text), &number) || number > RETRIES_MAX)
		return complain("--retry must be 0 to 20", NULL);
	settings->retries = (unsigned)number;
	return true;
}

/* Visible ASCII, as the ingress takes it; anything else could not stand in a header. */
static bool
set_idempotency_key(struct command *command, const char *text)
{
	size_t length = strlen(text);

	if (command->method->verb != API_POST)
		return complain("--idempotency-key is for commands that make or do something, by POST", NULL);
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] >= 0x7F)
			length = 0;
	if (length < 1 || length > 255)
		return complain("--idempotency-key must be 1 to 255 visible ASCII characters", NULL);
	command->settings.idempotency_key = text;
	return true;
}

/* Flags of every command. *took tells whether it was one; those with a value get it in `value`. */
static bool
set_common(struct command *command, const char *flag, size_t length, const char *value, bool *took)
{
	struct settings *settings = &command->settings;
	const struct {
		const char *name;
		bool *target;
	} switches[] = {{"verbose", &settings->is_verbose},
	                {"yes", &settings->is_yes},
	                {"all", &settings->takes_all},
	                {"watch", &settings->is_watched},
	                {"help", &command->wants_help}};

	*took = true;
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (strlen(switches[i].name) == length && memcmp(switches[i].name, flag, length) == 0) {
			*switches[i].target = true;
			return true;
		}
	}
	*took = value != NULL;
	if (!value)
		return true;
	if (length == 6 && memcmp(flag, "output", 6) == 0) {
		settings->has_output = true;
		return output_format_from(value, &settings->output) ||
		       complain("--output must be table, json, yaml or csv", NULL);
	}
	if (length == 3 && memcmp(flag, "url", 3) == 0)
		settings->url = value;
	else if (length == 7 && memcmp(flag, "profile", 7) == 0)
		settings->profile = value;
	else if (length == 4 && memcmp(flag, "data", 4) == 0)
		return set_data(command, value);
	else if (length == 5 && memcmp(flag, "retry", 5) == 0)
		return set_retries(settings, value);
	else if (length == 15 && memcmp(flag, "idempotency-key", 15) == 0)
		return set_idempotency_key(command, value);
	else
		*took = false;
	return true;
}

/* Takes the flag at argv[0]; *used gets how many words it was. */
static bool
read_flag(struct command *command, int argc, char *const *argv, int *used)
{
	const char *flag = argv[0] + 2;
	size_t length = strcspn(flag, "=");
	const char *name = arena_strndup(command->arena, flag, length);
	struct place place;
	bool is_field = flags_place(command, flag, length, &place);
	const char *value = flag[length] == '=' ? flag + length + 1 : NULL;
	bool took;

	*used = 1;
	if (!is_field) {
		bool is_apart = !value && argc > 1;
		if (!set_common(command, flag, length, value, &took))
			return false;
		if (!took && is_apart) {
			*used = 2;
			if (!set_common(command, flag, length, argv[1], &took))
				return false;
		}
		return took || complain("there is no such flag here", argv[0]);
	}
	if (!value && place.field->type == PROTOBUF_C_TYPE_BOOL &&
	    place.field->label != PROTOBUF_C_LABEL_REPEATED)
		return set_field(command, &place, name, "true");
	if (!value) {
		if (argc < 2)
			return complain(argv[0], "needs a value");
		value = argv[1];
		*used = 2;
	}
	return set_field(command, &place, name, value);
}

/* A word of the path is taken as it is, and so is the one that takes the place of such a word. */
static bool
set_word(const struct place *place, const char *word)
{
	if (json_object_get(place->object, place->field->name))
		return complain("does not belong here", word);
	return json_object_set_new(place->object, place->field->name, json_string(word)) == 0;
}

/* Behind the words of the path. */
static bool
read_further_word(struct command *command, const char *word)
{
	const char *name = command->method->cli_words;
	char flag[FLAG_NAME_MAX];
	struct place place;

	if (!name[0])
		return complain("does not belong here", word);
	flags_name(name, flag);
	if (!flags_place(command, flag, strlen(flag), &place))
		return false;
	return place.field->label == PROTOBUF_C_LABEL_REPEATED ? set_field(command, &place, flag, word)
	                                                       : set_word(&place, word);
}

/* A word without dashes is the next parameter of the path. */
static bool
read_positional(struct command *command, const char *word, int position)
{
	const char *at = command->method->path;
	for (int i = 0; at && i <= position; i++)
		at = strchr(i == 0 ? at : at + 1, '{');
	if (!at)
		return read_further_word(command, word);
	const char *name = arena_strndup(command->arena, at + 1, strcspn(at + 1, ".}"));
	return json_object_set_new(command->fields, name, json_string(word)) == 0;
}

bool
arguments_read(struct command *command, int argc, char *const *argv)
{
	int positional = 0;

	for (int i = 0; i < argc; i++)
		if (!text_is_utf8(argv[i], strlen(argv[i])))
			return complain("what is said must be text in UTF-8", NULL);
	for (int i = 0; i < argc;) {
		int used = 1;
		bool is_ok = strncmp(argv[i], "--", 2) == 0 ? read_flag(command, argc - i, argv + i, &used)
		                                            : read_positional(command, argv[i], positional++);
		if (!is_ok)
			return false;
		i += used;
	}
	return true;
}
