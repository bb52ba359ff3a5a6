/*
 * condition: see condition.h.
 */
#include "condition.h"

#include <string.h>

#include "filter.h"
#include "schema/regex.h"

#define OPERATOR(name) CORBEL__V1__CONDITION_OPERATOR__##name

/* ---- compiling ---- */

static struct status
wrong(const char *detail)
{
	return status_make(STATUS_INVALID_ARGUMENT, "%s", detail);
}

static bool
takes_value(Corbel__V1__ConditionOperator test)
{
	return test != OPERATOR(PRESENT) && test != OPERATOR(ABSENT);
}

/* What kind of value the operator compares with. */
static struct status
value_check(Corbel__V1__ConditionOperator test, const struct json_value *value)
{
	bool is_string = value->type == JSON_VALUE_STRING;

	switch (test) {
	case OPERATOR(GREATER):
	case OPERATOR(GREATER_OR_EQUAL):
	case OPERATOR(LESS):
	case OPERATOR(LESS_OR_EQUAL):
		return is_string || value->type == JSON_VALUE_NUMBER ? status_ok_value()
		                                                     : wrong("must be a number or a string");
	case OPERATOR(PREFIX):
	case OPERATOR(MATCHES):
		return is_string ? status_ok_value() : wrong("must be a string");
	case OPERATOR(IN):
		if (value->type != JSON_VALUE_ARRAY || value->count == 0 || value->count > FILTER_LIST_MAX)
			return wrong("must be a list of 1 to 100 values");
		return status_ok_value();
	default:
		return status_ok_value();
	}
}

static struct status
compile_value(const Corbel__V1__Condition *message, struct arena *arena, struct condition *out)
{
	if (!takes_value(out->test))
		return message->has_value ? wrong("must be absent with PRESENT and ABSENT") : status_ok_value();
	if (!message->has_value)
		return wrong("is required");
	if (message->value.len > FILTER_VALUE_MAX)
		return wrong("must be at most 4096 bytes long");
	/* The tree points into its text. */
	const char *text = arena_strndup(arena, (const char *)message->value.data, message->value.len);
	struct status st = json_value_parse(text, message->value.len, arena, &out->value);
	if (status_ok(&st))
		st = value_check(out->test, out->value);
	if (status_ok(&st) && out->test == OPERATOR(MATCHES))
		st = regex_compile(out->value->text, out->value->length, &out->regex);
	return st;
}

static struct status
compile_pointer(const Corbel__V1__Condition *message, struct arena *arena, struct condition *out)
{
	if (!message->pointer)
		return wrong("is required");
	out->pointer_length = strlen(message->pointer);
	if (out->pointer_length > FILTER_POINTER_MAX)
		return wrong("must be at most 256 bytes long");
	if (!json_pointer_is_valid(message->pointer, out->pointer_length))
		return wrong("must be a JSON pointer, such as \"/size\"");
	out->pointer = arena_strdup(arena, message->pointer);
	return status_ok_value();
}

struct status
condition_compile(const Corbel__V1__Condition *message, struct arena *arena, struct condition *out,
                  const char **below)
{
	memset(out, 0, sizeof(*out));
	*below = "/pointer";
	struct status st = compile_pointer(message, arena, out);
	if (!status_ok(&st))
		return st;
	*below = "/operator";
	out->test = message->has_operator_ ? message->operator_ : OPERATOR(CONDITION_OPERATOR_UNSET);
	if (out->test <= OPERATOR(CONDITION_OPERATOR_UNSET) || out->test > OPERATOR(MATCHES))
		return wrong("is required");
	*below = "/value";
	return compile_value(message, arena, out);
}

void
condition_fini(struct condition *condition)
{
	regex_free(condition->regex);
	condition->regex = NULL;
}

/* ---- asking ---- */

static int
text_compare(const struct json_value *a, const struct json_value *b)
{
	size_t shorter = a->length < b->length ? a->length : b->length;
	int order = memcmp(a->text, b->text, shorter);
	return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

/* False when they cannot be ordered. */
static bool
order_of(const struct json_value *found, const struct json_value *value, int *order)
{
	if (found->type != value->type)
		return false;
	*order =
	    value->type == JSON_VALUE_NUMBER ? json_number_compare(found, value) : text_compare(found, value);
	return true;
}

static bool
is_ordered(const struct condition *condition, const struct json_value *found)
{
	int order;
	if (!order_of(found, condition->value, &order))
		return false;
	switch (condition->test) {
	case OPERATOR(GREATER):
		return order > 0;
	case OPERATOR(GREATER_OR_EQUAL):
		return order >= 0;
	case OPERATOR(LESS):
		return order < 0;
	default:
		return order <= 0;
	}
}

static bool
is_in(const struct json_value *list, const struct json_value *found)
{
	for (const struct json_value *item = list->first; item; item = item->next) {
		if (json_value_equal(item, found))
			return true;
	}
	return false;
}

static bool
has_prefix(const struct json_value *prefix, const struct json_value *found)
{
	return found->type == JSON_VALUE_STRING && found->length >= prefix->length &&
	       memcmp(found->text, prefix->text, prefix->length) == 0;
}

static bool
is_found(const struct regex *regex, const struct json_value *found, uint64_t *steps, unsigned *regex_limits)
{
	if (found->type != JSON_VALUE_STRING)
		return false;
	enum regex_result result = regex_search(regex, found->text, found->length, steps);
	*regex_limits += result == REGEX_LIMIT;
	return result == REGEX_FOUND;
}

bool
condition_passes(const struct condition *condition, const struct json_value *root, uint64_t *steps,
                 unsigned *regex_limits)
{
	const struct json_value *found = json_value_at(root, condition->pointer, condition->pointer_length);

	if (!found)
		return condition->test == OPERATOR(ABSENT);
	switch (condition->test) {
	case OPERATOR(EQUAL):
		return json_value_equal(found, condition->value);
	case OPERATOR(NOT_EQUAL):
		return !json_value_equal(found, condition->value);
	case OPERATOR(IN):
		return is_in(condition->value, found);
	case OPERATOR(PRESENT):
		return true;
	case OPERATOR(ABSENT):
		return false;
	case OPERATOR(PREFIX):
		return has_prefix(condition->value, found);
	case OPERATOR(MATCHES):
		return is_found(condition->regex, found, steps, regex_limits);
	default:
		return is_ordered(condition, found);
	}
}
