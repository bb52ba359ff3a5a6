/*
 * otlp: what OpenTelemetry's protocol (OTLP 1.x) calls our spans and metrics, and what a collector replies.
 *
 * Leaves: they write and read bodies and know nothing of HTTP. Field numbers and names are those of
 * opentelemetry-proto.
 */
#ifndef CORBEL_TELEMETRY_OTLP_H
#define CORBEL_TELEMETRY_OTLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "telemetry/metric.h"
#include "telemetry/otlp_writer.h"
#include "telemetry/trace.h"

/* Who speaks: "service.name" and "service.instance.id". */
struct otlp_resource {
	const char *service;
	const char *node;
};

/* The resource and scope that every signal begins with. */
void otlp_put_resource(struct otlp_writer *writer, const struct otlp_resource *resource);
void otlp_put_scope(struct otlp_writer *writer);
/* One element of a list of attributes. */
void otlp_put_attribute(struct otlp_writer *writer, struct otlp_field list, const char *key,
                        const char *text);

/* Body of POST /v1/traces: ExportTraceServiceRequest. */
void otlp_encode_spans(const struct otlp_resource *resource, const struct span *spans, size_t count,
                       enum otlp_encoding encoding, struct strbuf *out);
/* Body of POST /v1/metrics: ExportMetricsServiceRequest, cumulative since the registry was made. Names are
 * those of the exposition, without "_total": a collector that exposes them adds it again. */
void otlp_encode_metrics(const struct otlp_resource *resource, struct metrics *metrics, int64_t now_us,
                         enum otlp_encoding encoding, struct strbuf *out);

/* How many spans or data points a reply of status 200 says were rejected (partial_success): 0 when the
 * body says nothing or cannot be read. Never trusts the body: any bytes will do. */
uint64_t otlp_rejected(enum otlp_encoding encoding, const char *body, size_t length);

#endif
