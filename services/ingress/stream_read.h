/*
 * stream_read: one page of a tenant's log, read over the bus.
 *
 * For the thread of streams. A read is used again and again, one call at a time.
 */
#ifndef CORBEL_INGRESS_STREAM_READ_H
#define CORBEL_INGRESS_STREAM_READ_H

#include "stream.h"

struct stream_read;

struct stream_page {
	bool is_good;          /* false: the log could not be read */
	uint64_t first, last;  /* bounds of the log */
	struct stream_run run; /* valid while `done` runs; who keeps an item holds it */
};

typedef void (*stream_read_done)(void *arg, const struct stream_page *page);

/* `tenant` outlives the read. */
struct stream_read *stream_read_new(struct streams *streams, const char *tenant, stream_read_done done,
                                    void *arg);
/* Also while it is busy: then it ends with its call, and `done` is not called. */
void stream_read_free(struct stream_read *read);
bool stream_read_is_busy(const struct stream_read *read);
/* Reads what is behind a sequence. */
void stream_read_start(struct stream_read *read, uint64_t after);

#endif
