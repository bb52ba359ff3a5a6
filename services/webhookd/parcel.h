/*
 * parcel: one delivery on its way: the request that is sent, and what came back.
 *
 * Owned by the courier from its making to parcel_free(); all it points at is in its arena.
 */
#ifndef CORBEL_WEBHOOKD_PARCEL_H
#define CORBEL_WEBHOOKD_PARCEL_H

#include "base/id.h"
#include "ledger.h"
#include "outbound/outbound.h"

#define PARCEL_HEADERS_MAX 32

struct courier;
struct lane;

struct parcel {
	struct parcel *next; /* in its lane's queue, or among the finished */
	struct courier *courier;
	struct lane *lane;
	struct arena arena;
	char delivery_id[ID_MAX];
	uint32_t attempts, tries; /* before this one */
	uint64_t sequence;
	int64_t started_ms;
	const char *body;
	size_t body_size;
	const char *event_id, *event_type;
	const char *traceparent;
	const char *headers[PARCEL_HEADERS_MAX];
	struct outbound_request http;
	Attempt *attempt; /* made when it is finished */
};

/* Copies what is due, and makes the body. */
struct parcel *parcel_new(struct lane *lane, const struct due *due);
void parcel_free(struct parcel *parcel);
/* Makes headers and signature for an attempt that begins now. */
struct status parcel_address(struct parcel *parcel, const Endpoint *endpoint, const struct signer *signer,
                             int64_t now_ms);
/* Keeps how it went as an Attempt, while the response is there. */
void parcel_note(struct parcel *parcel);

#endif
