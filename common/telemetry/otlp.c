/*
 * otlp: see otlp.h.
 */
#include "telemetry/otlp.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/random.h"

#define ATTEMPTS           4u
#define REQUEST_TIMEOUT_MS 5000L

struct otlp {
	char *service, *node, *url;
	FILE *file;
	CURL *curl;
	_Atomic uint64_t deadline_ms; /* monotonic; 0: none */
};

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

struct otlp *
otlp_new(const struct tracer_options *options)
{
	struct otlp *otlp = mem_alloc(sizeof(*otlp));
	otlp->service = mem_strdup(options->service ? options->service : "corbel");
	otlp->node = mem_strdup(options->node ? options->node : "");
	if (options->endpoint) {
		otlp->url = mem_printf("%s/v1/traces", options->endpoint);
		otlp->curl = curl_easy_init();
	}
	if (options->file)
		otlp->file = strcmp(options->file, "-") == 0 ? stderr : fopen(options->file, "ae");
	return otlp;
}

void
otlp_free(struct otlp *otlp)
{
	if (!otlp)
		return;
	if (otlp->curl)
		curl_easy_cleanup(otlp->curl);
	if (otlp->file && otlp->file != stderr)
		(void)fclose(otlp->file);
	mem_free(otlp->service);
	mem_free(otlp->node);
	mem_free(otlp->url);
	mem_free(otlp);
}

void
otlp_set_deadline(struct otlp *otlp, uint32_t ms)
{
	atomic_store(&otlp->deadline_ms, now_ms() + ms);
}

static void
put_member(struct strbuf *out, const char *name, const char *text)
{
	strbuf_printf(out, "{\"key\":\"%s\",\"value\":{\"stringValue\":", name);
	strbuf_json_string(out, text, strlen(text));
	strbuf_puts(out, "}}");
}

static void
put_hex(struct strbuf *out, const char *name, const uint8_t *bytes, size_t length)
{
	char hex[33];
	text_hex_encode(bytes, length, hex);
	strbuf_printf(out, "\"%s\":\"%.*s\",", name, (int)(2 * length), hex);
}

static void
put_span(struct strbuf *out, const struct span *span)
{
	static const uint8_t NONE[8];

	strbuf_putc(out, '{');
	put_hex(out, "traceId", span->context.trace_id, 16);
	put_hex(out, "spanId", span->context.span_id, 8);
	if (memcmp(span->parent_id, NONE, sizeof(NONE)) != 0)
		put_hex(out, "parentSpanId", span->parent_id, 8);
	strbuf_puts(out, "\"name\":");
	strbuf_json_string(out, span->name, strlen(span->name));
	strbuf_printf(
	    out,
	    ",\"kind\":%d,\"startTimeUnixNano\":\"%lld000\",\"endTimeUnixNano\":\"%lld000\",\"attributes\":[",
	    (int)span->kind, (long long)span->start_us, (long long)span->end_us);
	for (uint32_t i = 0; i < span->attribute_count; i++) {
		if (i > 0)
			strbuf_putc(out, ',');
		put_member(out, span->attributes[i].name, span->attributes[i].text);
	}
	/* STATUS_CODE_ERROR is 2; an ok span leaves its status unset. */
	if (span->code != STATUS_OK)
		strbuf_printf(out, "],\"status\":{\"code\":2,\"message\":\"%s\"}}", status_code_name(span->code));
	else
		strbuf_puts(out, "],\"status\":{}}");
}

void
otlp_spans_json(const char *service, const char *node, const struct span *spans, size_t count,
                struct strbuf *out)
{
	strbuf_puts(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
	put_member(out, "service.name", service);
	strbuf_putc(out, ',');
	put_member(out, "service.instance.id", node);
	strbuf_puts(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"corbel\"},\"spans\":[");
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			strbuf_putc(out, ',');
		put_span(out, &spans[i]);
	}
	strbuf_puts(out, "]}]}]}");
}

static size_t
ignore_body(char *data, size_t size, size_t count, void *arg)
{
	(void)data;
	(void)arg;
	return size * count;
}

/* One POST. Returns the HTTP status, 0 when there was no answer. */
static long
post_once(struct otlp *otlp, const struct strbuf *body, curl_off_t *retry_after_s)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	long status = 0;

	curl_easy_reset(otlp->curl);
	curl_easy_setopt(otlp->curl, CURLOPT_URL, otlp->url);
	curl_easy_setopt(otlp->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(otlp->curl, CURLOPT_POSTFIELDS, body->data);
	curl_easy_setopt(otlp->curl, CURLOPT_POSTFIELDSIZE, (long)body->length);
	curl_easy_setopt(otlp->curl, CURLOPT_WRITEFUNCTION, ignore_body);
	curl_easy_setopt(otlp->curl, CURLOPT_TIMEOUT_MS, REQUEST_TIMEOUT_MS);
	curl_easy_setopt(otlp->curl, CURLOPT_NOSIGNAL, 1L);
	*retry_after_s = 0;
	if (curl_easy_perform(otlp->curl) == CURLE_OK) {
		curl_easy_getinfo(otlp->curl, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(otlp->curl, CURLINFO_RETRY_AFTER, retry_after_s);
	}
	curl_slist_free_all(headers);
	return status;
}

static bool
is_retryable(long status)
{
	return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

/* Waits before the next attempt; false when the deadline comes first. */
static bool
back_off(const struct otlp *otlp, unsigned attempt, curl_off_t retry_after_s)
{
	uint64_t deadline = atomic_load(&otlp->deadline_ms);
	uint64_t wait = (100u << attempt) + random_fast_u64() % (100u << attempt);
	if (retry_after_s > 0 && retry_after_s <= 10)
		wait = (uint64_t)retry_after_s * 1000;
	if (deadline && now_ms() + wait > deadline)
		return false;
	struct timespec pause = {.tv_sec = (time_t)(wait / 1000), .tv_nsec = (long)(wait % 1000) * 1000000};
	return clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL) == 0;
}

static bool
post(struct otlp *otlp, const struct strbuf *body)
{
	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		curl_off_t retry_after_s;
		long status = post_once(otlp, body, &retry_after_s);
		if (status >= 200 && status < 300)
			return true;
		if (!is_retryable(status) || !back_off(otlp, attempt, retry_after_s))
			return false;
	}
	return false;
}

bool
otlp_export_spans(struct otlp *otlp, const struct span *spans, size_t count)
{
	struct strbuf body;
	bool is_ok = true;

	strbuf_init(&body, NULL);
	otlp_spans_json(otlp->service, otlp->node, spans, count, &body);
	if (otlp->file)
		is_ok = fprintf(otlp->file, "%s\n", body.data) > 0 && fflush(otlp->file) == 0;
	if (otlp->curl)
		is_ok = post(otlp, &body) && is_ok;
	strbuf_fini(&body);
	return is_ok;
}
