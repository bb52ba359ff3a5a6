/*
 * redeliver: events that are in the log already, to one endpoint, in one transaction under the tenant's log.
 *
 * There is one delivery of an event to an endpoint at most: where there is one it begins anew, unless it
 * waits already.
 */
#ifndef CORBEL_WEBHOOKD_REDELIVER_H
#define CORBEL_WEBHOOKD_REDELIVER_H

#include "delivery_rows.h"

/* An endpoint as it is stored. */
struct target {
	const char *id, *tenant;
	bool is_disabled, is_pulled;
	const Endpoint *endpoint;
};
/* Holds its row: who changes deliveries holds their endpoint first. NOT_FOUND when there is none. */
struct status target_read(struct store_tx *tx, struct arena *arena, const char *id, struct target *out);

struct redelivery {
	struct store_tx *tx;
	struct arena *arena;
	const struct target *target;
	bool skips_delivered;
	struct subscription subscription;
	struct delivery_rows rows;
	size_t count; /* deliveries that were made or wait again */
};

struct status redelivery_begin(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                               const struct target *target, int64_t now_ms, struct redelivery *out);
/* `is_forced`: whether its filter takes the event or not. The event has to live until the end. */
struct status redelivery_add(struct redelivery *redelivery, const Event *event, bool is_forced);
/* Inserts what is new and makes the endpoint due; also frees, whatever `st`, which it returns or worse. */
struct status redelivery_end(struct redelivery *redelivery, struct status st);

#endif
