/*
 * docs_page: /docs, the contract for people: one page, no script, nothing from elsewhere. It is made once,
 * when the ingress starts.
 */
#include <string.h>

#include "base/text.h"
#include "ingress_internal.h"

#define LEVELS_MAX 3u /* of messages in messages; a deeper one is named only */

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
    "dl{margin:.2rem 0}dt{float:left;clear:left}dd{margin-left:12rem}table table{font-size:.95em}"
    "td,th{text-align:left;border-bottom:1px solid #e6e9ee;padding:.2rem .5rem;vertical-align:top}"
    "b.v{display:inline-block;min-width:4.2rem}.s{color:#5b6572}</style></head><body>"
    "<h1>Corbel API</h1><p>Every call needs an API key: <code>Authorization: Bearer KEY</code> or "
    "<code>X-API-Key: KEY</code>. Errors are problems of RFC 9457. A POST may carry an "
    "<code>Idempotency-Key</code>; a repetition then gets the first answer for 24 hours. The "
    "machine-readable form "
    "is <a href=\"/openapi.json\">/openapi.json</a>.</p>";

/* ---- fields ---- */

static void
put_cell(struct strbuf *out, const char *text)
{
	strbuf_puts(out, "<td>");
	put_html(out, text);
}

/* "required, 1 to 200 ms" */
static void
put_bounds(struct strbuf *out, const struct api_field *field)
{
	strbuf_puts(out, "<td class=\"s\">");
	if (field->is_required)
		strbuf_puts(out, "required ");
	if (field->is_output_only)
		strbuf_puts(out, "set by the service ");
	if (field->has_min && field->has_max)
		strbuf_printf(out, "%lld to %lld ", (long long)field->min, (long long)field->max);
	else if (field->has_max)
		strbuf_printf(out, "at most %lld ", (long long)field->max);
	if (field->max_len)
		strbuf_printf(out, "at most %u bytes ", field->max_len);
	if (field->max_items)
		strbuf_printf(out, "at most %u items ", field->max_items);
	put_html(out, field->unit);
	strbuf_puts(out, "</td>");
}

static void
put_values(struct strbuf *out, const ProtobufCEnumDescriptor *choices)
{
	strbuf_puts(out, "<dl>");
	for (unsigned i = 0; i < choices->n_values; i++) {
		if (choices->values[i].value == 0)
			continue; /* the value of absence */
		strbuf_printf(out, "<dt><code>%s</code></dt><dd>", choices->values[i].name);
		put_html(out, api_enum_doc(choices, choices->values[i].value));
		strbuf_puts(out, "</dd>");
	}
	strbuf_puts(out, "</dl>");
}

/* A table of the message's fields, with those of messages in it down to `levels` more. */
static void
put_table(struct strbuf *out, const struct api_message *message, unsigned levels)
{
	strbuf_puts(out, "<table><tr><th>field</th><th></th><th>meaning</th></tr>");
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const struct api_field *field = &message->fields[i];
		const ProtobufCFieldDescriptor *descriptor = &message->descriptor->fields[i];
		if (field->is_nulls)
			continue;
		strbuf_printf(out, "<tr><td><code>%s</code></td>", field->name);
		put_bounds(out, field);
		put_cell(out, field->doc);
		if (descriptor->type == PROTOBUF_C_TYPE_ENUM)
			put_values(out, descriptor->descriptor);
		if (descriptor->type == PROTOBUF_C_TYPE_MESSAGE && !field->is_map && levels > 0)
			put_table(out, api_message_of(descriptor->descriptor), levels - 1);
		strbuf_puts(out, "</td></tr>");
	}
	strbuf_puts(out, "</table>");
}

static void
put_fields(struct strbuf *out, const char *title, const struct api_message *message)
{
	strbuf_printf(out, "<p class=\"s\">%s: ", title);
	put_html(out, message->doc);
	strbuf_puts(out, "</p>");
	if (message->descriptor->n_fields > 0)
		put_table(out, message, LEVELS_MAX);
}

/* ---- methods ---- */

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
