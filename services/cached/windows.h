/*
 * windows: how many gets found a value of late, for each space.
 *
 * Gets weigh less the longer ago they were, by e for each length of the window, so a space takes a few
 * numbers and no samples are kept. The upkeep thread feeds it; any thread asks.
 */
#ifndef CORBEL_CACHED_WINDOWS_H
#define CORBEL_CACHED_WINDOWS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

#define WINDOWS 3 /* a minute, ten minutes, an hour */

struct windows;

struct windows *windows_new(void);
void windows_free(struct windows *windows);
/* Takes in what the engine counted since the last time. */
void windows_tick(struct windows *windows, struct engine *engine, uint64_t now_ms);
struct window {
	uint64_t gets; /* by weight, rounded up; 0: none */
	uint32_t hit_permille;
};
void windows_read(struct windows *windows, const struct space *space, struct window out[WINDOWS]);

#endif
