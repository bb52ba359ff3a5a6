/*
 * stream_life: a stream from its offer to its end.
 *
 *   stream_new()  ->  stream_finish(): says good-bye, and its place is free  ->  stream_kill(): its socket is
 *   given up  ->  streams_bury(): its memory is
 */
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "stream_socket.h"

void
stream_watch(struct stream *stream)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (stream->is_blocked ? EPOLLOUT : 0u),
	                            .data.ptr = stream};

	(void)epoll_ctl(stream->streams->epoll_fd, EPOLL_CTL_MOD, stream->wire.fd, &event);
}

void
stream_leave(struct stream *stream)
{
	if (!stream->feed)
		return;
	stream_quota_leave(stream->streams->quota, feed_tenant(stream->feed));
	gauge_add(stream->streams->open, -1);
	if (stream->kind == STREAM_CLOUDEVENTS_SOCKET)
		stream->streams->cloud_count--;
	feeds_leave(stream);
	stream_keys_leave(stream);
}

static void
give_back(struct stream *stream)
{
	if (stream->owner)
		shard_tell(stream->owner->shard, &(struct notice){.ended = stream->owner});
	else
		close(stream->wire.fd);
}

void
stream_kill(struct stream *stream)
{
	if (stream->is_dead)
		return;
	stream_leave(stream);
	stream->is_dead = true;
	LIST_REMOVE(stream, of_all);
	TAILQ_INSERT_TAIL(&stream->streams->dead, stream, in_line);
	/* Not left to the close: the connection that it came from may still have the same socket open. */
	(void)epoll_ctl(stream->streams->epoll_fd, EPOLL_CTL_DEL, stream->wire.fd, NULL);
	give_back(stream);
	atomic_fetch_sub(&stream->streams->alive, 1);
}

void
stream_finish(struct stream *stream, const struct stream_end *end, const char *reason)
{
	bool is_draining = atomic_load(&stream->streams->is_draining);

	if (stream->is_dead || stream->is_ending)
		return;
	stream_say_end(stream, end, reason);
	stream_leave(stream);
	stream->is_ending = true;
	stream->end_by_ms =
	    streams_now_ms(stream->streams) + (is_draining ? STREAM_DRAINING_MS : STREAM_GOODBYE_MS);
	if (!stream->is_blocked)
		(void)stream_flush(stream);
}

void
streams_bury(struct streams *streams)
{
	while (!TAILQ_EMPTY(&streams->dead)) {
		struct stream *stream = TAILQ_FIRST(&streams->dead);
		TAILQ_REMOVE(&streams->dead, stream, in_line);
		if (stream->item)
			stream_item_release(stream->item);
		stream_socket_free(stream->socket);
		mem_free(stream->words);
		mem_free(stream->filter);
		mem_free(stream);
	}
}

void
stream_new(struct streams *streams, const struct stream_offer *offer)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
	struct stream *stream = mem_alloc(sizeof(*stream));

	stream->streams = streams;
	stream->kind = offer->kind;
	stream->filter = offer->filter;
	stream->owner = offer->owner;
	stream->at = offer->after;
	stream->moved_ms = stream->heard_ms = stream->pinged_ms = streams_now_ms(streams);
	stream_wire_init(&stream->wire, offer->fd, offer->tls);
	LIST_INSERT_HEAD(&streams->all, stream, of_all);
	gauge_add(streams->open, 1);
	if (stream->kind == STREAM_CLOUDEVENTS_SOCKET)
		streams->cloud_count++;
	feeds_join(streams->feeds, stream, offer->tenant, offer->last);
	stream_keys_join(streams->keys, stream, offer);
	event.data.ptr = stream;
	if (epoll_ctl(streams->epoll_fd, EPOLL_CTL_ADD, offer->fd, &event) != 0) {
		stream_kill(stream);
		return;
	}
	stream_say_raw(stream, offer->head, offer->head_size);
	stream_say_begin(stream);
	if (stream->at + 1 < offer->first) {
		stream_say_gap(stream, offer->first);
		stream->at = offer->first - 1;
	}
	feeds_serve(stream);
}
