/*
 * log_format: one record as one line.
 *
 * Whatever stands in the texts, a line stays one line that parsers and terminals can take. The trace and
 * request that the calling thread works for are added by themselves; secrets are redacted.
 */
#ifndef CORBEL_TELEMETRY_LOG_FORMAT_H
#define CORBEL_TELEMETRY_LOG_FORMAT_H

#include "base/text.h"
#include "telemetry/log.h"

struct log_record {
	const char *time; /* RFC 3339 */
	enum log_level level;
	const char *service;
	const char *node; /* NULL: none */
	const char *event;
	const struct log_field *fields;
	size_t count;
};

/* Appends the line with its newline. */
void log_format_line(struct strbuf *out, enum log_format format, const struct log_record *record);

#endif
