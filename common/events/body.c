/*
 * body: see body.h.
 */
#include "events/body.h"

#include <string.h>

static void
put_member(struct strbuf *out, const char *name, const char *text)
{
	if (!text)
		return;
	strbuf_printf(out, ",\"%s\":", name);
	strbuf_json_string(out, text, strlen(text));
}

void
event_body_write(const struct event_body *body, struct strbuf *out)
{
	char time[TEXT_TIMESTAMP_MAX];

	text_from_timestamp_ms(body->timestamp_ms, time);
	strbuf_puts(out, "{\"id\":");
	strbuf_json_string(out, body->id, strlen(body->id));
	put_member(out, "type", body->type);
	put_member(out, "timestamp", time);
	put_member(out, "subject", body->subject);
	strbuf_printf(out, ",\"sequence\":%llu,\"data\":", (unsigned long long)body->sequence);
	strbuf_add(out, body->data, body->data_size);
	strbuf_putc(out, '}');
}
