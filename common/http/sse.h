/*
 * sse: server-sent events as a client reads them (WHATWG HTML, "Server-sent events").
 *
 * A leaf. Bytes come in any pieces; lines end with CR, LF or both. The bound holds for a line and for the
 * data of an event.
 */
#ifndef CORBEL_HTTP_SSE_H
#define CORBEL_HTTP_SSE_H

#include <stdbool.h>
#include <stddef.h>

struct sse;

struct sse_event {
	const char *id;   /* the last that was said, also before this event; "" at first */
	const char *type; /* "message" when none was said */
	const char *data; /* NUL-terminated; NULL for a block that only says an id or a pause */
	size_t data_size;
};

/* False: nothing further is to be read. */
typedef bool (*sse_take)(void *arg, const struct sse_event *event);

struct sse *sse_new(size_t bytes_max, sse_take take, void *arg);
void sse_free(struct sse *sse);
/* False when `take` said so, or the bound is passed. */
bool sse_feed(struct sse *sse, const char *bytes, size_t size);
/* The pause before the next connection that was asked for, in ms; 0: none. */
unsigned long sse_retry_ms(const struct sse *sse);

#endif
