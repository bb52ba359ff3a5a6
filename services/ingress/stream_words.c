/*
 * stream_words: what a stream says beside events.
 *
 * Server-sent events (WHATWG HTML, "Server-sent events"): a block with an id and no data sets the id that a
 * client resumes from and shows nothing to it. So a stream says where it begins, and each heartbeat where it
 * is, however rarely its filter lets an event through.
 */
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "stream.h"

/* Clients that were cut off together do not come back together. */
#define RETRY_MIN_MS   1000u
#define RETRY_RANGE_MS 2000u
#define LAST_CHUNK     "0\r\n\r\n"

const struct stream_end STREAM_END_SLOW = {
    "stream.slow", "events were not read fast enough; resume after the last one", 1013};
const struct stream_end STREAM_END_STOPPING = {NULL, "the server restarts; connect again", 1012};
const struct stream_end STREAM_END_REVOKED = {"stream.revoked", "the key is no longer good", 1008};

void
stream_say_begin(struct stream *stream)
{
	char text[96];

	snprintf(text, sizeof(text), "retry: %u\nid: %llu\n\n",
	         RETRY_MIN_MS + (unsigned)(random_fast_u64() % RETRY_RANGE_MS), (unsigned long long)stream->at);
	stream_say(stream, text);
}

void
stream_say_heartbeat(struct stream *stream)
{
	char text[64];

	snprintf(text, sizeof(text), ":\nid: %llu\n\n", (unsigned long long)stream->at);
	stream_say(stream, text);
}

void
stream_say_gap(struct stream *stream, uint64_t first)
{
	char text[192];

	snprintf(text, sizeof(text),
	         "id: %llu\nevent: stream.gap\ndata: {\"type\":\"stream.gap\",\"data\":{\"after\":%llu,"
	         "\"first_sequence\":%llu}}\n\n",
	         (unsigned long long)first - 1, (unsigned long long)stream->at, (unsigned long long)first);
	stream_say(stream, text);
}

void
stream_say_end(struct stream *stream, const struct stream_end *end, const char *reason)
{
	char text[256];

	snprintf(text, sizeof(text),
	         "id: %llu\nevent: %s\ndata: {\"type\":\"%s\",\"data\":{\"after\":%llu,\"reason\":\"%s\"}}\n\n",
	         (unsigned long long)stream->at, end->event, end->event, (unsigned long long)stream->at,
	         reason ? reason : end->reason);
	if (end->event)
		stream_say(stream, text);
	if (stream->kind == STREAM_CHUNKED)
		stream_say_raw(stream, LAST_CHUNK, strlen(LAST_CHUNK));
}
