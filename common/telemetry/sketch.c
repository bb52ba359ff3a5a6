/*
 * metric: summaries by DDSketch with a relative error of 1 %.
 *
 * A value x falls into bin ceil(log_gamma(x)), gamma = (1 + a) / (1 - a) with a = 0.01. The bins cover
 * 1 ns to more than a year in seconds; what lies outside counts in the first or last bin.
 */
#include <math.h>
#include <stdbool.h>

#include "metric_internal.h"

#define LOG_GAMMA  0.020000666706669543 /* ln(1.01 / 0.99) */
#define BIN_OFFSET 1037                 /* bin of 1e-9 is 0 */

void
summary_observe(struct metric_summary *summary, double value)
{
	if (!summary || !(value >= 0))
		return;
	if (value < 1e-9) {
		atomic_fetch_add_explicit(&summary->zeros, 1, memory_order_relaxed);
	} else {
		double bin = ceil(log(value) / LOG_GAMMA) + BIN_OFFSET;
		unsigned index = bin < 0 ? 0 : bin >= SKETCH_BINS ? SKETCH_BINS - 1 : (unsigned)bin;
		atomic_fetch_add_explicit(&summary->bins[index], 1, memory_order_relaxed);
	}
	atomic_fetch_add_explicit(&summary->count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&summary->sum_fixed, fixed_from_double(value), memory_order_relaxed);
}

double
sketch_quantile(const struct metric_summary *summary, double q)
{
	uint64_t count = atomic_load_explicit(&summary->count, memory_order_relaxed);
	uint64_t seen = atomic_load_explicit(&summary->zeros, memory_order_relaxed);
	double rank = q * (double)(count > 0 ? count - 1 : 0);

	if (count == 0)
		return NAN;
	if ((double)seen > rank)
		return 0;
	for (unsigned i = 0; i < SKETCH_BINS; i++) {
		seen += atomic_load_explicit(&summary->bins[i], memory_order_relaxed);
		if ((double)seen > rank)
			/* The middle of the bin, in the sense of relative error. */
			return 2 * exp(((double)i - BIN_OFFSET) * LOG_GAMMA) / (1 + exp(LOG_GAMMA));
	}
	return NAN;
}
