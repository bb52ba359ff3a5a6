/*
 * queues: what holders of leases call. Receiving is desk.c.
 */
#include "corbel/webhookd.methods.gen.h"
#include "desk.h"
#include "queue.h"

typedef Corbel__V1__ReceiptsReply ReceiptsReply;

static struct status
settle(struct call *call, const char *id, const struct settlement *what, char *const *receipts, size_t count,
       ReceiptsReply *reply)
{
	struct webhookd *self = call_service(call);
	struct queue queue;
	struct store_tx tx;
	struct status st = queue_read(call_store(call), call_arena(call), id, &queue);

	if (status_ok(&st) && !scope_sees(call, queue.tenant))
		st = scope_not_found("queue");
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	reply->n_results = count;
	st = store_end(&tx,
	               queue_settle(self, &tx, call_arena(call), &queue, what, receipts, count, &reply->results));
	if (status_ok(&st))
		queue_count_results(self->queue_metrics, what, reply->results, reply->n_results);
	/* What is settled or given back may let others pass. */
	if (status_ok(&st) && what->what != QUEUE_EXTEND)
		desk_hint(self->desk, queue.tenant);
	return st;
}

struct status
queues_ack(struct call *call, const Corbel__V1__AckMessagesRequest *request, ReceiptsReply *reply)
{
	struct settlement what = {.what = QUEUE_ACK, .now_ms = call_now_ms(call)};
	return settle(call, request->id, &what, request->receipts, request->n_receipts, reply);
}

struct status
queues_nack(struct call *call, const Corbel__V1__NackMessagesRequest *request, ReceiptsReply *reply)
{
	struct settlement what = {.what = QUEUE_NACK,
	                          .now_ms = call_now_ms(call),
	                          .has_delay = request->has_delay_ms,
	                          .delay_ms = (int64_t)request->delay_ms,
	                          .reason = request->reason};
	return settle(call, request->id, &what, request->receipts, request->n_receipts, reply);
}

struct status
queues_extend(struct call *call, const Corbel__V1__ExtendMessagesRequest *request, ReceiptsReply *reply)
{
	struct settlement what = {
	    .what = QUEUE_EXTEND, .now_ms = call_now_ms(call), .delay_ms = (int64_t)request->lease_ms};
	return settle(call, request->id, &what, request->receipts, request->n_receipts, reply);
}
