/*
 * pages: what the ingress answers by itself.
 *
 * /docs is made from the OpenAPI document when it is asked for the first time: one page, no script, nothing
 * from elsewhere.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ingress_internal.h"

static bool
is_path(const struct request *request, const char *path)
{
	return strlen(path) == request->path_length && memcmp(request->url, path, request->path_length) == 0;
}

static void
put_html(struct strbuf *out, const char *text)
{
	for (; text && *text; text++) {
		switch (*text) {
		case '<':
			strbuf_puts(out, "&lt;");
			break;
		case '>':
			strbuf_puts(out, "&gt;");
			break;
		case '&':
			strbuf_puts(out, "&amp;");
			break;
		case '"':
			strbuf_puts(out, "&quot;");
			break;
		default:
			strbuf_putc(out, *text);
			break;
		}
	}
}

static const char HEAD[] =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Corbel API</title>"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1f26}"
    "h1{margin-bottom:0}h2{border-bottom:1px solid #d5dae1;padding-top:1.5rem}"
    "details{border:1px solid #d5dae1;border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}"
    "summary{cursor:pointer}code,pre{font:14px/1.4 "
    "ui-monospace,monospace;background:#f3f5f8;border-radius:4px}"
    "code{padding:0 .25rem}table{border-collapse:collapse;width:100%;margin:.5rem 0}"
    "td,th{text-align:left;border-bottom:1px solid #e6e9ee;padding:.2rem .5rem;vertical-align:top}"
    "b.v{display:inline-block;min-width:4.2rem}.s{color:#5b6572}</style></head><body>"
    "<h1>Corbel API</h1><p>Every call needs an API key: <code>Authorization: Bearer KEY</code> or "
    "<code>X-API-Key: KEY</code>. Errors are problems of RFC 9457. A POST may carry an "
    "<code>Idempotency-Key</code>; a repetition then gets the first answer for 24 hours. The "
    "machine-readable form "
    "is <a href=\"/openapi.json\">/openapi.json</a>.</p>";

static void
put_fields(struct strbuf *out, const char *title, const struct api_message *message)
{
	strbuf_printf(out, "<p class=\"s\">%s</p>", title);
	if (message->descriptor->n_fields == 0) {
		strbuf_puts(out, "<p>No fields.</p>");
		return;
	}
	strbuf_puts(out, "<table><tr><th>field</th><th></th><th>meaning</th></tr>");
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const struct api_field *field = &message->fields[i];
		if (field->is_nulls)
			continue;
		strbuf_printf(out, "<tr><td><code>%s</code></td><td class=\"s\">%s%s</td><td>", field->name,
		              field->is_required ? "required " : "", field->unit ? field->unit : "");
		put_html(out, field->doc);
		strbuf_puts(out, "</td></tr>");
	}
	strbuf_puts(out, "</table>");
}

static void
put_method(struct strbuf *out, const struct api_method *method)
{
	static const char *const VERBS[] = {"", "GET", "POST", "PUT", "PATCH", "DELETE"};
	if (!method->path)
		return;
	strbuf_printf(out, "<details><summary><b class=\"v\">%s</b><code>%s</code></summary><p>",
	              VERBS[method->verb], method->path);
	put_html(out, method->doc);
	strbuf_printf(out, "</p><p>Scope <code>%s</code>%s</p>", method->scope,
	              method->is_operator_only ? ", operators only" : "");
	put_fields(out, "Request", method->request);
	put_fields(out, "Reply", method->reply);
	if (method->cli[0])
		strbuf_printf(out, "<p>Command line: <code>corbel %s</code></p>", method->cli);
	strbuf_puts(out, "</details>");
}

char *
pages_make_docs(void)
{
	struct strbuf out;

	strbuf_init(&out, NULL);
	strbuf_puts(&out, HEAD);
	for (const struct api_service *const *service = api_services; *service; service++) {
		strbuf_puts(&out, "<h2>");
		put_html(&out, (*service)->name);
		strbuf_puts(&out, "</h2><p>");
		put_html(&out, (*service)->doc);
		strbuf_puts(&out, "</p>");
		for (size_t i = 0; i < (*service)->method_count; i++)
			put_method(&out, &(*service)->methods[i]);
	}
	strbuf_puts(&out, "</body></html>\n");
	return out.data;
}

static void
serve_ready(struct request *request)
{
	struct strbuf body;
	strbuf_init(&body, &request->arena);
	bool is_ready = host_is_ready(request->shard->ingress->env.host, &body);
	respond_text(request, is_ready ? 200 : 503, "application/health+json", body.data ? body.data : "",
	             body.length);
}

static void
serve_health(struct request *request)
{
	static const char HEALTHY[] = "{\"status\":\"pass\"}";
	respond_text(request, 200, "application/health+json", HEALTHY, sizeof(HEALTHY) - 1);
}

static void
serve_openapi(struct request *request)
{
	respond_text(request, 200, "application/json", api_openapi_json, api_openapi_json_size);
}

static void
serve_docs(struct request *request)
{
	const char *page = request->shard->ingress->docs_page;
	respond_text(request, 200, "text/html; charset=utf-8", page, strlen(page));
}

static void
serve_problems(struct request *request)
{
	const char *page = request->shard->ingress->problems_page;
	respond_text(request, 200, "text/html; charset=utf-8", page, strlen(page));
}

static const struct page {
	const char *path;
	void (*serve)(struct request *request);
} PAGES[] = {{"/healthz", serve_health},
             {"/readyz", serve_ready},
             {"/openapi.json", serve_openapi},
             {"/docs", serve_docs},
             {"/docs/problems", serve_problems}};

static const struct page *
page_at(const struct request *request)
{
	for (size_t i = 0; i < sizeof(PAGES) / sizeof(PAGES[0]); i++)
		if (is_path(request, PAGES[i].path))
			return &PAGES[i];
	return NULL;
}

/* The path itself, or one below it: Envoy appends the original path. */
static bool
is_forward(const struct request *request)
{
	size_t length = sizeof(FORWARD_PATH) - 1;
	return request->path_length >= length && memcmp(request->url, FORWARD_PATH, length) == 0 &&
	       (request->path_length == length || request->url[length] == '/');
}

bool
pages_serve(struct request *request)
{
	if (is_forward(request)) {
		forward_begin(request);
		return true;
	}
	const struct page *page = page_at(request);
	if (!page)
		return false;
	if (request->verb == API_GET)
		page->serve(request);
	else
		respond_wrong_verb(request, "GET, HEAD");
	return true;
}
