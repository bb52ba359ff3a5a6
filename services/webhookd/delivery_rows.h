/*
 * delivery_rows: new deliveries, gathered and inserted together.
 */
#ifndef CORBEL_WEBHOOKD_DELIVERY_ROWS_H
#define CORBEL_WEBHOOKD_DELIVERY_ROWS_H

#include "subscriptions.h"
#include "webhookd_internal.h"

struct row_list {
	struct store_value *values;
	size_t count, capacity; /* rows */
};

struct delivery_rows {
	const struct service_env *env;
	struct arena *arena;
	int64_t now_ms;
	struct row_list made, waiting;
};

/* Rows live in the arena. */
void delivery_rows_init(struct delivery_rows *rows, const struct service_env *env, struct arena *arena,
                        int64_t now_ms);
/* One that is due now, or skipped if the subscription is disabled. `tenant`, the subscription and the event
 * are borrowed until the insertion. */
void delivery_rows_add(struct delivery_rows *rows, const char *tenant,
                       const struct subscription *subscription, const Event *event,
                       struct filter_event *parsed);
struct status delivery_rows_insert(const struct delivery_rows *rows, struct store_tx *tx);

#endif
