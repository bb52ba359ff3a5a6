/*
 * schema_content: what a schema says of objects, arrays, strings and numbers. See schema.h.
 */
#include <stdlib.h>

#include "schema/schema_check.h"

/* ---- objects ---- */

static const struct schema_node *
property_node(const struct schema_node *node, const struct json_value *member)
{
	size_t low = 0, high = node->property_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct schema_property *at = &node->properties[middle];
		int order = schema_property_order(member->name, member->name_length, at->name, at->length);
		if (order == 0)
			return at->node;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return node->additional;
}

static bool
required_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	bool is_good = true;
	for (const struct json_value *name = node->required ? node->required->first : NULL; name;
	     name = name->next) {
		if (!schema_step(check, 1 + place->value->count / 16))
			return false;
		if (!json_value_member(place->value, name->text, name->length))
			is_good = schema_wrong(check, place, name, "is required");
	}
	return is_good;
}

static bool
object_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	bool is_good = required_fits(check, node, place);

	if (node->property_count == 0 && !node->additional)
		return is_good;
	for (const struct json_value *member = place->value->first; member; member = member->next) {
		const struct schema_node *schema = property_node(node, member);
		const struct place at = {place, member, 0};
		if (!schema_step(check, 1))
			return false;
		if (schema && schema->is_false && schema == node->additional)
			is_good = schema_wrong(check, &at, NULL, "is not known");
		else if (schema)
			is_good &= schema_node_fits(check, schema, &at);
	}
	return is_good;
}

/* ---- arrays ---- */

struct hashed {
	uint64_t hash;
	const struct json_value *value;
	size_t index;
};

static int
by_hash(const void *a, const void *b)
{
	const struct hashed *left = a, *right = b;
	if (left->hash != right->hash)
		return left->hash < right->hash ? -1 : 1;
	return (left->index > right->index) - (left->index < right->index);
}

/* Equal elements have equal hashes, and stand side by side once these are sorted. */
static bool
elements_are_unique(struct check *check, const struct place *place)
{
	size_t count = 0;
	struct hashed *items = arena_try(check->arena, place->value->count + 1u, sizeof(*items));

	if (!items || !schema_step(check, place->value->count)) {
		check->is_exhausted = true;
		return false;
	}
	for (const struct json_value *item = place->value->first; item; item = item->next, count++)
		items[count] = (struct hashed){json_value_hash(item), item, count};
	qsort(items, count, sizeof(*items), by_hash);
	for (size_t i = 1; i < count; i++) {
		if (items[i].hash == items[i - 1].hash && json_value_equal(items[i].value, items[i - 1].value))
			return schema_wrong(check, place, NULL, "must not hold a value twice: elements %zu and %zu",
			                    items[i - 1].index, items[i].index);
	}
	return true;
}

static bool
elements_fit(struct check *check, const struct schema_node *node, const struct place *place)
{
	bool is_good = true;
	size_t index = 0;

	for (const struct json_value *item = place->value->first; item; item = item->next, index++) {
		const struct place at = {place, item, index};
		const struct schema_node *schema =
		    index < node->prefix_items.count ? node->prefix_items.nodes[index] : node->items;
		if (!schema)
			break;
		is_good &= schema_node_fits(check, schema, &at);
		if (check->is_exhausted)
			return false;
	}
	return is_good;
}

static bool
array_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	bool is_good = true;

	if (place->value->count < node->min_items)
		is_good = schema_wrong(check, place, NULL, "must have at least %llu elements",
		                       (unsigned long long)node->min_items);
	if (place->value->count > node->max_items)
		is_good = schema_wrong(check, place, NULL, "must have at most %llu elements",
		                       (unsigned long long)node->max_items);
	if (node->has_unique_items)
		is_good &= elements_are_unique(check, place);
	return elements_fit(check, node, place) && is_good;
}

/* ---- strings and numbers ---- */

static bool
pattern_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	const struct json_value *value = place->value;
	enum regex_result result = regex_search(node->pattern, value->text, value->length, &check->regex_steps);

	check->is_exhausted |= check->regex_steps == 0;
	return result == REGEX_FOUND || schema_wrong(check, place, NULL, "must match %.80s", node->pattern_text);
}

static bool
string_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	const struct json_value *value = place->value;
	size_t characters = json_string_characters(value);
	bool is_good = true;

	if (characters < node->min_length)
		is_good = schema_wrong(check, place, NULL, "must have at least %llu characters",
		                       (unsigned long long)node->min_length);
	if (characters > node->max_length)
		is_good = schema_wrong(check, place, NULL, "must have at most %llu characters",
		                       (unsigned long long)node->max_length);
	if (node->pattern)
		is_good &= pattern_fits(check, node, place);
	if (!schema_format_fits(node->format, value->text, value->length))
		is_good =
		    schema_wrong(check, place, NULL, "must be of the format %s", schema_format_name(node->format));
	return is_good;
}

static bool
bound_fits(struct check *check, const struct place *place, const struct json_value *bound, bool is_good,
           const char *relation)
{
	return is_good ||
	       schema_wrong(check, place, NULL, "must be %s %.*s", relation, schema_shown(bound), bound->text);
}

static bool
number_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	const struct json_value *value = place->value;
	bool is_good = true;

	if (node->minimum)
		is_good &= bound_fits(check, place, node->minimum, json_number_compare(value, node->minimum) >= 0,
		                      "at least");
	if (node->maximum)
		is_good &= bound_fits(check, place, node->maximum, json_number_compare(value, node->maximum) <= 0,
		                      "at most");
	if (node->exclusive_minimum)
		is_good &= bound_fits(check, place, node->exclusive_minimum,
		                      json_number_compare(value, node->exclusive_minimum) > 0, "more than");
	if (node->exclusive_maximum)
		is_good &= bound_fits(check, place, node->exclusive_maximum,
		                      json_number_compare(value, node->exclusive_maximum) < 0, "less than");
	return is_good;
}

/* ---- any ---- */

bool
schema_content_fits(struct check *check, const struct schema_node *node, const struct place *place)
{
	switch (place->value->type) {
	case JSON_VALUE_OBJECT:
		return object_fits(check, node, place);
	case JSON_VALUE_ARRAY:
		return array_fits(check, node, place);
	case JSON_VALUE_STRING:
		return string_fits(check, node, place);
	case JSON_VALUE_NUMBER:
		return number_fits(check, node, place);
	case JSON_VALUE_NULL:
	case JSON_VALUE_BOOLEAN:
		break;
	}
	return true;
}
