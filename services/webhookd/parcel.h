/*
 * parcel: one delivery on its way: the event that it carries, and how the try went.
 *
 * Owned by the courier from its making to parcel_free(); all it points at is in its arena. While a sink has
 * it, it is the sink's alone.
 */
#ifndef CORBEL_WEBHOOKD_PARCEL_H
#define CORBEL_WEBHOOKD_PARCEL_H

#include "base/id.h"
#include "ledger.h"

#define PARCEL_TIMEOUT_MS 15000u /* of an endpoint that names none */

struct courier;
struct lane;

/* How a try ended. */
enum parcel_end {
	PARCEL_DELIVERED,
	PARCEL_REFUSED, /* somebody is there and does not want it */
	PARCEL_UNWELL,  /* nobody is there, or nobody who can take more at present */
	PARCEL_CUT_OFF  /* by our own end: not counted */
};

/* What a sink tells of it; borrowed. */
struct parcel_outcome {
	enum parcel_end end;
	uint64_t retry_after_ms; /* 0: nothing was asked for */
	uint32_t latency_ms;
	unsigned status;    /* of HTTP; 0: none */
	const char *error;  /* class, as in Attempt.error; NULL when delivered */
	const char *detail; /* for people; NULL: nothing */
	const char *answer; /* its first bytes */
	size_t answer_size;
	const char *address; /* NULL: none */
};

struct parcel {
	struct parcel *next; /* in its lane's queue, in a sink's, or among the finished */
	struct courier *courier;
	struct lane *lane;
	struct arena arena;
	char delivery_id[ID_MAX];
	uint32_t attempts, tries; /* before this one */
	uint64_t sequence;
	bool has_order_key;
	int64_t order_key;
	int64_t started_ms;
	const Event *event;
	void *of_sink;       /* what the sink keeps of it meanwhile */
	const char *payload; /* that a plugin made of the event, JSON; NULL: none did */
	size_t payload_size;
	/* Set by whoever sends it; called once, on any thread, which it must not block. */
	void (*ended)(struct parcel *parcel);
	void *user;
	enum parcel_end end;
	uint64_t retry_after_ms;
	Attempt *attempt; /* made when it has ended */
};

/* Copies what is due; NULL when the event cannot be read. */
struct parcel *parcel_new(struct lane *lane, const struct due *due);
void parcel_free(struct parcel *parcel);
/* For sinks: the try is over. The parcel is no longer the sink's when this returns. */
void parcel_ended(struct parcel *parcel, const struct parcel_outcome *outcome);

#endif
