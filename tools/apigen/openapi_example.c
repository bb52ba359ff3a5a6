/*
 * openapi_example: whole requests and replies, put together from the examples of their fields.
 *
 * What has an example is shown, and a message without one when one of its fields is: in requests only if it
 * is required. Every required scalar has one: model_check() sees to it.
 */
#include <string.h>

#include "openapi.h"

#define DEPTH_MAX 6

static void put_message_example(struct document *doc, const struct model_message *message,
                                const struct model_method *body_of, unsigned depth);

static bool has_example(const struct model_message *message, const struct model_method *body_of,
                        unsigned depth);

static bool
is_shown(const struct model_field *field, const struct model_method *body_of, unsigned depth)
{
	const Corbel__FieldOptions *options = field->options;
	bool is_request = body_of != NULL;

	if (options->nulls || (is_request && options->output_only))
		return false;
	if (depth == 0 && is_path_parameter(body_of, field->name))
		return false;
	if (options->example || (is_request && options->required))
		return true;
	return !is_request && field->message && !field->is_map && has_example(field->message, NULL, depth + 1);
}

static bool
has_example(const struct model_message *message, const struct model_method *body_of, unsigned depth)
{
	for (size_t i = 0; i < message->field_count && depth < DEPTH_MAX; i++)
		if (is_shown(&message->fields[i], body_of, depth))
			return true;
	return false;
}

static void
put_field_example(struct document *doc, const struct model_field *field, const struct model_method *body_of,
                  unsigned depth)
{
	put_key(doc, field->name);
	if (field->options->example) {
		put_raw(doc, field->options->example);
		return;
	}
	if (field->is_repeated)
		put_open(doc, '[');
	put_message_example(doc, field->message, body_of, depth + 1);
	if (field->is_repeated)
		put_close(doc, ']');
}

static void
put_message_example(struct document *doc, const struct model_message *message,
                    const struct model_method *body_of, unsigned depth)
{
	put_open(doc, '{');
	for (size_t i = 0; i < message->field_count && depth < DEPTH_MAX; i++)
		if (is_shown(&message->fields[i], body_of, depth))
			put_field_example(doc, &message->fields[i], body_of, depth);
	put_close(doc, '}');
}

void
openapi_put_request_example(struct document *doc, const struct model_method *method)
{
	put_key(doc, "example");
	put_message_example(doc, method->request, method, 0);
}

void
openapi_put_reply_example(struct document *doc, const struct model_method *method)
{
	put_key(doc, "example");
	put_message_example(doc, method->reply, NULL, 0);
}
