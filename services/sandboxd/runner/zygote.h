/*
 * zygote: the process that forks, seen from sandboxd: started, ordered, listened to, let go.
 *
 * Used by the runner's thread and under its lock.
 */
#ifndef CORBEL_SANDBOXD_ZYGOTE_H
#define CORBEL_SANDBOXD_ZYGOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"
#include "runner/report.h"

enum zygote_state {
	ZYGOTE_STARTING, /* has not said hello */
	ZYGOTE_WARM,     /* takes orders */
	ZYGOTE_RETIRING  /* has made its generation; its last children end, then it does */
};

struct zygote {
	uint64_t id;
	enum zygote_state state;
	pid_t pid;
	int control;
	uint64_t started_ns;
	uint32_t ordered;   /* children, in all */
	uint32_t children;  /* that have not ended */
	uint64_t rss_bytes; /* of a child that does nothing */
	struct zygote *next;
};

/* Starts `path` with the layers that are wanted; it says hello by and by. UNAVAILABLE: it cannot be run. */
struct status zygote_spawn(const char *path, uint32_t layers, struct zygote **out);
void zygote_kill(struct zygote *zygote);
/* Kills it, waits for its end and frees it. Its children die with it. */
void zygote_end(struct zygote *zygote);

/* Orders a child that has `channel`, which stays the caller's. False: it does not take orders just now. */
bool zygote_order(struct zygote *zygote, uint64_t child, int channel);

enum zygote_heard { ZYGOTE_SAID, ZYGOTE_NOTHING, ZYGOTE_GONE };
/* The next report; `*pidfd` is -1 or the caller's to close. Nonsense counts as gone. */
enum zygote_heard zygote_hear(struct zygote *zygote, struct report *report, int *pidfd);

#endif
