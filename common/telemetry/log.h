/*
 * log: structured records, as JSON lines or for people.
 *
 * log_info(log, "endpoint disabled", LOG_TEXT("endpoint", id), LOG_U64("failures", n));
 *
 * The event is a fixed phrase (no values in it), the values are fields. Writing never blocks a
 * request: records go through a bounded queue to a writer thread; when it is full they are dropped
 * and counted, and the count is logged once there is room. Any thread.
 */
#ifndef CORBEL_TELEMETRY_LOG_H
#define CORBEL_TELEMETRY_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "telemetry/metric.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_HUMAN, LOG_JSON };

struct log_field {
	const char *name;
	enum { LOG_FIELD_TEXT, LOG_FIELD_I64, LOG_FIELD_U64, LOG_FIELD_DOUBLE, LOG_FIELD_BOOL } type;
	union {
		const char *text; /* NULL prints null */
		int64_t i64;
		uint64_t u64;
		double number;
		bool boolean;
	} value;
};

#define LOG_TEXT(n, v)   ((struct log_field){.name = (n), .type = LOG_FIELD_TEXT, .value.text = (v)})
#define LOG_I64(n, v)    ((struct log_field){.name = (n), .type = LOG_FIELD_I64, .value.i64 = (v)})
#define LOG_U64(n, v)    ((struct log_field){.name = (n), .type = LOG_FIELD_U64, .value.u64 = (v)})
#define LOG_DOUBLE(n, v) ((struct log_field){.name = (n), .type = LOG_FIELD_DOUBLE, .value.number = (v)})
#define LOG_BOOL(n, v)   ((struct log_field){.name = (n), .type = LOG_FIELD_BOOL, .value.boolean = (v)})
/* "status" and "error" of a failed call */
#define LOG_STATUS(st) LOG_TEXT("status", status_code_name((st)->code)), LOG_TEXT("error", (st)->message)

struct log;

struct log_options {
	enum log_level level;
	enum log_format format;
	int fd;              /* where lines go; not closed */
	const char *service; /* "service" of each record */
	const char *node;
	size_t queue_records;    /* bound of the queue; 0 writes at once, for tests and tools */
	uint32_t event_rate;     /* warnings and errors of one event a second; 0: no bound */
	struct metrics *metrics; /* NULL: uncounted */
	const struct clock *clock;
};

struct log *log_new(const struct log_options *options);
/* Writes what is queued, then ends. */
void log_free(struct log *log);
/* A view of `log` whose records carry another "service"; freed with log_free(), before its parent. */
struct log *log_for_service(struct log *log, const char *service);
void log_set_level(struct log *log, enum log_level level);
bool log_is_on(const struct log *log, enum log_level level);
uint64_t log_dropped(const struct log *log);

/* A NULL log swallows the record. Texts longer than 2 KiB are cut; secrets are redacted (see redact.h).
 * Warnings and errors beyond the event's rate are counted, and the next one that is written says how many
 * with the field "suppressed". The current trace id and request
 * id (see trace.h) are added by themselves. */
void log_write(struct log *log, enum log_level level, const char *event, const struct log_field *fields,
               size_t count);

#define LOG_FIELDS_(...) ((const struct log_field[]){__VA_ARGS__})
#define LOG_AT_(log, level, event, ...)                                                                      \
	do {                                                                                                     \
		if (log_is_on((log), (level))) {                                                                     \
			log_write((log), (level), (event), LOG_FIELDS_({.name = NULL}, ##__VA_ARGS__) + 1,               \
			          sizeof(LOG_FIELDS_({.name = NULL}, ##__VA_ARGS__)) / sizeof(struct log_field) - 1);    \
		}                                                                                                    \
	} while (0)
#define log_debug(log, event, ...) LOG_AT_(log, LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(log, event, ...)  LOG_AT_(log, LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(log, event, ...)  LOG_AT_(log, LOG_WARN, event, ##__VA_ARGS__)
#define log_error(log, event, ...) LOG_AT_(log, LOG_ERROR, event, ##__VA_ARGS__)

#endif
