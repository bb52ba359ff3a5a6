/*
 * top_model: what the processes say of themselves at one moment, summed up, and what came between two
 * moments.
 *
 * A leaf: it knows the names of metrics (docs/telemetry.md), no network and no terminal.
 */
#ifndef CORBEL_CLI_TOP_MODEL_H
#define CORBEL_CLI_TOP_MODEL_H

#include <stdint.h>

#include "telemetry/scrape.h"

#define TOP_ROWS_MAX 256

/* One route of the API, or one service behind it. */
struct top_row {
	char verb[12]; /* of a route */
	char name[96];
	double total, client_errors, server_errors;
	double in_flight, replicas; /* of a service */
	struct scrape_buckets time;
};

struct top_table {
	struct top_row rows[TOP_ROWS_MAX];
	size_t count; /* further rows are left out */
};

struct top_reading {
	uint64_t at_ms; /* monotonic */
	struct top_table routes, services;
	struct top_row all; /* requests of every route */
	double unauthenticated, over_plan, unchecked;
	double admitted, refused, degraded, keys;
	double redis_up; /* processes that reach it */
	bool has_redis;
	double cpu_s, memory_bytes, files, files_max, threads, queued;
	double started_s; /* of the process that runs longest; 0: not said */
	double starts_s;  /* sum of all: changes when a process comes, goes or is started anew */
};

/* Begins an empty reading. */
void top_reading_clear(struct top_reading *reading, uint64_t now_ms);
/* Adds one process's exposition. */
void top_reading_add(struct top_reading *reading, const struct scrape *scrape);
/* `now` with counts as rates a second since `before`, and times of that span only. When the processes are not
 * the same as before, sums cannot be compared: then all rates are 0. Rows come with the busiest first. */
void top_reading_rates(const struct top_reading *now, const struct top_reading *before,
                       struct top_reading *out);

#endif
