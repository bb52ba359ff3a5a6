/*
 * order: see order.h. Keys are stored, so their hash is the same in every process.
 */
#include "order.h"

#include <string.h>

#include "base/hash.h"
#include "filter.h"
#include "schema/json_value.h"

static bool
is_subject(const char *rule)
{
	return strcmp(rule, "subject") == 0;
}

bool
order_rule_is_valid(const char *rule)
{
	return is_subject(rule) || (rule[0] == '/' && json_pointer_is_valid(rule, strlen(rule)));
}

bool
order_key(const char *rule, const char *subject, struct filter_event *event, int64_t *out)
{
	if (is_subject(rule)) {
		if (subject)
			*out = (int64_t)hash_stable64(subject, strlen(subject), JSON_VALUE_STRING);
		return subject != NULL;
	}
	const struct json_value *root = filter_event_root(event);
	const struct json_value *value = root ? json_value_at(root, rule, strlen(rule)) : NULL;
	if (!value || value->type == JSON_VALUE_NULL || value->type == JSON_VALUE_ARRAY ||
	    value->type == JSON_VALUE_OBJECT)
		return false;
	*out = (int64_t)hash_stable64(value->text, value->length, value->type);
	return true;
}
