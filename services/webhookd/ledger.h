/*
 * ledger: what the courier reads and writes.
 *
 * Every write names the token under which the endpoint was claimed; once another replica has claimed it, the
 * write changes nothing.
 */
#ifndef CORBEL_WEBHOOKD_LEDGER_H
#define CORBEL_WEBHOOKD_LEDGER_H

#include "webhookd_internal.h"

/* An endpoint as it was claimed, or read again. Lives in the arena it was read into. */
struct claim {
	const char *endpoint_id, *tenant_id;
	int64_t token, version;
	bool is_failing; /* failing_since is set */
	int64_t failing_since;
	Endpoint *endpoint;
	bool has_key, has_previous_key;
	struct signing_key key, previous_key;
	int64_t previous_until;
};

/* The order in which deliveries are due. */
struct due_place {
	int64_t due_at;
	uint64_t sequence;
};

/* A delivery that is due. */
struct due {
	const char *delivery_id;
	uint32_t attempts, tries;
	int64_t due_at;
	uint64_t sequence;
	bool has_order_key;
	int64_t order_key;
	const void *event; /* packed */
	size_t event_size;
};

/* How an attempt went, and what follows. */
struct verdict {
	const char *delivery_id, *endpoint_id;
	uint32_t number;
	bool is_stale;    /* the endpoint is no longer ours */
	Attempt *attempt; /* packed into the row */
	bool is_success;
	Corbel__V1__DeliveryState state;
	int64_t due_at; /* while PENDING */
	bool has_order_key;
	int64_t order_key;
	bool is_recorded; /* out */
};

/* Whether ledger_claim() would find any. */
struct status ledger_has_claims(struct store_conn *conn, struct arena *arena, int64_t now_ms, bool *out);
/* Endpoints that are due and nobody's, at most `most`, become `owner`'s until `until_ms`. */
struct status ledger_claim(struct webhookd *self, struct store_tx *tx, struct arena *arena, const char *owner,
                           int64_t now_ms, int64_t until_ms, size_t most, struct claim **out, size_t *count);
/* NOT_FOUND when it is no longer ours under `token`. */
struct status ledger_renew(struct webhookd *self, struct store_tx *tx, struct arena *arena,
                           const char *endpoint_id, int64_t token, int64_t until_ms, struct claim *out);
/* Gives it back, to be claimed again when its next delivery is due, or at `not_before_ms`; unless it is
 * another's, or somebody is about to add a delivery or to change it. */
struct status ledger_release(struct store_tx *tx, struct arena *arena, const char *endpoint_id, int64_t token,
                             int64_t not_before_ms, bool *is_released);
/* What is due for an endpoint, and whether it is still as it was claimed. */
struct due_list {
	struct due *items;
	size_t count;
	size_t seen;            /* with those that wait for one before them */
	bool has_blocked;       /* there are such */
	int64_t token, version; /* of the endpoint now; 0: it is gone or disabled */
	int64_t next_at;        /* ordered: when its first one is due, if that is later */
};
/* The first `most` that are due behind `after`; of an ordered endpoint the first of all if it is due. */
struct due_query {
	const char *endpoint_id;
	bool is_ordered;
	int64_t now_ms;
	struct due_place after;
	size_t most;
};
/* What a look at an endpoint tells. */
struct outlook {
	const char *endpoint_id;
	int64_t token, version;
	int64_t next_at; /* NEVER_MS: nothing waits */
};
/* Those of the endpoints that are enabled, in any order. */
struct status ledger_look(struct store_conn *conn, struct arena *arena, const struct store_value *ids,
                          size_t count, struct outlook **out, size_t *found);
struct status ledger_due(struct store_conn *conn, struct arena *arena, const struct due_query *query,
                         struct due_list *out);
/* Of what is due, what has to wait for another of its key is due no more until that one is over. */
struct status ledger_park(struct store_tx *tx, struct arena *arena, const char *endpoint_id, int64_t token,
                          int64_t now_ms);
/* One of this key is over: the parked one that waited for it is due. */
struct status ledger_let_next(struct store_tx *tx, const char *endpoint_id, int64_t order_key,
                              int64_t now_ms);
/* An endpoint whose deliveries are about to be changed, under the token by which it was claimed. */
struct ownership {
	const char *endpoint_id;
	int64_t token;
	bool is_ours; /* out */
};
/* Before anything else of the transaction: locks the endpoints until it ends, in the order given, which is
 * that of their ids. Nobody claims or changes them meanwhile, so what is ours stays ours. */
struct status ledger_hold(struct store_tx *tx, struct arena *arena, struct ownership *held, size_t count);
/* Those that are not stale, under ledger_hold(). */
struct status ledger_record(struct store_tx *tx, struct arena *arena, struct verdict *verdicts, size_t count);
/* The attempts of those that were recorded. */
struct status ledger_add_attempts(struct store_tx *tx, struct arena *arena, const struct verdict *verdicts,
                                  size_t count);
/* NULL ends a time of failure. */
struct status ledger_set_failing(struct store_tx *tx, const char *endpoint_id, int64_t token,
                                 const int64_t *since_ms);
/* Endpoints for which something has been due for `late_ms` though nobody was told are due now: a lost hint
 * strands nothing. */
struct status ledger_sweep(struct store_tx *tx, int64_t now_ms, uint64_t late_ms);

#endif
