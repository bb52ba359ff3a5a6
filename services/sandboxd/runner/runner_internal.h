/*
 * The runner's own structure: everything below the lock is for whoever holds it. Zygotes and children are
 * freed by the runner's thread only, which finds them by id, so an event of one that is gone finds nothing.
 */
#ifndef CORBEL_SANDBOXD_RUNNER_INTERNAL_H
#define CORBEL_SANDBOXD_RUNNER_INTERNAL_H

#include <pthread.h>

#include "runner/cgroup.h"
#include "runner/child.h"
#include "runner/zygote.h"

#define RUNNER_NEVER       UINT64_MAX
#define RUNNER_SOURCE_BITS 2                     /* of an event's tag; the rest is an id */
#define ZYGOTE_START_NS    UINT64_C(10000000000) /* without a hello it is given up */
/* A process, or the news of its end, may come so long after its run's time is over. Runs may be given very
 * little time, and to end a zygote fails those of everybody: only one that hangs is to be ended. */
#define ZYGOTE_LATE_NS UINT64_C(2000000000)

struct runner {
	/* As started; constant. */
	char *zygote_path, *policy;
	uint32_t layers, slots, ready, generation;
	struct cgroup *cgroup; /* NULL: none */
	struct log *log;
	int epoll, timer, wake;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* a hello, the death of the first zygote, the end of a run */
	struct zygote *zygotes; /* the newest first */
	struct child *children;
	struct runner_isolation isolation; /* as of the last hello */
	struct runner_figures figures;
	uint64_t next_id;
	uint64_t timer_ns;      /* what the timer is set to; RUNNER_NEVER: nothing */
	uint64_t respawn_ns;    /* when to start a zygote again; RUNNER_NEVER: nothing to do */
	uint32_t failed_starts; /* in a row */
	uint64_t cgroup_kills;  /* that runs have been told of */
	bool is_stopping;
};

/* ---- pool.c: zygotes and their children; the caller holds the lock */

struct zygote *pool_zygote(struct runner *runner, uint64_t id);
struct status pool_start_zygote(struct runner *runner);
/* The zygote is warm: children that wait for one are ordered. */
void pool_greet(struct runner *runner, struct zygote *zygote, const struct wire_hello *hello);
/* Its children are without one, their runs end by the next turn of the loop; another is started. */
void pool_lose_zygote(struct runner *runner, struct zygote *zygote);

struct child *pool_child(struct runner *runner, uint64_t id);
struct child *pool_waiting(struct runner *runner); /* NULL: none waits */
/* A child, ordered if there is a warm zygote; NULL: no descriptors left. */
struct child *pool_make_child(struct runner *runner);
void pool_drop_child(struct runner *runner, struct child *child);
/* As many children wait as were asked for, as far as a zygote is warm; the next is started when it is time.
 */
void pool_tend(struct runner *runner);

enum runner_source { SOURCE_WAKE, SOURCE_TIMER, SOURCE_ZYGOTE, SOURCE_CHILD };
/* Watches `fd` for what is about the zygote or child `id`. */
void pool_watch(struct runner *runner, enum runner_source source, uint64_t id, int fd);
void pool_watch_room(struct runner *runner, struct child *child, bool is_wanted);
/* Sets the timer unless it is set to an earlier time. */
void pool_wake_at(struct runner *runner, uint64_t at_ns);

/* ---- loop.c */

void *loop_run(void *runner);

#endif
