/*
 * cloudevents: see cloudevents.h.
 */
#include "cloudevents.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define HEADERS_MAX 64 /* "ce-" headers that are looked at */

typedef Corbel__V1__ListEventsReply ListReply;

/* ---- what was asked for ---- */

/* Weight of one range of Accept, in thousandths: RFC 9110 section 12.4.2. */
static int
weight_of(const char *range, size_t length)
{
	for (size_t i = 0; i + 2 < length; i++) {
		if (range[i] != ';')
			continue;
		size_t at = i + 1 + strspn(range + i + 1, " \t");
		if (at + 2 >= length || (range[at] | 0x20) != 'q' || range[at + 1] != '=')
			continue;
		return (int)(strtod(range + at + 2, NULL) * 1000);
	}
	return 1000;
}

/* Whether `mode` is named, and plain JSON is not liked better. */
static bool
is_accepted(struct request *request, const char *accept, enum cloudevent_mode mode)
{
	int wanted = 0, json = 0;

	for (const char *at = accept; at && *at;) {
		at += strspn(at, ", \t");
		size_t length = strcspn(at, ",");
		const char *range = arena_strndup(&request->arena, at, length);
		if (cloudevent_mode_of(range) == mode)
			wanted = weight_of(range, length);
		else if (strncasecmp(range, "application/json", 16) == 0)
			json = weight_of(range, length);
		at += length;
	}
	return wanted > 0 && wanted >= json;
}

static enum cloudevent_mode
mode_of_reply(const struct request *request)
{
	const ProtobufCMessageDescriptor *reply = request->method->reply->descriptor;

	if (reply == &corbel__v1__event__descriptor)
		return CLOUDEVENT_STRUCTURED;
	return reply == &corbel__v1__list_events_reply__descriptor ? CLOUDEVENT_BATCH : CLOUDEVENT_NONE;
}

void
cloudevents_look(struct request *request)
{
	if (!request->method->is_cloud_events)
		return;
	if (request->method->request->descriptor == &corbel__v1__publish_events_request__descriptor) {
		request->said_as = cloudevent_mode_of(request_header(request, "Content-Type"));
		if (request->said_as == CLOUDEVENT_NONE && request_header(request, "ce-specversion"))
			request->said_as = CLOUDEVENT_BINARY;
	}
	enum cloudevent_mode mode = mode_of_reply(request);
	if (mode != CLOUDEVENT_NONE && is_accepted(request, request_header(request, "Accept"), mode))
		request->answered_as = mode;
}

/* ---- in ---- */

struct headers {
	struct cloudevent_header items[HEADERS_MAX];
	size_t count;
};

static enum MHD_Result
take_header(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct headers *headers = closure;
	(void)kind;

	if (strncasecmp(name, "ce-", 3) == 0 && headers->count < HEADERS_MAX)
		headers->items[headers->count++] = (struct cloudevent_header){name, value ? value : ""};
	return MHD_YES;
}

ProtobufCMessage *
cloudevents_read(struct request *request, struct violations *violations)
{
	const char *body = request->body_size > 0 ? request->body : "";
	struct headers *headers;

	if (request->said_as != CLOUDEVENT_BINARY)
		return (ProtobufCMessage *)cloudevent_read(body, request->body_size, request->said_as,
		                                           &request->arena, violations);
	headers = ARENA_NEW(&request->arena, struct headers);
	(void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, take_header, headers);
	return (ProtobufCMessage *)cloudevent_read_binary(headers->items, headers->count,
	                                                  request_header(request, "Content-Type"), body,
	                                                  request->body_size, &request->arena, violations);
}

/* ---- out ---- */

const char *
cloudevents_write(struct request *request, const ProtobufCMessage *reply, struct strbuf *body)
{
	const ListReply *list = (const ListReply *)reply;

	if (request->answered_as == CLOUDEVENT_STRUCTURED) {
		cloudevent_write((const Corbel__V1__Event *)reply, body);
		return CLOUDEVENT_TYPE;
	}
	strbuf_putc(body, '[');
	for (size_t i = 0; i < list->n_events; i++) {
		if (i > 0)
			strbuf_putc(body, ',');
		cloudevent_write(list->events[i], body);
	}
	strbuf_putc(body, ']');
	return CLOUDEVENT_BATCH_TYPE;
}

/* RFC 8288: the same target with another token. The token is of letters and digits. */
const char *
cloudevents_link(struct request *request, const ProtobufCMessage *reply)
{
	const char *token =
	    request->answered_as == CLOUDEVENT_BATCH ? ((const ListReply *)reply)->next_page_token : NULL;
	struct strbuf out;

	if (!token)
		return NULL;
	strbuf_init(&out, &request->arena);
	strbuf_putc(&out, '<');
	strbuf_add(&out, request->url, request->path_length);
	strbuf_putc(&out, '?');
	for (const char *at = request->query; at && *at;) {
		size_t length = strcspn(at, "&");
		/* What a quoted URL cannot hold was no query that the method took. */
		if (length > 0 && strncmp(at, "page_token=", 11) != 0 && strcspn(at, "<> \"") >= length) {
			strbuf_add(&out, at, length);
			strbuf_putc(&out, '&');
		}
		at += length + (at[length] == '&');
	}
	strbuf_printf(&out, "page_token=%s>; rel=\"next\"", token);
	return out.data;
}
