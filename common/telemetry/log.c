/*
 * log: records are formatted by the caller into one line, and written by a thread of its own.
 *
 * The queue is a ring of lines guarded by one lock, held for a pointer's move only. A view made by
 * log_for_service() shares its parent's queue and differs in the name it prints.
 */
#include "telemetry/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "telemetry/log_format.h"
#include "telemetry/log_limit.h"

#define LINE_MAX_BYTES 16384u
#define FIELDS_MAX     24u /* that "suppressed" is added to */

/* What all views of a log share. */
struct queue {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	char **lines; /* ring, guarded by `lock`, as are head, count, is_stopping */
	size_t head, count, capacity;
	bool is_stopping;
	pthread_t writer;
	bool has_writer;
	int fd;
	_Atomic uint64_t dropped;
	struct log_limit *limit; /* NULL: none */
	struct metric_counter *overflowed, *suppressed;
};

struct log {
	struct queue *queue;
	bool owns_queue;
	_Atomic int level;
	struct log *parent; /* a view follows its parent's level */
	enum log_format format;
	char *service, *node;
	const struct clock *clock;
};

static void
write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t wrote = write(fd, text, length);
		if (wrote < 0 && errno != EINTR)
			return; /* nowhere to complain */
		if (wrote > 0) {
			text += wrote;
			length -= (size_t)wrote;
		}
	}
}

static void
report_drops(struct queue *queue, uint64_t *reported)
{
	char line[96];
	uint64_t dropped = atomic_load(&queue->dropped);
	if (dropped == *reported)
		return;
	int n = snprintf(line, sizeof(line), "log records dropped: %llu\n",
	                 (unsigned long long)(dropped - *reported));
	write_all(queue->fd, line, (size_t)n);
	*reported = dropped;
}

static void *
writer_main(void *arg)
{
	struct queue *queue = arg;
	uint64_t reported = 0;

	pthread_mutex_lock(&queue->lock);
	for (;;) {
		while (queue->count == 0 && !queue->is_stopping)
			pthread_cond_wait(&queue->wake, &queue->lock);
		if (queue->count == 0)
			break;
		char *line = queue->lines[queue->head];
		queue->head = (queue->head + 1) % queue->capacity;
		queue->count--;
		pthread_mutex_unlock(&queue->lock);
		write_all(queue->fd, line, strlen(line));
		mem_free(line);
		report_drops(queue, &reported);
		pthread_mutex_lock(&queue->lock);
	}
	pthread_mutex_unlock(&queue->lock);
	return NULL;
}

static void
make_metrics(struct queue *queue, struct metrics *metrics)
{
	static const char *const LABELS[] = {"reason", NULL};
	static const struct metric_spec SPEC = {
	    .name = "corbel_log_records_dropped",
	    .help = "Log records not written: queue_full, or suppressed because the event repeats too fast.",
	    .labels = LABELS};

	queue->overflowed = metrics_counter(metrics, &SPEC, (const char *[]){"queue_full"});
	queue->suppressed = metrics_counter(metrics, &SPEC, (const char *[]){"suppressed"});
}

static struct queue *
queue_new(const struct log_options *options)
{
	struct queue *queue = mem_alloc(sizeof(*queue));
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->wake, NULL);
	queue->fd = options->fd;
	queue->capacity = options->queue_records;
	queue->limit = options->event_rate ? log_limit_new(options->event_rate) : NULL;
	make_metrics(queue, options->metrics);
	if (queue->capacity > 0) {
		queue->lines = mem_array(queue->capacity, sizeof(*queue->lines));
		queue->has_writer = pthread_create(&queue->writer, NULL, writer_main, queue) == 0;
	}
	return queue;
}

static void
queue_free(struct queue *queue)
{
	if (queue->has_writer) {
		pthread_mutex_lock(&queue->lock);
		queue->is_stopping = true;
		pthread_cond_signal(&queue->wake);
		pthread_mutex_unlock(&queue->lock);
		pthread_join(queue->writer, NULL);
	}
	pthread_cond_destroy(&queue->wake);
	pthread_mutex_destroy(&queue->lock);
	log_limit_free(queue->limit);
	mem_free(queue->lines);
	mem_free(queue);
}

/* Takes the line. Without a writer thread it is written at once. */
static void
queue_put(struct queue *queue, char *line)
{
	bool is_taken = false;
	if (!queue->has_writer) {
		pthread_mutex_lock(&queue->lock);
		write_all(queue->fd, line, strlen(line));
		pthread_mutex_unlock(&queue->lock);
		mem_free(line);
		return;
	}
	pthread_mutex_lock(&queue->lock);
	if (queue->count < queue->capacity) {
		queue->lines[(queue->head + queue->count++) % queue->capacity] = line;
		is_taken = true;
		pthread_cond_signal(&queue->wake);
	}
	pthread_mutex_unlock(&queue->lock);
	if (!is_taken) {
		atomic_fetch_add(&queue->dropped, 1);
		counter_add(queue->overflowed, 1);
		mem_free(line);
	}
}

struct log *
log_new(const struct log_options *options)
{
	struct log *log = mem_alloc(sizeof(*log));
	log->queue = queue_new(options);
	log->owns_queue = true;
	log->level = (int)options->level;
	log->format = options->format;
	log->service = mem_strdup(options->service ? options->service : "corbel");
	log->node = options->node ? mem_strdup(options->node) : NULL;
	log->clock = options->clock ? options->clock : clock_system();
	return log;
}

struct log *
log_for_service(struct log *log, const char *service)
{
	struct log *view = mem_alloc(sizeof(*view));
	view->queue = log->queue;
	view->parent = log->parent ? log->parent : log;
	view->format = log->format;
	view->service = mem_strdup(service);
	view->node = log->node ? mem_strdup(log->node) : NULL;
	view->clock = log->clock;
	return view;
}

void
log_free(struct log *log)
{
	if (!log)
		return;
	if (log->owns_queue)
		queue_free(log->queue);
	mem_free(log->service);
	mem_free(log->node);
	mem_free(log);
}

void
log_set_level(struct log *log, enum log_level level)
{
	struct log *root = log->parent ? log->parent : log;
	atomic_store_explicit(&root->level, (int)level, memory_order_relaxed);
}

bool
log_is_on(const struct log *log, enum log_level level)
{
	if (!log)
		return false;
	const struct log *root = log->parent ? log->parent : log;
	return (int)level >= atomic_load_explicit(&root->level, memory_order_relaxed);
}

uint64_t
log_dropped(const struct log *log)
{
	return log ? atomic_load(&log->queue->dropped) : 0;
}

/* Whether the record goes out; if so, how many of its kind did not. */
static bool
is_admitted(const struct log *log, enum log_level level, const char *event, uint64_t *suppressed)
{
	struct queue *queue = log->queue;

	*suppressed = 0;
	if (!queue->limit || level < LOG_WARN)
		return true;
	if (log_limit_admits(queue->limit, event, clock_mono_ms(log->clock), suppressed))
		return true;
	counter_add(queue->suppressed, 1);
	return false;
}

/* Appends the record, with what is the log's own, to the empty `line`; one that is too long goes without its
 * fields. */
static void
put_line(struct strbuf *line, const struct log *log, const struct log_record *said)
{
	struct log_record record = *said;
	char time[TEXT_TIMESTAMP_MAX];

	text_from_timestamp_ms(clock_wall_ms(log->clock), time);
	record.time = time;
	record.service = log->service;
	record.node = log->node;
	log_format_line(line, log->format, &record);
	if (!line->is_cut)
		return;
	strbuf_clear(line);
	record.count = 0;
	log_format_line(line, log->format, &record);
}

void
log_write(struct log *log, enum log_level level, const char *event, const struct log_field *fields,
          size_t count)
{
	struct log_record record = {.level = level, .event = event, .fields = fields, .count = count};
	struct log_field all[FIELDS_MAX + 1];
	struct strbuf line;
	uint64_t suppressed;

	if (!log || level >= LOG_OFF || !log_is_on(log, level) || !is_admitted(log, level, event, &suppressed))
		return;
	if (suppressed > 0 && count <= FIELDS_MAX) {
		memcpy(all, fields, count * sizeof(all[0]));
		all[record.count++] = LOG_U64("suppressed", suppressed);
		record.fields = all;
	}
	strbuf_init(&line, NULL);
	line.ceiling = LINE_MAX_BYTES;
	put_line(&line, log, &record);
	queue_put(log->queue, line.data);
}
