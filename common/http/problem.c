/*
 * problem: see problem.h.
 */
#include "http/problem.h"

#include <assert.h>
#include <string.h>

static const struct problem PROBLEMS[] = {
    {"malformed", 400, "Malformed request", "The request is not HTTP as RFC 9112 has it.", false},
    {"invalid-argument", 400, "Invalid request",
     "Fields are missing, unknown or wrong; \"errors\" names each by JSON pointer.", false},
    {"out-of-range", 400, "Out of range", "A value is past the end of what exists.", false},
    {"unauthenticated", 401, "Not authenticated", "There is no API key, or it is not valid.", false},
    {"permission-denied", 403, "Permission denied", "The API key lacks the scope.", false},
    {"not-found", 404, "Not found", "There is no such path or thing, or it is another tenant's.", false},
    {"method-not-allowed", 405, "Method not allowed", "The path has other methods: see Allow.", false},
    {"already-exists", 409, "Exists already", "There is a thing of that name.", false},
    {"failed-precondition", 409, "Not possible in the present state",
     "The thing's state has to change first.", false},
    {"aborted", 409, "Aborted", "Something else changed it at the same time; try again.", false},
    {"idempotency-in-progress", 409, "A request with this Idempotency-Key is running",
     "Repeat it after Retry-After to get its answer.", false},
    {"content-too-large", 413, "Content too large", "The body is larger than the configured bound.", false},
    {"uri-too-long", 414, "URI too long", "The URL is longer than 8192 bytes.", false},
    {"unsupported-media-type", 415, "Unsupported media type", "Bodies are application/json.", false},
    {"idempotency-key-reused", 422, "The Idempotency-Key was used with another request",
     "A new request needs a new Idempotency-Key.", false},
    {"upgrade-required", 426, "Upgrade required", "Only version 13 of WebSocket is spoken here.", false},
    {"quota-exceeded", 429, "Quota exceeded",
     "\"violated-policies\" names the limits; try again after Retry-After.", true},
    {"too-many-streams", 429, "Too many streams", "The tenant has as many streams open as it may.", false},
    {"header-too-large", 431, "Header too large", "The head is larger than the configured bound.", false},
    {"cancelled", 499, "Cancelled", "The service stopped before it had answered.", false},
    {"internal", 500, "Internal error", "A fault of Corbel's; request_id finds it in the logs.", false},
    {"data-loss", 500, "Data loss", "Stored data cannot be read.", false},
    {"unimplemented", 501, "Not implemented", "Corbel does not do this.", false},
    {"unavailable", 503, "Unavailable", "A service cannot be reached; try again after Retry-After.", false},
    {"overloaded", 503, "Overloaded", "A queue of Corbel's own is full; try again after Retry-After.", false},
    {"deadline-exceeded", 504, "Not answered in time", "A service took too long; it may still finish.",
     false},
};
#define PROBLEM_COUNT (sizeof(PROBLEMS) / sizeof(PROBLEMS[0]))

static const char *const OF_CODES[STATUS_CODES] = {
    [STATUS_CANCELLED] = "cancelled",
    [STATUS_UNKNOWN] = "internal",
    [STATUS_INVALID_ARGUMENT] = "invalid-argument",
    [STATUS_DEADLINE_EXCEEDED] = "deadline-exceeded",
    [STATUS_NOT_FOUND] = "not-found",
    [STATUS_ALREADY_EXISTS] = "already-exists",
    [STATUS_PERMISSION_DENIED] = "permission-denied",
    [STATUS_RESOURCE_EXHAUSTED] = "quota-exceeded",
    [STATUS_FAILED_PRECONDITION] = "failed-precondition",
    [STATUS_ABORTED] = "aborted",
    [STATUS_OUT_OF_RANGE] = "out-of-range",
    [STATUS_UNIMPLEMENTED] = "unimplemented",
    [STATUS_INTERNAL] = "internal",
    [STATUS_UNAVAILABLE] = "unavailable",
    [STATUS_DATA_LOSS] = "data-loss",
    [STATUS_UNAUTHENTICATED] = "unauthenticated",
};

static const struct problem *
find(const char *slug)
{
	for (size_t i = 0; i < PROBLEM_COUNT; i++)
		if (strcmp(PROBLEMS[i].slug, slug) == 0)
			return &PROBLEMS[i];
	return NULL;
}

const struct problem *
problem_named(const char *slug)
{
	const struct problem *problem = find(slug);
	assert(problem);
	return problem;
}

struct problem
problem_of(enum status_code code, const char *slug)
{
	const struct problem *known = slug && slug[0] ? find(slug) : NULL;

	if (known)
		return *known;
	struct problem problem = *problem_named(OF_CODES[code] ? OF_CODES[code] : "internal");
	if (slug && slug[0]) {
		problem.slug = slug;
		problem.is_registered = false;
	}
	return problem;
}

const struct problem *
problem_at(size_t index)
{
	return index < PROBLEM_COUNT ? &PROBLEMS[index] : NULL;
}

const char *
problem_code(const struct problem *problem)
{
	for (int code = 0; code < STATUS_CODES; code++)
		if (OF_CODES[code] && strcmp(OF_CODES[code], problem->slug) == 0 && code != STATUS_UNKNOWN)
			return status_code_name((enum status_code)code);
	return NULL;
}

void
problem_put_type(const struct problem *problem, struct strbuf *out)
{
	strbuf_puts(out, problem->is_registered ? "https://iana.org/assignments/http-problem-types#"
	                                        : "/docs/problems#");
	strbuf_puts(out, problem->slug);
}

char *
problem_make_page(void)
{
	struct strbuf out;

	strbuf_init(&out, NULL);
	strbuf_puts(&out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Problems</title>"
	                  "</head><body><h1>Problems</h1><p>What the types of error answers mean.</p><dl>");
	for (size_t i = 0; i < PROBLEM_COUNT; i++)
		strbuf_printf(&out, "<dt id=\"%s\"><code>%s</code>: %u %s</dt><dd>%s</dd>", PROBLEMS[i].slug,
		              PROBLEMS[i].slug, PROBLEMS[i].http, PROBLEMS[i].title, PROBLEMS[i].meaning);
	strbuf_puts(&out, "</dl></body></html>\n");
	return out.data;
}
