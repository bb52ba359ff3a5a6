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
#include "telemetry/current.h"

#define TEXT_MAX       2048u
#define LINE_MAX_BYTES 16384u

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

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

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

static struct queue *
queue_new(int fd, size_t records)
{
	struct queue *queue = mem_alloc(sizeof(*queue));
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->wake, NULL);
	queue->fd = fd;
	queue->capacity = records;
	if (records > 0) {
		queue->lines = mem_array(records, sizeof(*queue->lines));
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
		mem_free(line);
	}
}

struct log *
log_new(const struct log_options *options)
{
	struct log *log = mem_alloc(sizeof(*log));
	log->queue = queue_new(options->fd, options->queue_records);
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

/* A text of any origin as a JSON string: bytes that are no UTF-8 become U+FFFD, so that a line is always
 * one record that parsers and terminals can take. */
static void
put_text(struct strbuf *out, const char *text)
{
	size_t length = strnlen(text, TEXT_MAX);
	if (text_is_utf8(text, length)) {
		bool is_plain = !memchr(text, 0x7F, length);
		if (is_plain) {
			strbuf_json_string(out, text, length);
			return;
		}
	}
	char clean[3 * TEXT_MAX];
	size_t n = 0;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x7F) {
			clean[n++] = (char)c;
			continue;
		}
		memcpy(clean + n, "\xEF\xBF\xBD", 3);
		n += 3;
	}
	strbuf_json_string(out, clean, n);
}

static void
put_value(struct strbuf *out, const struct log_field *field)
{
	switch (field->type) {
	case LOG_FIELD_TEXT:
		if (field->value.text)
			put_text(out, field->value.text);
		else
			strbuf_puts(out, "null");
		break;
	case LOG_FIELD_I64:
		strbuf_i64(out, field->value.i64);
		break;
	case LOG_FIELD_U64:
		strbuf_u64(out, field->value.u64);
		break;
	case LOG_FIELD_DOUBLE:
		strbuf_printf(out, "%.6g", field->value.number);
		break;
	case LOG_FIELD_BOOL:
		strbuf_puts(out, field->value.boolean ? "true" : "false");
		break;
	}
}

/* Texts of one simple word go without quotes, for people. */
static void
put_human_value(struct strbuf *out, const struct log_field *field)
{
	static const char SIMPLE[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@+,";
	if (field->type == LOG_FIELD_TEXT && field->value.text && field->value.text[0] &&
	    strspn(field->value.text, SIMPLE) == strlen(field->value.text))
		strbuf_puts(out, field->value.text);
	else
		put_value(out, field);
}

static void
format_json(struct strbuf *out, const struct log *log, const char *time, enum log_level level,
            const char *event, const struct log_field *fields, size_t count)
{
	char trace[TRACE_ID_TEXT];
	const char *request = current_request_id();

	strbuf_printf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"service\":", time, LEVELS[level]);
	put_text(out, log->service);
	if (log->node) {
		strbuf_puts(out, ",\"node\":");
		put_text(out, log->node);
	}
	strbuf_puts(out, ",\"event\":");
	put_text(out, event);
	if (current_trace_id(trace))
		strbuf_printf(out, ",\"trace_id\":\"%s\"", trace);
	if (request[0]) {
		strbuf_puts(out, ",\"request_id\":");
		put_text(out, request);
	}
	for (size_t i = 0; i < count; i++) {
		strbuf_printf(out, ",\"%s\":", fields[i].name);
		put_value(out, &fields[i]);
	}
	strbuf_puts(out, "}\n");
}

static void
format_human(struct strbuf *out, const struct log *log, const char *time, enum log_level level,
             const char *event, const struct log_field *fields, size_t count)
{
	const char *request = current_request_id();

	strbuf_printf(out, "%s %-5s %s: %s", time, LEVELS[level], log->service, event);
	for (size_t i = 0; i < count; i++) {
		strbuf_printf(out, " %s=", fields[i].name);
		put_human_value(out, &fields[i]);
	}
	if (request[0]) {
		strbuf_puts(out, " request_id=");
		put_text(out, request);
	}
	strbuf_putc(out, '\n');
}

void
log_write(struct log *log, enum log_level level, const char *event, const struct log_field *fields,
          size_t count)
{
	char time[TEXT_TIMESTAMP_MAX];
	struct strbuf line;

	if (!log || level >= LOG_OFF || !log_is_on(log, level))
		return;
	strbuf_init(&line, NULL);
	line.ceiling = LINE_MAX_BYTES;
	text_from_timestamp_ms(clock_wall_ms(log->clock), time);
	if (log->format == LOG_JSON)
		format_json(&line, log, time, level, event, fields, count);
	else
		format_human(&line, log, time, level, event, fields, count);
	if (line.is_cut) {
		/* Too many fields for one line: the record without them still tells what happened. */
		line.is_cut = false;
		strbuf_clear(&line);
		if (log->format == LOG_JSON)
			format_json(&line, log, time, level, event, NULL, 0);
		else
			format_human(&line, log, time, level, event, NULL, 0);
	}
	queue_put(log->queue, line.data);
}
