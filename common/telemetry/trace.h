/*
 * trace: spans with W3C trace context, exported without ever blocking a request.
 *
 * A span that is not sampled costs a few nanoseconds. Finished spans go to a bounded queue; a thread
 * exports them by OTLP/HTTP (JSON or protobuf), to a file or to the console; what does not fit is
 * dropped and counted.
 */
#ifndef CORBEL_TELEMETRY_TRACE_H
#define CORBEL_TELEMETRY_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"
#include "telemetry/otlp_writer.h"

#define TRACEPARENT_LENGTH 55

struct trace_context {
	uint8_t trace_id[16];
	uint8_t span_id[8];
	bool is_sampled;
	bool is_set;
};

/* W3C Trace Context section 3.2: version ff, zero ids or bad hexadecimal give false. A higher
 * version is read by its first 55 characters if a '-' or the end follows. */
bool trace_context_parse(const char *text, size_t length, struct trace_context *out);
void trace_context_format(const struct trace_context *context, char out[TRACEPARENT_LENGTH + 1]);

struct tracer;

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER = 2, SPAN_CLIENT = 3, SPAN_PRODUCER = 4, SPAN_CONSUMER = 5 };

#define SPAN_ATTRIBUTES_MAX 8

struct span {
	struct trace_context context;
	uint8_t parent_id[8];
	enum span_kind kind;
	enum status_code code;
	const char *name; /* static, or outlives the span's end */
	int64_t start_us, end_us;
	uint32_t attribute_count;
	struct {
		const char *name; /* static */
		char text[56];    /* cut between characters */
	} attributes[SPAN_ATTRIBUTES_MAX];
};

/* Begins a span under `parent` (NULL or unset: a new trace, sampled by the tracer's ratio). */
void span_begin(struct tracer *tracer, struct span *span, const char *name, enum span_kind kind,
                const struct trace_context *parent);
void span_attribute(struct span *span, const char *name, const char *text);
/* Hands a sampled span to the exporter; a copy is taken. */
void span_end(struct tracer *tracer, struct span *span, enum status_code code);

/* Ids that log records of this thread carry until they are set again; NULL clears. The texts are
 * copied. */
void trace_set_current(const struct trace_context *context, const char *request_id);

struct tracer_options {
	const char *service;
	const char *node;
	double sample_ratio;  /* 0 to 1, for new traces; parents' decisions are kept */
	const char *endpoint; /* OTLP/HTTP base, such as "http://127.0.0.1:4318"; NULL: none */
	enum otlp_encoding encoding;
	const char *const *headers; /* of requests to the collector, "name=value" each; NULL: none */
	const char *file;           /* also append JSON lines here; "-" is standard error; or NULL */
	uint32_t queue_spans;       /* bound; default 4096 */
	const struct clock *clock;
	struct log *log;         /* NULL: silent */
	struct metrics *metrics; /* NULL: uncounted */
};
struct tracer *tracer_new(const struct tracer_options *options);
/* Exports what is queued within `grace_ms`, then ends. */
void tracer_free(struct tracer *tracer, uint32_t grace_ms);
uint64_t tracer_dropped(const struct tracer *tracer);

#endif
