/*
 * trace: spans into a bounded ring, and a thread that exports them.
 *
 * Spans are copied into the ring under a short lock. The exporter takes up to a batch at a time and
 * writes it as a JSON line, to OTLP/HTTP, or both; while a collector is away spans are dropped and
 * counted, never kept beyond the ring.
 */
#include "telemetry/trace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/monotonic.h"
#include "base/random.h"
#include "telemetry/otlp.h"
#include "telemetry/otlp_client.h"

#define BATCH         256u
#define BATCH_WAIT_MS 1000u

struct tracer {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct span *ring; /* guarded by `lock`, as are head, count and is_stopping */
	size_t head, count, capacity;
	bool is_stopping;
	_Atomic uint64_t dropped;
	struct metric_counter *exported, *overflowed, *unsent;
	uint64_t sample_below; /* of 2^32 */
	const struct clock *clock;
	bool is_exporting;
	pthread_t exporter;
	/* The exporter's, but for otlp_client_hurry(). */
	char *service, *node;
	enum otlp_encoding encoding;
	struct otlp_client *client; /* NULL: no collector */
	FILE *file;                 /* NULL: none */
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

/* Bytes of `text` that fit, without half a character at the end. */
static size_t
fitting(const char *text, size_t room)
{
	size_t length = strnlen(text, room + 1);
	if (length <= room)
		return length;
	length = room;
	while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
		length--;
	return length;
}

void
span_attribute(struct span *span, const char *name, const char *text)
{
	if (!span->context.is_sampled || span->attribute_count == SPAN_ATTRIBUTES_MAX)
		return;
	char *out = span->attributes[span->attribute_count].text;
	size_t length = fitting(text, sizeof(span->attributes[0].text) - 1);
	memcpy(out, text, length);
	out[length] = '\0';
	span->attributes[span->attribute_count++].name = name;
}

static void
count_drops(struct tracer *tracer, struct metric_counter *reason, uint64_t spans)
{
	atomic_fetch_add_explicit(&tracer->dropped, spans, memory_order_relaxed);
	counter_add(reason, spans);
}

void
span_end(struct tracer *tracer, struct span *span, enum status_code code)
{
	bool is_taken = false;

	if (!tracer || !tracer->is_exporting || !span->context.is_sampled)
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
		count_drops(tracer, tracer->overflowed, 1);
}

/* Waits for a batch, a second, or the end. Returns the number of spans taken. */
static size_t
take_batch(struct tracer *tracer, struct span *batch, bool *is_stopping)
{
	struct timespec until = monotonic_in_ms(BATCH_WAIT_MS);
	size_t taken = 0;

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

static void
write_line(struct tracer *tracer, const struct otlp_resource *resource, const struct span *spans,
           size_t count)
{
	struct strbuf line;

	strbuf_init(&line, NULL);
	otlp_encode_spans(resource, spans, count, OTLP_JSON, &line);
	strbuf_putc(&line, '\n');
	if (fwrite(line.data, 1, line.length, tracer->file) != line.length || fflush(tracer->file) != 0)
		count_drops(tracer, tracer->unsent, count);
	else if (!tracer->client)
		counter_add(tracer->exported, count);
	strbuf_fini(&line);
}

static void
send_batch(struct tracer *tracer, const struct otlp_resource *resource, const struct span *spans,
           size_t count)
{
	struct strbuf body;
	uint64_t lost;

	strbuf_init(&body, NULL);
	otlp_encode_spans(resource, spans, count, tracer->encoding, &body);
	if (otlp_client_send(tracer->client, &body, &lost) != OTLP_TAKEN || lost > count)
		lost = count;
	counter_add(tracer->exported, count - lost);
	if (lost > 0)
		count_drops(tracer, tracer->unsent, lost);
	strbuf_fini(&body);
}

static void *
exporter_main(void *arg)
{
	struct tracer *tracer = arg;
	struct otlp_resource resource = {tracer->service, tracer->node};
	struct span *batch = mem_array(BATCH, sizeof(*batch));
	bool is_stopping = false;

	for (;;) {
		size_t taken = take_batch(tracer, batch, &is_stopping);
		if (taken > 0 && tracer->file)
			write_line(tracer, &resource, batch, taken);
		if (taken > 0 && tracer->client)
			send_batch(tracer, &resource, batch, taken);
		if (taken == 0 && is_stopping)
			break;
	}
	mem_free(batch);
	return NULL;
}

static void
make_metrics(struct tracer *tracer, struct metrics *metrics)
{
	static const char *const LABELS[] = {"reason", NULL};
	static const struct metric_spec EXPORTED = {.name = "corbel_trace_spans_exported",
	                                            .help = "Spans that reached the collector or the file."};
	static const struct metric_spec DROPPED = {
	    .name = "corbel_trace_spans_dropped",
	    .help = "Spans lost: queue_full before export, not_taken by the collector or the file.",
	    .labels = LABELS};

	tracer->exported = metrics_counter(metrics, &EXPORTED, NULL);
	tracer->overflowed = metrics_counter(metrics, &DROPPED, (const char *[]){"queue_full"});
	tracer->unsent = metrics_counter(metrics, &DROPPED, (const char *[]){"not_taken"});
}

static void
open_outputs(struct tracer *tracer, const struct tracer_options *options)
{
	struct otlp_client_options client = {.endpoint = options->endpoint,
	                                     .signal = "traces",
	                                     .encoding = tracer->encoding,
	                                     .headers = options->headers,
	                                     .log = options->log,
	                                     .metrics = options->metrics};

	if (options->endpoint)
		tracer->client = otlp_client_new(&client);
	if (options->file)
		tracer->file = strcmp(options->file, "-") == 0 ? stderr : fopen(options->file, "ae");
	if (options->file && !tracer->file)
		log_warn(options->log, "no trace file", LOG_TEXT("path", options->file));
}

static void
start_export(struct tracer *tracer, const struct tracer_options *options)
{
	make_metrics(tracer, options->metrics);
	open_outputs(tracer, options);
	if (!tracer->client && !tracer->file)
		return;
	tracer->ring = mem_array(tracer->capacity, sizeof(*tracer->ring));
	tracer->is_exporting = pthread_create(&tracer->exporter, NULL, exporter_main, tracer) == 0;
}

struct tracer *
tracer_new(const struct tracer_options *options)
{
	struct tracer *tracer = mem_alloc(sizeof(*tracer));

	pthread_mutex_init(&tracer->lock, NULL);
	monotonic_cond_init(&tracer->wake);
	tracer->clock = options->clock ? options->clock : clock_system();
	tracer->sample_below = (uint64_t)(options->sample_ratio * 4294967296.0);
	tracer->capacity = options->queue_spans ? options->queue_spans : 4096;
	tracer->service = mem_strdup(options->service ? options->service : "corbel");
	tracer->node = mem_strdup(options->node ? options->node : "");
	tracer->encoding = options->encoding;
	if (options->endpoint || options->file)
		start_export(tracer, options);
	return tracer;
}

static void
stop_export(struct tracer *tracer, uint32_t grace_ms)
{
	otlp_client_hurry(tracer->client, grace_ms);
	pthread_mutex_lock(&tracer->lock);
	tracer->is_stopping = true;
	pthread_cond_signal(&tracer->wake);
	pthread_mutex_unlock(&tracer->lock);
	pthread_join(tracer->exporter, NULL);
}

void
tracer_free(struct tracer *tracer, uint32_t grace_ms)
{
	if (!tracer)
		return;
	if (tracer->is_exporting)
		stop_export(tracer, grace_ms);
	otlp_client_free(tracer->client);
	if (tracer->file && tracer->file != stderr)
		(void)fclose(tracer->file);
	pthread_cond_destroy(&tracer->wake);
	pthread_mutex_destroy(&tracer->lock);
	mem_free(tracer->ring);
	mem_free(tracer->service);
	mem_free(tracer->node);
	mem_free(tracer);
}

uint64_t
tracer_dropped(const struct tracer *tracer)
{
	return tracer ? atomic_load_explicit(&tracer->dropped, memory_order_relaxed) : 0;
}
