/*
 * settler: makes durable how attempts went, on a thread of its own: others are sent while a commit takes its
 * time.
 *
 *   courier:  settler_batch(), fill it, settler_begin()   ...   settler_take()
 *   settler:                   one transaction, then courier_settled()
 *
 * There is one batch, and it is the settler's from settler_begin() until settler_take() gives it back. Of a
 * lane the settler reads what never changes, its id and its tenant; all else it needs to know and finds out
 * is in the batch.
 */
#ifndef CORBEL_WEBHOOKD_SETTLER_H
#define CORBEL_WEBHOOKD_SETTLER_H

#include "lane.h"

struct settler;

/* An endpoint of a batch. */
struct tally {
	struct lane *lane;
	int64_t token;
	int64_t patience_ms; /* how long it may fail; 0: for ever */
	/* As they were; then, of a batch that is recorded, as they are. */
	bool is_failing;
	int64_t failing_since;
	/* out: */
	Corbel__V1__DisabledReason disable_for; /* 0: nothing */
	bool is_held;                           /* it is still ours */
	bool is_broken;                         /* the store refuses what is to be recorded of it */
};

/* What a transaction is about. */
struct batch {
	struct arena *arena;          /* of all that follows; empty when the batch is to be filled */
	struct parcel *first, **last; /* with those that were cut off */
	size_t taken;
	struct verdict *verdicts;
	struct parcel **parcels; /* of the verdicts */
	struct tally **tally_of; /* of the verdicts */
	size_t count;
	struct tally **tallies; /* each once, by their endpoints' ids */
	size_t tally_count;
	struct status outcome; /* out: failed, and nothing is recorded */
};

struct status settler_new(struct webhookd *self, struct courier *courier, struct settler **out);
/* Ends when it has ended a batch that it was given. NULL is allowed. Parcels are the courier's: it takes them
 * by settler_take() between the two. */
void settler_stop(struct settler *settler);
void settler_free(struct settler *settler);
/* The batch, emptied, to be filled while the settler has none. */
struct batch *settler_batch(struct settler *settler);
void settler_begin(struct settler *settler);
/* NULL while there is none that is ended. */
struct batch *settler_take(struct settler *settler);
/* True of a failure that is not the store's own, which passes, but of a row. */
bool settler_blames_row(const struct status *st);

#endif
