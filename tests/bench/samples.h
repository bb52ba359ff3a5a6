/*
 * samples: what a benchmark has timed, in microseconds, and its quantiles.
 */
#ifndef CORBEL_BENCH_SAMPLES_H
#define CORBEL_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define SAMPLES_MAX 4000

/* Zeroed, it is empty. */
struct samples {
	uint64_t us[SAMPLES_MAX];
	size_t count;
};

/* Beyond SAMPLES_MAX they are left out. */
static inline void
samples_add(struct samples *samples, uint64_t us)
{
	if (samples->count < SAMPLES_MAX)
		samples->us[samples->count++] = us;
}

static inline int
samples_by_size(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* 0 without samples. Sorts them. */
static inline uint64_t
samples_quantile(struct samples *samples, double q)
{
	qsort(samples->us, samples->count, sizeof(samples->us[0]), samples_by_size);
	return samples->count ? samples->us[(size_t)((double)(samples->count - 1) * q)] : 0;
}

#endif
