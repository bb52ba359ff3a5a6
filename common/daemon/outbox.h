/*
 * outbox: events of a service, written in the transaction of the change that they tell of, and handed to the
 * event log after it.
 *
 * Either both are durable or neither. A relay sends what waits, oldest first, and deletes it once the log has
 * acknowledged it; the event's id keeps a repetition from being recorded twice. While the log is away, rows
 * wait.
 */
#ifndef CORBEL_DAEMON_OUTBOX_H
#define CORBEL_DAEMON_OUTBOX_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "store/store.h"

struct outbox;

/* One member of an event's data. Absent: a text or list that is NULL, a time that is 0. */
struct outbox_field {
	const char *name;
	enum { OUTBOX_TEXT, OUTBOX_I64, OUTBOX_TIME, OUTBOX_TEXTS } type;
	const char *text;
	int64_t number; /* I64, TIME (ms since 1970); TEXTS: how many */
	char *const *texts;
};

struct outbox_event {
	const char *tenant; /* whose log */
	const char *type;   /* of the catalogue */
	const char *subject;
	const struct outbox_field *fields; /* `name` NULL ends */
};

/* In the transaction of the change. */
struct status outbox_add(struct outbox *outbox, struct store_tx *tx, struct arena *arena,
                         const struct outbox_event *event);

#endif
