/*
 * request_span: the ingress's own span of a request, under the client's trace if it has one.
 *
 * Attributes are those of OpenTelemetry's HTTP conventions. A span is named by its route's template, never by
 * its path, so that there are as many names as routes.
 */
#include <stdio.h>
#include <string.h>

#include "ingress_internal.h"

void
request_span_begin(struct request *request)
{
	const char *given = request_header(request, "traceparent");
	struct trace_context parent = {.is_set = false};

	if (given)
		(void)trace_context_parse(given, strlen(given), &parent);
	span_begin(request->shard->ingress->env.tracer, &request->span, "request", SPAN_SERVER, &parent);
	trace_context_format(&request->span.context, request->traceparent);
}

static void
describe(struct request *request)
{
	const Corbel__Bus__Principal *who = request->key ? &request->key->principal : NULL;
	struct span *span = &request->span;
	char status[16];

	span_attribute(span, "http.request.method", request->verb_text ? request->verb_text : "");
	span_attribute(span, "url.path",
	               request->url ? arena_strndup(&request->arena, request->url, request->path_length) : "");
	if (request->method)
		span_attribute(span, "http.route", request->method->path);
	if (request->status) {
		snprintf(status, sizeof(status), "%u", request->status);
		span_attribute(span, "http.response.status_code", status);
	}
	span_attribute(span, "corbel.request_id", request->request_id);
	if (who && who->tenant)
		span_attribute(span, "corbel.tenant", who->tenant);
}

/* Only what is the server's fault is an error of its span. */
static enum status_code
outcome(const struct request *request)
{
	if (request->status == 0)
		return STATUS_CANCELLED;
	return request->status >= 500 ? STATUS_INTERNAL : STATUS_OK;
}

void
request_span_end(struct request *request)
{
	struct span *span = &request->span;

	if (!span->context.is_sampled)
		return;
	if (request->method)
		span->name = request->method->path;
	else if (request->place == HTTP_FORWARD)
		span->name = FORWARD_PATH;
	else if (request->place == HTTP_STREAM)
		span->name = STREAM_PATH;
	describe(request);
	span_end(request->shard->ingress->env.tracer, span, outcome(request));
}
