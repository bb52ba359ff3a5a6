/*
 * http_metrics: a table by method id, filled at the start and never changed; the counters of a status are
 * made when it is first seen, since a method has a few of the hundreds.
 */
#include "http_metrics.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/arena.h"

#define STATUS_FIRST 100u
#define STATUS_COUNT 500u
#define PLACES       ((size_t)HTTP_METHOD) /* that are no methods */

struct route_series {
	const struct api_method *method; /* NULL: a place */
	const char *route, *verb;
	struct metric_histogram *duration;
	_Atomic(struct metric_counter *) requests[STATUS_COUNT + 1]; /* the last: no answer */
};

struct http_metrics {
	struct metrics *metrics;
	struct route_series places[PLACES];
	struct route_series *routes;
	size_t route_count;
	struct route_series **table; /* by method id, open addressing; size a power of two */
	uint32_t mask;
};

static const char *
verb_name(enum api_verb verb)
{
	static const char *const NAMES[] = {"any", "GET", "POST", "PUT", "PATCH", "DELETE"};
	return NAMES[verb];
}

static void
series_init(struct http_metrics *self, struct route_series *series, const char *route, const char *verb)
{
	static const char *const LABELS[] = {"method", "route", NULL};
	static const double BOUNDS[] = {0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
	                                0.1,     0.25,   0.5,   1,      2.5,   5,    10};
	static const struct metric_spec SPEC = {.name = "corbel_http_request_duration_seconds",
	                                        .help = "Time from a request's head to its end.",
	                                        .unit = "seconds",
	                                        .labels = LABELS,
	                                        .max_series = 1000,
	                                        .buckets = BOUNDS,
	                                        .bucket_count = sizeof(BOUNDS) / sizeof(BOUNDS[0])};

	series->route = route;
	series->verb = verb;
	series->duration = metrics_histogram(self->metrics, &SPEC, (const char *[]){verb, route});
}

static void
add_method(struct http_metrics *self, const struct api_method *method)
{
	struct route_series *series = &self->routes[self->route_count++];
	uint32_t i = method->id & self->mask;

	series->method = method;
	series_init(self, series, method->path, verb_name(method->verb));
	while (self->table[i])
		i = (i + 1) & self->mask;
	self->table[i] = series;
}

static size_t
count_methods(void)
{
	size_t count = 0;
	for (size_t i = 0; api_services[i]; i++)
		count += api_services[i]->method_count;
	return count;
}

struct http_metrics *
http_metrics_new(struct metrics *metrics)
{
	static const char *const PLACE_ROUTES[] = {[HTTP_NONE] = "none",
	                                           [HTTP_FORWARD] = "/v1/auth/forward",
	                                           [HTTP_STREAM] = "/v1/stream",
	                                           [HTTP_PAGE] = "page"};
	struct http_metrics *self = mem_alloc(sizeof(*self));
	size_t count = count_methods();
	uint32_t size = 16;

	self->metrics = metrics;
	while (size < 4 * count)
		size *= 2;
	self->mask = size - 1;
	self->table = mem_array(size, sizeof(struct route_series *));
	self->routes = mem_array(count, sizeof(struct route_series));
	for (size_t i = 0; i < PLACES; i++)
		series_init(self, &self->places[i], PLACE_ROUTES[i], "any");
	for (size_t i = 0; api_services[i]; i++)
		for (size_t m = 0; m < api_services[i]->method_count; m++)
			if (api_services[i]->methods[m].path)
				add_method(self, &api_services[i]->methods[m]);
	return self;
}

void
http_metrics_free(struct http_metrics *self)
{
	if (!self)
		return;
	mem_free(self->routes);
	mem_free(self->table);
	mem_free(self);
}

static struct route_series *
find(struct http_metrics *self, enum http_place place, const struct api_method *method)
{
	if (place != HTTP_METHOD)
		return &self->places[place];
	for (uint32_t i = method->id & self->mask; self->table[i]; i = (i + 1) & self->mask)
		if (self->table[i]->method == method)
			return self->table[i];
	return &self->places[HTTP_NONE];
}

/* Two shards that meet here get the same counter. */
static struct metric_counter *
counter_of(struct http_metrics *self, struct route_series *series, unsigned status)
{
	static const char *const LABELS[] = {"method", "route", "status", NULL};
	static const struct metric_spec SPEC = {
	    .name = "corbel_http_requests",
	    .help = "Requests that ended, by route and status; status none: the client left before an answer.",
	    .labels = LABELS,
	    .max_series = 4000};
	size_t index =
	    status >= STATUS_FIRST && status < STATUS_FIRST + STATUS_COUNT ? status - STATUS_FIRST : STATUS_COUNT;
	/* acquire: the counter behind the pointer is complete */
	struct metric_counter *counter = atomic_load_explicit(&series->requests[index], memory_order_acquire);

	if (!counter) {
		char text[12] = "none";
		if (index < STATUS_COUNT)
			snprintf(text, sizeof(text), "%u", status);
		counter = metrics_counter(self->metrics, &SPEC, (const char *[]){series->verb, series->route, text});
		atomic_store_explicit(&series->requests[index], counter, memory_order_release);
	}
	return counter;
}

void
http_metrics_count(struct http_metrics *self, enum http_place place, const struct api_method *method,
                   unsigned status, double seconds)
{
	struct route_series *series = find(self, place, method);

	counter_add(counter_of(self, series, status), 1);
	histogram_observe(series->duration, seconds);
}
