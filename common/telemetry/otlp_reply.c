/*
 * otlp: a collector's reply, of which one number interests us.
 *
 * Export*ServiceResponse { partial_success = 1 { rejected_* = 1 int64, error_message = 2 } } is the same
 * for every signal. The protobuf reader follows that path alone and skips the rest.
 */
#include <jansson.h>
#include <string.h>

#include "telemetry/otlp.h"

struct reader {
	const uint8_t *at, *end;
};

static bool
read_varint(struct reader *reader, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
		uint8_t byte = *reader->at++;
		*out |= (uint64_t)(byte & 0x7F) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

static bool
skip(struct reader *reader, uint64_t length)
{
	if (length > (uint64_t)(reader->end - reader->at))
		return false;
	reader->at += length;
	return true;
}

/* Reads a field's tag and, when it is a varint or bytes, its value or length; bytes are left unread. */
static bool
read_field(struct reader *reader, uint64_t *number, unsigned *wire, uint64_t *value)
{
	uint64_t tag;

	*value = 0;
	if (!read_varint(reader, &tag))
		return false;
	*number = tag >> 3;
	*wire = tag & 7;
	switch (*wire) {
	case 0:
	case 2:
		return read_varint(reader, value);
	case 1:
		return skip(reader, 8);
	case 5:
		return skip(reader, 4);
	default:
		return false;
	}
}

/* rejected_*, an int64: a negative one is nonsense. */
static uint64_t
read_partial_success(struct reader reader)
{
	uint64_t number, value, rejected = 0;
	unsigned wire;

	while (reader.at < reader.end && read_field(&reader, &number, &wire, &value)) {
		if (number == 1 && wire == 0)
			rejected = value <= INT64_MAX ? value : 0;
		if (wire == 2 && !skip(&reader, value))
			break;
	}
	return rejected;
}

static uint64_t
rejected_in_protobuf(const char *body, size_t length)
{
	struct reader reader = {(const uint8_t *)body, (const uint8_t *)body + length};
	uint64_t number, value;
	unsigned wire;

	while (reader.at < reader.end && read_field(&reader, &number, &wire, &value)) {
		const uint8_t *begin = reader.at;
		if (wire != 2)
			continue;
		if (!skip(&reader, value))
			break;
		if (number == 1)
			return read_partial_success((struct reader){begin, reader.at});
	}
	return 0;
}

/* A 64-bit integer is a string in OTLP's JSON; numbers are to be understood, too. */
static uint64_t
as_count(const json_t *value)
{
	uint64_t count = 0;

	if (json_is_integer(value))
		return json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
	const char *text = json_string_value(value);
	return text && text_to_u64(text, strlen(text), &count) && count <= INT64_MAX ? count : 0;
}

static uint64_t
rejected_in_json(const char *body, size_t length)
{
	json_t *root = json_loadb(body, length, 0, NULL);
	const json_t *partial = json_object_get(root, "partialSuccess");
	uint64_t spans = as_count(json_object_get(partial, "rejectedSpans"));
	uint64_t points = as_count(json_object_get(partial, "rejectedDataPoints"));

	json_decref(root);
	return spans > points ? spans : points;
}

uint64_t
otlp_rejected(enum otlp_encoding encoding, const char *body, size_t length)
{
	if (length == 0)
		return 0;
	return encoding == OTLP_JSON ? rejected_in_json(body, length) : rejected_in_protobuf(body, length);
}
