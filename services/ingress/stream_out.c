/*
 * stream_out: what goes out on a stream, in order: the rest of an event that was sent in part, then words,
 * then events.
 *
 * A stream holds no events but the one under way: when its socket takes no more it remembers the sequence,
 * and goes on from the feed's events or the log when it can. So its memory is bounded whatever it is sent.
 */
#include <stdio.h>
#include <string.h>

#include "stream.h"

#define PARTS_MAX  64u
#define EVENTS_MAX (PARTS_MAX / 2)

static void
add_words(struct stream *stream, const void *bytes, size_t size)
{
	stream->words = mem_resize(stream->words, stream->words_size + size, 1);
	memcpy(stream->words + stream->words_size, bytes, size);
	stream->words_size += size;
}

void
stream_say_raw(struct stream *stream, const void *bytes, size_t size)
{
	if (size > 0)
		add_words(stream, bytes, size);
}

void
stream_say(struct stream *stream, const char *text)
{
	char head[24];

	if (stream->kind == STREAM_CHUNKED)
		add_words(stream, head, (size_t)snprintf(head, sizeof(head), "%zx\r\n", strlen(text)));
	add_words(stream, text, strlen(text));
	if (stream->kind == STREAM_CHUNKED)
		add_words(stream, "\r\n", 2);
}

/* The item as the stream sends it, in at most two parts; returns how many. */
static size_t
whole_of(const struct stream *stream, const struct stream_item *item, struct iovec out[2])
{
	switch (stream->kind) {
	case STREAM_CHUNKED:
		out[0] = (struct iovec){(void *)(uintptr_t)item->chunk, item->chunk_size};
		return 1;
	case STREAM_PLAIN:
		out[0] = (struct iovec){(void *)(uintptr_t)item->sse, item->sse_size};
		return 1;
	case STREAM_CLOUDEVENTS_SOCKET:
		out[0] = (struct iovec){(void *)(uintptr_t)item->cloud, item->cloud_size};
		return 1;
	default:
		out[0] = (struct iovec){(void *)(uintptr_t)item->frame_head, item->frame_head_size};
		out[1] = (struct iovec){(void *)(uintptr_t)item->json, item->json_size};
		return 2;
	}
}

size_t
stream_item_wire_size(const struct stream *stream, const struct stream_item *item)
{
	struct iovec whole[2];
	size_t count = whole_of(stream, item, whole);

	return whole[0].iov_len + (count > 1 ? whole[1].iov_len : 0);
}

/* The item's bytes from `skip` on; returns the number of parts. */
static size_t
parts_of(const struct stream *stream, const struct stream_item *item, size_t skip, struct iovec out[2])
{
	struct iovec whole[2];
	size_t count = 0, parts = whole_of(stream, item, whole);

	for (size_t i = 0; i < parts; i++) {
		size_t cut = skip < whole[i].iov_len ? skip : whole[i].iov_len;
		skip -= cut;
		if (cut < whole[i].iov_len)
			out[count++] = (struct iovec){(char *)whole[i].iov_base + cut, whole[i].iov_len - cut};
	}
	return count;
}

/* Sends parts of `size` bytes together; what was sent, having noted what follows from it. */
static size_t
send_parts(struct stream *stream, const struct iovec *parts, size_t count, size_t size)
{
	ssize_t sent = stream_wire_send(&stream->wire, parts, count);

	if (sent < 0) {
		stream_kill(stream);
		return 0;
	}
	if (sent > 0)
		stream->moved_ms = streams_now_ms(stream->streams);
	bool was_blocked = stream->is_blocked;
	stream->is_blocked = (size_t)sent < size || stream->wire.has_pending;
	if (was_blocked != stream->is_blocked)
		stream_watch(stream);
	return (size_t)sent;
}

static bool
flush_item(struct stream *stream)
{
	struct iovec parts[2];
	size_t size = stream_item_wire_size(stream, stream->item) - stream->item_sent;

	stream->item_sent +=
	    send_parts(stream, parts, parts_of(stream, stream->item, stream->item_sent, parts), size);
	if (stream->is_dead || stream->item_sent < stream_item_wire_size(stream, stream->item))
		return false;
	stream_item_release(stream->item);
	stream->item = NULL;
	return true;
}

static bool
flush_words(struct stream *stream)
{
	struct iovec part = {stream->words + stream->words_sent, stream->words_size - stream->words_sent};

	stream->words_sent += send_parts(stream, &part, 1, part.iov_len);
	if (stream->is_dead || stream->words_sent < stream->words_size)
		return false;
	mem_free(stream->words);
	stream->words = NULL;
	stream->words_size = stream->words_sent = 0;
	return true;
}

bool
stream_flush(struct stream *stream)
{
	if (stream->is_dead || (stream->item && !flush_item(stream)))
		return false;
	if (stream->words_size > 0 && !flush_words(stream))
		return false;
	/* The session may hold the end of it. */
	if (stream->wire.has_pending)
		(void)send_parts(stream, NULL, 0, 0);
	if (stream->is_dead || stream->wire.has_pending)
		return false;
	/* A WebSocket is closed behind the close frames of both sides. */
	if (stream->is_ending && !stream->is_finished && (stream->has_left || !stream_is_socket(stream))) {
		stream->is_finished = true;
		stream_wire_finish(&stream->wire);
	}
	return !stream->is_ending;
}

/* ---- events ---- */

/* Events that are sent together. */
struct parcel {
	struct iovec parts[PARTS_MAX];
	size_t part_count;
	size_t ends[EVENTS_MAX]; /* of each event, in bytes from the beginning */
	size_t events[EVENTS_MAX];
	size_t count, size;
};

/* Position of the first event behind a sequence. */
static size_t
first_behind(const struct stream_run *run, uint64_t sequence)
{
	size_t low = 0, high = run->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (run->items[middle]->sequence > sequence)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Takes events from position `i` on; returns the position behind the last that was looked at. */
static size_t
pack(const struct stream *stream, const struct stream_run *run, size_t i, struct parcel *parcel)
{
	parcel->part_count = parcel->count = parcel->size = 0;
	for (; i < run->count && parcel->count < EVENTS_MAX; i++) {
		const struct stream_item *item = run->items[i];
		if (!stream_filter_passes(stream->filter, item->type, item->subject))
			continue;
		parcel->part_count += parts_of(stream, item, 0, parcel->parts + parcel->part_count);
		parcel->size += stream_item_wire_size(stream, item);
		parcel->events[parcel->count] = i;
		parcel->ends[parcel->count++] = parcel->size;
	}
	return i;
}

/* Notes how far `sent` bytes of a parcel have brought the stream. */
static void
account(struct stream *stream, const struct stream_run *run, const struct parcel *parcel, size_t sent)
{
	size_t whole = 0, begin;

	while (whole < parcel->count && parcel->ends[whole] <= sent)
		whole++;
	counter_add(stream->streams->sent, whole);
	if (whole > 0)
		stream->told_at = run->items[parcel->events[whole - 1]]->sequence;
	stream->waiting_bytes -= sent < stream->waiting_bytes ? sent : stream->waiting_bytes;
	if (whole > 0)
		stream->at = run->items[parcel->events[whole - 1]]->sequence;
	begin = whole > 0 ? parcel->ends[whole - 1] : 0;
	if (whole == parcel->count || sent == begin)
		return;
	stream->item = run->items[parcel->events[whole]];
	stream_item_hold(stream->item);
	stream->item_sent = sent - begin;
	stream->at = stream->item->sequence;
}

void
stream_write(struct stream *stream, const struct stream_run *run)
{
	struct parcel parcel;

	if (!stream_flush(stream))
		return;
	for (size_t i = first_behind(run, stream->at); i < run->count;) {
		i = pack(stream, run, i, &parcel);
		if (parcel.count > 0) {
			size_t sent = send_parts(stream, parcel.parts, parcel.part_count, parcel.size);
			if (stream->is_dead)
				return;
			account(stream, run, &parcel, sent);
			if (sent < parcel.size)
				return;
		}
		/* What was passed over is behind it, too. */
		stream->at = run->items[i - 1]->sequence;
		if (stream->is_blocked)
			return;
	}
	if (stream->at < run->to)
		stream->at = run->to;
}
