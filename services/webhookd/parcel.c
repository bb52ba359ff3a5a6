/*
 * parcel: see parcel.h.
 */
#include "parcel.h"

#include <stdio.h>
#include <string.h>

#define ARENA_BLOCK (4u << 10)
#define KEEP_BYTES  1024u
#define READ_BYTES  (64u << 10)
#define TIMEOUT_MS  15000u
#define EVENT_MAX   (2u << 20)

/* ---- the body ---- */

static void
put_member(struct strbuf *out, const char *name, const char *text)
{
	if (!text)
		return;
	strbuf_printf(out, ",\"%s\":", name);
	strbuf_json_string(out, text, strlen(text));
}

/* {"id", "type", "timestamp", "subject", "sequence", "data"}: type, timestamp and data as Standard Webhooks
 * recommends. */
static void
make_body(struct parcel *parcel, const Event *event)
{
	char time[TEXT_TIMESTAMP_MAX];
	struct strbuf out;

	strbuf_init(&out, &parcel->arena);
	text_from_timestamp_ms(event->timestamp, time);
	strbuf_puts(&out, "{\"id\":");
	strbuf_json_string(&out, event->id, strlen(event->id));
	put_member(&out, "type", event->type);
	put_member(&out, "timestamp", time);
	put_member(&out, "subject", event->subject);
	strbuf_printf(&out, ",\"sequence\":%llu,\"data\":", (unsigned long long)event->sequence);
	strbuf_add(&out, (const char *)event->data.data, event->data.len);
	strbuf_putc(&out, '}');
	parcel->body = out.data;
	parcel->body_size = out.length;
}

struct parcel *
parcel_new(struct lane *lane, const struct due *due)
{
	struct parcel *parcel = mem_alloc(sizeof(*parcel));

	arena_init(&parcel->arena, ARENA_BLOCK, EVENT_MAX);
	parcel->lane = lane;
	snprintf(parcel->delivery_id, sizeof(parcel->delivery_id), "%s", due->delivery_id);
	parcel->attempts = due->attempts;
	parcel->tries = due->tries;
	parcel->sequence = due->event->sequence;
	parcel->event_id = arena_strdup(&parcel->arena, due->event->id);
	parcel->event_type = arena_strdup(&parcel->arena, due->event->type);
	parcel->traceparent =
	    due->event->traceparent ? arena_strdup(&parcel->arena, due->event->traceparent) : NULL;
	make_body(parcel, due->event);
	return parcel;
}

void
parcel_free(struct parcel *parcel)
{
	arena_fini(&parcel->arena);
	mem_free(parcel);
}

/* ---- the request ---- */

static const char *
header(struct parcel *parcel, const char *name, const char *value)
{
	return arena_printf(&parcel->arena, "%s: %s", name, value);
}

static struct status
sign(struct parcel *parcel, const struct signer *signer, size_t *count)
{
	struct signed_message message = {.id = parcel->event_id,
	                                 .timestamp_s = parcel->started_ms / 1000,
	                                 .body = parcel->body,
	                                 .body_length = parcel->body_size};
	struct strbuf signature;
	char hub[SIGNATURE_HUB_MAX];

	strbuf_init(&signature, &parcel->arena);
	struct status st = signer_sign(signer, &message, &signature);
	if (!status_ok(&st))
		return st;
	parcel->headers[(*count)++] = header(parcel, "webhook-id", parcel->event_id);
	parcel->headers[(*count)++] =
	    arena_printf(&parcel->arena, "webhook-timestamp: %lld", (long long)message.timestamp_s);
	parcel->headers[(*count)++] = header(parcel, "webhook-signature", signature.data);
	if (signer_hub(signer, parcel->body, parcel->body_size, hub))
		parcel->headers[(*count)++] = header(parcel, "X-Hub-Signature-256", hub);
	return st;
}

struct status
parcel_address(struct parcel *parcel, const Endpoint *endpoint, const struct signer *signer, int64_t now_ms)
{
	size_t count = 0;

	parcel->started_ms = now_ms;
	parcel->headers[count++] = "Content-Type: application/json";
	struct status st = sign(parcel, signer, &count);
	if (parcel->traceparent)
		parcel->headers[count++] = header(parcel, "traceparent", parcel->traceparent);
	for (size_t i = 0; i < endpoint->n_headers && count < PARCEL_HEADERS_MAX; i++)
		parcel->headers[count++] = header(parcel, endpoint->headers[i]->key, endpoint->headers[i]->value);
	parcel->http = (struct outbound_request){
	    .url = arena_strdup(&parcel->arena, endpoint->url),
	    .method = "POST",
	    .headers = parcel->headers,
	    .header_count = count,
	    .body = parcel->body,
	    .body_size = parcel->body_size,
	    .timeout_ms = endpoint->has_timeout_ms ? endpoint->timeout_ms : TIMEOUT_MS,
	    .keep_bytes = KEEP_BYTES,
	    .max_bytes = READ_BYTES,
	};
	return st;
}

/* ---- the answer ---- */

/* The body's beginning as text: what is not UTF-8 is shown as '?'. */
static char *
readable(struct arena *arena, const char *bytes, size_t size)
{
	char *text = arena_strndup(arena, bytes, size);
	size_t length = strlen(text);

	/* The cut may have split the last character. */
	for (size_t cut = 0; cut < 4 && length > 0 && !text_is_utf8(text, length); cut++)
		text[--length] = '\0';
	if (text_is_utf8(text, length))
		return text;
	text = arena_strndup(arena, bytes, size);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return text;
}

static bool
is_success(const struct outbound_response *response)
{
	return response->result == OUTBOUND_OK && response->status >= 200 && response->status < 300;
}

void
parcel_note(struct parcel *parcel)
{
	const struct outbound_response *response = &parcel->http.response;
	Attempt *attempt = ARENA_NEW(&parcel->arena, Attempt);

	corbel__v1__attempt__init(attempt);
	attempt->has_number = attempt->has_started_at = attempt->has_latency_ms = true;
	attempt->number = parcel->attempts + 1;
	attempt->started_at = parcel->started_ms;
	attempt->latency_ms = response->latency_ms;
	attempt->has_status = response->status > 0;
	attempt->status = response->status;
	if (!is_success(response))
		attempt->error =
		    arena_strdup(&parcel->arena,
		                 response->result == OUTBOUND_OK ? "status" : outbound_result_name(response->result));
	if (response->detail[0])
		attempt->detail = readable(&parcel->arena, response->detail, strlen(response->detail));
	if (response->body_size > 0)
		attempt->response = readable(&parcel->arena, response->body, response->body_size);
	if (response->address[0])
		attempt->address = arena_strdup(&parcel->arena, response->address);
	parcel->attempt = attempt;
}
