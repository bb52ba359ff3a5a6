/*
 * metric_push: the registry, sent to an OTLP collector again and again by a thread of its own.
 *
 * Nothing is queued: each push carries everything since start, so one that fails only costs resolution.
 */
#ifndef CORBEL_TELEMETRY_METRIC_PUSH_H
#define CORBEL_TELEMETRY_METRIC_PUSH_H

#include <stdint.h>

#include "base/clock.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"
#include "telemetry/otlp_writer.h"

struct metric_push;

struct metric_push_options {
	const char *service;
	const char *node;
	const char *endpoint; /* OTLP/HTTP base */
	enum otlp_encoding encoding;
	const char *const *headers; /* "name=value" each, NULL-terminated; NULL: none */
	uint64_t interval_ms;       /* from the end of one push to the next */
	struct metrics *metrics;
	struct log *log;
	const struct clock *clock;
	void (*collect)(void *arg); /* brings gauges up to date before each push; may be NULL */
	void *arg;
};

/* Copies what it needs of the options' texts; NULL when no thread could be made. */
struct metric_push *metric_push_new(const struct metric_push_options *options);
/* Pushes once more within `grace_ms`, so that the last numbers of a process are not lost. */
void metric_push_free(struct metric_push *push, uint32_t grace_ms);

#endif
