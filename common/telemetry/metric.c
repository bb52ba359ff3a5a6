/*
 * metric: the registry and the updates.
 */
#include "metric_internal.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"

static const double DEFAULT_BOUNDS[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                        0.1,    0.25,  0.5,    1.0,   2.5,  5.0,   10.0};
#define DEFAULT_BOUND_COUNT (sizeof(DEFAULT_BOUNDS) / sizeof(DEFAULT_BOUNDS[0]))
#define DEFAULT_MAX_SERIES  200u

double
fixed_to_double(int64_t fixed)
{
	return (double)fixed / 1048576.0;
}

int64_t
fixed_from_double(double value)
{
	if (!(value > -8.0e12))
		return INT64_MIN / 2;
	return value < 8.0e12 ? (int64_t)llround(value * 1048576.0) : INT64_MAX / 2;
}

struct metrics *
metrics_new(void)
{
	struct metrics *metrics = mem_alloc(sizeof(*metrics));
	pthread_mutex_init(&metrics->lock, NULL);
	metrics->last = &metrics->first;
	metrics->start_us = clock_wall_us(clock_system());
	return metrics;
}

static void
family_free(struct family *family)
{
	struct series *series = family->first;
	while (series) {
		struct series *next = series->next;
		for (size_t i = 0; i < family->label_count; i++)
			mem_free(series->values[i]);
		free(series->metric);
		mem_free(series);
		series = next;
	}
	for (size_t i = 0; i < family->label_count; i++)
		mem_free(family->labels[i]);
	mem_free(family->name);
	mem_free(family->help);
	mem_free(family->unit);
	mem_free(family->bounds);
	mem_free(family);
}

void
metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	for (struct family *family = metrics->first; family;) {
		struct family *next = family->next;
		family_free(family);
		family = next;
	}
	pthread_mutex_destroy(&metrics->lock);
	mem_free(metrics);
}

static struct family *
family_new(const struct metric_spec *spec, enum metric_kind kind)
{
	struct family *family = mem_alloc(sizeof(*family));

	family->kind = kind;
	family->name = mem_strdup(spec->name);
	family->help = mem_strdup(spec->help ? spec->help : "");
	family->unit = spec->unit ? mem_strdup(spec->unit) : NULL;
	for (size_t i = 0; spec->labels && spec->labels[i]; i++) {
		assert(i < LABELS_MAX);
		family->labels[family->label_count++] = mem_strdup(spec->labels[i]);
	}
	family->per_unit = spec->per_unit;
	family->max_series = spec->max_series ? spec->max_series : DEFAULT_MAX_SERIES;
	family->bound_count = spec->buckets ? spec->bucket_count : DEFAULT_BOUND_COUNT;
	assert(family->bound_count <= BOUNDS_MAX);
	if (kind == KIND_HISTOGRAM) {
		family->bounds = mem_array(family->bound_count, sizeof(double));
		memcpy(family->bounds, spec->buckets ? spec->buckets : DEFAULT_BOUNDS,
		       family->bound_count * sizeof(double));
	}
	family->last = &family->first;
	return family;
}

static struct family *
family_for(struct metrics *metrics, const struct metric_spec *spec, enum metric_kind kind)
{
	struct family *family = metrics->first;
	while (family && strcmp(family->name, spec->name) != 0)
		family = family->next;
	if (!family) {
		family = family_new(spec, kind);
		*metrics->last = family;
		metrics->last = &family->next;
	}
	assert(family->kind == kind);
	return family;
}

/* Zeroed memory aligned to a cache line. */
static void *
aligned_zero(size_t size)
{
	size_t rounded = (size + 63) & ~(size_t)63;
	void *memory = aligned_alloc(64, rounded);
	if (!memory)
		return mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	return memset(memory, 0, rounded);
}

static void *
metric_new(const struct family *family)
{
	switch (family->kind) {
	case KIND_COUNTER:
		return aligned_zero(sizeof(struct metric_counter));
	case KIND_GAUGE:
		return aligned_zero(sizeof(struct metric_gauge));
	case KIND_SUMMARY:
		return aligned_zero(sizeof(struct metric_summary));
	case KIND_HISTOGRAM:
		break;
	}
	struct metric_histogram *histogram =
	    aligned_zero(sizeof(*histogram) + (family->bound_count + 1) * sizeof(histogram->counts[0]));
	histogram->bounds = family->bounds;
	histogram->bound_count = family->bound_count;
	return histogram;
}

static bool
has_values(const struct family *family, const struct series *series, const char *const *values)
{
	for (size_t i = 0; i < family->label_count; i++)
		if (strcmp(series->values[i], values[i]) != 0)
			return false;
	return true;
}

static struct series *
series_find(const struct family *family, const char *const *values)
{
	struct series *series = family->first;
	while (series && !has_values(family, series, values))
		series = series->next;
	return series;
}

static void *
metric_for(struct metrics *metrics, const struct metric_spec *spec, enum metric_kind kind,
           const char *const *values)
{
	static const char *const OTHER[LABELS_MAX] = {"other", "other", "other", "other",
	                                              "other", "other", "other", "other"};
	if (!metrics)
		return NULL;
	pthread_mutex_lock(&metrics->lock);
	struct family *family = family_for(metrics, spec, kind);
	struct series *series = series_find(family, values);
	if (!series && family->series_count >= family->max_series) {
		values = OTHER;
		series = series_find(family, values);
	}
	if (!series) {
		series = mem_alloc(sizeof(*series));
		for (size_t i = 0; i < family->label_count; i++)
			series->values[i] = mem_strdup(values[i]);
		series->metric = metric_new(family);
		*family->last = series;
		family->last = &series->next;
		family->series_count++;
	}
	pthread_mutex_unlock(&metrics->lock);
	return series->metric;
}

struct metric_counter *
metrics_counter(struct metrics *m, const struct metric_spec *spec, const char *const *values)
{
	return metric_for(m, spec, KIND_COUNTER, values);
}

struct metric_gauge *
metrics_gauge(struct metrics *m, const struct metric_spec *spec, const char *const *values)
{
	return metric_for(m, spec, KIND_GAUGE, values);
}

struct metric_histogram *
metrics_histogram(struct metrics *m, const struct metric_spec *spec, const char *const *values)
{
	return metric_for(m, spec, KIND_HISTOGRAM, values);
}

struct metric_summary *
metrics_summary(struct metrics *m, const struct metric_spec *spec, const char *const *values)
{
	return metric_for(m, spec, KIND_SUMMARY, values);
}

/* Threads take the cells in turn. */
static unsigned
my_stripe(void)
{
	static _Atomic unsigned next;
	static _Thread_local unsigned stripe; /* 1 more than the index; 0: not chosen yet */
	if (!stripe)
		stripe = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % STRIPES + 1;
	return stripe - 1;
}

void
counter_add(struct metric_counter *counter, uint64_t n)
{
	if (counter)
		atomic_fetch_add_explicit(&counter->cells[my_stripe()].value, n, memory_order_relaxed);
}

uint64_t
counter_value(const struct metric_counter *counter)
{
	uint64_t total = 0;
	for (unsigned i = 0; counter && i < STRIPES; i++)
		total += atomic_load_explicit(&counter->cells[i].value, memory_order_relaxed);
	return total;
}

void
gauge_set(struct metric_gauge *gauge, int64_t value)
{
	if (gauge)
		atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

void
gauge_add(struct metric_gauge *gauge, int64_t delta)
{
	if (gauge)
		atomic_fetch_add_explicit(&gauge->value, delta, memory_order_relaxed);
}

int64_t
gauge_value(const struct metric_gauge *gauge)
{
	return gauge ? atomic_load_explicit(&gauge->value, memory_order_relaxed) : 0;
}

void
histogram_observe(struct metric_histogram *histogram, double value)
{
	size_t i = 0;
	if (!histogram || isnan(value))
		return;
	while (i < histogram->bound_count && value > histogram->bounds[i])
		i++;
	atomic_fetch_add_explicit(&histogram->counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->sum_fixed, fixed_from_double(value), memory_order_relaxed);
}
