/*
 * pages: what the ingress answers by itself.
 *
 * /docs is in docs_page.c.
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
	if (is_path(request, STREAM_PATH)) {
		stream_begin(request);
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
