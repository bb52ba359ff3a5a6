/*
 * writer: makes published events durable, many calls in one commit.
 *
 * Calls wait in a bounded queue; the writer's thread takes all there are, records them in one transaction
 * with the deliveries that follow from them, and ends each call after the commit. While it commits, the next
 * ones gather: under load a commit carries hundreds of calls, and an idle log answers after one commit.
 */
#ifndef CORBEL_WEBHOOKD_WRITER_H
#define CORBEL_WEBHOOKD_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "corbel/contract.gen.h"
#include "daemon/call.h"

struct webhookd;
struct writer;

/* One call on its way into the log; lives in the call's arena. */
struct publication {
	struct publication *next;
	struct call *call;
	const char *tenant;
	Corbel__V1__Event **events; /* as they will be stored; without sequence */
	uint8_t (*digests)[16];     /* of what the publisher said */
	bool *is_named;             /* its id was given: it may be there already */
	bool *is_duplicate;         /* set by the writer */
	size_t count;
	struct status outcome;
};

struct status writer_new(struct webhookd *self, struct writer **out);
/* Takes a list, whole; false when the queue has no room for it. Else the writer ends its calls, and their
 * memory is its own. */
bool writer_submit(struct writer *writer, struct publication *first);
/* Records what is queued, then ends the thread. */
void writer_free(struct writer *writer);

#endif
