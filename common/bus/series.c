/*
 * series: a list of services, short and only ever added to, under the bus's lock.
 */
#include "series.h"

#include <string.h>

#include "base/arena.h"

struct call_series {
	struct call_series *next;
	struct bus *bus;
	char *service;
	_Atomic(struct metric_counter *) outcomes[STATUS_CODES]; /* made when first seen */
	struct metric_histogram *duration;
};

static struct call_series *
series_new(struct bus *bus, const char *service)
{
	static const char *const LABELS[] = {"service", NULL};
	static const double SECONDS[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
	                                 0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
	static const struct metric_spec DURATION = {.name = "corbel_bus_client_duration_seconds",
	                                            .help = "Time from a call to its end, as its caller sees it.",
	                                            .unit = "seconds",
	                                            .labels = LABELS,
	                                            .buckets = SECONDS,
	                                            .bucket_count = sizeof(SECONDS) / sizeof(SECONDS[0])};
	struct call_series *series = mem_alloc(sizeof(*series));

	series->bus = bus;
	series->service = mem_strdup(service);
	series->duration = metrics_histogram(bus->metrics, &DURATION, &service);
	return series;
}

struct call_series *
series_for(struct bus *bus, const char *service)
{
	pthread_mutex_lock(&bus->lock);
	struct call_series *series = bus->series;
	while (series && strcmp(series->service, service) != 0)
		series = series->next;
	if (!series) {
		series = series_new(bus, service);
		series->next = bus->series;
		bus->series = series;
	}
	pthread_mutex_unlock(&bus->lock);
	return series;
}

/* The series of one outcome. Two threads that meet here get the same one. */
static struct metric_counter *
outcome_of(struct call_series *series, enum status_code code)
{
	static const char *const LABELS[] = {"service", "code", NULL};
	static const struct metric_spec SPEC = {.name = "corbel_bus_client_calls",
	                                        .help = "Calls that ended, by the service called and outcome.",
	                                        .labels = LABELS,
	                                        .max_series = 600};
	/* acquire: the counter behind the pointer is complete */
	struct metric_counter *counter = atomic_load_explicit(&series->outcomes[code], memory_order_acquire);

	if (!counter && series->bus->metrics) {
		const char *values[] = {series->service, status_code_name(code)};
		counter = metrics_counter(series->bus->metrics, &SPEC, values);
		atomic_store_explicit(&series->outcomes[code], counter, memory_order_release);
	}
	return counter;
}

void
series_count(struct call_series *series, enum status_code code, uint64_t lasted_ns)
{
	counter_add(outcome_of(series, code), 1);
	histogram_observe(series->duration, (double)lasted_ns / 1e9);
}

void
series_free_all(struct bus *bus)
{
	while (bus->series) {
		struct call_series *series = bus->series;
		bus->series = series->next;
		mem_free(series->service);
		mem_free(series);
	}
}
