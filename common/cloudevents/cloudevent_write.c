/*
 * cloudevent: an event in the JSON format.
 */
#include <string.h>

#include "cloudevent_internal.h"

static void
put_text(struct strbuf *out, const char *name, const char *text)
{
	if (!text)
		return;
	strbuf_printf(out, ",\"%s\":", name);
	strbuf_json_string(out, text, strlen(text));
}

static void
put_time(struct strbuf *out, int64_t time_ms)
{
	char text[TEXT_TIMESTAMP_MAX];

	text_from_timestamp_ms(time_ms, text);
	put_text(out, "time", text);
}

static void
put_extension(struct strbuf *out, const Extension *extension)
{
	if (extension->text)
		put_text(out, extension->name, extension->text);
	else if (extension->has_number)
		strbuf_printf(out, ",\"%s\":%d", extension->name, (int)extension->number);
	else
		strbuf_printf(out, ",\"%s\":%s", extension->name, extension->flag ? "true" : "false");
}

static void
put_data(struct strbuf *out, const Corbel__V1__Event *event)
{
	int as = event->cloud_event ? (int)event->cloud_event->data_as : 0;

	if (as == CORBEL__V1__CLOUD_EVENT_DATA__DATA_NONE || !event->has_data)
		return;
	strbuf_puts(out, as == CORBEL__V1__CLOUD_EVENT_DATA__DATA_BASE64 ? ",\"data_base64\":" : ",\"data\":");
	strbuf_add(out, (const char *)event->data.data, event->data.len);
}

/* What makes an event that was published otherwise a CloudEvent. */
static void
put_native(struct strbuf *out, const Corbel__V1__Event *event)
{
	char source[CLOUDEVENT_SOURCE_MAX];

	cloudevent_source(event, source);
	put_text(out, "id", event->id);
	put_text(out, "source", source);
	put_text(out, "datacontenttype", "application/json");
}

static void
put_attributes(struct strbuf *out, const Corbel__V1__Event *event)
{
	const Attributes *attributes = event->cloud_event;

	put_text(out, "id", attributes->id);
	put_text(out, "source", attributes->source);
	put_text(out, "dataschema", attributes->dataschema);
	put_text(out, "datacontenttype", attributes->datacontenttype);
	for (size_t i = 0; i < attributes->n_extensions; i++)
		put_extension(out, attributes->extensions[i]);
	put_text(out, "corbelid", event->id);
}

void
cloudevent_write(const Corbel__V1__Event *event, struct strbuf *out)
{
	strbuf_puts(out, "{\"specversion\":\"1.0\"");
	if (event->cloud_event)
		put_attributes(out, event);
	else
		put_native(out, event);
	put_text(out, "type", event->type);
	put_text(out, "subject", event->subject);
	put_time(out, event->timestamp);
	if (event->has_sequence)
		strbuf_printf(out, ",\"corbelsequence\":\"%llu\"", (unsigned long long)event->sequence);
	put_data(out, event);
	strbuf_putc(out, '}');
}
