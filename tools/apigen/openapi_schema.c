/*
 * openapi_schema: messages, fields and enums as JSON schemas.
 *
 * A schema says what common/api checks, as far as JSON Schema can: lengths are characters there and bytes
 * here, so a long text that is not ASCII may keep the schema's bound and break ours.
 */
#include <string.h>

#include "openapi.h"

#define TYPE(name) GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_##name
#define EXACT_MAX  INT64_C(9007199254740992) /* 2^53: the whole numbers below are exact in a double */

static const char *
schema_path(struct document *doc, const char *short_name)
{
	return arena_printf(doc->arena, "#/components/schemas/%s", short_name);
}

static const char *
format_name(Corbel__Format format)
{
	switch (format) {
	case CORBEL__FORMAT__TIMESTAMP:
		return "date-time";
	case CORBEL__FORMAT__EMAIL:
		return "email";
	case CORBEL__FORMAT__URL:
		return "uri";
	case CORBEL__FORMAT__DATE:
		return "date";
	default:
		return NULL;
	}
}

static bool
is_wide(int type)
{
	return type == TYPE(INT64) || type == TYPE(UINT64) || type == TYPE(FIXED64) || type == TYPE(SFIXED64) ||
	       type == TYPE(SINT64);
}

static bool
is_unsigned(int type)
{
	return type == TYPE(UINT64) || type == TYPE(FIXED64) || type == TYPE(FIXED32) || type == TYPE(UINT32);
}

static bool
is_integer(int type)
{
	return is_wide(type) || is_unsigned(type) || type == TYPE(INT32) || type == TYPE(SFIXED32) ||
	       type == TYPE(SINT32);
}

/* `types` is one name, or two in JSON's own notation without brackets. */
static void
put_type(struct document *doc, const char *types, bool may_be_null)
{
	bool is_list = may_be_null || strchr(types, ',');
	put_raw_member(doc, "type",
	               arena_printf(doc->arena, "%s%s%s%s", is_list ? "[" : "", types,
	                            may_be_null ? ", \"null\"" : "", is_list ? "]" : ""));
}

static void
put_text_rules(struct document *doc, const Corbel__FieldOptions *options)
{
	put_text_member(doc, "format", format_name(options->format));
	if (options->format == CORBEL__FORMAT__NAME)
		put_text_member(doc, "pattern", "^[a-z0-9][a-z0-9._-]{0,63}$");
	if (options->pattern)
		put_text_member(doc, "pattern", arena_printf(doc->arena, "^(%s)$", options->pattern));
	if (options->min_len)
		put_number_member(doc, "minLength", options->min_len);
	if (options->max_len)
		put_number_member(doc, "maxLength", options->max_len);
}

static void
put_integer(struct document *doc, const struct model_field *field, bool may_be_null)
{
	const Corbel__FieldOptions *options = field->options;
	int type = (int)field->proto->type;
	bool may_be_text = is_wide(type) && !(options->has_max && options->max <= EXACT_MAX);

	if (options->format == CORBEL__FORMAT__TIMESTAMP) {
		put_type(doc, "\"string\"", may_be_null);
		put_text_member(doc, "format", "date-time");
		return;
	}
	put_type(doc, may_be_text ? "\"integer\", \"string\"" : "\"integer\"", may_be_null);
	if (may_be_text)
		put_text_member(doc, "pattern", is_unsigned(type) ? "^[0-9]{1,20}$" : "^-?[0-9]{1,19}$");
	if (is_wide(type))
		put_text_member(doc, "format", "int64");
	if (options->has_min || is_unsigned(type))
		put_number_member(doc, "minimum", options->min);
	else if (type == TYPE(INT32) || type == TYPE(SFIXED32) || type == TYPE(SINT32))
		put_number_member(doc, "minimum", INT32_MIN);
	if (options->has_max)
		put_number_member(doc, "maximum", options->max);
	else if (!is_wide(type))
		put_number_member(doc, "maximum", is_unsigned(type) ? (long long)UINT32_MAX : INT32_MAX);
}

/* A message or an enum by its name. JSON Schema 2020-12 lets other members stand beside a reference. */
static void
put_reference(struct document *doc, const char *short_name, bool may_be_null)
{
	if (may_be_null)
		put_raw_member(doc, "anyOf",
		               arena_printf(doc->arena, "[{\"$ref\": \"%s\"}, {\"type\": \"null\"}]",
		                            schema_path(doc, short_name)));
	else
		put_text_member(doc, "$ref", schema_path(doc, short_name));
}

static void
put_item(struct document *doc, const struct model_field *field, bool may_be_null)
{
	int type = (int)field->proto->type;

	if (field->message)
		put_reference(doc, field->message->short_name, may_be_null);
	else if (field->enumeration)
		put_reference(doc, field->enumeration->short_name, may_be_null);
	else if (field->options->format == CORBEL__FORMAT__JSON)
		put_text_member(doc, "title", "Any JSON value");
	else if (is_integer(type))
		put_integer(doc, field, may_be_null);
	else if (type == TYPE(BOOL))
		put_type(doc, "\"boolean\"", may_be_null);
	else if (type == TYPE(DOUBLE) || type == TYPE(FLOAT))
		put_type(doc, "\"number\"", may_be_null);
	else {
		put_type(doc, "\"string\"", may_be_null);
		if (type == TYPE(BYTES))
			put_text_member(doc, "contentEncoding", "base64");
		else
			put_text_rules(doc, field->options);
	}
}

/* Keys of maps are bounded by common/api, values by the field's own rules. */
static void
put_map(struct document *doc, const struct model_field *field, bool may_be_null)
{
	put_type(doc, "\"object\"", may_be_null);
	if (field->options->max_items)
		put_number_member(doc, "maxProperties", field->options->max_items);
	put_raw_member(doc, "propertyNames", "{\"minLength\": 1, \"maxLength\": 64}");
	put_member(doc, "additionalProperties", '{');
	put_item(doc, &field->message->fields[1], false);
	put_text_rules(doc, field->options);
	put_close(doc, '}');
}

static void
put_array(struct document *doc, const struct model_field *field, bool may_be_null)
{
	put_type(doc, "\"array\"", may_be_null);
	if (field->options->min_items)
		put_number_member(doc, "minItems", field->options->min_items);
	if (!field->options->output_only)
		put_number_member(doc, "maxItems", field->options->max_items ? field->options->max_items : 1000);
	put_member(doc, "items", '{');
	put_item(doc, field, false);
	put_close(doc, '}');
}

void
openapi_field_schema(struct document *doc, const struct model_field *field, bool may_be_null)
{
	const Corbel__FieldOptions *options = field->options;

	put_open(doc, '{');
	if (field->is_map)
		put_map(doc, field, may_be_null);
	else if (field->is_repeated)
		put_array(doc, field, may_be_null);
	else
		put_item(doc, field, may_be_null);
	put_text_member(doc, "description", field->note.doc);
	if (options->output_only)
		put_raw_member(doc, "readOnly", "true");
	if (options->secret)
		put_text_member(doc, "x-corbel-secret", "never logged, never listed");
	put_text_member(doc, "x-corbel-unit", options->unit);
	if (options->example)
		put_raw_member(doc, "examples", arena_printf(doc->arena, "[%s]", options->example));
	put_close(doc, '}');
}

static const struct model_field *
nulls_field(const struct model_message *message)
{
	for (size_t i = 0; i < message->field_count; i++)
		if (message->fields[i].options->nulls)
			return &message->fields[i];
	return NULL;
}

static void
put_properties(struct document *doc, const struct model_message *message, const struct model_method *method)
{
	bool has_nulls = nulls_field(message) != NULL;

	put_member(doc, "properties", '{');
	for (size_t i = 0; i < message->field_count; i++) {
		const struct model_field *field = &message->fields[i];
		if (field->options->nulls || is_path_parameter(method, field->name))
			continue;
		put_key(doc, field->name);
		openapi_field_schema(doc, field, has_nulls && !field->options->required);
	}
	put_close(doc, '}');
}

static void
put_required(struct document *doc, const struct model_message *message, const struct model_method *method)
{
	size_t count = 0;

	for (size_t i = 0; i < message->field_count; i++) {
		const struct model_field *field = &message->fields[i];
		if (!field->options->required || is_path_parameter(method, field->name))
			continue;
		if (count++ == 0)
			put_member(doc, "required", '[');
		put_text(doc, field->name);
	}
	if (count > 0)
		put_close(doc, ']');
}

/* `is_closed`: nothing else may stand in it. */
static void
put_message(struct document *doc, const struct model_message *message, const struct model_method *method,
            bool is_closed)
{
	put_open(doc, '{');
	if (method)
		put_text_member(doc, "title", message->short_name);
	put_text_member(doc, "description", message->note.doc);
	put_text_member(doc, "type", "object");
	put_properties(doc, message, method);
	put_required(doc, message, method);
	if (is_closed)
		put_raw_member(doc, "additionalProperties", "false");
	put_close(doc, '}');
}

static bool
has_path_parameters(const struct model_method *method)
{
	for (size_t i = 0; i < method->request->field_count; i++)
		if (is_path_parameter(method, method->request->fields[i].name))
			return true;
	return false;
}

void
openapi_body_schema(struct document *doc, const struct model_method *method)
{
	if (has_path_parameters(method)) {
		put_message(doc, method->request, method, true);
		return;
	}
	put_open(doc, '{');
	put_reference(doc, method->request->short_name, false);
	put_close(doc, '}');
}

/* What the enum is, then a list of its values. */
static const char *
enum_text(struct arena *arena, const struct model_enum *entry)
{
	struct strbuf out;

	strbuf_init(&out, arena);
	strbuf_printf(&out, "%s\n", entry->note.doc);
	for (size_t i = 0; i < entry->proto->n_value; i++)
		if (entry->proto->value[i]->number != 0)
			strbuf_printf(&out, "\n- `%s`: %s", entry->proto->value[i]->name, entry->values[i].doc);
	return out.data;
}

static void
put_enum(struct document *doc, const struct model_enum *entry)
{
	put_open(doc, '{');
	put_text_member(doc, "description", enum_text(doc->arena, entry));
	put_text_member(doc, "type", "string");
	put_member(doc, "enum", '[');
	for (size_t i = 0; i < entry->proto->n_value; i++)
		if (entry->proto->value[i]->number != 0) /* 0 is absence */
			put_text(doc, entry->proto->value[i]->name);
	put_close(doc, ']');
	put_close(doc, '}');
}

/* What JSON bodies and replies hold: not the requests whose fields all come from path and query. */
static struct model_reach
reach_json(const struct model *model, bool has_replies)
{
	struct model_reach reach = {.messages = ARENA_ARRAY(model->arena, bool, model->message_count + 1),
	                            .enums = ARENA_ARRAY(model->arena, bool, model->enum_count + 1)};

	for (size_t s = 0; s < model->service_count; s++) {
		for (size_t m = 0; m < model->services[s].method_count; m++) {
			const struct model_method *method = &model->services[s].methods[m];
			if (!method->options->path)
				continue;
			if (has_body(method) && !method->options->raw_body)
				reach_message(model, method->request, &reach);
			if (has_replies && method->options->success != 204)
				reach_message(model, method->reply, &reach);
		}
	}
	return reach;
}

/* Bodies with path parameters are written where they are used; what is a raw body has no schema, but may be
 * part of another. */
static bool
is_inlined(const struct model *model, const struct model_message *message)
{
	for (size_t s = 0; s < model->service_count; s++)
		for (size_t m = 0; m < model->services[s].method_count; m++)
			if (model->services[s].methods[m].request == message)
				return has_path_parameters(&model->services[s].methods[m]) &&
				       !model->services[s].methods[m].options->raw_body;
	return false;
}

void
openapi_schemas(struct document *doc, const struct model *model)
{
	struct model_reach used = reach_json(model, true), in_bodies = reach_json(model, false);
	struct model_reach named = reach_methods(model, NULL);

	for (size_t i = 0; i < model->message_count; i++) {
		const struct model_message *message = &model->messages[i];
		if (!used.messages[i] || message->is_map_entry || is_inlined(model, message))
			continue;
		put_key(doc, message->short_name);
		put_message(doc, message, NULL, in_bodies.messages[i]);
	}
	for (size_t i = 0; i < model->enum_count; i++) {
		if (!named.enums[i])
			continue;
		put_key(doc, model->enums[i].short_name);
		put_enum(doc, &model->enums[i]);
	}
}
