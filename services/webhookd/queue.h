/*
 * queue: deliveries that are fetched. A queue is an endpoint of sink QUEUE; its messages are its deliveries.
 *
 *             lease                      ack
 *   PENDING  -------->  PENDING, leased  -------->  DELIVERED
 *      ^                   |      |
 *      +--- nack ----------+      +--- given back or its lease ended, after the last try --->  EXHAUSTED
 *
 * A lease has the number that `attempts` has grown to. It ends at due_at. Its holder can still settle it, but
 * not extend it, until the message is leased again: whoever names an older number is told that it is stale.
 * Leases of one queue are given under its row's lock, so that order and bounds hold over all replicas.
 */
#ifndef CORBEL_WEBHOOKD_QUEUE_H
#define CORBEL_WEBHOOKD_QUEUE_H

#include "receipt.h"
#include "schedule.h"
#include "webhookd_internal.h"

typedef Corbel__V1__QueueMessage QueueMessage;

struct queue {
	const char *id, *tenant;
	bool is_disabled, is_ordered, is_keyed; /* ordered as a whole, by key */
	uint32_t leased_max;
	struct schedule schedule;
};

/* NOT_FOUND when there is no such endpoint or it is no queue. Lives in `arena`. */
struct status queue_read(struct store_conn *conn, struct arena *arena, const char *id, struct queue *out);
/* Whether queue_lease() may find something: a look that costs no lock. */
struct status queue_has_due(struct store_conn *conn, struct arena *arena, const struct queue *queue,
                            int64_t now_ms, bool *out);

struct lease_request {
	int64_t now_ms, until_ms;
	size_t most;
};
/* Leases what is due. Messages whose last lease ended are given up instead. Everything is in `arena`. */
struct status queue_lease(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                          const struct queue *queue, const struct lease_request *request,
                          QueueMessage ***messages, size_t *count);
/* Gives up the messages whose last lease has ended. */
struct status queue_expire(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                           const struct queue *queue, int64_t now_ms);

/* What to do with leases. */
struct settlement {
	enum { QUEUE_ACK, QUEUE_NACK, QUEUE_EXTEND } what;
	int64_t now_ms;
	bool has_delay;     /* NACK: else what the queue's schedule says */
	int64_t delay_ms;   /* NACK, EXTEND */
	const char *reason; /* NACK; NULL: none */
};
/* One result for each receipt, in their order, in `arena`. */
struct status queue_settle(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                           const struct queue *queue, const struct settlement *settlement,
                           char *const *receipts, size_t count, Corbel__V1__ReceiptResult ***out);

/* Made once; a part of struct webhookd. */
struct queue_metrics;
struct queue_metrics *queue_metrics_new(struct metrics *metrics);
void queue_metrics_free(struct queue_metrics *metrics);
void queue_count_leased(struct queue_metrics *metrics, size_t messages);
void queue_count_waiting(struct queue_metrics *metrics, size_t calls); /* so many wait now */
void queue_count_results(struct queue_metrics *metrics, const struct settlement *settlement,
                         Corbel__V1__ReceiptResult *const *results, size_t count);

/* Repeated: queue_expire() for the queues that nobody fetches from. */
#define QUEUE_SWEEP_MS 10000u
void queue_sweep_task(void *self, struct store_conn *conn);

#endif
