/*
 * openapi_front: what belongs to no service: the document's head, the ways to authenticate, the headers of
 * every request, and the paths that the ingress answers by itself (services/ingress/pages.c, forward.c).
 */
#include "openapi.h"

static const char ABOUT[] =
    "Back-office services for API products: API keys and plans, rate limits, and more.\n\n"
    "- Bodies are JSON (RFC 8259) in UTF-8. Names that the contract does not know, and names that appear "
    "twice, "
    "are refused. `null` is the same as absence; in a PATCH it clears what can be absent.\n"
    "- Whole numbers of 64 bits may be sent as numbers or as strings of decimal digits. Replies use a string "
    "when "
    "a double could not hold the number exactly (beyond 2^53).\n"
    "- Timestamps are those of RFC 3339; replies use UTC.\n"
    "- Lengths of texts are bytes of UTF-8. No text contains U+0000.\n"
    "- Everything that is wrong with a request is reported at once, each with a JSON pointer, as a problem "
    "of "
    "RFC 9457.\n"
    "- Lists have pages: pass `next_page_token` of one as `page_token` of the next.\n"
    "- A POST may carry an `Idempotency-Key`: repeated within 24 hours, it gets the first answer again and "
    "has no "
    "second effect.";

void
openapi_front_matter(struct document *doc)
{
	put_text_member(doc, "openapi", "3.1.0");
	put_member(doc, "info", '{');
	put_text_member(doc, "title", "Corbel");
	put_text_member(doc, "version", "1");
	put_text_member(doc, "description", ABOUT);
	put_close(doc, '}');
	put_raw_member(doc, "servers", "[{\"url\": \"/\"}]");
	put_raw_member(doc, "security", "[{\"bearer\": []}, {\"apiKey\": []}]");
}

void
openapi_security_schemes(struct document *doc)
{
	put_member(doc, "securitySchemes", '{');
	put_raw_member(
	    doc, "bearer",
	    "{\"type\": \"http\", \"scheme\": \"bearer\", \"description\": \"An API key, as it was shown "
	    "when it was made. Each operation names the scope that the key must hold in "
	    "x-corbel-scope.\"}");
	put_raw_member(
	    doc, "apiKey",
	    "{\"type\": \"apiKey\", \"in\": \"header\", \"name\": \"X-API-Key\", \"description\": \"The "
	    "same key in a header of its own. Keys in URLs are not accepted.\"}");
	put_close(doc, '}');
}

void
openapi_parameters(struct document *doc)
{
	static const struct {
		const char *component, *name, *text, *schema;
	} PARAMETERS[] = {
	    {"IdempotencyKey", "Idempotency-Key",
	     "Repeated with the same key and request within 24 hours, the call gets the first one's answer and "
	     "has "
	     "no second effect. Another request under the same key is 422, a twin of one that is still running "
	     "409. "
	     "Quotes around it do not count.",
	     "{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 255, \"pattern\": \"^[!-~]+$\", "
	     "\"examples\": [\"7b1e4c52-order-1042\"]}"},
	    {"RequestId", "X-Request-Id",
	     "Name of the request in logs and problems, 1 to 63 of letters, digits, '-', '_' and '.'; another "
	     "one "
	     "is replaced by one of Corbel's.",
	     "{\"type\": \"string\", \"examples\": [\"order-1042\"]}"},
	    {"TraceParent", "traceparent",
	     "The caller's place in a trace (W3C Trace Context); what is not one is ignored.",
	     "{\"type\": \"string\", \"examples\": "
	     "[\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"]}"},
	};

	put_member(doc, "parameters", '{');
	for (size_t i = 0; i < sizeof(PARAMETERS) / sizeof(PARAMETERS[0]); i++) {
		put_member(doc, PARAMETERS[i].component, '{');
		put_text_member(doc, "name", PARAMETERS[i].name);
		put_text_member(doc, "in", "header");
		put_raw_member(doc, "required", "false");
		put_text_member(doc, "description", PARAMETERS[i].text);
		put_raw_member(doc, "schema", PARAMETERS[i].schema);
		put_close(doc, '}');
	}
	put_close(doc, '}');
}

/* ---- paths of the ingress ---- */

static const char HEALTH[] =
    "\"content\": {\"application/health+json\": {\"schema\": {\"type\": \"object\", \"required\": "
    "[\"status\"], "
    "\"properties\": {\"status\": {\"enum\": [\"pass\", \"warn\", \"fail\"]}}}, \"example\": {\"status\": "
    "\"%s\"}}}";

static void
put_page(struct document *doc, const char *path, const char *id, const char *summary, const char *responses)
{
	put_member(doc, path, '{');
	put_member(doc, "get", '{');
	put_text_member(doc, "operationId", id);
	put_text_member(doc, "summary", summary);
	put_raw_member(doc, "tags", "[\"Front\"]");
	put_raw_member(doc, "security", "[]");
	put_raw_member(doc, "responses", responses);
	put_close(doc, '}');
	put_close(doc, '}');
}

/* Any answer has the headers of components; a key is asked for as everywhere. */
static void
put_forward(struct document *doc, const char *verb)
{
	put_member(doc, verb, '{');
	put_text_member(doc, "operationId", arena_printf(doc->arena, "forward_auth_%s", verb));
	put_text_member(doc, "summary", "Asks whether a request may pass, for gateways");
	put_text_member(
	    doc, "description",
	    "A gateway passes the headers of a request it was sent, and its method and path in the headers that "
	    "the "
	    "option ingress.forward_headers chooses. The answer is 200 with who the key belongs to, or why the "
	    "request may not pass.");
	put_raw_member(doc, "tags", "[\"Front\"]");
	put_raw_member(
	    doc, "responses",
	    "{\"200\": {\"description\": \"It may pass.\", \"headers\": {\"X-Corbel-Tenant\": {\"schema\": "
	    "{\"type\": \"string\"}}, \"X-Corbel-Key-Id\": {\"schema\": {\"type\": \"string\"}}, "
	    "\"X-Corbel-Plan\": "
	    "{\"schema\": {\"type\": \"string\"}}, \"X-Corbel-Scopes\": {\"description\": \"With spaces between "
	    "them.\", \"schema\": {\"type\": \"string\"}}, \"RateLimit\": {\"$ref\": "
	    "\"#/components/headers/RateLimit\"}, \"RateLimit-Policy\": {\"$ref\": "
	    "\"#/components/headers/RateLimitPolicy\"}}},\n"
	    "\"400\": {\"$ref\": \"#/components/responses/Problem400\"}, \"401\": {\"$ref\": "
	    "\"#/components/responses/Problem401\"}, \"403\": {\"$ref\": "
	    "\"#/components/responses/Problem403\"},\n"
	    "\"429\": {\"$ref\": \"#/components/responses/Problem429\"}, \"500\": {\"$ref\": "
	    "\"#/components/responses/Problem500\"}, \"503\": {\"$ref\": \"#/components/responses/Problem503\"}, "
	    "\"504\": {\"$ref\": \"#/components/responses/Problem504\"}}");
	put_close(doc, '}');
}

/* The parameters are the fields of StreamRequest. */
static void
put_stream(struct document *doc)
{
	put_member(doc, "/v1/stream", '{');
	put_member(doc, "get", '{');
	put_text_member(doc, "operationId", "stream");
	put_text_member(doc, "summary", "Sends events as they happen");
	put_text_member(doc, "description",
	                "Server-sent events, which EventSource reads, or a WebSocket when it is asked for; "
	                "docs/streams.md has what else comes. A stream resumes "
	                "behind the sequence that it is given, without a gap or a duplicate.");
	put_raw_member(doc, "tags", "[\"Front\"]");
	put_text_member(doc, "x-corbel-scope", "events.read");
	put_raw_member(doc, "parameters",
	               "[{\"name\": \"types\", \"in\": \"query\", \"description\": \"Patterns of types with "
	               "commas between them; "
	               "every type when absent.\", \"schema\": {\"type\": \"string\", \"examples\": "
	               "[\"file.*,report.**\"]}},\n"
	               "{\"name\": \"subject\", \"in\": \"query\", \"description\": \"Only events with this "
	               "subject.\", \"schema\": "
	               "{\"type\": \"string\", \"maxLength\": 256}},\n"
	               "{\"name\": \"after\", \"in\": \"query\", \"description\": \"Begins behind this sequence; "
	               "with what happens from "
	               "now on when absent.\", \"schema\": {\"type\": \"integer\", \"minimum\": 0}},\n"
	               "{\"name\": \"token\", \"in\": \"query\", \"description\": \"Of POST /v1/stream-tokens, "
	               "in place of a key.\", "
	               "\"schema\": {\"type\": \"string\"}},\n"
	               "{\"name\": \"tenant_id\", \"in\": \"query\", \"description\": \"Operators only: the "
	               "tenant to act for; the "
	               "key's own when absent.\", \"schema\": {\"type\": \"string\", \"maxLength\": 64}},\n"
	               "{\"name\": \"Last-Event-ID\", \"in\": \"header\", \"description\": \"Goes before "
	               "`after`: browsers send it when "
	               "they connect again.\", \"schema\": {\"type\": \"integer\", \"minimum\": 0}}]");
	put_raw_member(
	    doc, "responses",
	    "{\"101\": {\"description\": \"A WebSocket.\"}, \"200\": {\"description\": \"Events, until either "
	    "side ends it.\", \"content\": "
	    "{\"text/event-stream\": "
	    "{\"schema\": {\"type\": \"string\"}}}},\n"
	    "\"400\": {\"$ref\": \"#/components/responses/Problem400\"}, \"401\": {\"$ref\": "
	    "\"#/components/responses/Problem401\"}, \"403\": {\"$ref\": "
	    "\"#/components/responses/Problem403\"},\n"
	    "\"426\": {\"$ref\": \"#/components/responses/Problem426\"}, \"429\": {\"$ref\": "
	    "\"#/components/responses/Problem429\"}, \"500\": {\"$ref\": "
	    "\"#/components/responses/Problem500\"}, \"503\": {\"$ref\": \"#/components/responses/Problem503\"}, "
	    "\"504\": {\"$ref\": \"#/components/responses/Problem504\"}}");
	put_close(doc, '}');
	put_close(doc, '}');
}

void
openapi_front_paths(struct document *doc)
{
	const char *pass = arena_printf(doc->arena, HEALTH, "pass");
	const char *fail = arena_printf(doc->arena, HEALTH, "fail");

	put_page(doc, "/healthz", "healthz", "Tells that the ingress lives, whatever else is away",
	         arena_printf(doc->arena, "{\"200\": {\"description\": \"It lives.\", %s}}", pass));
	put_page(
	    doc, "/readyz", "readyz", "Tells whether calls can be served",
	    arena_printf(doc->arena,
	                 "{\"200\": {\"description\": \"They can.\", %s},\n\"503\": {\"description\": \"They "
	                 "cannot: something that is needed is away, or the process is about to stop.\", %s}}",
	                 pass, fail));
	put_page(
	    doc, "/openapi.json", "openapi", "This document",
	    "{\"200\": {\"description\": \"The document.\", \"content\": {\"application/json\": {\"schema\": "
	    "{\"type\": \"object\"}}}}}");
	put_page(doc, "/docs", "docs", "This document, for people",
	         "{\"200\": {\"description\": \"A page.\", \"content\": {\"text/html\": {\"schema\": {\"type\": "
	         "\"string\"}}}}}");
	put_page(doc, "/docs/problems", "problems", "The kinds of problems, explained",
	         "{\"200\": {\"description\": \"A page.\", \"content\": {\"text/html\": {\"schema\": {\"type\": "
	         "\"string\"}}}}}");
	put_member(doc, "/v1/auth/forward", '{');
	put_forward(doc, "get");
	put_forward(doc, "post");
	put_close(doc, '}');
	put_stream(doc);
}
