/*
 * waiting: deliveries that are to be tried, are under way or are leased.
 *
 *   made   -->  waiting  --->  delivered: the row in `waiting` goes, its last attempt says the rest
 *                 ^  |
 *                 |  +------>  given up, skipped: its row in `deliveries` says so
 *                 |                |
 *                 +----- again ----+
 *
 * Whoever changes these holds the endpoint.
 */
#ifndef CORBEL_WEBHOOKD_WAITING_H
#define CORBEL_WEBHOOKD_WAITING_H

#include "webhookd_internal.h"

/* Those of `ids` that do not wait are due now, with all their tries; how many these are. */
struct status waiting_again(struct store_tx *tx, struct arena *arena, const char *const *ids, size_t count,
                            int64_t now_ms, size_t *made);
/* Those of `ids` that wait are due now, with all their tries; what is leased stays so. */
struct status waiting_now(struct store_tx *tx, struct arena *arena, const char *const *ids, size_t count,
                          int64_t now_ms);
/* Something may be due for the endpoint from `now_ms` on. */
struct status waiting_due(struct store_tx *tx, const char *endpoint_id, int64_t now_ms);
/* Of what waits for the endpoint, `most` at most are skipped; *is_over: those were the last. */
struct status waiting_skip(struct store_tx *tx, struct arena *arena, const char *endpoint_id, size_t most,
                           int64_t now_ms, bool *is_over);
/* What no longer waits and was not delivered. */
struct lost {
	const char *delivery_id;
	uint32_t attempts; /* that were begun */
	int64_t at_ms;
};
/* They are given up. */
struct status waiting_lost(struct store_tx *tx, struct arena *arena, const struct lost *lost, size_t count);
/* Deletes deliveries of the endpoint, which is gone, and their attempts, `most` of each kind at most. */
struct status waiting_forget(struct store_tx *tx, struct arena *arena, const char *endpoint_id, size_t most,
                             bool *is_over);

#endif
