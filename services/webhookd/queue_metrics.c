/*
 * queue_metrics: what queues do, counted.
 */
#include "queue.h"

#define VERBS 3

struct queue_metrics {
	struct metric_counter *leased, *stale, *settled[VERBS];
	struct metric_gauge *waiting;
};

struct queue_metrics *
queue_metrics_new(struct metrics *m)
{
	static const char *const LABELS[] = {"verb", NULL};
	static const char *const NAMES[VERBS] = {
	    [QUEUE_ACK] = "ack", [QUEUE_NACK] = "nack", [QUEUE_EXTEND] = "extend"};
	static const struct metric_spec SETTLED = {
	    .name = "corbel_queue_receipts", .help = "Receipts that were accepted", .labels = LABELS};
	struct queue_metrics *metrics = mem_alloc(sizeof(*metrics));

	metrics->leased = metrics_counter(
	    m, &(struct metric_spec){.name = "corbel_queue_leased", .help = "Messages that were leased"}, NULL);
	metrics->stale = metrics_counter(m,
	                                 &(struct metric_spec){.name = "corbel_queue_stale_receipts",
	                                                       .help = "Receipts of leases that are no more"},
	                                 NULL);
	metrics->waiting = metrics_gauge(
	    m, &(struct metric_spec){.name = "corbel_queue_waiting", .help = "Calls that wait for messages"},
	    NULL);
	for (size_t i = 0; i < VERBS; i++)
		metrics->settled[i] = metrics_counter(m, &SETTLED, &NAMES[i]);
	return metrics;
}

void
queue_metrics_free(struct queue_metrics *metrics)
{
	mem_free(metrics);
}

void
queue_count_leased(struct queue_metrics *metrics, size_t messages)
{
	counter_add(metrics->leased, messages);
}

void
queue_count_waiting(struct queue_metrics *metrics, size_t calls)
{
	gauge_set(metrics->waiting, (int64_t)calls);
}

void
queue_count_results(struct queue_metrics *metrics, const struct settlement *settlement,
                    Corbel__V1__ReceiptResult *const *results, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (results[i]->outcome == CORBEL__V1__RECEIPT_OUTCOME__ACCEPTED)
			counter_add(metrics->settled[settlement->what], 1);
		else if (results[i]->outcome == CORBEL__V1__RECEIPT_OUTCOME__STALE)
			counter_add(metrics->stale, 1);
	}
}
