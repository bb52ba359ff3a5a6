/*
 * streams: all open streams of the ingress, and the one thread that serves them.
 *
 * A shard answers what comes in over HTTP until it is a stream; then it hands the socket over and knows no
 * more of it. For each tenant with open streams there is one feed, which follows the tenant's log.
 */
#ifndef CORBEL_INGRESS_STREAMS_H
#define CORBEL_INGRESS_STREAMS_H

#include "ingress_internal.h"
#include "stream_filter.h"
#include "stream_quota.h"

struct streams;

struct status streams_start(struct ingress *ingress, struct streams **out);
/* Ends all streams in the way of their protocol; returns when they are gone, or after a few seconds. */
void streams_drain(struct streams *streams);
/* Before the shards, whose connections TLS streams borrow. NULL is allowed. */
void streams_free(struct streams *streams);
/* News of keys; any thread. */
void streams_notice(struct streams *streams, const struct notice *notice);
/* Counts a stream that is about to be opened; stream_offer() or streams_forgo() follows. Any thread. */
enum stream_refusal streams_reserve(struct streams *streams, const char *tenant);
void streams_forgo(struct streams *streams, const char *tenant);

enum stream_kind {
	STREAM_CHUNKED,   /* server-sent events in chunks (RFC 9112 section 7.1) */
	STREAM_PLAIN,     /* the same as they are, for clients of HTTP/1.0 */
	STREAM_WEBSOCKET, /* a message for each event */
	STREAM_CLOUDEVENTS_SOCKET
};

/* A stream about to begin. */
struct stream_offer {
	int fd; /* taken */
	struct request
	    *owner; /* of the connection when the socket is borrowed with its TLS session; NULL otherwise */
	void *tls;  /* gnutls_session_t, or NULL */
	enum stream_kind kind;
	const char *tenant;              /* whose log */
	const char *key_id, *key_tenant; /* who reads it */
	bool has_end;                    /* of the key */
	int64_t ends_at_ms;              /* wall time */
	struct stream_filter *filter;    /* taken */
	uint64_t after, first, last; /* where it begins; the log's bounds as they were asked for, 0: not known */
	const char *head;            /* what is sent first */
	size_t head_size;
};
/* Copies what is not taken. Any thread. */
void streams_open(struct streams *streams, const struct stream_offer *offer);

#endif
