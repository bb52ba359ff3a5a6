/*
 * cloudevent: binary mode of the HTTP binding, both ways.
 *
 * A header's value is its attribute with every character but visible ASCII, and `"` and "%" as well, as the
 * percent-encoded bytes of its UTF-8 (HTTP Protocol Binding 1.0.2, section 3.1.3.2). Senders may have put it
 * into quotes.
 *
 * The body is the event's data: JSON as it is; what is text as a JSON string; all else as a JSON string of
 * base64.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/json.h"
#include "cloudevent_internal.h"
#include "media_type.h"

/* ---- values of headers ---- */

static const char *
unquoted(struct arena *arena, const char *value)
{
	size_t length = strlen(value), at = 0;

	if (length < 2 || value[0] != '"' || value[length - 1] != '"')
		return value;
	char *out = arena_alloc_raw(arena, length);
	for (size_t i = 1; i + 1 < length; i++) {
		i += value[i] == '\\' && i + 2 < length;
		out[at++] = value[i];
	}
	out[at] = '\0';
	return out;
}

/* NULL when it is not the percent-encoding of UTF-8 without NUL. */
static const char *
decoded_value(struct arena *arena, const char *value)
{
	const char *text = unquoted(arena, value);
	char *out = arena_alloc_raw(arena, strlen(text) + 1), *at = out;

	for (; *text; text++) {
		uint8_t byte = (uint8_t)*text;
		if (byte == '%') {
			if (!text[1] || !text[2] || !text_hex_decode(text + 1, 2, &byte) || byte == 0)
				return NULL;
			text += 2;
		}
		*at++ = (char)byte;
	}
	*at = '\0';
	return text_is_utf8(out, (size_t)(at - out)) ? out : NULL;
}

static const char *
encoded_value(struct arena *arena, const char *text)
{
	static const char DIGITS[] = "0123456789ABCDEF";
	char *out = arena_alloc_raw(arena, 3 * strlen(text) + 1), *at = out;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c > ' ' && c < 0x7F && c != '"' && c != '%') {
			*at++ = (char)c;
			continue;
		}
		*at++ = '%';
		*at++ = DIGITS[c >> 4];
		*at++ = DIGITS[c & 15];
	}
	*at = '\0';
	return out;
}

/* ---- in ---- */

struct reading {
	NewEvent *event;
	struct arena *arena;
	struct violations *violations;
	const char *names[64];
	size_t name_count;
	bool has_version;
};

static bool
is_name_new(struct reading *reading, const char *name)
{
	for (size_t i = 0; i < reading->name_count; i++)
		if (strcmp(reading->names[i], name) == 0)
			return false;
	if (reading->name_count < sizeof(reading->names) / sizeof(reading->names[0]))
		reading->names[reading->name_count++] = name;
	return true;
}

static char *
lower_case(struct arena *arena, const char *text)
{
	char *out = arena_strdup(arena, text);
	for (char *c = out; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + ('a' - 'A'));
	return out;
}

static void
take_header(struct reading *reading, const struct cloudevent_header *header)
{
	const char *name = lower_case(reading->arena, header->name + 3);
	const char *pointer = arena_printf(reading->arena, "/%.64s", name);
	const char *value = decoded_value(reading->arena, header->value);

	if (!value)
		violations_add(reading->violations, reading->arena, pointer,
		               "must be percent-encoded UTF-8 without NUL");
	else if (!is_name_new(reading, name))
		violations_add(reading->violations, reading->arena, pointer, "appears twice");
	else if (strcmp(name, "datacontenttype") == 0 || strncmp(name, "data_", 5) == 0 ||
	         strcmp(name, "data") == 0)
		violations_add(reading->violations, reading->arena, pointer,
		               "must not be a header: the body is the data, and Content-Type its type");
	else
		cloudevent_set_text(reading->event, name, value, pointer, reading->arena, reading->violations);
	reading->has_version |= strcmp(name, "specversion") == 0;
}

static void
keep_text(NewEvent *event, struct arena *arena, const char *body, size_t length)
{
	struct strbuf text;

	strbuf_init(&text, arena);
	strbuf_json_string(&text, body, length);
	event->data = (ProtobufCBinaryData){.len = text.length, .data = (uint8_t *)text.data};
}

static void
keep_base64(NewEvent *event, struct arena *arena, const char *body, size_t length)
{
	size_t size = text_base64_encoded_size(length);
	char *text = arena_alloc_raw(arena, size + 2);

	text[0] = text[size + 1] = '"';
	text_base64_encode(body, length, text + 1);
	event->data = (ProtobufCBinaryData){.len = size + 2, .data = (uint8_t *)text};
	event->cloud_event->has_data_as = true;
	event->cloud_event->data_as = CORBEL__V1__CLOUD_EVENT_DATA__DATA_BASE64;
}

static void
take_body(struct reading *reading, const char *type, const char *body, size_t length)
{
	NewEvent *event = reading->event;

	event->has_data = length > 0;
	if (length == 0) {
		event->cloud_event->has_data_as = true;
		event->cloud_event->data_as = CORBEL__V1__CLOUD_EVENT_DATA__DATA_NONE;
	} else if (type && media_type_is_json(type)) {
		struct status st = json_check(body, length);
		event->data = (ProtobufCBinaryData){.len = length, .data = (uint8_t *)(uintptr_t)body};
		if (!status_ok(&st))
			violations_add(reading->violations, reading->arena, "/data", "%s", st.message);
	} else if (type && media_type_is_text(type) && text_is_utf8(body, length) && !memchr(body, 0, length)) {
		keep_text(event, reading->arena, body, length);
	} else {
		keep_base64(event, reading->arena, body, length);
	}
}

Corbel__V1__PublishEventsRequest *
cloudevent_read_binary(const struct cloudevent_header *headers, size_t count, const char *type,
                       const char *body, size_t length, struct arena *arena, struct violations *violations)
{
	Corbel__V1__PublishEventsRequest *request = ARENA_NEW(arena, Corbel__V1__PublishEventsRequest);
	struct reading reading = {.event = cloudevent_new(arena), .arena = arena, .violations = violations};

	corbel__v1__publish_events_request__init(request);
	for (size_t i = 0; i < count; i++)
		if (strncasecmp(headers[i].name, "ce-", 3) == 0)
			take_header(&reading, &headers[i]);
	reading.event->cloud_event->datacontenttype = (char *)(uintptr_t)type;
	take_body(&reading, type, body, length);
	cloudevent_require(reading.event, reading.has_version, "", arena, violations);
	request->events = ARENA_ARRAY(arena, NewEvent *, 1);
	request->events[request->n_events++] = reading.event;
	return request;
}

/* ---- out ---- */

static void
add(struct cloudevent_binary *out, const char *name, const char *value)
{
	if (value && out->count < CLOUDEVENT_HEADERS_MAX)
		out->headers[out->count++] = (struct cloudevent_header){name, value};
}

static const char *
extension_text(struct arena *arena, const Extension *extension)
{
	if (extension->text)
		return encoded_value(arena, extension->text);
	if (extension->has_number)
		return arena_printf(arena, "%d", (int)extension->number);
	return extension->flag ? "true" : "false";
}

static void
add_attributes(struct cloudevent_binary *out, struct arena *arena, const Corbel__V1__Event *event)
{
	const Attributes *attributes = event->cloud_event;

	add(out, "ce-id", encoded_value(arena, attributes->id));
	add(out, "ce-source", encoded_value(arena, attributes->source));
	if (attributes->dataschema)
		add(out, "ce-dataschema", encoded_value(arena, attributes->dataschema));
	for (size_t i = 0; i < attributes->n_extensions; i++)
		add(out, arena_printf(arena, "ce-%s", attributes->extensions[i]->name),
		    extension_text(arena, attributes->extensions[i]));
	add(out, "ce-corbelid", event->id);
}

static void
add_data(struct cloudevent_binary *out, struct arena *arena, const Corbel__V1__Event *event)
{
	const Attributes *attributes = event->cloud_event;
	int as = attributes ? (int)attributes->data_as : 0;
	const char *decoded = NULL;

	out->type = attributes ? attributes->datacontenttype : NULL;
	out->body = "";
	if (as == CORBEL__V1__CLOUD_EVENT_DATA__DATA_NONE || !event->has_data)
		return;
	if (as == CORBEL__V1__CLOUD_EVENT_DATA__DATA_BASE64)
		decoded = (const char *)cloudevent_decode_base64(&event->data, arena, &out->size);
	else if (out->type && !media_type_is_json(out->type))
		decoded = cloudevent_decode_text(&event->data, arena, &out->size);
	else if (!out->type)
		out->type = "application/json";
	out->body = decoded ? decoded : (const char *)event->data.data;
	if (!decoded)
		out->size = event->data.len;
}

void
cloudevent_write_binary(const Corbel__V1__Event *event, struct arena *arena, struct cloudevent_binary *out)
{
	char time[TEXT_TIMESTAMP_MAX], source[CLOUDEVENT_SOURCE_MAX];

	*out = (struct cloudevent_binary){.count = 0};
	add(out, "ce-specversion", "1.0");
	if (event->cloud_event) {
		add_attributes(out, arena, event);
	} else {
		cloudevent_source(event, source);
		add(out, "ce-id", encoded_value(arena, event->id));
		add(out, "ce-source", encoded_value(arena, source));
	}
	add(out, "ce-type", encoded_value(arena, event->type));
	if (event->subject)
		add(out, "ce-subject", encoded_value(arena, event->subject));
	text_from_timestamp_ms(event->timestamp, time);
	add(out, "ce-time", arena_strdup(arena, time));
	if (event->has_sequence)
		add(out, "ce-corbelsequence", arena_printf(arena, "%llu", (unsigned long long)event->sequence));
	add_data(out, arena, event);
}
