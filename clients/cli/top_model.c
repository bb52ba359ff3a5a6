/*
 * top_model: see top_model.h.
 */
#include "top_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
top_reading_clear(struct top_reading *reading, uint64_t now_ms)
{
	memset(reading, 0, sizeof(*reading));
	reading->at_ms = now_ms;
}

/* The row of these words, made when it is new; NULL when the table is full. */
static struct top_row *
row_for(struct top_table *table, const char *verb, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->rows[i].verb, verb) == 0 && strcmp(table->rows[i].name, name) == 0)
			return &table->rows[i];
	if (table->count == TOP_ROWS_MAX)
		return NULL;
	struct top_row *row = &table->rows[table->count++];
	snprintf(row->verb, sizeof(row->verb), "%s", verb);
	snprintf(row->name, sizeof(row->name), "%s", name);
	return row;
}

/* ---- what each metric adds to ---- */

struct reader {
	const char *name;
	void (*add)(struct top_reading *reading, const struct scrape_sample *sample);
};

static struct top_row *
route_of(struct top_reading *reading, const struct scrape_sample *sample)
{
	const char *verb = scrape_label(sample, "method");
	return row_for(&reading->routes, strcmp(verb, "any") == 0 ? "" : verb, scrape_label(sample, "route"));
}

static struct top_row *
service_of(struct top_reading *reading, const struct scrape_sample *sample)
{
	return row_for(&reading->services, "", scrape_label(sample, "service"));
}

static void
add_request(struct top_row *row, char status, double value)
{
	if (!row)
		return;
	row->total += value;
	if (status == '4')
		row->client_errors += value;
	if (status == '5')
		row->server_errors += value;
}

static void
add_requests(struct top_reading *reading, const struct scrape_sample *sample)
{
	char status = scrape_label(sample, "status")[0];

	add_request(&reading->all, status, sample->value);
	add_request(route_of(reading, sample), status, sample->value);
}

static void
add_request_time(struct top_reading *reading, const struct scrape_sample *sample)
{
	struct top_row *row = route_of(reading, sample);

	scrape_buckets_add(&reading->all.time, sample);
	if (row)
		scrape_buckets_add(&row->time, sample);
}

static void
add_requests_in_flight(struct top_reading *reading, const struct scrape_sample *sample)
{
	reading->all.in_flight += sample->value;
}

/* What is the service's fault, not its caller's. */
static bool
is_failure(const char *code)
{
	static const char *const FAILURES[] = {"UNKNOWN",  "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED",
	                                       "INTERNAL", "UNAVAILABLE",       "DATA_LOSS"};
	for (size_t i = 0; i < sizeof(FAILURES) / sizeof(FAILURES[0]); i++)
		if (strcmp(code, FAILURES[i]) == 0)
			return true;
	return false;
}

static void
add_calls(struct top_reading *reading, const struct scrape_sample *sample)
{
	add_request(service_of(reading, sample), is_failure(scrape_label(sample, "code")) ? '5' : '2',
	            sample->value);
}

static void
add_call_time(struct top_reading *reading, const struct scrape_sample *sample)
{
	struct top_row *row = service_of(reading, sample);
	if (row)
		scrape_buckets_add(&row->time, sample);
}

static void
add_calls_in_flight(struct top_reading *reading, const struct scrape_sample *sample)
{
	struct top_row *row = service_of(reading, sample);
	if (row)
		row->in_flight += sample->value;
}

/* Each caller counts the replicas it sees: the most that anybody sees are there. */
static void
add_replicas(struct top_reading *reading, const struct scrape_sample *sample)
{
	struct top_row *row = service_of(reading, sample);
	if (row && row->replicas < sample->value)
		row->replicas = sample->value;
}

static void
add_redis(struct top_reading *reading, const struct scrape_sample *sample)
{
	reading->has_redis = true;
	reading->redis_up += sample->value;
}

static void
add_start(struct top_reading *reading, const struct scrape_sample *sample)
{
	reading->starts_s += sample->value;
	if (!(reading->started_s > 0) || sample->value < reading->started_s)
		reading->started_s = sample->value;
}

#define SUM(member)                                                                                          \
	static void add_##member(struct top_reading *reading, const struct scrape_sample *sample)                \
	{                                                                                                        \
		reading->member += sample->value;                                                                    \
	}
SUM(unauthenticated)
SUM(over_plan)
SUM(unchecked)
SUM(admitted)
SUM(refused)
SUM(degraded)
SUM(keys)
SUM(cpu_s)
SUM(memory_bytes)
SUM(files)
SUM(files_max)
SUM(threads)
SUM(queued)
#undef SUM

static const struct reader READERS[] = {
    {"corbel_http_requests_total", add_requests},
    {"corbel_http_request_duration_seconds_bucket", add_request_time},
    {"corbel_http_requests_in_flight", add_requests_in_flight},
    {"corbel_http_unauthenticated_total", add_unauthenticated},
    {"corbel_http_limited_total", add_over_plan},
    {"corbel_ingress_unchecked_total", add_unchecked},
    {"corbel_rpc_server_requests_total", add_calls},
    {"corbel_rpc_server_duration_seconds_bucket", add_call_time},
    {"corbel_rpc_server_in_flight", add_calls_in_flight},
    {"corbel_bus_client_healthy_replicas", add_replicas},
    {"corbel_ratelimit_allowed_total", add_admitted},
    {"corbel_ratelimit_refused_total", add_refused},
    {"corbel_ratelimit_degraded_total", add_degraded},
    {"corbel_ratelimit_keys", add_keys},
    {"corbel_redis_up", add_redis},
    {"corbel_workers_queued", add_queued},
    {"process_cpu_seconds_total", add_cpu_s},
    {"process_resident_memory_bytes", add_memory_bytes},
    {"process_open_fds", add_files},
    {"process_max_fds", add_files_max},
    {"process_threads", add_threads},
    {"process_start_time_seconds", add_start},
};

void
top_reading_add(struct top_reading *reading, const struct scrape *scrape)
{
	for (size_t i = 0; i < scrape->count; i++)
		for (size_t r = 0; r < sizeof(READERS) / sizeof(READERS[0]); r++)
			if (strcmp(scrape->samples[i].name, READERS[r].name) == 0)
				READERS[r].add(reading, &scrape->samples[i]);
}

/* ---- rates ---- */

static double
rate(double now, double before, double seconds)
{
	return now > before ? (now - before) / seconds : 0;
}

static void
row_rates(struct top_row *row, const struct top_row *before, double seconds)
{
	static const struct top_row NONE;
	struct scrape_buckets time = row->time;

	before = before ? before : &NONE;
	row->total = rate(row->total, before->total, seconds);
	row->client_errors = rate(row->client_errors, before->client_errors, seconds);
	row->server_errors = rate(row->server_errors, before->server_errors, seconds);
	scrape_buckets_since(&time, &before->time, &row->time);
}

static const struct top_row *
same_row(const struct top_table *table, const struct top_row *row)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->rows[i].verb, row->verb) == 0 && strcmp(table->rows[i].name, row->name) == 0)
			return &table->rows[i];
	return NULL;
}

static int
by_rate(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	if (x->total < y->total || x->total > y->total)
		return x->total > y->total ? -1 : 1;
	int order = strcmp(x->name, y->name);
	return order ? order : strcmp(x->verb, y->verb);
}

static void
table_rates(struct top_table *table, const struct top_table *before, double seconds)
{
	for (size_t i = 0; i < table->count; i++)
		row_rates(&table->rows[i], same_row(before, &table->rows[i]), seconds);
	qsort(table->rows, table->count, sizeof(table->rows[0]), by_rate);
}

void
top_reading_rates(const struct top_reading *now, const struct top_reading *before, struct top_reading *out)
{
	double seconds = (double)(now->at_ms - before->at_ms) / 1000;
	bool are_same = fabs(now->starts_s - before->starts_s) < 0.5;

	*out = *now;
	before = are_same ? before : now;
	if (!(seconds > 0))
		seconds = 1;
	row_rates(&out->all, &before->all, seconds);
	table_rates(&out->routes, &before->routes, seconds);
	table_rates(&out->services, &before->services, seconds);
	out->unauthenticated = rate(now->unauthenticated, before->unauthenticated, seconds);
	out->over_plan = rate(now->over_plan, before->over_plan, seconds);
	out->unchecked = rate(now->unchecked, before->unchecked, seconds);
	out->admitted = rate(now->admitted, before->admitted, seconds);
	out->refused = rate(now->refused, before->refused, seconds);
	out->degraded = rate(now->degraded, before->degraded, seconds);
	out->cpu_s = rate(now->cpu_s, before->cpu_s, seconds);
}
