/*
 * channel: blocking reads and writes, and the buffer of the log.
 *
 * The log's buffer is the one thing that a child keeps outside of Python: print() writes to it from wherever
 * it is called, and a process is one run.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"

#define LOG_BUFFER 4096

bool
channel_read(void *bytes, size_t size)
{
	char *at = bytes;

	while (size > 0) {
		ssize_t got = read(CHANNEL_IN, at, size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		size -= (size_t)got;
	}
	return true;
}

void
channel_wait(void)
{
	char byte;

	while (channel_read(&byte, 1))
		continue;
}

void
channel_write(const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t put = write(CHANNEL_OUT, at, size);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			_exit(1);
		at += put;
		size -= (size_t)put;
	}
}

void
channel_frame(enum wire_frame_kind kind, const void *payload, size_t size)
{
	struct wire_frame frame = {kind, (uint32_t)size};

	channel_write(&frame, sizeof(frame));
	channel_write(payload, size);
}

/* ---------------------------------------------------------------- the log */

static struct {
	struct wire_frame frame; /* in front of the bytes, so that both go out at once */
	char bytes[LOG_BUFFER];
	uint32_t left; /* that may still be printed */
	bool is_cut;
} pending;

void
channel_log_limit(uint32_t bytes)
{
	pending.left = bytes;
	pending.frame = (struct wire_frame){WIRE_LOG, 0};
	pending.is_cut = false;
}

bool
channel_log_is_cut(void)
{
	return pending.is_cut;
}

void
channel_log_flush(void)
{
	if (pending.frame.size > 0)
		channel_write(&pending, sizeof(pending.frame) + pending.frame.size);
	pending.frame.size = 0;
}

void
channel_log(const char *text, size_t size)
{
	if (size > pending.left) {
		pending.is_cut = true;
		size = pending.left;
	}
	pending.left -= (uint32_t)size;
	while (size > 0) {
		size_t room = LOG_BUFFER - pending.frame.size, part = size < room ? size : room;
		memcpy(pending.bytes + pending.frame.size, text, part);
		pending.frame.size += (uint32_t)part;
		text += part;
		size -= part;
		if (pending.frame.size == LOG_BUFFER || text[-1] == '\n')
			channel_log_flush();
	}
}
