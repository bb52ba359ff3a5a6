/*
 * pubsub: publications for what may be lost, with loss made visible.
 *
 * A publisher numbers its publications and repeats the last number in a heartbeat each second. A
 * subscriber reports a gap, a new epoch, a new publisher or silence, upon which the application
 * catches up by a request. Nothing that must not be lost depends on it.
 */
#ifndef CORBEL_BUS_PUBSUB_H
#define CORBEL_BUS_PUBSUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/bus.h"

#define PUBSUB_TOPIC_BYTES 8 /* raw, padded with zeros; at most ten topics in use */

struct publisher;
struct subscriber;

struct status publisher_new(struct bus *bus, const char *address, struct publisher **out);
/* Sends what is queued, then closes. */
void publisher_free(struct publisher *publisher);
const char *publisher_url(const struct publisher *publisher);
/* Never blocks; any thread. `topic` is at most 8 bytes of text. */
void publisher_send(struct publisher *publisher, const char *topic, const void *payload, size_t size);
uint64_t publisher_sequence(const struct publisher *publisher);

enum subscriber_event {
	SUBSCRIBER_JOINED,    /* first word of a publisher: everything before was missed */
	SUBSCRIBER_RESTARTED, /* its epoch changed: everything between was missed */
	SUBSCRIBER_GAP,       /* some publications were missed */
	SUBSCRIBER_SILENT,    /* no publication and no heartbeat for 3 s */
	SUBSCRIBER_BACK       /* heard again after silence, nothing missed */
};

struct subscriber_options {
	const char *address;       /* of the publishers; all addresses of a name */
	const char *const *topics; /* NULL-terminated; NULL: all */
	/* Both run on one bus thread at a time and must not block. `node` is the publisher. */
	void (*message)(void *arg, const char *node, const char *topic, const void *payload, size_t size);
	void (*event)(void *arg, const char *node, enum subscriber_event event);
	void *arg;
	uint32_t silence_ms; /* 0: 3000 */
};
struct status subscriber_new(struct bus *bus, const struct subscriber_options *options,
                             struct subscriber **out);
void subscriber_free(struct subscriber *subscriber);

#endif
