/*
 * stream: one open stream, its feed and its key, as the thread of streams sees them. Only that thread touches
 * them.
 *
 *   streams.c      the thread: its loop, its inbox, the life of a stream
 *   stream_life.c  a stream from its offer to its end
 *   stream_feed.c  a tenant's log: following it, and pages of it for streams that are behind
 *   stream_kept.c  the newest events of a log, for all of its streams
 *   stream_keys.c  the keys that streams were opened with, and what becomes of them
 *   stream_out.c   writing
 *   stream_words.c what a stream says beside events
 *   stream_socket.c what a WebSocket's client says
 */
#ifndef CORBEL_INGRESS_STREAM_H
#define CORBEL_INGRESS_STREAM_H

#include <sys/queue.h>

#include "stream_item.h"
#include "stream_wire.h"
#include "streams.h"

struct feed;
struct stream_key;
struct stream_socket;

struct stream {
	LIST_ENTRY(stream) of_all, of_feed, of_key;
	TAILQ_ENTRY(stream) in_line; /* of those that wait for a page of the log; or in the list of the dead */
	struct streams *streams;
	struct feed *feed;
	struct stream_key *key;
	struct stream_filter *filter;
	struct stream_wire wire;
	struct request *owner; /* of the connection, when it is borrowed */
	enum stream_kind kind;
	bool is_blocked; /* the socket takes no more for now */
	bool waits_in_line;
	bool has_caught_up;       /* it was at the end of the log once */
	bool is_ending;           /* nothing follows what is under way and `words` */
	bool is_finished;         /* all was sent: the other side is to end, too */
	bool is_dead;             /* freed at the end of the turn */
	uint64_t at;              /* sequence of the last event that it sent or passed over, whole or not yet */
	struct stream_item *item; /* held: sent in part */
	size_t item_sent;
	char *words; /* to be sent before the next event */
	size_t words_size, words_sent;
	size_t waiting_bytes; /* of events that it could not take so far, once it had caught up */
	uint64_t moved_ms;    /* when it last took a byte */
	uint64_t end_by_ms;
	/* of WebSocket only: */
	struct stream_socket *socket; /* NULL while nothing of a frame has come */
	bool has_left;                /* the client said good-bye, or is not listened to any more */
	uint64_t told_at;             /* the position that was said last */
	uint64_t heard_ms, pinged_ms;
};

static inline bool
stream_is_socket(const struct stream *stream)
{
	return stream->kind == STREAM_WEBSOCKET || stream->kind == STREAM_CLOUDEVENTS_SOCKET;
}

LIST_HEAD(stream_list, stream);
TAILQ_HEAD(stream_line, stream);

/* Events one behind the other: all that there were of (from, to]. */
struct stream_run {
	struct stream_item *const *items;
	size_t count;
	uint64_t from, to;
};

struct feeds;
struct stream_keys;

struct streams {
	struct ingress *ingress;
	struct stream_quota *quota;
	pthread_t thread;
	bool has_thread;
	_Atomic bool is_stopping, is_draining;
	_Atomic size_t alive; /* streams, from their offer to their end */
	int epoll_fd, wake_fd;
	pthread_mutex_t lock; /* of inbox and inbox_count; a leaf */
	struct stream_message *inbox;
	size_t inbox_count;
	struct subscriber *growth;
	/* the thread only: */
	struct port *port;
	struct pool *log; /* of the daemon that keeps the log */
	struct feeds *feeds;
	struct stream_keys *keys;
	struct stream_list all;
	struct stream_line dead;
	size_t cloud_count; /* streams of CloudEvents */
	size_t buffer_bytes;
	uint64_t heartbeat_ms;
	uint64_t ticked_ms;
	struct metric_gauge *open;
	struct metric_counter *sent, *pages, *slow;
};

uint64_t streams_now_ms(const struct streams *streams);
/* Asks for EPOLLOUT, or no longer. */
void stream_watch(struct stream *stream);
/* At once, without a word. */
void stream_kill(struct stream *stream);

/* Why a stream ends, in the words of both protocols. */
struct stream_end {
	const char *event;  /* of SSE, and `type` of the last message; NULL: none */
	const char *reason; /* for people; NULL: that of `event` */
	uint16_t code;      /* of WebSocket's close frame */
};
extern const struct stream_end STREAM_END_SLOW, STREAM_END_STOPPING, STREAM_END_RESTORED, STREAM_END_REVOKED;
/* For a client to read what it is told at the end, and to end, too; and the same while the process stops. */
#define STREAM_GOODBYE_MS  30000u
#define STREAM_DRAINING_MS 1000u
void stream_new(struct streams *streams, const struct stream_offer *offer);
/* The tenant's place is free from here on, whatever is still to be said. */
void stream_leave(struct stream *stream);
/* Frees the dead. */
void streams_bury(struct streams *streams);
/* Says so behind what is under way, then ends it. */
void stream_finish(struct stream *stream, const struct stream_end *end, const char *reason);

/* ---- stream_out.c ---- */
/* Adds to what is said before the next event: bytes as they are; or text within the body, of server-sent
 * events. */
void stream_say_raw(struct stream *stream, const void *bytes, size_t size);
void stream_say(struct stream *stream, const char *text);
/* Sends what is under way; false while something of it is left, or the stream is dead. */
bool stream_flush(struct stream *stream);
/* Sends those of the run's events that are behind `at` and pass the filter, as many as the socket takes. The
 * run begins at or before `at`. */
void stream_write(struct stream *stream, const struct stream_run *run);
/* Bytes that the item has on the wire. */
size_t stream_item_wire_size(const struct stream *stream, const struct stream_item *item);

/* ---- stream_words.c ---- */
void stream_say_begin(struct stream *stream);
void stream_say_heartbeat(struct stream *stream);
/* Events behind `at` and before `first` are no longer kept. */
void stream_say_gap(struct stream *stream, uint64_t first);
void stream_say_end(struct stream *stream, const struct stream_end *end, const char *reason);

/* ---- stream_feed.c ---- */
struct feeds *feeds_new(struct streams *streams);
void feeds_free(struct feeds *feeds);
/* `last` is the log's last sequence, as far as known. */
void feeds_join(struct feeds *feeds, struct stream *stream, const char *tenant, uint64_t last);
void feeds_leave(struct stream *stream);
/* The tenant's log has grown to `last`. */
void feeds_grew(struct feeds *feeds, const char *tenant, uint64_t last);
/* Sends what there is for the stream, or sees to it that it is read. */
void feeds_serve(struct stream *stream);
/* Begins reads that are due; once a turn. */
void feeds_turn(struct feeds *feeds);
void feeds_sweep(struct feeds *feeds, uint64_t now_ms);
const char *feed_tenant(const struct feed *feed);

/* ---- stream_keys.c ---- */
struct stream_keys *stream_keys_new(struct streams *streams);
void stream_keys_free(struct stream_keys *keys);
void stream_keys_join(struct stream_keys *keys, struct stream *stream, const struct stream_offer *offer);
void stream_keys_leave(struct stream *stream);
void stream_keys_notice(struct stream_keys *keys, const struct notice *notice);
void stream_keys_tick(struct stream_keys *keys, uint64_t now_ms);

#endif
