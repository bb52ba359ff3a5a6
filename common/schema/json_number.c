/*
 * json_number: comparing JSON values, above all numbers as exact decimals. See json_value.h.
 *
 * A number is its sign, its significant digits (no zeros in front or behind) and the power of ten of the
 * first of them plus one: 0.00120 is "12" and -2, 1200 is "12" and 4. Two numbers are equal when all three
 * are.
 */
#include <string.h>

#include "base/hash.h"
#include "schema/json_value.h"

#define EXPONENT_MAX INT64_C(999999999999999)

struct decimal {
	bool is_negative;
	const char *at, *end; /* significant digits, maybe with a point between; empty: zero */
	int64_t power;
};

static int64_t
exponent_read(const char *at, const char *end)
{
	int64_t value = 0;
	bool is_negative = at < end && *at == '-';

	if (at < end && (*at == '-' || *at == '+'))
		at++;
	for (; at < end; at++) {
		value = 10 * value + (*at - '0');
		if (value > EXPONENT_MAX)
			value = EXPONENT_MAX;
	}
	return is_negative ? -value : value;
}

/* The first byte from `at` on that is one of `set`, or the end. */
static const char *
find_any(const char *at, const char *end, const char *set)
{
	while (at < end && !strchr(set, *at))
		at++;
	return at;
}

static struct decimal
decimal_read(const struct json_value *number)
{
	const char *at = number->text, *end = at + number->length;
	struct decimal out = {.is_negative = *at == '-'};

	at += out.is_negative;
	const char *mantissa_end = find_any(at, end, "eE"), *point = find_any(at, mantissa_end, ".");
	if (mantissa_end < end)
		out.power = exponent_read(mantissa_end + 1, end);
	while (at < mantissa_end && (*at == '0' || *at == '.'))
		at++;
	while (mantissa_end > at && (mantissa_end[-1] == '0' || mantissa_end[-1] == '.'))
		mantissa_end--;
	if (at == mantissa_end)
		return (struct decimal){.at = at, .end = at};
	out.at = at;
	out.end = mantissa_end;
	out.power += at < point ? point - at : point + 1 - at;
	return out;
}

/* The next significant digit, or -1 behind the last. */
static int
decimal_digit(struct decimal *decimal)
{
	if (decimal->at < decimal->end && *decimal->at == '.')
		decimal->at++;
	return decimal->at < decimal->end ? *decimal->at++ - '0' : -1;
}

static int
magnitude_compare(struct decimal a, struct decimal b)
{
	bool is_zero_a = a.at == a.end, is_zero_b = b.at == b.end;
	if (is_zero_a || is_zero_b)
		return is_zero_b - is_zero_a;
	if (a.power != b.power)
		return a.power < b.power ? -1 : 1;
	int digit_a, digit_b;
	do {
		digit_a = decimal_digit(&a);
		digit_b = decimal_digit(&b);
	} while (digit_a == digit_b && digit_a >= 0);
	return (digit_a > digit_b) - (digit_a < digit_b);
}

int
json_number_compare(const struct json_value *a, const struct json_value *b)
{
	struct decimal left = decimal_read(a), right = decimal_read(b);

	if (left.is_negative != right.is_negative)
		return left.is_negative ? -1 : 1;
	int order = magnitude_compare(left, right);
	return left.is_negative ? -order : order;
}

bool
json_number_is_integer(const struct json_value *number)
{
	struct decimal decimal = decimal_read(number);
	int64_t digits = 0;

	while (decimal_digit(&decimal) >= 0)
		digits++;
	return digits <= decimal.power;
}

/* ---- equality ---- */

static bool
elements_equal(const struct json_value *a, const struct json_value *b)
{
	const struct json_value *left = a->first, *right = b->first;
	for (; left && right; left = left->next, right = right->next) {
		if (!json_value_equal(left, right))
			return false;
	}
	return left == right;
}

static bool
names_equal(const struct json_value *a, const struct json_value *b)
{
	return a->name_length == b->name_length && memcmp(a->name, b->name, a->name_length) == 0;
}

/* Every member from `left` on is in `b` with the same value, and every name from `right` on is in `a`. */
static bool
rests_equal(const struct json_value *left, const struct json_value *b, const struct json_value *right,
            const struct json_value *a)
{
	for (; left; left = left->next) {
		const struct json_value *other = json_value_member(b, left->name, left->name_length);
		if (!other || !json_value_equal(left, other))
			return false;
	}
	for (; right; right = right->next) {
		if (!json_value_member(a, right->name, right->name_length))
			return false;
	}
	return true;
}

/* As long as both are in one order this is linear. Each pair of values is compared once, or nested objects
 * would cost twice as much with each level. */
static bool
members_equal(const struct json_value *a, const struct json_value *b)
{
	const struct json_value *left = a->first, *right = b->first;
	for (; left && right && names_equal(left, right); left = left->next, right = right->next) {
		if (!json_value_equal(left, right))
			return false;
	}
	return rests_equal(left, b, right, a);
}

bool
json_value_equal(const struct json_value *a, const struct json_value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case JSON_VALUE_NULL:
		return true;
	case JSON_VALUE_NUMBER:
		return json_number_compare(a, b) == 0;
	case JSON_VALUE_ARRAY:
		return a->count == b->count && elements_equal(a, b);
	case JSON_VALUE_OBJECT:
		return a->count == b->count && members_equal(a, b);
	case JSON_VALUE_BOOLEAN:
	case JSON_VALUE_STRING:
		break;
	}
	return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

static uint64_t
number_hash(const struct json_value *number)
{
	struct decimal decimal = decimal_read(number);
	uint64_t hash = hash_mix64((uint64_t)decimal.power, decimal.is_negative);

	for (int digit = decimal_digit(&decimal); digit >= 0; digit = decimal_digit(&decimal))
		hash = hash_mix64(hash, (uint64_t)digit);
	return hash;
}

/* A sum, so that the order does not matter. */
static uint64_t
object_hash(const struct json_value *object)
{
	uint64_t hash = 0;
	for (const struct json_value *member = object->first; member; member = member->next)
		hash += hash_mix64(hash_table64(member->name, member->name_length), json_value_hash(member));
	return hash;
}

static uint64_t
array_hash(const struct json_value *array)
{
	uint64_t hash = array->count;
	for (const struct json_value *element = array->first; element; element = element->next)
		hash = hash_mix64(hash, json_value_hash(element));
	return hash;
}

uint64_t
json_value_hash(const struct json_value *value)
{
	uint64_t hash = 0;
	if (value->type == JSON_VALUE_NUMBER)
		hash = number_hash(value);
	else if (value->type == JSON_VALUE_ARRAY)
		hash = array_hash(value);
	else if (value->type == JSON_VALUE_OBJECT)
		hash = object_hash(value);
	else
		hash = hash_table64(value->text, value->length);
	return hash_mix64(hash, value->type);
}
