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
	struct arena *arena = arg;
	size_t length = size * count;

	while (length > 0 && (data[length - 1] == '\r' || data[length - 1] == '\n'))
		length--;
	fprintf(stderr, "< %s\n", show_text(arena, arena_strndup(arena, data, length)));
	return size * count;
}

static struct curl_slist *
headers_of(const struct exchange *exchange, struct arena *arena)
{
	struct curl_slist *list = NULL;
	if (exchange->api_key)
		list = curl_slist_append(list, arena_printf(arena, "Authorization: Bearer %s", exchange->api_key));
	const char *type = exchange->content_type ? exchange->content_type : "application/json";

	/* Without a colon's value curl leaves out the header that it would send. */
	if (exchange->body)
		list = curl_slist_append(list, arena_printf(arena, "Content-Type:%s%s", type[0] ? " " : "", type));
	if (exchange->idempotency_key)
		list = curl_slist_append(list, arena_printf(arena, "Idempotency-Key: %s", exchange->idempotency_key));
	/* Only a call that is looked at asks to be traced; for others Corbel's own sampling decides. */
	if (exchange->is_verbose)
		list = curl_slist_append(
		    list, arena_printf(arena, "traceparent: 00-%s-%s-01", exchange->trace_id, exchange->span_id));
	return curl_slist_append(list, "Expect:");
}

static void
show_request(const struct exchange *exchange, struct arena *arena)
{
	fprintf(stderr, "> %s %s\n", exchange->verb, show_text(arena, exchange->url));
	if (exchange->idempotency_key)
		fprintf(stderr, "> Idempotency-Key: %s\n", show_text(arena, exchange->idempotency_key));
	if (exchange->body)
		fprintf(stderr, "> %s\n", show_text(arena, exchange->body));
}

static void
take_outcome(CURL *curl, CURLcode rc, struct exchange *exchange)
{
	curl_off_t retry_after_s = 0;

	exchange->status = exchange->retry_after_s = 0;
	if (rc != CURLE_OK) {
		snprintf(exchange->error, sizeof(exchange->error), "%s: %s", exchange->url, curl_easy_strerror(rc));
		return;
	}
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &exchange->status);
	curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after_s);
	exchange->retry_after_s = (long)retry_after_s;
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
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, exchange->timeout_ms ? exchange->timeout_ms : TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	if (exchange->body)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->body);
	if (exchange->is_verbose) {
		show_request(exchange, arena);
		curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, show_header);
		curl_easy_setopt(curl, CURLOPT_HEADERDATA, arena);
	}
	take_outcome(curl, curl_easy_perform(curl), exchange);
	curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME, &seconds);
	if (exchange->is_verbose)
		fprintf(stderr, "* %.1f ms, trace %s\n", seconds * 1000, exchange->trace_id);
	exchange->response = body.data;
	exchange->response_size = body.length;
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
}
