/*
 * body: an event as the body of a webhook: type, timestamp and data as Standard Webhooks recommends.
 *
 * A leaf.
 */
#ifndef CORBEL_EVENTS_BODY_H
#define CORBEL_EVENTS_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct event_body {
	const char *id, *type, *subject; /* subject NULL: none */
	int64_t timestamp_ms;
	uint64_t sequence;
	const void *data; /* one JSON value */
	size_t data_size;
};

/* {"id", "type", "timestamp", "subject", "sequence", "data"}; the data byte for byte. */
void event_body_write(const struct event_body *body, struct strbuf *out);

#endif
