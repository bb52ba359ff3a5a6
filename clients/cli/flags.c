/*
 * flags: see flags.h.
 */
#include "flags.h"

#include <string.h>

void
flags_name(const char *field, char out[FLAG_NAME_MAX])
{
	size_t i = 0;

	for (; field[i] && i < FLAG_NAME_MAX - 1; i++)
		out[i] = field[i] == '_' ? '-' : field[i];
	out[i] = '\0';
}

/* The message of a field whose members can be said alone; NULL: it is of another kind. */
static const struct api_message *
message_of(const ProtobufCFieldDescriptor *field, const struct api_field *rules)
{
	bool is_message =
	    field->type == PROTOBUF_C_TYPE_MESSAGE && !rules->is_map && rules->format != API_TIMESTAMP;

	return is_message ? api_message_of(field->descriptor) : NULL;
}

static bool
is_flag(const struct api_field *rules)
{
	return !rules->is_nulls && !rules->is_output_only;
}

/* ---- all of them ---- */

static void
each_member(const struct flag *whole, void (*each)(void *arg, const struct flag *flag), void *arg)
{
	const struct api_message *message = message_of(whole->field, whole->rules);
	char name[FLAG_NAME_MAX];

	for (unsigned i = 0; message && i < message->descriptor->n_fields; i++) {
		struct flag member = {.field = &message->descriptor->fields[i], .rules = &message->fields[i]};
		if (!is_flag(member.rules))
			continue;
		flags_name(member.field->name, name);
		snprintf(member.name, sizeof(member.name), "%.60s.%.60s", whole->name, name);
		each(arg, &member);
	}
}

void
flags_each(const struct api_method *method, void (*each)(void *arg, const struct flag *flag), void *arg)
{
	for (unsigned i = 0; i < method->request->descriptor->n_fields; i++) {
		struct flag flag = {.field = &method->request->descriptor->fields[i],
		                    .rules = &method->request->fields[i]};
		if (!is_flag(flag.rules))
			continue;
		flags_name(flag.field->name, flag.name);
		each(arg, &flag);
		each_member(&flag, each, arg);
	}
}

/* ---- one of them ---- */

static bool
find_field(const struct api_message *message, const char *flag, size_t length, struct place *out)
{
	char name[FLAG_NAME_MAX];

	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		flags_name(message->descriptor->fields[i].name, name);
		if (strlen(name) != length || memcmp(name, flag, length) != 0 || message->fields[i].is_nulls)
			continue;
		out->field = &message->descriptor->fields[i];
		out->rules = &message->fields[i];
		return true;
	}
	return false;
}

static json_t *
member_of_kind(json_t *object, const char *name, json_t *made)
{
	json_t *old = json_object_get(object, name);

	if (old && json_typeof(old) == json_typeof(made)) {
		json_decref(made);
		return old;
	}
	return json_object_set_new(object, name, made) == 0 ? made : NULL;
}

/* The item that a member belongs to: the last one, or a new one when the last has it. */
static json_t *
item_for(json_t *list, const ProtobufCFieldDescriptor *member, const struct api_field *rules)
{
	json_t *last = json_array_get(list, json_array_size(list) - 1);
	bool adds_up = member->label == PROTOBUF_C_LABEL_REPEATED || rules->is_map;

	if (json_is_object(last) && (adds_up || !json_object_get(last, member->name)))
		return last;
	last = json_object();
	return json_array_append_new(list, last) == 0 ? last : NULL;
}

bool
flags_place(struct command *command, const char *flag, size_t length, struct place *out)
{
	const char *dot = memchr(flag, '.', length);
	struct place whole = {.object = command->fields};

	if (!dot) {
		*out = whole;
		return find_field(command->method->request, flag, length, out);
	}
	size_t head = (size_t)(dot - flag);
	if (!find_field(command->method->request, flag, head, &whole))
		return false;
	const struct api_message *message = message_of(whole.field, whole.rules);
	if (!message || !find_field(message, dot + 1, length - head - 1, out))
		return false;
	bool is_list = whole.field->label == PROTOBUF_C_LABEL_REPEATED;
	out->object = member_of_kind(command->fields, whole.field->name, is_list ? json_array() : json_object());
	if (is_list && out->object)
		out->object = item_for(out->object, out->field, out->rules);
	return out->object != NULL;
}
