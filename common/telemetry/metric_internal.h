/*
 * metric: the registry's structures, shared by metric.c, sketch.c and exposition.c.
 */
#ifndef CORBEL_TELEMETRY_METRIC_INTERNAL_H
#define CORBEL_TELEMETRY_METRIC_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "telemetry/metric.h"

#define STRIPES     8u /* cells of a counter, so that threads do not share a cache line */
#define LABELS_MAX  8u
#define SKETCH_BINS 2048u
#define BOUNDS_MAX  64u /* of a histogram */

enum metric_kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM, KIND_SUMMARY };

struct cell {
	_Alignas(64) _Atomic uint64_t value;
};

struct metric_counter {
	struct cell cells[STRIPES];
};

struct metric_gauge {
	_Atomic int64_t value;
};

/* Sum in fixed point (2^-20 of the unit): one atomic add, no lost update, exact to a millionth. */
struct metric_histogram {
	const double *bounds;
	size_t bound_count;
	_Atomic int64_t sum_fixed;
	_Atomic uint64_t counts[]; /* bound_count + 1: the last is +Inf */
};

/* DDSketch (Masson, Rim, Lee, VLDB 2019): bins of geometrically rising width. */
struct metric_summary {
	_Atomic int64_t sum_fixed;
	_Atomic uint64_t count;
	_Atomic uint64_t zeros;
	_Atomic uint64_t bins[SKETCH_BINS];
};

struct series {
	struct series *next;
	char *values[LABELS_MAX];
	void *metric;
};

struct family {
	struct family *next;
	enum metric_kind kind;
	char *name, *help, *unit;
	char *labels[LABELS_MAX];
	size_t label_count;
	uint32_t per_unit; /* 0 or 1: whole units */
	size_t max_series, series_count;
	double *bounds;
	size_t bound_count;
	struct series *first, **last;
};

/* Families and series are only ever added, under `lock`; what they hold is atomic. */
struct metrics {
	pthread_mutex_t lock;
	struct family *first, **last;
	int64_t start_us; /* since when counters count; never changes */
};

double fixed_to_double(int64_t fixed);
int64_t fixed_from_double(double value);
double sketch_quantile(const struct metric_summary *summary, double q);

#endif
