/*
 * channel: what a child reads and writes: descriptors 0 and 1, one request in, frames out.
 */
#ifndef CORBEL_ZYGOTE_CHANNEL_H
#define CORBEL_ZYGOTE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runner/wire.h"

#define CHANNEL_IN  0
#define CHANNEL_OUT 1

/* False at the end of the stream. */
bool channel_read(void *bytes, size_t size);
/* Returns when the other side has had enough: it measures what the process used while there is one. */
void channel_wait(void);
/* Ends the process when nobody reads. */
void channel_write(const void *bytes, size_t size);
void channel_frame(enum wire_frame_kind kind, const void *payload, size_t size);

/* The run's log: lines are sent when they are complete, so that they are known when the run is killed. */
void channel_log(const char *text, size_t size);
void channel_log_flush(void);
void channel_log_limit(uint32_t bytes);
bool channel_log_is_cut(void);

#endif
