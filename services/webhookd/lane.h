/*
 * lane: an endpoint that this replica owns: its configuration, what waits for it, and how fast it may go.
 *
 * A lane of an endpoint that fails narrows: each failure of the connection halves how many deliveries may be
 * under way, each success widens it by one. After PAUSE_AFTER failures in a row it pauses, for twice as long
 * each time; then one delivery tries it. What waits meanwhile spends none of its tries.
 *
 * The courier's thread only.
 */
#ifndef CORBEL_WEBHOOKD_LANE_H
#define CORBEL_WEBHOOKD_LANE_H

#include "base/id.h"
#include "ledger.h"
#include "parcel.h"

/* Deliveries under way for one tenant, in this process. */
struct tenant_share {
	struct tenant_share *next;
	char tenant_id[72];
	size_t in_flight, lanes;
};

struct lane {
	struct lane *next;
	char endpoint_id[ID_MAX];
	struct tenant_share *share;
	int64_t token, version;
	uint64_t valid_until_mono, renew_at_mono; /* the lease, by the monotonic clock */
	struct arena arena;                       /* of the configuration */
	Endpoint *endpoint;
	struct signer *signer;
	int64_t previous_until; /* when the signer loses its previous key; 0: it has none */
	bool is_failing;
	int64_t failing_since;
	Corbel__V1__DisabledReason disable_for; /* that is still to be done; 0: nothing */
	struct tally *tally;                    /* of the batch that is being filled */
	struct parcel *first, **last;           /* loaded, not yet sent */
	size_t queued, in_flight;
	size_t unsettled; /* finished, not yet recorded */
	uint64_t *loaded; /* sequences of all these, so that they are not loaded twice */
	size_t loaded_count, loaded_capacity;
	unsigned window, failures; /* failures in a row */
	uint64_t paused_until_mono, next_send_mono;
	int64_t not_before;      /* wall time; ordered: when the first one is due */
	int64_t retry_at;        /* wall time of the next retry that this replica knows of; 0: none */
	bool is_dirty;           /* there may be more in the store */
	bool is_full;            /* there is more, as the store last said */
	struct due_place cursor; /* of the last one loaded while there is more; due_at 0: from the beginning */
	bool is_lost;            /* another replica's, or gone: goes when nothing is under way */
	uint64_t idle_since_mono;
};

struct lane *lane_new(const struct claim *claim, struct tenant_share *share);
void lane_free(struct lane *lane);
/* Takes the configuration as it was read. */
void lane_configure(struct lane *lane, const struct claim *claim, int64_t now_ms);
bool lane_has(const struct lane *lane, uint64_t sequence);
void lane_add(struct lane *lane, struct parcel *parcel);
/* The next parcel if one may be sent now; it counts as under way. */
struct parcel *lane_take(struct lane *lane, uint64_t now_mono);
/* It is recorded. */
void lane_forget(struct lane *lane, uint64_t sequence);
/* Under way no more; what it says about the endpoint's health is heeded. */
void lane_settle(struct lane *lane, const struct parcel *parcel, uint64_t now_mono);
/* Drops what was not sent. */
void lane_clear(struct lane *lane);
/* How many deliveries to load at most. */
size_t lane_appetite(const struct lane *lane);

#endif
