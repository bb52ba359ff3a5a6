/*
 * scrape: an exposition in Prometheus' text format, read back.
 *
 * For tools that show what a process says of itself. Lines that are no samples are skipped; nothing a process
 * sends can do more than be shown wrongly. Everything lives in the arena of scrape_read(), and what does not
 * fit below its ceiling is left out.
 */
#ifndef CORBEL_TELEMETRY_SCRAPE_H
#define CORBEL_TELEMETRY_SCRAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

#define SCRAPE_LABELS_MAX  8
#define SCRAPE_BUCKETS_MAX 64

struct scrape_label {
	const char *name, *value;
};

struct scrape_sample {
	const char *name;
	struct scrape_label labels[SCRAPE_LABELS_MAX];
	size_t label_count;
	double value;
};

struct scrape {
	struct scrape_sample *samples;
	size_t count;
};

void scrape_read(const char *text, size_t length, struct arena *arena, struct scrape *out);
/* The label's value; "" when the sample has none. */
const char *scrape_label(const struct scrape_sample *sample, const char *name);

/* Cumulative buckets of one or more histograms with the same bounds. */
struct scrape_buckets {
	double bounds[SCRAPE_BUCKETS_MAX];
	double counts[SCRAPE_BUCKETS_MAX];
	size_t count;
};

/* Adds a "_bucket" sample: to the bucket of its "le", in rising order of bounds. */
void scrape_buckets_add(struct scrape_buckets *buckets, const struct scrape_sample *sample);
/* What came to `now` since `before`; a process that was started anew counts from zero. */
void scrape_buckets_since(const struct scrape_buckets *now, const struct scrape_buckets *before,
                          struct scrape_buckets *out);
/* By linear interpolation in a bucket, as PromQL's histogram_quantile() has it; NaN when nothing was counted.
 */
double scrape_quantile(const struct scrape_buckets *buckets, double q);

#endif
