/*
 * courier: its structure, shared by courier.c, courier_lanes.c, settle.c and settler.c.
 */
#ifndef CORBEL_WEBHOOKD_COURIER_INTERNAL_H
#define CORBEL_WEBHOOKD_COURIER_INTERNAL_H

#include "courier.h"
#include "lane.h"
#include "settler.h"
#include "sink.h"

#define HINTS_MAX 64
#define BUCKETS   1024
/* Attempts that wait to be recorded together, and for how long, while their endpoints have others to do. */
#define SETTLE_MIN     256u
#define SETTLE_WAIT_MS 5u
/* While so many wait for the commit before theirs, nothing is sent. */
#define UNSETTLED_MAX 1024u

struct courier {
	struct webhookd *self;
	struct sinks *sinks;
	struct settler *settler;
	size_t in_flight_max;
	uint64_t lease_ms, sweep_ms;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* guards what follows, up to the next such line */
	pthread_cond_t wake, emptied;
	struct parcel *finished, **last_finished;
	char hints[HINTS_MAX][72]; /* tenants whose lanes may have more */
	size_t hint_count;
	bool has_more_hints, has_settled, is_asked_to_drain, is_stopping, is_empty;
	/* the thread's own: */
	struct arena arena; /* of one turn */
	struct lane *lanes;
	size_t lane_count, in_flight;
	struct tenant_share *shares[BUCKETS];
	struct parcel *unsettled, **last_unsettled; /* finished, not yet given to the settler */
	size_t unsettled_count;
	uint64_t unsettled_mono; /* since when there are any */
	bool is_hurried;         /* others wait for one of them */
	bool is_settling;        /* the settler has a batch */
	bool is_claim_due, is_draining, has_trouble;
	uint64_t claimed_mono, swept_mono, complained_mono;
	struct metric_counter *delivered, *failed, *exhausted, *fenced;
	struct metric_histogram *latency;
};

/* What the store has to do in a turn: claims and renews endpoints, loads what is due, has recorded how
 * attempts went. */
void courier_use_store(struct courier *courier);
/* Finds out which of many lanes that may have more have nothing. */
struct status courier_look(struct courier *courier, struct store_conn *conn);
/* In a long turn: takes what came back and sends what may follow, so that endpoints do not stand still while
 * the store works. */
void courier_keep_sending(struct courier *courier);
/* Any thread. */
void courier_parcel_ended(struct parcel *parcel);
void courier_settled(struct courier *courier);
void courier_drop_lane(struct courier *courier, struct lane **slot);
/* Whether the settler is free and it is time to. */
bool is_settling_due(const struct courier *courier);
/* Gives the unsettled to the settler. */
void settle_begin(struct courier *courier);
/* Frees what the settler has recorded, if it has. When it could not, all of that is unsettled again. */
struct status settle_end(struct courier *courier);
/* Disables its endpoint, as lane->disable_for says. */
struct status lane_disable(struct courier *courier, struct store_conn *conn, struct lane *lane);
void courier_register_metrics(struct courier *courier);

#endif
