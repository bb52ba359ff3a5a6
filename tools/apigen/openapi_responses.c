/*
 * openapi_responses: what a method answers: its reply, and each HTTP status that a problem can have.
 *
 * The kinds of problem are those of common/http, which the ingress answers with. Which of them a method can
 * have follows from its verb and options.
 */
#include <string.h>

#include "http/problem.h"
#include "openapi.h"

static bool
can_fail_with(const struct model_method *method, unsigned status)
{
	Corbel__Verb verb = method->options->verb;

	switch (status) {
	case 401:
	case 403:
		return !method->options->public_;
	case 405: /* the path has no such method */
	case 426: /* a matter of streams */
		return false;
	case 409:
		return verb != CORBEL__VERB__GET;
	case 413:
	case 415:
		return has_body(method);
	case 422:
		return verb == CORBEL__VERB__POST;
	default:
		return true;
	}
}

static void
put_header(struct document *doc, const char *name, const char *component)
{
	put_raw_member(doc, name, arena_printf(doc->arena, "{\"$ref\": \"#/components/headers/%s\"}", component));
}

static void
put_common_headers(struct document *doc)
{
	put_header(doc, "X-Request-Id", "RequestId");
	put_header(doc, "traceparent", "TraceParent");
	put_header(doc, "RateLimit", "RateLimit");
	put_header(doc, "RateLimit-Policy", "RateLimitPolicy");
}

static void
put_success(struct document *doc, const struct model_method *method)
{
	put_member(doc, arena_printf(doc->arena, "%u", method->options->success), '{');
	put_text_member(doc, "description",
	                method->options->success == 204 ? "Done; there is nothing more to tell."
	                                                : method->reply->note.doc);
	put_member(doc, "headers", '{');
	put_common_headers(doc);
	put_close(doc, '}');
	if (method->options->raw_answer) {
		put_raw_member(doc, "content", "{\"*/*\": {\"schema\": {}, \"example\": \"hello\"}}");
	} else if (method->options->success != 204) {
		put_member(doc, "content", '{');
		put_member(doc, "application/json", '{');
		put_raw_member(
		    doc, "schema",
		    arena_printf(doc->arena, "{\"$ref\": \"#/components/schemas/%s\"}", method->reply->short_name));
		openapi_put_reply_example(doc, method);
		put_close(doc, '}');
		openapi_cloudevents_reply(doc, method);
		put_close(doc, '}');
	}
	put_close(doc, '}');
}

/* The first kind of the next status, after those of `status`; NULL at the end. */
static const struct problem *
next_status(unsigned status)
{
	const struct problem *problem;

	for (size_t i = 0; (problem = problem_at(i)) != NULL; i++)
		if (problem->http > status)
			return problem;
	return NULL;
}

void
openapi_responses(struct document *doc, const struct model_method *method)
{
	put_member(doc, "responses", '{');
	put_success(doc, method);
	if (method->options->raw_answer)
		put_raw_member(
		    doc, "304",
		    "{\"description\": \"What the caller has is still what there is: If-None-Match names its "
		    "ETag.\"}");
	for (const struct problem *problem = next_status(304); problem; problem = next_status(problem->http))
		if (can_fail_with(method, problem->http))
			put_raw_member(
			    doc, arena_printf(doc->arena, "%u", problem->http),
			    arena_printf(doc->arena, "{\"$ref\": \"#/components/responses/Problem%u\"}", problem->http));
	put_close(doc, '}');
}

/* ---- components ---- */

static const char *
type_of(struct arena *arena, const struct problem *problem)
{
	struct strbuf out;

	strbuf_init(&out, arena);
	problem_put_type(problem, &out);
	return out.data;
}

/* The kinds of one status, as a list. */
static const char *
status_text(struct arena *arena, unsigned status)
{
	const struct problem *problem;
	struct strbuf out;

	strbuf_init(&out, arena);
	for (size_t i = 0; (problem = problem_at(i)) != NULL; i++) {
		if (problem->http != status)
			continue;
		strbuf_printf(&out, "%s- `%s`", out.length > 0 ? "\n" : "", type_of(arena, problem));
		if (problem_code(problem))
			strbuf_printf(&out, ", code `%s`", problem_code(problem));
		strbuf_printf(&out, ": %s. %s", problem->title, problem->meaning);
	}
	return out.data;
}

static void
put_problem_example(struct document *doc, const struct problem *problem)
{
	put_key(doc, problem->slug);
	put_open(doc, '{');
	put_member(doc, "value", '{');
	put_text_member(doc, "type", type_of(doc->arena, problem));
	put_text_member(doc, "title", problem->title);
	put_number_member(doc, "status", problem->http);
	put_text_member(doc, "code", problem_code(problem));
	put_text_member(doc, "request_id", "req_0192f0c1a2b37c4d8e9fa0b1c2d3e4f5");
	if (strcmp(problem->slug, "invalid-argument") == 0)
		put_raw_member(doc, "errors",
		               "[{\"pointer\": \"/checks/0/cost\", \"detail\": \"must be at most 1000000000000\"}]");
	if (strcmp(problem->slug, "quota-exceeded") == 0)
		put_raw_member(doc, "violated-policies", "[\"api.read\"]");
	put_close(doc, '}');
	put_close(doc, '}');
}

static void
put_problem_headers(struct document *doc, unsigned status)
{
	put_member(doc, "headers", '{');
	put_common_headers(doc);
	if (status == 401)
		put_header(doc, "WWW-Authenticate", "WwwAuthenticate");
	if (status == 409 || status == 429 || status == 503)
		put_header(doc, "Retry-After", "RetryAfter");
	put_close(doc, '}');
}

static void
put_problem_response(struct document *doc, unsigned status)
{
	const struct problem *problem;

	put_member(doc, arena_printf(doc->arena, "Problem%u", status), '{');
	put_text_member(doc, "description", status_text(doc->arena, status));
	put_problem_headers(doc, status);
	put_member(doc, "content", '{');
	put_member(doc, "application/problem+json", '{');
	put_raw_member(doc, "schema",
	               arena_printf(doc->arena,
	                            "{\"$ref\": \"#/components/schemas/Problem\", \"properties\": {\"status\": "
	                            "{\"const\": %u}}}",
	                            status));
	put_member(doc, "examples", '{');
	for (size_t i = 0; (problem = problem_at(i)) != NULL; i++)
		if (problem->http == status)
			put_problem_example(doc, problem);
	put_close(doc, '}');
	put_close(doc, '}');
	put_close(doc, '}');
	put_close(doc, '}');
}

void
openapi_problem_responses(struct document *doc)
{
	put_member(doc, "responses", '{');
	for (const struct problem *problem = next_status(0); problem; problem = next_status(problem->http))
		put_problem_response(doc, problem->http);
	put_close(doc, '}');
}

void
openapi_headers(struct document *doc)
{
	static const struct {
		const char *name, *text, *schema;
	} HEADERS[] = {
	    {"RequestId", "Name of this request in logs and problems; the caller's own if it sent one.",
	     "{\"type\": \"string\", \"examples\": [\"req_0192f0c1a2b37c4d8e9fa0b1c2d3e4f5\"]}"},
	    {"TraceParent", "The call's place in a trace (W3C Trace Context).",
	     "{\"type\": \"string\", \"examples\": "
	     "[\"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01\"]}"},
	    {"RateLimit",
	     "What is left of each limit that counted the call, and the seconds until there is more: a "
	     "structured "
	     "field (RFC 9651) of draft-ietf-httpapi-ratelimit-headers. Absent when nothing counted it.",
	     "{\"type\": \"string\", \"examples\": [\"\\\"api.read\\\";r=99;t=60\"]}"},
	    {"RateLimitPolicy", "Quota and window in seconds of each limit that counted the call.",
	     "{\"type\": \"string\", \"examples\": [\"\\\"api.read\\\";q=100;w=60\"]}"},
	    {"RetryAfter",
	     "Seconds after which it is worth trying again. Absent when waiting cannot help or its end is not "
	     "known.",
	     "{\"type\": \"integer\", \"minimum\": 1, \"examples\": [30]}"},
	    {"WwwAuthenticate", "How to authenticate: by an API key.",
	     "{\"type\": \"string\", \"examples\": [\"Bearer realm=\\\"corbel\\\"\"]}"},
	};

	put_member(doc, "headers", '{');
	for (size_t i = 0; i < sizeof(HEADERS) / sizeof(HEADERS[0]); i++) {
		put_member(doc, HEADERS[i].name, '{');
		put_text_member(doc, "description", HEADERS[i].text);
		put_raw_member(doc, "schema", HEADERS[i].schema);
		put_close(doc, '}');
	}
	put_close(doc, '}');
}

static void
put_problem_members(struct document *doc)
{
	static const struct {
		const char *name, *schema;
	} MEMBERS[] = {
	    {"type",
	     "{\"type\": \"string\", \"format\": \"uri-reference\", \"description\": \"Kind of the problem; "
	     "/docs/problems explains each.\"}"},
	    {"title", "{\"type\": \"string\", \"description\": \"The kind, for people.\"}"},
	    {"status", "{\"type\": \"integer\", \"description\": \"The HTTP status.\"}"},
	    {"detail", "{\"type\": \"string\", \"description\": \"What is wrong this time, for people.\"}"},
	    {"request_id", "{\"type\": \"string\", \"description\": \"Name of the request in logs.\"}"},
	    {"violated-policies",
	     "{\"type\": \"array\", \"items\": {\"type\": \"string\"}, \"description\": \"Limits that refuse "
	     "the call.\"}"},
	    {"errors",
	     "{\"type\": \"array\", \"maxItems\": 64, \"description\": \"Everything that is wrong with the "
	     "request.\", \"items\": {\"type\": \"object\", \"required\": [\"pointer\", \"detail\"], "
	     "\"properties\": {\"pointer\": {\"type\": \"string\", \"description\": \"JSON pointer of the field "
	     "(RFC 6901); empty for the whole body. Parameters of path and query are named in the same way.\"}, "
	     "\"detail\": {\"type\": \"string\", \"description\": \"What is wrong with it, for people.\"}}}}"},
	};

	for (size_t i = 0; i < sizeof(MEMBERS) / sizeof(MEMBERS[0]); i++)
		put_raw_member(doc, MEMBERS[i].name, MEMBERS[i].schema);
}

void
openapi_problem_schema(struct document *doc)
{
	put_member(doc, "Problem", '{');
	put_text_member(doc, "description", "What went wrong (RFC 9457).");
	put_text_member(doc, "type", "object");
	put_member(doc, "properties", '{');
	put_problem_members(doc);
	put_member(doc, "code", '{');
	put_text_member(doc, "type", "string");
	put_text_member(doc, "description",
	                "Canonical code, for programs. Absent when HTTP itself was at fault.");
	put_member(doc, "enum", '[');
	for (int code = STATUS_OK + 1; code < STATUS_CODES; code++)
		put_text(doc, status_code_name((enum status_code)code));
	put_close(doc, ']');
	put_close(doc, '}');
	put_close(doc, '}');
	put_raw_member(doc, "required", "[\"type\", \"title\", \"status\", \"request_id\"]");
	put_close(doc, '}');
}
