/*
 * otlp: spans as an ExportTraceServiceRequest.
 */
#include <string.h>

#include "telemetry/otlp.h"

#define F(field_name, field_number) ((struct otlp_field){.name = (field_name), .number = (field_number)})

/* STATUS_CODE_ERROR; a span that went well leaves its status unset. */
#define OTLP_STATUS_ERROR 2u

static void
put_string_value(struct otlp_writer *writer, const char *key, const char *text)
{
	otlp_text(writer, F("key", 1), key);
	otlp_open(writer, F("value", 2));
	otlp_text(writer, F("stringValue", 1), text);
	otlp_close(writer);
}

void
otlp_put_attribute(struct otlp_writer *writer, struct otlp_field list, const char *key, const char *text)
{
	otlp_item(writer, list);
	put_string_value(writer, key, text);
	otlp_close(writer);
}

void
otlp_put_resource(struct otlp_writer *writer, const struct otlp_resource *resource)
{
	const struct otlp_field attributes = F("attributes", 1);

	otlp_open(writer, F("resource", 1));
	otlp_list(writer, attributes);
	otlp_put_attribute(writer, attributes, "service.namespace", "corbel");
	otlp_put_attribute(writer, attributes, "service.name", resource->service);
	otlp_put_attribute(writer, attributes, "service.instance.id", resource->node);
	otlp_put_attribute(writer, attributes, "service.version", CORBEL_VERSION);
	otlp_list_end(writer);
	otlp_close(writer);
}

void
otlp_put_scope(struct otlp_writer *writer)
{
	otlp_open(writer, F("scope", 1));
	otlp_text(writer, F("name", 1), "corbel");
	otlp_text(writer, F("version", 2), CORBEL_VERSION);
	otlp_close(writer);
}

static void
put_ids(struct otlp_writer *writer, const struct span *span)
{
	static const uint8_t NONE[8];

	otlp_id(writer, F("traceId", 1), span->context.trace_id, sizeof(span->context.trace_id));
	otlp_id(writer, F("spanId", 2), span->context.span_id, sizeof(span->context.span_id));
	if (memcmp(span->parent_id, NONE, sizeof(NONE)) != 0)
		otlp_id(writer, F("parentSpanId", 4), span->parent_id, sizeof(span->parent_id));
}

static void
put_attributes(struct otlp_writer *writer, const struct span *span)
{
	const struct otlp_field list = F("attributes", 9);

	otlp_list(writer, list);
	for (uint32_t i = 0; i < span->attribute_count; i++)
		otlp_put_attribute(writer, list, span->attributes[i].name, span->attributes[i].text);
	otlp_list_end(writer);
}

static void
put_status(struct otlp_writer *writer, const struct span *span)
{
	otlp_open(writer, F("status", 15));
	if (span->code != STATUS_OK) {
		otlp_text(writer, F("message", 2), status_code_name(span->code));
		otlp_enum(writer, F("code", 3), OTLP_STATUS_ERROR);
	}
	otlp_close(writer);
}

static void
put_span(struct otlp_writer *writer, const struct span *span)
{
	otlp_item(writer, F("spans", 2));
	put_ids(writer, span);
	otlp_text(writer, F("name", 5), span->name);
	otlp_enum(writer, F("kind", 6), span->kind);
	otlp_fixed64(writer, F("startTimeUnixNano", 7), (uint64_t)span->start_us * 1000);
	otlp_fixed64(writer, F("endTimeUnixNano", 8), (uint64_t)span->end_us * 1000);
	put_attributes(writer, span);
	put_status(writer, span);
	otlp_close(writer);
}

void
otlp_encode_spans(const struct otlp_resource *resource, const struct span *spans, size_t count,
                  enum otlp_encoding encoding, struct strbuf *out)
{
	struct otlp_writer writer;

	otlp_writer_begin(&writer, encoding, out);
	otlp_list(&writer, F("resourceSpans", 1));
	otlp_item(&writer, F("resourceSpans", 1));
	otlp_put_resource(&writer, resource);
	otlp_list(&writer, F("scopeSpans", 2));
	otlp_item(&writer, F("scopeSpans", 2));
	otlp_put_scope(&writer);
	otlp_list(&writer, F("spans", 2));
	for (size_t i = 0; i < count; i++)
		put_span(&writer, &spans[i]);
	otlp_list_end(&writer);
	otlp_close(&writer);
	otlp_list_end(&writer);
	otlp_close(&writer);
	otlp_list_end(&writer);
	otlp_writer_end(&writer);
}
