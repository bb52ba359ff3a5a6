/*
 * queue: what queue_lease.c and queue_settle.c share.
 */
#ifndef CORBEL_WEBHOOKD_QUEUE_INTERNAL_H
#define CORBEL_WEBHOOKD_QUEUE_INTERNAL_H

#include "queue.h"

/* A message under a lease. */
struct held {
	const char *delivery_id, *event_id, *event_type;
	uint32_t number, tries; /* of leases; of tries since it was last sent anew */
	int64_t leased_at;
	bool was_leased; /* and that lease has ended, at: */
	int64_t ended_at;
	bool has_order_key;
	int64_t order_key;
};

/* Leases what is still as it was found; in `out` NULL for what is not. */
struct status queue_take(struct store_tx *tx, struct arena *arena, const struct held *held, size_t count,
                         const struct lease_request *request, QueueMessage **out);

/* Attempts to be inserted together, each the end of a lease. */
struct held_log {
	struct arena *arena;
	struct store_value *rows;
	size_t count;
};
void held_log_init(struct held_log *log, struct arena *arena, size_t most);
/* `error` NULL: it was acknowledged. */
void held_log_add(struct held_log *log, const struct queue *queue, const struct held *held, int64_t ended_at,
                  const char *error, const char *detail);
struct status held_log_insert(struct held_log *log, struct store_tx *tx);

/* Tells of the end of a lease, if there is something to tell; see news_of_try(). `error` NULL: it was
 * acknowledged; `next_at` 0: it is leased again, or never will be. */
struct status held_tell(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                        const struct queue *queue, const struct held *held, const char *error,
                        int64_t next_at);
/* The lease's message is given up, if it is still under that lease. */
struct status held_exhaust(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                           const struct queue *queue, const struct held *held, int64_t now_ms,
                           const char *error, bool *is_done);
/* The message is over: what is kept in order behind it may go. */
struct status held_let_next(struct store_tx *tx, const struct queue *queue, const struct held *held,
                            int64_t now_ms);
/* Whether there are no tries left. */
bool held_is_last(const struct queue *queue, const struct held *held);

#endif
