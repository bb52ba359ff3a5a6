/*
 * log_format: see log_format.h.
 */
#include "telemetry/log_format.h"

#include <string.h>

#include "telemetry/current.h"
#include "telemetry/redact.h"

#define TEXT_MAX 2048u

/* U+FFFD in UTF-8. */
static const unsigned char REPLACEMENT[3] = {0xEF, 0xBF, 0xBD};

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

/* A text of any origin as a JSON string: bytes that are no UTF-8 become U+FFFD, so that a line is always
 * one record that parsers and terminals can take. */
static void
put_text(struct strbuf *out, const char *text)
{
	size_t length = strnlen(text, TEXT_MAX);
	if (text_is_utf8(text, length)) {
		bool is_plain = !memchr(text, 0x7F, length);
		if (is_plain) {
			strbuf_json_string(out, text, length);
			return;
		}
	}
	char clean[3 * TEXT_MAX];
	size_t n = 0;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x7F) {
			clean[n++] = (char)c;
			continue;
		}
		memcpy(clean + n, REPLACEMENT, sizeof(REPLACEMENT));
		n += sizeof(REPLACEMENT);
	}
	strbuf_json_string(out, clean, n);
}

/* What of a text may be seen; `clean` is room for it. */
static const char *
seen_text(const struct log_field *field, char clean[TEXT_MAX])
{
	if (redact_is_secret_name(field->name))
		return REDACTED;
	return redact_urls(field->value.text, clean, TEXT_MAX);
}

static void
put_value(struct strbuf *out, const struct log_field *field)
{
	char clean[TEXT_MAX];

	switch (field->type) {
	case LOG_FIELD_TEXT:
		if (field->value.text)
			put_text(out, seen_text(field, clean));
		else
			strbuf_puts(out, "null");
		break;
	case LOG_FIELD_I64:
		strbuf_i64(out, field->value.i64);
		break;
	case LOG_FIELD_U64:
		strbuf_u64(out, field->value.u64);
		break;
	case LOG_FIELD_DOUBLE:
		strbuf_printf(out, "%.6g", field->value.number);
		break;
	case LOG_FIELD_BOOL:
		strbuf_puts(out, field->value.boolean ? "true" : "false");
		break;
	}
}

/* Texts of one simple word go without quotes, for people. */
static void
put_human_value(struct strbuf *out, const struct log_field *field)
{
	static const char SIMPLE[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@+,";
	char clean[TEXT_MAX];
	const char *text = field->type == LOG_FIELD_TEXT && field->value.text ? seen_text(field, clean) : "";

	if (text[0] && strspn(text, SIMPLE) == strlen(text))
		strbuf_puts(out, text);
	else
		put_value(out, field);
}

static void
format_json(struct strbuf *out, const struct log_record *record)
{
	char trace[TRACE_ID_TEXT];
	const char *request = current_request_id();

	strbuf_printf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"service\":", record->time, LEVELS[record->level]);
	put_text(out, record->service);
	if (record->node) {
		strbuf_puts(out, ",\"node\":");
		put_text(out, record->node);
	}
	strbuf_puts(out, ",\"event\":");
	put_text(out, record->event);
	if (current_trace_id(trace))
		strbuf_printf(out, ",\"trace_id\":\"%s\"", trace);
	if (request[0]) {
		strbuf_puts(out, ",\"request_id\":");
		put_text(out, request);
	}
	for (size_t i = 0; i < record->count; i++) {
		strbuf_printf(out, ",\"%s\":", record->fields[i].name);
		put_value(out, &record->fields[i]);
	}
	strbuf_puts(out, "}\n");
}

static void
format_human(struct strbuf *out, const struct log_record *record)
{
	const char *request = current_request_id();

	strbuf_printf(out, "%s %-5s %s: %s", record->time, LEVELS[record->level], record->service, record->event);
	for (size_t i = 0; i < record->count; i++) {
		strbuf_printf(out, " %s=", record->fields[i].name);
		put_human_value(out, &record->fields[i]);
	}
	if (request[0]) {
		strbuf_puts(out, " request_id=");
		put_text(out, request);
	}
	strbuf_putc(out, '\n');
}

void
log_format_line(struct strbuf *out, enum log_format format, const struct log_record *record)
{
	if (format == LOG_JSON)
		format_json(out, record);
	else
		format_human(out, record);
}
