/*
 * otlp_writer: OpenTelemetry's messages, described once and written in either of their encodings.
 *
 * A caller opens messages, puts fields and closes them again; each field has its JSON name and its
 * protobuf number. In protobuf the text is the wire format; in JSON it follows OTLP's own mapping: ids in
 * hexadecimal, enums as numbers, 64-bit integers as strings. Writes into process memory, one thread.
 */
#ifndef CORBEL_TELEMETRY_OTLP_WRITER_H
#define CORBEL_TELEMETRY_OTLP_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum otlp_encoding { OTLP_PROTOBUF, OTLP_JSON };

struct otlp_field {
	const char *name;
	uint32_t number;
};

#define OTLP_DEPTH_MAX 12u

struct otlp_writer {
	struct strbuf *out;
	enum otlp_encoding encoding;
	bool needs_comma;
	uint32_t depth;
	size_t starts[OTLP_DEPTH_MAX]; /* protobuf: where each open message's content begins */
};

/* The request itself is a message that is open from here to otlp_writer_end(). */
void otlp_writer_begin(struct otlp_writer *writer, enum otlp_encoding encoding, struct strbuf *out);
void otlp_writer_end(struct otlp_writer *writer);

/* A single message; otlp_close() ends it. */
void otlp_open(struct otlp_writer *writer, struct otlp_field field);
void otlp_close(struct otlp_writer *writer);
/* A repeated message: otlp_list(), then for each otlp_item() … otlp_close(), then otlp_list_end(). */
void otlp_list(struct otlp_writer *writer, struct otlp_field field);
void otlp_item(struct otlp_writer *writer, struct otlp_field field);
void otlp_list_end(struct otlp_writer *writer);

/* `text` of any origin: what is no UTF-8 is replaced, since a collector refuses the whole request for it. */
void otlp_text(struct otlp_writer *writer, struct otlp_field field, const char *text);
void otlp_id(struct otlp_writer *writer, struct otlp_field field, const uint8_t *bytes, size_t length);
void otlp_enum(struct otlp_writer *writer, struct otlp_field field, uint32_t value);
void otlp_bool(struct otlp_writer *writer, struct otlp_field field, bool value);
void otlp_fixed64(struct otlp_writer *writer, struct otlp_field field, uint64_t value);
void otlp_sfixed64(struct otlp_writer *writer, struct otlp_field field, int64_t value);
void otlp_double(struct otlp_writer *writer, struct otlp_field field, double value);
/* Repeated numbers, packed. */
void otlp_fixed64s(struct otlp_writer *writer, struct otlp_field field, const uint64_t *values, size_t count);
void otlp_doubles(struct otlp_writer *writer, struct otlp_field field, const double *values, size_t count);

#endif
