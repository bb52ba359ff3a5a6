/*
 * http: one exchange with Corbel, by libcurl; bounded in time and size.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli.h"

#define RESPONSE_MAX (64u << 20)
#define TIMEOUT_MS   60000L
#define CONNECT_MS   5000L

static size_t
take_body(char *data, size_t size, size_t count, void *arg)
{
	struct strbuf *out = arg;
	strbuf_add(out, data, size * count);
	return out->is_cut ? 0 : size * count;
}

static size_t
show_header(char *data, size_t size, size_t count, void *arg)
{
	(void)arg;
	fprintf(stderr, "< %.*s\n", (int)strcspn(data, "\r\n"), data);
	return size * count;
}

static struct curl_slist *
headers_of(const struct exchange *exchange, struct arena *arena)
{
	struct curl_slist *list = NULL;
	if (exchange->api_key)
		list = curl_slist_append(list, arena_printf(arena, "Authorization: Bearer %s", exchange->api_key));
	if (exchange->body)
		list = curl_slist_append(list, "Content-Type: application/json");
	if (exchange->idempotency_key)
		list = curl_slist_append(list, arena_printf(arena, "Idempotency-Key: %s", exchange->idempotency_key));
	/* Only a call that is looked at asks to be traced; for others Corbel's own sampling decides. */
	if (exchange->is_verbose)
		list = curl_slist_append(
		    list, arena_printf(arena, "traceparent: 00-%s-%s-01", exchange->trace_id, exchange->span_id));
	return curl_slist_append(list, "Expect:");
}

static void
show_request(const struct exchange *exchange)
{
	fprintf(stderr, "> %s %s\n", exchange->verb, exchange->url);
	if (exchange->body)
		fprintf(stderr, "> %s\n", exchange->body);
}

void
http_exchange(struct exchange *exchange, struct arena *arena)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = headers_of(exchange, arena);
	struct strbuf body;
	double seconds = 0;

	strbuf_init(&body, arena);
	body.ceiling = RESPONSE_MAX;
	strbuf_add(&body, "", 0);
	curl_easy_setopt(curl, CURLOPT_URL, exchange->url);
	/* A parameter ".." is an id that does not exist, not another path. */
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, exchange->verb);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	if (exchange->body)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->body);
	if (exchange->is_verbose) {
		show_request(exchange);
		curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, show_header);
	}
	CURLcode rc = curl_easy_perform(curl);
	if (rc == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &exchange->status);
	else
		snprintf(exchange->error, sizeof(exchange->error), "%s: %s", exchange->url, curl_easy_strerror(rc));
	curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME, &seconds);
	if (exchange->is_verbose)
		fprintf(stderr, "* %.1f ms, trace %s\n", seconds * 1000, exchange->trace_id);
	exchange->response = body.data;
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
}
