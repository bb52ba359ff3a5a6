/*
 * otlp: OpenTelemetry's protocol over HTTP (OTLP 1.x, JSON encoding), and the same lines to a file.
 *
 * Used by one exporter thread. Retries only what the protocol calls retryable (429, 502, 503, 504 and
 * lost connections), with jitter and Retry-After, and not beyond a few seconds: telemetry is dropped
 * rather than kept without bound.
 */
#ifndef CORBEL_TELEMETRY_OTLP_H
#define CORBEL_TELEMETRY_OTLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "telemetry/metric.h"
#include "telemetry/trace.h"

struct otlp;

/* Copies what it needs of the options. */
struct otlp *otlp_new(const struct tracer_options *options);
void otlp_free(struct otlp *otlp);
/* From now on an export gives up after `ms` in all. Any thread. */
void otlp_set_deadline(struct otlp *otlp, uint32_t ms);
/* False when the collector did not take them. */
bool otlp_export_spans(struct otlp *otlp, const struct span *spans, size_t count);

/* The body of POST /v1/traces in JSON: ids in hexadecimal, enums as numbers, 64-bit integers as strings. */
void otlp_spans_json(const char *service, const char *node, const struct span *spans, size_t count,
                     struct strbuf *out);

#endif
