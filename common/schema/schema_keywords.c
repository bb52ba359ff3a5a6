/*
 * schema_keywords: keywords of JSON Schema whose value is no schema. See schema.h.
 */
#include <string.h>

#include "base/text.h"
#include "schema/schema_internal.h"

#define DIALECT "https://json-schema.org/draft/2020-12/schema"

static struct status
wrong(const char *detail)
{
	return status_make(STATUS_INVALID_ARGUMENT, "%s", detail);
}

/* ---- type ---- */

static const struct {
	const char *name;
	unsigned bit;
} TYPES[] = {{"null", SCHEMA_TYPE(JSON_VALUE_NULL)},
             {"boolean", SCHEMA_TYPE(JSON_VALUE_BOOLEAN)},
             {"number", SCHEMA_TYPE(JSON_VALUE_NUMBER)},
             {"string", SCHEMA_TYPE(JSON_VALUE_STRING)},
             {"array", SCHEMA_TYPE(JSON_VALUE_ARRAY)},
             {"object", SCHEMA_TYPE(JSON_VALUE_OBJECT)},
             {"integer", SCHEMA_TYPE_INTEGER}};

static bool
add_type(struct schema_node *node, const struct json_value *name)
{
	if (name->type != JSON_VALUE_STRING)
		return false;
	for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
		if (strcmp(TYPES[i].name, name->text) == 0) {
			node->types |= TYPES[i].bit;
			return true;
		}
	}
	return false;
}

static struct status
read_type(struct schema_node *node, const struct json_value *value)
{
	bool is_list = value->type == JSON_VALUE_ARRAY && value->count > 0;
	bool is_good = is_list || add_type(node, value);

	for (const struct json_value *name = is_list ? value->first : NULL; name; name = name->next)
		is_good &= add_type(node, name);
	return is_good
	           ? status_ok_value()
	           : wrong("must be null, boolean, number, integer, string, array or object, or a list of them");
}

/* ---- any value ---- */

static struct status
read_const(struct schema_node *node, const struct json_value *value)
{
	node->constant = value;
	return status_ok_value();
}

static struct status
read_enum(struct schema_node *node, const struct json_value *value)
{
	node->enumeration = value;
	return value->type == JSON_VALUE_ARRAY && value->count > 0 ? status_ok_value()
	                                                           : wrong("must be a list that is not empty");
}

/* ---- objects and arrays ---- */

static struct status
read_required(struct schema_node *node, const struct json_value *value)
{
	bool is_good = value->type == JSON_VALUE_ARRAY;

	for (const struct json_value *name = is_good ? value->first : NULL; name; name = name->next)
		is_good &= name->type == JSON_VALUE_STRING;
	node->required = value;
	return is_good ? status_ok_value() : wrong("must be a list of names");
}

static struct status
read_count(const struct json_value *value, uint64_t *out)
{
	bool is_count = value->type == JSON_VALUE_NUMBER && text_to_u64(value->text, value->length, out);
	return is_count ? status_ok_value() : wrong("must be a whole number, 0 or more, written in digits");
}

static struct status
read_min_items(struct schema_node *node, const struct json_value *value)
{
	return read_count(value, &node->min_items);
}

static struct status
read_max_items(struct schema_node *node, const struct json_value *value)
{
	return read_count(value, &node->max_items);
}

static struct status
read_unique_items(struct schema_node *node, const struct json_value *value)
{
	node->has_unique_items = json_value_is_true(value);
	return value->type == JSON_VALUE_BOOLEAN ? status_ok_value() : wrong("must be true or false");
}

/* ---- strings ---- */

static struct status
read_min_length(struct schema_node *node, const struct json_value *value)
{
	return read_count(value, &node->min_length);
}

static struct status
read_max_length(struct schema_node *node, const struct json_value *value)
{
	return read_count(value, &node->max_length);
}

static struct status
read_pattern(struct schema_node *node, const struct json_value *value)
{
	if (value->type != JSON_VALUE_STRING)
		return wrong("must be a regular expression");
	node->pattern_text = value->text;
	return regex_compile(value->text, value->length, &node->pattern);
}

static struct status
read_format(struct schema_node *node, const struct json_value *value)
{
	node->format = value->type == JSON_VALUE_STRING ? schema_format_find(value->text) : SCHEMA_ANY_FORMAT;
	return node->format != SCHEMA_ANY_FORMAT ? status_ok_value()
	                                         : wrong("must be date-time, email, uri or uuid");
}

/* ---- numbers ---- */

static struct status
read_bound(const struct json_value *value, const struct json_value **out)
{
	*out = value;
	return value->type == JSON_VALUE_NUMBER ? status_ok_value() : wrong("must be a number");
}

static struct status
read_minimum(struct schema_node *node, const struct json_value *value)
{
	return read_bound(value, &node->minimum);
}

static struct status
read_maximum(struct schema_node *node, const struct json_value *value)
{
	return read_bound(value, &node->maximum);
}

static struct status
read_exclusive_minimum(struct schema_node *node, const struct json_value *value)
{
	return read_bound(value, &node->exclusive_minimum);
}

static struct status
read_exclusive_maximum(struct schema_node *node, const struct json_value *value)
{
	return read_bound(value, &node->exclusive_maximum);
}

/* ---- what is not checked ---- */

static struct status
read_dialect(struct schema_node *node, const struct json_value *value)
{
	(void)node;
	return value->type == JSON_VALUE_STRING && strcmp(value->text, DIALECT) == 0
	           ? status_ok_value()
	           : wrong("must be \"" DIALECT "\"");
}

static struct status
read_note(struct schema_node *node, const struct json_value *value)
{
	(void)node;
	(void)value;
	return status_ok_value();
}

static const struct {
	const char *name;
	struct status (*read)(struct schema_node *node, const struct json_value *value);
} KEYWORDS[] = {{"type", read_type},
                {"const", read_const},
                {"enum", read_enum},
                {"required", read_required},
                {"minItems", read_min_items},
                {"maxItems", read_max_items},
                {"uniqueItems", read_unique_items},
                {"minLength", read_min_length},
                {"maxLength", read_max_length},
                {"pattern", read_pattern},
                {"format", read_format},
                {"minimum", read_minimum},
                {"maximum", read_maximum},
                {"exclusiveMinimum", read_exclusive_minimum},
                {"exclusiveMaximum", read_exclusive_maximum},
                {"$schema", read_dialect},
                {"$comment", read_note},
                {"title", read_note},
                {"description", read_note},
                {"default", read_note},
                {"examples", read_note},
                {"deprecated", read_note},
                {"readOnly", read_note},
                {"writeOnly", read_note}};

bool
schema_keyword_read(struct schema_node *node, const char *name, const struct json_value *value,
                    struct status *st)
{
	for (size_t i = 0; i < sizeof(KEYWORDS) / sizeof(KEYWORDS[0]); i++) {
		if (strcmp(KEYWORDS[i].name, name) == 0) {
			*st = KEYWORDS[i].read(node, value);
			return true;
		}
	}
	return false;
}
