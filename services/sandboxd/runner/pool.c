/*
 * pool: children that wait, and the zygotes that they come from.
 *
 * Each child is used once. Another is ordered when a run has ended, not when one begins, so the fork of the
 * next does not compete with the run of this one.
 *
 * CPython chooses the seed of its hashes once, when it starts, and every string that is there carries a hash
 * of that seed: it cannot be another one in a child. So a zygote makes a number of children, a generation,
 * and not one more. The next one, with another seed, is started before the last of them are needed; what
 * comes sooner than it is warm waits for it. Of zygotes that are warm the oldest is used up first.
 */
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "runner/policy.h"
#include "runner/runner_internal.h"

/* The next start after one that failed: 50 ms, twice as long each time, up to 5 s. */
#define RESPAWN_FIRST_NS UINT64_C(50000000)
#define RESPAWN_LAST_NS  UINT64_C(5000000000)
#define AHEAD_MAX        100u /* children that are left when the next generation is started, at most */
#define STARTING_MAX     2u   /* zygotes that start at once: each takes a processor for as long as that */

/* ---------------------------------------------------------------- events */

static uint64_t
source_tag(enum runner_source source, uint64_t id)
{
	return id << RUNNER_SOURCE_BITS | source;
}

void
pool_watch(struct runner *runner, enum runner_source source, uint64_t id, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = source_tag(source, id)};

	epoll_ctl(runner->epoll, EPOLL_CTL_ADD, fd, &event);
}

void
pool_watch_room(struct runner *runner, struct child *child, bool is_wanted)
{
	struct epoll_event event = {.events = is_wanted ? EPOLLIN | EPOLLOUT : EPOLLIN,
	                            .data.u64 = source_tag(SOURCE_CHILD, child->id)};

	epoll_ctl(runner->epoll, EPOLL_CTL_MOD, child->channel, &event);
}

void
pool_wake_at(struct runner *runner, uint64_t at_ns)
{
	struct itimerspec when = {
	    .it_value = {.tv_sec = (time_t)(at_ns / 1000000000u), .tv_nsec = (long)(at_ns % 1000000000u)}};

	if (at_ns >= runner->timer_ns)
		return;
	runner->timer_ns = at_ns;
	timerfd_settime(runner->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* ---------------------------------------------------------------- zygotes */

/* Children that it may still make. */
static uint32_t
room_of(const struct runner *runner, const struct zygote *zygote)
{
	return zygote->ordered < runner->generation ? runner->generation - zygote->ordered : 0;
}

/* The oldest that takes orders, which comes last in the list; NULL: none just now. */
static struct zygote *
zygote_to_use(struct runner *runner)
{
	struct zygote *found = NULL;

	for (struct zygote *zygote = runner->zygotes; zygote; zygote = zygote->next)
		if (zygote->state == ZYGOTE_WARM)
			found = zygote;
	return found;
}

struct zygote *
pool_zygote(struct runner *runner, uint64_t id)
{
	struct zygote *zygote = runner->zygotes;

	while (zygote && zygote->id != id)
		zygote = zygote->next;
	return zygote;
}

static uint32_t
count_starting(const struct runner *runner)
{
	uint32_t count = 0;

	for (const struct zygote *zygote = runner->zygotes; zygote; zygote = zygote->next)
		count += zygote->state == ZYGOTE_STARTING;
	return count;
}

/* Makes itself due again when it fails. */
static void
start_later(struct runner *runner)
{
	uint64_t wait_ns = RESPAWN_FIRST_NS;

	for (uint32_t i = 0; i < runner->failed_starts && wait_ns < RESPAWN_LAST_NS; i++)
		wait_ns *= 2;
	runner->failed_starts++;
	runner->respawn_ns = clock_mono_ns(clock_system()) + wait_ns;
	pool_wake_at(runner, runner->respawn_ns);
}

struct status
pool_start_zygote(struct runner *runner)
{
	struct zygote *zygote;
	struct status st = zygote_spawn(runner->zygote_path, runner->layers, &zygote);

	runner->respawn_ns = RUNNER_NEVER;
	if (!status_ok(&st)) {
		start_later(runner);
		return st;
	}
	if (runner->cgroup && !cgroup_add(runner->cgroup, zygote->pid)) {
		runner->isolation.layers[RUNNER_CGROUP].state = RUNNER_UNAVAILABLE;
		log_warn(runner->log, "zygote is outside of its cgroup");
	}
	zygote->id = runner->next_id++;
	zygote->next = runner->zygotes;
	runner->zygotes = zygote;
	runner->figures.zygotes++;
	pool_watch(runner, SOURCE_ZYGOTE, zygote->id, zygote->control);
	pool_wake_at(runner, zygote->started_ns + ZYGOTE_START_NS);
	return st;
}

static void
note_isolation(struct runner *runner, const struct wire_hello *hello)
{
	struct runner_isolation *isolation = &runner->isolation;

	for (unsigned i = 0; i < RUNNER_LAYERS; i++) {
		if (i == RUNNER_CGROUP)
			continue; /* made by this process */
		isolation->layers[i].state = hello->layers[i].state;
		memcpy(isolation->layers[i].why, hello->layers[i].why, sizeof(hello->layers[i].why));
	}
	policy_apply(runner->policy, isolation);
}

static void
order(struct runner *runner, struct zygote *zygote, struct child *child)
{
	bool is_ordered = zygote_order(zygote, child->id, child->far_channel);

	close(child->far_channel);
	child->far_channel = -1;
	if (!is_ordered) {
		child->run.verdict = "the zygote takes no orders";
		child->run.verdict_outcome = RUNNER_HOST_ERROR;
		pool_wake_at(runner, 1);
		return;
	}
	child->zygote = zygote;
	zygote->children++;
	zygote->ordered++;
	if (room_of(runner, zygote) == 0)
		zygote->state = ZYGOTE_RETIRING;
}

/* Children that waited for one to be warm. */
static void
order_unmade(struct runner *runner)
{
	struct zygote *zygote = zygote_to_use(runner);

	for (struct child *child = runner->children; child && zygote; child = child->next) {
		if (child->zygote || child->state != CHILD_RUNNING || child->far_channel < 0)
			continue;
		order(runner, zygote, child);
		zygote = zygote_to_use(runner);
	}
}

void
pool_greet(struct runner *runner, struct zygote *zygote, const struct wire_hello *hello)
{
	runner->failed_starts = 0;
	zygote->rss_bytes = hello->rss_bytes;
	note_isolation(runner, hello);
	zygote->state = ZYGOTE_WARM;
	runner->figures.zygote_pid = zygote->pid;
	order_unmade(runner);
	pool_tend(runner);
	pthread_cond_broadcast(&runner->changed);
}

static void
unlink_zygote(struct runner *runner, const struct zygote *zygote)
{
	struct zygote **at = &runner->zygotes;

	while (*at != zygote)
		at = &(*at)->next;
	*at = zygote->next;
}

/* Of those that have been warm; 0: there is none. */
static pid_t
newest_pid(const struct runner *runner)
{
	for (const struct zygote *zygote = runner->zygotes; zygote; zygote = zygote->next)
		if (zygote->state != ZYGOTE_STARTING)
			return zygote->pid;
	return 0;
}

void
pool_lose_zygote(struct runner *runner, struct zygote *zygote)
{
	bool was_warm = zygote->state != ZYGOTE_STARTING;
	bool was_wanted = zygote->state != ZYGOTE_RETIRING || zygote->children > 0;

	for (struct child *child = runner->children; child; child = child->next) {
		if (child->zygote != zygote)
			continue;
		child->zygote = NULL;
		child->is_orphan = true;
	}
	unlink_zygote(runner, zygote);
	zygote_end(zygote);
	runner->figures.zygote_pid = newest_pid(runner);
	pool_wake_at(runner, 1); /* the loop settles the orphans */
	pthread_cond_broadcast(&runner->changed);
	if (!was_wanted || runner->is_stopping)
		return;
	runner->figures.zygote_deaths++;
	log_warn(runner->log, "zygote died", LOG_BOOL("warm", was_warm));
	if (!was_warm && count_starting(runner) == 0)
		start_later(runner);
	else if (was_warm && !zygote_to_use(runner) && count_starting(runner) == 0)
		pool_start_zygote(runner);
}

/* ---------------------------------------------------------------- children */

struct child *
pool_child(struct runner *runner, uint64_t id)
{
	struct child *child = runner->children;

	while (child && child->id != id)
		child = child->next;
	return child;
}

/* The oldest that is there for sure, else the one that was ordered first: the list begins with the newest. */
struct child *
pool_waiting(struct runner *runner)
{
	struct child *there = NULL, *ordered = NULL;

	for (struct child *child = runner->children; child; child = child->next) {
		if (child->state != CHILD_WAITING || !child->zygote)
			continue;
		ordered = child;
		if (child->pid)
			there = child;
	}
	return there ? there : ordered;
}

struct child *
pool_make_child(struct runner *runner)
{
	struct zygote *zygote = zygote_to_use(runner);
	struct child *child = child_new(runner->next_id);

	if (!child)
		return NULL;
	runner->next_id++;
	child->next = runner->children;
	runner->children = child;
	pool_watch(runner, SOURCE_CHILD, child->id, child->channel);
	if (zygote)
		order(runner, zygote, child);
	return child;
}

void
pool_drop_child(struct runner *runner, struct child *child)
{
	struct child **at = &runner->children;

	while (*at != child)
		at = &(*at)->next;
	*at = child->next;
	if (child->zygote && --child->zygote->children == 0 && child->zygote->state == ZYGOTE_RETIRING)
		pool_wake_at(runner, 1);
	child_free(child);
}

static uint32_t
count_waiting(const struct runner *runner)
{
	uint32_t count = 0;

	for (const struct child *child = runner->children; child; child = child->next)
		count += child->state == CHILD_WAITING;
	return count;
}

/* Runs whose child is still to be ordered. */
static uint32_t
count_unmade(const struct runner *runner)
{
	uint32_t count = 0;

	for (const struct child *child = runner->children; child; child = child->next)
		count += child->state == CHILD_RUNNING && !child->zygote && child->far_channel >= 0;
	return count;
}

/* So many children may be needed before a zygote that is started now is warm. */
static uint64_t
needed_soon(const struct runner *runner)
{
	uint32_t ahead = runner->generation / 8 < AHEAD_MAX ? runner->generation / 8 : AHEAD_MAX;
	uint32_t waiting = count_waiting(runner);
	uint32_t missing = waiting < runner->ready ? runner->ready - waiting : 0;

	return (uint64_t)missing + count_unmade(runner) + ahead;
}

static void
start_ahead(struct runner *runner)
{
	uint64_t room = 0;

	for (const struct zygote *zygote = runner->zygotes; zygote; zygote = zygote->next)
		if (zygote->state != ZYGOTE_RETIRING)
			room += room_of(runner, zygote);
	while (room < needed_soon(runner) && count_starting(runner) < STARTING_MAX &&
	       runner->respawn_ns == RUNNER_NEVER) {
		struct status st = pool_start_zygote(runner);
		if (!status_ok(&st))
			return;
		room += runner->generation;
	}
}

void
pool_tend(struct runner *runner)
{
	if (runner->is_stopping || !runner->isolation.is_enough)
		return;
	for (uint32_t waiting = count_waiting(runner); waiting < runner->ready; waiting++)
		if (!zygote_to_use(runner) || !pool_make_child(runner))
			break;
	start_ahead(runner);
}
