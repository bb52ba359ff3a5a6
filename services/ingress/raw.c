/*
 * raw: answers that are one field of a message, as it is.
 *
 * Conditional requests are decided here, since they are HTTP's own: RFC 9110 section 13.1.2.
 */
#include "api/raw.h"

#include <string.h>

#include "ingress_internal.h"

static const char *
reply_header(const struct request *request, const char *name)
{
	for (size_t i = 0; i < request->reply->n_headers; i++)
		if (request->reply->headers[i]->name && strcmp(request->reply->headers[i]->name, name) == 0)
			return request->reply->headers[i]->value;
	return NULL;
}

/* Whether the list of If-None-Match holds the tag; weak comparison, as it says. */
static bool
names_tag(const char *list, const char *tag)
{
	size_t size = strlen(tag);

	if (strcmp(list, "*") == 0)
		return true;
	for (const char *at = list; *at;) {
		at += strspn(at, ", \t");
		if (strncmp(at, "W/", 2) == 0)
			at += 2;
		if (strncmp(at, tag, size) == 0 && strchr(", \t", at[size]))
			return true;
		at += strcspn(at, ",");
	}
	return false;
}

static bool
is_known(const struct request *request)
{
	const char *tag = reply_header(request, "ETag");
	return request->if_none_match && tag && names_tag(request->if_none_match, tag);
}

/* 304 has the length of what it leaves out: RFC 9110 section 8.6. libmicrohttpd sends no body with it. */
static void
give(struct request *request, unsigned http, const struct raw_answer *answer)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    answer->size, (void *)(uintptr_t)(answer->size > 0 ? answer->body : ""), MHD_RESPMEM_PERSISTENT);

	(void)MHD_add_response_header(response, "Content-Type",
	                              answer->type ? answer->type : "application/octet-stream");
	respond_with(request, http, response);
}

void
raw_respond(struct request *request, const ProtobufCMessage *message)
{
	struct raw_answer answer;

	if (!raw_from_message(request->method, message, &answer))
		respond_problem(request, "not-found", "there is no value");
	else
		give(request, is_known(request) ? 304 : request->method->success, &answer);
}
