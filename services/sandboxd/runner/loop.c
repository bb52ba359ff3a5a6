/*
 * loop: the runner's thread.
 *
 * It waits for zygotes that report, children that speak, one timer for everything that is due, and other
 * threads that have decided something. Whatever settles a run happens here, so `done` has one thread. The
 * lock is let go around it; only this thread frees, so what it holds stays.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "runner/measure.h"
#include "runner/runner_internal.h"

#define EVENTS        32
#define GIVE_WAY_NICE 10
#define CPU_CHECK_NS  UINT64_C(1000000) /* at the soonest */

/* ---------------------------------------------------------------- a run's end */

static struct run_use
use_now(const struct child *child)
{
	struct run_use use = {0};
	uint64_t cpu_us = child->pid ? measure_cpu_us(child->pid) : 0;
	uint64_t peak = child->pid ? measure_peak_bytes(child->pid) : 0;
	uint64_t base = child->zygote ? child->zygote->rss_bytes : 0;

	use.cpu_us = cpu_us > child->run.cpu_base_us ? cpu_us - child->run.cpu_base_us : 0;
	use.peak_bytes = base && peak > base ? peak - base : 0;
	return use;
}

static void
settle(struct runner *runner, struct child *child, int status, const struct run_use *use)
{
	struct runner_result result;

	child_kill(child);
	child->state = CHILD_ENDING;
	run_judge(child, status, use, &result);
	runner->figures.running--;
	runner->figures.ended[result.outcome]++;
	pthread_mutex_unlock(&runner->lock);
	child->run.done(child->run.arg, &result);
	pthread_mutex_lock(&runner->lock);
	run_clear(&child->run);
	if (!child->zygote)
		pool_drop_child(runner, child);
	pool_tend(runner);
	pthread_cond_broadcast(&runner->changed);
}

static void
settle_by_verdict(struct runner *runner, struct child *child)
{
	struct run_use use = use_now(child);

	run_read(child);
	settle(runner, child, 0, &use);
}

static void
decide(struct child *child, enum runner_outcome outcome, const char *why)
{
	child->run.verdict = why;
	child->run.verdict_outcome = outcome;
}

/* Measured while the process lives: it waits for that. When it has gone on its own, or is not known yet, what
 * the zygote reports comes first. */
static void
on_answer(struct runner *runner, struct child *child)
{
	struct run_use use = use_now(child);

	if (child_is_dead(child) && child->zygote)
		epoll_ctl(runner->epoll, EPOLL_CTL_DEL, child->channel, NULL);
	else
		settle(runner, child, 0, &use);
}

/* ---------------------------------------------------------------- zygotes */

static void
on_forked(struct runner *runner, uint64_t id, pid_t pid, int pidfd)
{
	struct child *child = pool_child(runner, id);

	if (!child || child->pidfd >= 0) {
		if (pidfd >= 0)
			close(pidfd);
		return;
	}
	child->pid = pid;
	child->pidfd = pidfd;
	if (child->state == CHILD_ENDING)
		child_kill(child);
	if (child->state != CHILD_RUNNING)
		return;
	if (child->run.answer.state != ANSWER_OPEN)
		on_answer(runner, child);
	else
		pool_wake_at(runner, child->run.deadline_ns); /* which may be over */
}

static void
on_unforked(struct runner *runner, uint64_t id)
{
	struct child *child = pool_child(runner, id);

	if (!child)
		return;
	if (child->state == CHILD_RUNNING) {
		decide(child, RUNNER_HOST_ERROR, "no process could be made");
		settle_by_verdict(runner, child);
	}
	pool_drop_child(runner, child);
}

/* Whether the group's count of them has grown: this run's death is one of those. */
static bool
has_killed_for_memory(struct runner *runner)
{
	uint64_t kills = runner->cgroup ? cgroup_kills(runner->cgroup) : 0;

	if (kills <= runner->cgroup_kills)
		return false;
	runner->cgroup_kills++;
	return true;
}

static void
on_ended(struct runner *runner, const struct wire_report *report)
{
	struct child *child = pool_child(runner, report->child);
	struct run_use use = {0};

	if (!child)
		return;
	if (child->state == CHILD_RUNNING) {
		uint64_t base = child->zygote->rss_bytes;
		run_drain(child);
		use.cpu_us = report->cpu_us > child->run.cpu_base_us ? report->cpu_us - child->run.cpu_base_us : 0;
		use.peak_bytes = report->rss_bytes > base ? report->rss_bytes - base : 0;
		use.is_out_of_memory = WIFSIGNALED(report->status) && has_killed_for_memory(runner);
		settle(runner, child, report->status, &use);
	}
	pool_drop_child(runner, child);
}

static void
on_report(struct runner *runner, struct zygote *zygote, const struct report *report, int pidfd)
{
	if (report->kind == WIRE_FORKED) {
		on_forked(runner, report->about.child, report->about.pid, pidfd);
		return;
	}
	if (pidfd >= 0)
		close(pidfd);
	if (report->kind == WIRE_HELLO)
		pool_greet(runner, zygote, &report->hello);
	else if (report->kind == WIRE_UNFORKED)
		on_unforked(runner, report->about.child);
	else
		on_ended(runner, &report->about);
}

static void
on_zygote(struct runner *runner, uint64_t id)
{
	struct zygote *zygote = pool_zygote(runner, id);
	enum zygote_heard heard = ZYGOTE_SAID;
	struct report report;
	int pidfd;

	while (zygote && heard == ZYGOTE_SAID) {
		heard = zygote_hear(zygote, &report, &pidfd);
		if (heard == ZYGOTE_SAID)
			on_report(runner, zygote, &report, pidfd);
		else if (pidfd >= 0)
			close(pidfd);
	}
	if (zygote && heard == ZYGOTE_GONE)
		pool_lose_zygote(runner, zygote);
}

/* ---------------------------------------------------------------- children */

static void
on_child(struct runner *runner, uint64_t id, uint32_t events)
{
	struct child *child = pool_child(runner, id);

	if (!child || child->channel < 0)
		return;
	if (child->state == CHILD_RUNNING && (events & EPOLLOUT) &&
	    (!run_send(child) || run_is_sent(&child->run)))
		pool_watch_room(runner, child, false);
	if (child->state == CHILD_RUNNING && (events & ~(uint32_t)EPOLLOUT) && run_read(child) != ANSWER_OPEN)
		on_answer(runner, child);
	else if (events & (EPOLLHUP | EPOLLERR))
		epoll_ctl(runner->epoll, EPOLL_CTL_DEL, child->channel, NULL); /* the zygote tells the rest */
}

/* ---------------------------------------------------------------- time */

/* Lowering it needs no right as long as the child is of our user; where it is not, runs share alike. */
static void
give_way(struct child *child)
{
	child->run.gives_way = true;
	(void)setpriority(PRIO_PROCESS, (id_t)child->pid, GIVE_WAY_NICE);
}

/* The clock of a process with one thread cannot run faster than that of the wall, so the next look is when
 * the rest of its time could be over. */
static void
check_cpu(struct child *child, uint64_t now_ns)
{
	struct run *run = &child->run;
	uint64_t cpu_us = child->pid ? measure_cpu_us(child->pid) : 0,
	         limit_us = run->limits.cpu_ms * UINT64_C(1000);
	uint64_t used_us = cpu_us > run->cpu_base_us ? cpu_us - run->cpu_base_us : 0;

	if (used_us >= limit_us) {
		decide(child, RUNNER_CPU_LIMIT, "the limit of processor time was reached");
		return;
	}
	if (used_us >= GIVE_WAY_MS * UINT64_C(1000) && !run->gives_way && child->pid)
		give_way(child);
	uint64_t next_us =
	    run->gives_way || limit_us < GIVE_WAY_MS * UINT64_C(1000) ? limit_us : GIVE_WAY_MS * UINT64_C(1000);
	uint64_t left_ns = next_us > used_us ? (next_us - used_us) * 1000u : 0;
	run->cpu_check_ns = now_ns + (left_ns > CPU_CHECK_NS ? left_ns : CPU_CHECK_NS);
}

static void
check_time(struct child *child, uint64_t now_ns)
{
	struct run *run = &child->run;

	if (run->verdict)
		return;
	if (child->is_orphan) {
		run_drain(child);
		if (run->answer.state != ANSWER_COMPLETE)
			decide(child, RUNNER_HOST_ERROR, "the interpreter's zygote died");
	} else if (now_ns >= run->deadline_ns && !child_is_dead(child)) {
		decide(child, RUNNER_TIMEOUT, "the time limit was reached");
	} else if (now_ns >= run->deadline_ns + ZYGOTE_LATE_NS) {
		decide(child, RUNNER_HOST_ERROR, "the zygote did not make a process, or did not report its end");
		if (child->zygote)
			zygote_kill(child->zygote); /* it hangs; the end of its socket tells the rest */
	} else if (now_ns < run->deadline_ns && now_ns >= run->cpu_check_ns) {
		check_cpu(child, now_ns);
	}
}

/* One whose time is over is still there because its zygote owes something. */
static uint64_t
next_due(const struct child *child, uint64_t now_ns)
{
	if (now_ns >= child->run.deadline_ns)
		return child->run.deadline_ns + ZYGOTE_LATE_NS;
	return child->run.deadline_ns < child->run.cpu_check_ns ? child->run.deadline_ns
	                                                        : child->run.cpu_check_ns;
}

/* The first child with which something has to be done now, done; false: there is none. */
static bool
settle_one(struct runner *runner, uint64_t now_ns)
{
	for (struct child *child = runner->children; child; child = child->next) {
		if (child->state != CHILD_RUNNING && child->is_orphan) {
			pool_drop_child(runner, child);
			return true;
		}
		if (child->state != CHILD_RUNNING)
			continue;
		check_time(child, now_ns);
		if (child->run.verdict || child->is_orphan) {
			settle_by_verdict(runner, child);
			return true;
		}
		pool_wake_at(runner, next_due(child, now_ns));
	}
	return false;
}

static void
check_zygotes(struct runner *runner, uint64_t now_ns)
{
	struct zygote *next;

	for (struct zygote *zygote = runner->zygotes; zygote; zygote = next) {
		next = zygote->next;
		if (zygote->state == ZYGOTE_RETIRING && zygote->children == 0)
			pool_lose_zygote(runner, zygote);
		else if (zygote->state == ZYGOTE_STARTING && now_ns >= zygote->started_ns + ZYGOTE_START_NS)
			pool_lose_zygote(runner, zygote);
		else if (zygote->state == ZYGOTE_STARTING)
			pool_wake_at(runner, zygote->started_ns + ZYGOTE_START_NS);
	}
	if (runner->respawn_ns <= now_ns && !runner->is_stopping)
		pool_start_zygote(runner);
	else if (runner->respawn_ns != RUNNER_NEVER)
		pool_wake_at(runner, runner->respawn_ns);
}

static void
on_time(struct runner *runner)
{
	uint64_t now_ns = clock_mono_ns(clock_system());

	runner->timer_ns = RUNNER_NEVER;
	while (settle_one(runner, now_ns))
		continue;
	check_zygotes(runner, now_ns);
	pool_tend(runner);
}

/* ---------------------------------------------------------------- the loop */

static void
on_event(struct runner *runner, const struct epoll_event *event)
{
	uint64_t id = event->data.u64 >> RUNNER_SOURCE_BITS, count;
	enum runner_source source = event->data.u64 & ((1u << RUNNER_SOURCE_BITS) - 1);

	if (source == SOURCE_ZYGOTE)
		on_zygote(runner, id);
	else if (source == SOURCE_CHILD)
		on_child(runner, id, event->events);
	else if (read(source == SOURCE_TIMER ? runner->timer : runner->wake, &count, sizeof(count)) > 0)
		on_time(runner);
}

static bool
is_over(const struct runner *runner)
{
	return runner->is_stopping && runner->figures.running == 0;
}

void *
loop_run(void *arg)
{
	struct runner *runner = arg;
	struct epoll_event events[EVENTS];

	pthread_mutex_lock(&runner->lock);
	while (!is_over(runner)) {
		pthread_mutex_unlock(&runner->lock);
		int count = epoll_wait(runner->epoll, events, EVENTS, -1);
		pthread_mutex_lock(&runner->lock);
		for (int i = 0; i < count; i++)
			on_event(runner, &events[i]);
	}
	pthread_mutex_unlock(&runner->lock);
	return NULL;
}
