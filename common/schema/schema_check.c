/*
 * schema_check: a value against a schema. See schema.h. What depends on the kind of value is in
 * schema_content.c.
 *
 * Every subschema that is applied to a value is a step, every value of an enum and every name looked up is
 * one more. Once the steps are used up nothing passes, which `not` cannot turn round because the whole check
 * ends false. References that lead deeper than the bound are treated alike.
 */
#include <stdarg.h>

#include "base/text.h"
#include "schema/schema_check.h"

#define STEPS_MAX       500000u
#define REGEX_STEPS_MAX UINT64_C(1000000)
#define DEPTH_MAX       200u

/* ---- saying what is wrong ---- */

static void
write_place(const struct place *place, struct strbuf *out)
{
	if (!place->parent)
		return;
	write_place(place->parent, out);
	strbuf_putc(out, '/');
	if (place->parent->value->type == JSON_VALUE_OBJECT)
		pointer_add_name(out, place->value->name, place->value->name_length);
	else
		strbuf_u64(out, place->index);
}

bool
schema_wrong(struct check *check, const struct place *place, const struct json_value *name,
             const char *format, ...)
{
	struct strbuf at;
	va_list args;

	if (!check->violations || check->violations->is_cut)
		return false;
	strbuf_init(&at, check->arena);
	strbuf_puts(&at, check->pointer);
	write_place(place, &at);
	if (name) {
		strbuf_putc(&at, '/');
		pointer_add_name(&at, name->text, name->length);
	}
	va_start(args, format);
	const char *detail = arena_vprintf(check->arena, format, args);
	va_end(args);
	violations_add(check->violations, check->arena, at.data, "%s", detail);
	return false;
}

int
schema_shown(const struct json_value *value)
{
	const int limit = 60;
	int length = value->length < (uint32_t)limit ? (int)value->length : limit;
	while (length > 0 && length < (int)value->length && ((unsigned char)value->text[length] & 0xC0u) == 0x80u)
		length--;
	return length;
}

bool
schema_step(struct check *check, size_t count)
{
	if (count > check->steps)
		check->is_exhausted = true;
	check->steps -= count < check->steps ? count : check->steps;
	return !check->is_exhausted;
}

/* ---- any value ---- */

static const char *
type_name(unsigned types)
{
	static const char *const NAMES[] = {"null",   "true or false", "a number",      "a string",
	                                    "a list", "an object",     "a whole number"};
	for (unsigned i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
		if (types == 1u << i)
			return NAMES[i];
	}
	return "of another type";
}

static bool
type_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	const struct json_value *value = place->value;
	bool is_integer = (node->types & SCHEMA_TYPE_INTEGER) && value->type == JSON_VALUE_NUMBER &&
	                  json_number_is_integer(value);

	if (node->types == 0 || (node->types & SCHEMA_TYPE(value->type)) || is_integer)
		return true;
	return schema_wrong(check, place, NULL, "must be %s", type_name(node->types));
}

static bool
enumeration_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	for (const struct json_value *item = node->enumeration->first; item; item = item->next) {
		if (!schema_step(check, 1 + item->length / 64) || json_value_equal(item, place->value))
			return !check->is_exhausted;
	}
	return schema_wrong(check, place, NULL, "must be one of %.*s", schema_shown(node->enumeration),
	                    node->enumeration->text);
}

static bool
constant_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	if (json_value_equal(node->constant, place->value))
		return true;
	return schema_wrong(check, place, NULL, "must be %.*s", schema_shown(node->constant),
	                    node->constant->text);
}

/* ---- combinations ---- */

static size_t
count_fits(struct check *check, const struct schema_list *list, const struct place *place, size_t enough)
{
	struct violations *violations = check->violations;
	size_t count = 0;

	check->violations = NULL;
	for (size_t i = 0; i < list->count && count < enough; i++)
		count += schema_node_fits(check, list->nodes[i], place);
	check->violations = violations;
	return count;
}

static bool
combinations_fit(struct check *check, const struct schema_node *node, const struct place *place)
{
	bool is_good = true;

	for (size_t i = 0; i < node->all_of.count; i++)
		is_good &= schema_node_fits(check, node->all_of.nodes[i], place);
	if (node->any_of.count > 0 && count_fits(check, &node->any_of, place, 1) == 0)
		is_good = schema_wrong(check, place, NULL, "fits none of the schemas of anyOf");
	if (node->one_of.count > 0 && count_fits(check, &node->one_of, place, 2) != 1)
		is_good = schema_wrong(check, place, NULL, "must fit exactly one of the schemas of oneOf");
	struct schema_list not_this = {1, (struct schema_node *[]){node->not_this}};
	if (node->not_this && count_fits(check, &not_this, place, 1) != 0)
		is_good = schema_wrong(check, place, NULL, "fits a schema that it must not fit");
	return is_good;
}

/* ---- the whole ---- */

bool
schema_node_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	bool is_good;

	check->is_exhausted |= check->depth >= DEPTH_MAX;
	if (!schema_step(check, 1))
		return false;
	if (node->is_false)
		return schema_wrong(check, place, NULL, "must not be there");
	if (!type_fits(check, node, place))
		return false;
	check->depth++;
	is_good = !node->reference || schema_node_fits(check, node->reference, place);
	is_good &= !node->constant || constant_fits(check, node, place);
	is_good &= !node->enumeration || enumeration_fits(check, node, place);
	is_good &= combinations_fit(check, node, place);
	is_good &= schema_content_fits(check, node, place);
	check->depth--;
	return is_good;
}

bool
schema_check(const struct schema *schema, const struct json_value *value, const char *pointer,
             struct arena *arena, struct violations *violations)
{
	const struct place root = {NULL, value, 0};
	struct check check = {.pointer = pointer,
	                      .arena = arena,
	                      .violations = violations,
	                      .steps = STEPS_MAX,
	                      .regex_steps = REGEX_STEPS_MAX};
	bool is_good = schema_node_fits(&check, schema->root, &root);

	if (check.is_exhausted)
		return schema_wrong(&check, &root, NULL,
		                    "takes more work to check against its schema than is allowed");
	return is_good;
}

bool
schema_check_text(const struct schema *schema, const char *text, size_t length, const char *pointer,
                  struct arena *arena, struct violations *violations)
{
	const struct json_value *value;
	struct status st = json_value_parse(text, length, arena, &value);

	if (status_ok(&st))
		return schema_check(schema, value, pointer, arena, violations);
	violations_add(violations, arena, pointer, "%s", st.message);
	return false;
}
