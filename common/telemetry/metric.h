/*
 * metric: counters, gauges, histograms and summaries, and their exposition.
 *
 * Registered once, at start, then updated from any thread: a counter increment is one relaxed atomic
 * add on the caller's own cache line. A family's label sets are bounded; beyond the bound, values go
 * to one set whose labels are all "other", and are never lost.
 */
#ifndef CORBEL_TELEMETRY_METRIC_H
#define CORBEL_TELEMETRY_METRIC_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct metrics;        /* a registry: one a process */
struct metric_counter; /* one label set of a family, for as long as the registry */
struct metric_gauge;
struct metric_histogram;
struct metric_summary;

struct metric_spec {
	const char *name; /* without "_total"; ends in its unit, such as "_seconds" */
	const char *help;
	const char *unit;          /* "seconds", "bytes" or NULL */
	const char *const *labels; /* names, NULL-terminated; NULL: none */
	uint32_t per_unit;     /* counter: counted in such parts of the unit, such as 1000000; 0: whole ones */
	size_t max_series;     /* bound of the label sets; 0: 200 */
	const double *buckets; /* histogram: upper bounds, rising, without +Inf; NULL: 0.5 ms … 10 s */
	size_t bucket_count;   /* at most 64 */
};

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);

/* Registers the family on first use (same name, same kind: the same family) and gives the series
 * with these label values (as many as the spec has labels; NULL when none). Takes a lock: keep the
 * pointer, do not look it up on a hot path. */
struct metric_counter *metrics_counter(struct metrics *m, const struct metric_spec *spec,
                                       const char *const *values);
struct metric_gauge *metrics_gauge(struct metrics *m, const struct metric_spec *spec,
                                   const char *const *values);
struct metric_histogram *metrics_histogram(struct metrics *m, const struct metric_spec *spec,
                                           const char *const *values);
/* Quantiles 0.5, 0.9, 0.99 over everything since start, by a DDSketch of 1 % relative error. */
struct metric_summary *metrics_summary(struct metrics *m, const struct metric_spec *spec,
                                       const char *const *values);

/* A NULL metric swallows the update, so that a component works without a registry. */
void counter_add(struct metric_counter *counter, uint64_t n);
uint64_t counter_value(const struct metric_counter *counter);
void gauge_set(struct metric_gauge *gauge, int64_t value);
void gauge_add(struct metric_gauge *gauge, int64_t delta);
int64_t gauge_value(const struct metric_gauge *gauge);
void histogram_observe(struct metric_histogram *histogram, double value);
void summary_observe(struct metric_summary *summary, double value);

enum metric_format { METRIC_PROMETHEUS, METRIC_OPENMETRICS };
/* Chooses by the Accept header (NULL allowed), q-values and versions honoured; Prometheus 0.0.4 when
 * nothing fits better. */
enum metric_format metric_format_for(const char *accept);
const char *metric_content_type(enum metric_format format);
void metrics_write(struct metrics *metrics, enum metric_format format, struct strbuf *out);

#endif
