/*
 * pool: children that wait, and the zygotes that they come from.
 *
 * Each child is used once. Another is ordered when a run has ended, not when one begins, so the fork of the
 * next does not compete with the run of this one.
 *
 * CPython chooses the seed of its hashes once, when it starts, and every string that is there carries a hash
 * of that seed: it cannot be another one in a child. So a zygote serves a number of runs, a generation, and
 * is then followed by one with another seed, which was started before it is needed.
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

struct zygote *
pool_warm(struct runner *runner)
{
	for (struct zygote *zygote = runner->zygotes; zygote; zygote = zygote->next)
		if (zygote->state == ZYGOTE_WARM)
			return zygote;
	return NULL;
}

struct zygote *
pool_zygote(struct runner *runner, uint64_t id)
{
	struct zygote *zygote = runner->zygotes;

	while (zygote && zygote->id != id)
		zygote = zygote->next;
	return zygote;
}

static bool
is_starting(const struct runner *runner)
{
	return runner->zygotes && runner->zygotes->state == ZYGOTE_STARTING;
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
}

/* Children that nobody waits for are told to go: their channel ends. */
static void
retire(struct runner *runner, struct zygote *zygote)
{
	zygote->state = ZYGOTE_RETIRING;
	for (struct child *child = runner->children; child; child = child->next)
		if (child->zygote == zygote && child->state == CHILD_WAITING) {
			child->state = CHILD_ENDING;
			child_kill(child);
		}
	pool_wake_at(runner, 1); /* it may be without children */
}

void
pool_greet(struct runner *runner, struct zygote *zygote, const struct wire_hello *hello)
{
	runner->failed_starts = 0;
	zygote->rss_bytes = hello->rss_bytes;
	note_isolation(runner, hello);
	for (struct zygote *old = zygote->next; old; old = old->next)
		if (old->state == ZYGOTE_WARM)
			retire(runner, old);
	zygote->state = ZYGOTE_WARM;
	runner->figures.zygote_pid = zygote->pid;
	for (struct child *child = runner->children; child; child = child->next)
		if (!child->zygote && child->state == CHILD_RUNNING && child->far_channel >= 0)
			order(runner, zygote, child);
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

void
pool_lose_zygote(struct runner *runner, struct zygote *zygote)
{
	bool was_warm = zygote->state == ZYGOTE_WARM, was_wanted = zygote->state != ZYGOTE_RETIRING;

	for (struct child *child = runner->children; child; child = child->next) {
		if (child->zygote != zygote)
			continue;
		child->zygote = NULL;
		child->is_orphan = true;
	}
	if (runner->figures.zygote_pid == zygote->pid)
		runner->figures.zygote_pid = 0;
	unlink_zygote(runner, zygote);
	zygote_end(zygote);
	pool_wake_at(runner, 1); /* the loop settles the orphans */
	pthread_cond_broadcast(&runner->changed);
	if (!was_wanted || runner->is_stopping)
		return;
	runner->figures.zygote_deaths++;
	log_warn(runner->log, "zygote died", LOG_BOOL("warm", was_warm));
	if (was_warm && !is_starting(runner))
		pool_start_zygote(runner);
	else if (!is_starting(runner))
		start_later(runner);
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

struct child *
pool_waiting(struct runner *runner)
{
	struct child *found = NULL;

	/* The oldest, which is ready for sure: the list begins with the newest. */
	for (struct child *child = runner->children; child; child = child->next)
		if (child->state == CHILD_WAITING && child->pid)
			found = child;
	return found;
}

struct child *
pool_make_child(struct runner *runner)
{
	struct zygote *zygote = pool_warm(runner);
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

void
pool_tend(struct runner *runner)
{
	struct zygote *warm = pool_warm(runner);

	if (runner->is_stopping)
		return;
	if (warm && warm->served >= runner->generation && !is_starting(runner) &&
	    runner->respawn_ns == RUNNER_NEVER)
		pool_start_zygote(runner);
	if (!warm || !runner->isolation.is_enough)
		return;
	for (uint32_t waiting = count_waiting(runner); waiting < runner->ready; waiting++)
		if (!pool_make_child(runner))
			return;
}
