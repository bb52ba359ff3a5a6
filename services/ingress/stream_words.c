/*
 * stream_words: what a stream says beside events, in the words of its protocol.
 *
 * Server-sent events (WHATWG HTML, "Server-sent events"): a block with an id and no data sets the id that a
 * client resumes from and shows nothing to it. So a stream says where it begins, and each heartbeat where it
 * is, however rarely its filter lets an event through.
 */
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "stream_socket.h"

/* Clients that were cut off together do not come back together. */
#define RETRY_MIN_MS   1000u
#define RETRY_RANGE_MS 2000u
#define LAST_CHUNK     "0\r\n\r\n"

const struct stream_end STREAM_END_SLOW = {
    "stream.slow", "events were not read fast enough; resume after the last one", 1013};
const struct stream_end STREAM_END_STOPPING = {NULL, "the server restarts; connect again", 1012};
const struct stream_end STREAM_END_RESTORED = {NULL, "the log is not the one that it was; begin again", 1012};
const struct stream_end STREAM_END_REVOKED = {"stream.revoked", "the key is no longer good", 1008};

#define OPCODE_TEXT 0x1u

static void
say_message(struct stream *stream, const char *text, size_t size)
{
	uint8_t head_bytes[STREAM_FRAME_HEAD_MAX];

	stream_say_raw(stream, head_bytes, stream_frame_head(OPCODE_TEXT, size, head_bytes));
	stream_say_raw(stream, text, size);
}

/* An event of the stream's own; `at` is where clients resume from. */
static void
say_event(struct stream *stream, uint64_t at, const char *type, const char *data)
{
	unsigned long long sequence = at;
	char text[512];
	int size = 0;

	switch (stream->kind) {
	case STREAM_CHUNKED:
	case STREAM_PLAIN:
		snprintf(text, sizeof(text), "id: %llu\nevent: %s\ndata: {\"type\":\"%s\",\"data\":%s}\n\n", sequence,
		         type, type, data);
		stream_say(stream, text);
		return;
	case STREAM_WEBSOCKET:
		size = snprintf(text, sizeof(text), "{\"type\":\"%s\",\"data\":%s}", type, data);
		break;
	case STREAM_CLOUDEVENTS_SOCKET:
		size = snprintf(text, sizeof(text),
		                "{\"specversion\":\"1.0\",\"id\":\"%s.%llu\",\"source\":\"" STREAM_PATH
		                "\",\"type\":\"%s\",\"data\":%s}",
		                type, sequence, type, data);
		break;
	}
	say_message(stream, text, (size_t)size);
}

/* Of server-sent events: a block without data. Of WebSocket: a message, if there is something new to say. */
static void
say_position(struct stream *stream, const char *before)
{
	char text[96];

	if (stream_is_socket(stream)) {
		if (stream->told_at == stream->at)
			return;
		snprintf(text, sizeof(text), "{\"after\":%llu}", (unsigned long long)stream->at);
		say_event(stream, stream->at, "stream.position", text);
	} else {
		snprintf(text, sizeof(text), "%s\nid: %llu\n\n", before, (unsigned long long)stream->at);
		stream_say(stream, text);
	}
	stream->told_at = stream->at;
}

void
stream_say_begin(struct stream *stream)
{
	char retry[32];

	stream->told_at = UINT64_MAX;
	snprintf(retry, sizeof(retry), "retry: %u",
	         RETRY_MIN_MS + (unsigned)(random_fast_u64() % RETRY_RANGE_MS));
	say_position(stream, retry);
}

void
stream_say_heartbeat(struct stream *stream)
{
	if (stream_is_socket(stream))
		stream_socket_say_ping(stream);
	say_position(stream, ":");
}

void
stream_say_gap(struct stream *stream, uint64_t first)
{
	char data[96];

	snprintf(data, sizeof(data), "{\"after\":%llu,\"first_sequence\":%llu}", (unsigned long long)stream->at,
	         (unsigned long long)first);
	say_event(stream, first - 1, "stream.gap", data);
}

void
stream_say_end(struct stream *stream, const struct stream_end *end, const char *reason)
{
	char data[160];

	snprintf(data, sizeof(data), "{\"after\":%llu,\"reason\":\"%s\"}", (unsigned long long)stream->at,
	         reason ? reason : end->reason);
	if (end->event)
		say_event(stream, stream->at, end->event, data);
	if (stream->kind == STREAM_CHUNKED)
		stream_say_raw(stream, LAST_CHUNK, strlen(LAST_CHUNK));
	if (stream_is_socket(stream))
		stream_socket_say_close(stream, end->code, end->reason);
}
