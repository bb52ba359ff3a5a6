/*
 * trace: spans into a bounded ring, and a thread that exports them.
 *
 * Spans are copied into the ring under a short lock. The exporter takes up to a batch at a time and
 * writes it as JSON lines, to OTLP/HTTP, or both; while a collector is away spans are dropped and
 * counted, never kept beyond the ring.
 */
#include "telemetry/trace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/random.h"
#include "telemetry/otlp.h"

#define BATCH 256u

struct tracer {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct span *ring; /* guarded by `lock`, as are head, count and is_stopping */
	size_t head, count, capacity;
	bool is_stopping;
	_Atomic uint64_t dropped;
	uint64_t sample_below; /* of 2^32 */
	const struct clock *clock;
	struct otlp *otlp; /* NULL when nothing exports; touched by the exporter's thread only */
	pthread_t exporter;
};

static void
random_id(uint8_t *out, size_t length)
{
	do {
		for (size_t i = 0; i < length; i += 8) {
			uint64_t word = random_fast_u64();
			memcpy(out + i, &word, 8);
		}
	} while (out[0] == 0 && out[7] == 0);
}

void
span_begin(struct tracer *tracer, struct span *span, const char *name, enum span_kind kind,
           const struct trace_context *parent)
{
	memset(&span->context, 0, sizeof(span->context));
	memset(span->parent_id, 0, sizeof(span->parent_id));
	span->name = name;
	span->kind = kind;
	span->attribute_count = 0;
	if (parent && parent->is_set) {
		span->context = *parent;
		memcpy(span->parent_id, parent->span_id, sizeof(span->parent_id));
	} else {
		random_id(span->context.trace_id, sizeof(span->context.trace_id));
		span->context.is_sampled = tracer && (random_fast_u64() & 0xFFFFFFFFu) < tracer->sample_below;
		span->context.is_set = true;
	}
	random_id(span->context.span_id, sizeof(span->context.span_id));
	span->start_us = tracer && span->context.is_sampled ? clock_wall_us(tracer->clock) : 0;
}

void
span_attribute(struct span *span, const char *name, const char *text)
{
	if (!span->context.is_sampled || span->attribute_count == SPAN_ATTRIBUTES_MAX)
		return;
	span->attributes[span->attribute_count].name = name;
	snprintf(span->attributes[span->attribute_count].text, sizeof(span->attributes[0].text), "%s", text);
	span->attribute_count++;
}

void
span_end(struct tracer *tracer, struct span *span, enum status_code code)
{
	bool is_taken = false;

	if (!tracer || !tracer->otlp || !span->context.is_sampled)
		return;
	span->end_us = clock_wall_us(tracer->clock);
	span->code = code;
	pthread_mutex_lock(&tracer->lock);
	if (tracer->count < tracer->capacity) {
		tracer->ring[(tracer->head + tracer->count++) % tracer->capacity] = *span;
		is_taken = true;
		if (tracer->count == BATCH)
			pthread_cond_signal(&tracer->wake);
	}
	pthread_mutex_unlock(&tracer->lock);
	if (!is_taken)
		atomic_fetch_add_explicit(&tracer->dropped, 1, memory_order_relaxed);
}

/* Waits for a batch, a second, or the end. Returns the number of spans taken. */
static size_t
take_batch(struct tracer *tracer, struct span *batch, bool *is_stopping)
{
	struct timespec until;
	size_t taken = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 1;
	pthread_mutex_lock(&tracer->lock);
	while (tracer->count < BATCH && !tracer->is_stopping)
		if (pthread_cond_timedwait(&tracer->wake, &tracer->lock, &until) != 0)
			break;
	while (taken < BATCH && tracer->count > 0) {
		batch[taken++] = tracer->ring[tracer->head];
		tracer->head = (tracer->head + 1) % tracer->capacity;
		tracer->count--;
	}
	*is_stopping = tracer->is_stopping;
	pthread_mutex_unlock(&tracer->lock);
	return taken;
}

static void *
exporter_main(void *arg)
{
	struct tracer *tracer = arg;
	struct span *batch = mem_array(BATCH, sizeof(*batch));
	bool is_stopping = false;

	for (;;) {
		size_t taken = take_batch(tracer, batch, &is_stopping);
		if (taken > 0 && !otlp_export_spans(tracer->otlp, batch, taken))
			atomic_fetch_add_explicit(&tracer->dropped, taken, memory_order_relaxed);
		if (taken == 0 && is_stopping)
			break;
	}
	mem_free(batch);
	return NULL;
}

struct tracer *
tracer_new(const struct tracer_options *options)
{
	struct tracer *tracer = mem_alloc(sizeof(*tracer));
	pthread_condattr_t monotonic;

	pthread_mutex_init(&tracer->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&tracer->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	tracer->clock = options->clock ? options->clock : clock_system();
	tracer->sample_below = (uint64_t)(options->sample_ratio * 4294967296.0);
	tracer->capacity = options->queue_spans ? options->queue_spans : 4096;
	if (!options->endpoint && !options->file)
		return tracer;
	tracer->ring = mem_array(tracer->capacity, sizeof(*tracer->ring));
	tracer->otlp = otlp_new(options);
	if (pthread_create(&tracer->exporter, NULL, exporter_main, tracer) != 0) {
		otlp_free(tracer->otlp);
		tracer->otlp = NULL;
	}
	return tracer;
}

void
tracer_free(struct tracer *tracer, uint32_t grace_ms)
{
	if (!tracer)
		return;
	if (tracer->otlp) {
		otlp_set_deadline(tracer->otlp, grace_ms);
		pthread_mutex_lock(&tracer->lock);
		tracer->is_stopping = true;
		pthread_cond_signal(&tracer->wake);
		pthread_mutex_unlock(&tracer->lock);
		pthread_join(tracer->exporter, NULL);
		otlp_free(tracer->otlp);
	}
	pthread_cond_destroy(&tracer->wake);
	pthread_mutex_destroy(&tracer->lock);
	mem_free(tracer->ring);
	mem_free(tracer);
}

uint64_t
tracer_dropped(const struct tracer *tracer)
{
	return tracer ? atomic_load_explicit(&tracer->dropped, memory_order_relaxed) : 0;
}
