/*
 * cloudevent: what reading and writing share. See cloudevent.h.
 */
#include "cloudevent.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cloudevent_internal.h"
#include "media_type.h"

static bool
is_type(const char *text, const char *type)
{
	size_t length = media_type_length(text);
	return length == strlen(type) && strncasecmp(text, type, length) == 0;
}

enum cloudevent_mode
cloudevent_mode_of(const char *text)
{
	if (text && is_type(text, CLOUDEVENT_TYPE))
		return CLOUDEVENT_STRUCTURED;
	return text && is_type(text, CLOUDEVENT_BATCH_TYPE) ? CLOUDEVENT_BATCH : CLOUDEVENT_NONE;
}

bool
cloudevent_is_own_name(const char *name)
{
	static const char *const NAMES[] = {"id",   "source",     "specversion",     "type", "subject",
	                                    "time", "dataschema", "datacontenttype", "data", "data_base64"};
	for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
		if (strcmp(NAMES[i], name) == 0)
			return true;
	return false;
}

void
cloudevent_source(const Corbel__V1__Event *event, char out[CLOUDEVENT_SOURCE_MAX])
{
	snprintf(out, CLOUDEVENT_SOURCE_MAX, "/tenants/%s/%s", event->tenant_id ? event->tenant_id : "",
	         event->source ? event->source : "");
}

/* ---- pointers ---- */

/* "/events/7" is the seventh of a batch, and otherwise the whole. */
static const char *
pass_event(const char *pointer, enum cloudevent_mode mode, struct strbuf *out)
{
	if (strncmp(pointer, "/events", 7) != 0)
		return pointer;
	pointer += 7;
	if (*pointer != '/')
		return pointer;
	size_t length = 1 + strcspn(pointer + 1, "/");
	if (mode == CLOUDEVENT_BATCH)
		strbuf_add(out, pointer, length);
	return pointer + length;
}

const char *
cloudevent_pointer(const char *pointer, enum cloudevent_mode mode, struct arena *arena)
{
	struct strbuf out;

	strbuf_init(&out, arena);
	strbuf_puts(&out, "");
	pointer = pass_event(pointer, mode, &out);
	if (strncmp(pointer, "/cloud_event/", 13) == 0)
		pointer += 12;
	else if (strcmp(pointer, "/timestamp") == 0)
		pointer = "/time";
	strbuf_puts(&out, pointer);
	return out.data ? out.data : "";
}

/* ---- checks ---- */

static bool
is_repeated(const Corbel__V1__CloudEventAttributes *attributes, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (strcmp(attributes->extensions[i]->name, attributes->extensions[at]->name) == 0)
			return true;
	return false;
}

static void
check_extension(const Corbel__V1__CloudEventAttributes *attributes, size_t at, const char *pointer,
                struct arena *arena, struct violations *violations)
{
	const Corbel__V1__CloudEventExtension *extension = attributes->extensions[at];
	int values = (extension->text != NULL) + extension->has_number + extension->has_flag;
	const char *place = arena_printf(arena, "%s/cloud_event/extensions/%zu", pointer, at);

	if (values != 1)
		violations_add(violations, arena, place, "must have one of text, number and flag");
	if (cloudevent_is_own_name(extension->name))
		violations_add(violations, arena, place, "has the name of an attribute that CloudEvents defines");
	else if (is_repeated(attributes, at))
		violations_add(violations, arena, place, "has the name of one before it");
}

void
cloudevent_check(const Corbel__V1__NewEvent *event, const char *pointer, struct arena *arena,
                 struct violations *violations)
{
	const Corbel__V1__CloudEventAttributes *attributes = event->cloud_event;
	size_t size;

	if (!attributes)
		return;
	for (size_t i = 0; i < attributes->n_extensions; i++)
		check_extension(attributes, i, pointer, arena, violations);
	if (attributes->data_as == CORBEL__V1__CLOUD_EVENT_DATA__DATA_BASE64 &&
	    (!event->has_data || !cloudevent_decode_base64(&event->data, arena, &size)))
		violations_add(violations, arena, arena_printf(arena, "%s/data", pointer),
		               "must be a string in base64");
	if (attributes->data_as == CORBEL__V1__CLOUD_EVENT_DATA__DATA_NONE && event->has_data)
		violations_add(violations, arena, arena_printf(arena, "%s/data", pointer),
		               "must be absent with DATA_NONE");
}

/* ---- data ---- */

/* The characters of a JSON string; NULL when it is none. */
const char *
cloudevent_decode_text(const ProtobufCBinaryData *data, struct arena *arena, size_t *size)
{
	struct lexer lexer;
	struct token token;

	lexer_init(&lexer, (const char *)data->data, data->len);
	if (lexer_peek(&lexer) != '"' || !lexer_string(&lexer, &token))
		return NULL;
	return token_decode(&token, arena, size);
}

const uint8_t *
cloudevent_decode_base64(const ProtobufCBinaryData *data, struct arena *arena, size_t *size)
{
	size_t length;
	const char *text = cloudevent_decode_text(data, arena, &length);
	uint8_t *bytes = text ? arena_try(arena, length + 1, 1) : NULL;

	return bytes && text_base64_decode(text, length, bytes, size) ? bytes : NULL;
}
