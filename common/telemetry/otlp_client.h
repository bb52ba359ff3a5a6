/*
 * otlp_client: one signal's way to a collector by OTLP/HTTP.
 *
 * One thread sends; it waits for the collector so that nobody else does. Only what the protocol calls
 * retryable is tried again (429, 502, 503, 504, a lost connection), a few times, with jitter and
 * Retry-After. A change between taken and not taken is logged once.
 */
#ifndef CORBEL_TELEMETRY_OTLP_CLIENT_H
#define CORBEL_TELEMETRY_OTLP_CLIENT_H

#include <stdint.h>

#include "telemetry/log.h"
#include "telemetry/metric.h"
#include "telemetry/otlp_writer.h"

struct otlp_client_options {
	const char *endpoint; /* base, such as "http://127.0.0.1:4318" */
	const char *signal;   /* "traces" or "metrics": POST endpoint/v1/signal */
	enum otlp_encoding encoding;
	const char *const *headers; /* "name=value" each, NULL-terminated; NULL: none */
	struct log *log;
	struct metrics *metrics;
};

struct otlp_client;

enum otlp_outcome {
	OTLP_TAKEN,
	OTLP_REFUSED,    /* it will never take this body */
	OTLP_UNREACHABLE /* not within our patience */
};

struct otlp_client *otlp_client_new(const struct otlp_client_options *options);
void otlp_client_free(struct otlp_client *client);
/* `rejected` is how many spans or points of a body that was taken the collector threw away. */
enum otlp_outcome otlp_client_send(struct otlp_client *client, const struct strbuf *body, uint64_t *rejected);
/* From now on sending gives up after `grace_ms` in all, also what is being sent. Any thread. */
void otlp_client_hurry(struct otlp_client *client, uint32_t grace_ms);

#endif
