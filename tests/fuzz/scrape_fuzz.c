/*
 * Any bytes read as an exposition: each sample has a name and labels, quantiles are numbers or none.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "telemetry/scrape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scrape_buckets buckets = {.count = 0}, since;
	struct scrape scrape;
	struct arena arena;

	if (size > 65536)
		return 0;
	arena_init(&arena, 16384, 1u << 20);
	scrape_read((const char *)data, size, &arena, &scrape);
	for (size_t i = 0; i < scrape.count; i++) {
		const struct scrape_sample *sample = &scrape.samples[i];
		assert(*sample->name && sample->label_count <= SCRAPE_LABELS_MAX);
		for (size_t l = 0; l < sample->label_count; l++)
			assert(*sample->labels[l].name && sample->labels[l].value);
		scrape_buckets_add(&buckets, sample);
		scrape_buckets_since(&buckets, &(struct scrape_buckets){.count = 0}, &since);
		(void)scrape_quantile(&since, 0.99);
	}
	assert(buckets.count <= SCRAPE_BUCKETS_MAX);
	arena_fini(&arena);
	return 0;
}
