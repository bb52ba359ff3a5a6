/*
 * workers: one lock, one list of work, and threads that run it.
 *
 * Repeated tasks need no thread of their own: an idle worker sleeps until one is due and runs it itself. Two
 * sleep at most, for two tasks, so that one still sleeps while the other runs; the rest wait for work.
 * Whoever stops sleeping to run something sees to it that what is due first has its sleeper. Tasks go before
 * queued work, since they are few and a full queue must not starve them. Times are monotonic.
 */
#include "daemon/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/monotonic.h"
#include "base/random.h"

#define TASKS_MAX    64
#define TAKE_WAIT_MS 2000
#define NEVER        UINT64_MAX
#define SLEEPERS_MAX 2

struct task {
	void (*run)(void *arg, struct store_conn *conn);
	void *arg;
	uint32_t interval_ms;
	uint64_t due_ms;
	bool is_running;
	bool is_awaited; /* a worker sleeps until it is due */
};

struct workers {
	struct log *log;
	struct store *store;
	struct metric_gauge *queued_gauge;
	struct metric_counter *refused;
	pthread_t *threads;
	uint32_t thread_count;
	uint32_t queue_max;
	/* all below: `lock` */
	pthread_mutex_t lock;
	pthread_cond_t wake;  /* those who wait for work */
	pthread_cond_t time;  /* those who sleep until a task is due */
	pthread_cond_t quiet; /* who waits until nothing is queued and nothing runs */
	uint32_t waiting;     /* for `wake` */
	uint32_t sleepers;    /* for `time` */
	struct work *head, **tail;
	uint32_t queued, running;
	struct task tasks[TASKS_MAX];
	uint32_t task_count;
	bool is_draining, is_ending;
};

/* workers_run()'s own piece of work. */
struct job {
	struct work work;
	void (*run)(void *arg, struct store_conn *conn);
	void *arg;
};

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

/* The interval, 10 % more or less. */
static uint64_t
jittered(uint32_t interval_ms)
{
	uint64_t tenth = interval_ms / 10;
	return interval_ms - tenth + (tenth ? random_fast_u64() % (2 * tenth + 1) : 0);
}

/* Of those that somebody sleeps for, or of the others, the task that is due first; NULL: none of them will be
 * before one that runs has ended. */
static struct task *
first_task(struct workers *self, bool is_awaited)
{
	struct task *first = NULL;

	for (uint32_t i = 0; i < self->task_count && !self->is_draining; i++) {
		struct task *task = &self->tasks[i];
		if (!task->is_running && task->is_awaited == is_awaited && (!first || task->due_ms < first->due_ms))
			first = task;
	}
	return first;
}

static uint64_t
due_of(const struct task *task)
{
	return task ? task->due_ms : NEVER;
}

static struct task *
due_task(struct workers *self)
{
	struct task *awaited = first_task(self, true), *other = first_task(self, false);
	struct task *first = due_of(awaited) <= due_of(other) ? awaited : other;

	return due_of(first) <= now_ms() ? first : NULL;
}

static struct status
take_connection(struct workers *self, struct store_conn **conn)
{
	*conn = NULL;
	return self->store ? store_take(self->store, TAKE_WAIT_MS, conn) : status_ok_value();
}

static void
put_connection(struct workers *self, struct store_conn *conn)
{
	if (conn)
		store_put(self->store, conn);
}

/* Wakes somebody for new work. */
static void
wake_one(struct workers *self)
{
	pthread_cond_signal(self->waiting > 0 ? &self->wake : &self->time);
}

static void
wake_all(struct workers *self)
{
	pthread_cond_broadcast(&self->wake);
	pthread_cond_broadcast(&self->time);
}

/* Whether the task of that time comes behind one that somebody sleeps for. */
static bool
is_covered(struct workers *self, uint64_t due_ms)
{
	return due_ms == NEVER || due_of(first_task(self, true)) <= due_ms;
}

/* Before the caller is busy: what is left to do, or to be waited for, is another worker's. */
static void
hand_over(struct workers *self)
{
	if (self->head || !is_covered(self, due_of(first_task(self, false))))
		wake_one(self);
}

/* Runs one task with the lock released, and plans its next turn. */
static void
run_task(struct workers *self, struct task *task)
{
	struct store_conn *conn;

	task->is_running = true;
	hand_over(self);
	pthread_mutex_unlock(&self->lock);
	struct status st = take_connection(self, &conn);
	if (status_ok(&st))
		task->run(task->arg, conn);
	else
		log_debug(self->log, "repeated task skipped", LOG_STATUS(&st));
	put_connection(self, conn);
	pthread_mutex_lock(&self->lock);
	task->is_running = false;
	task->due_ms = now_ms() + jittered(task->interval_ms);
}

/* Runs the first piece of queued work with the lock released. */
static void
run_queued(struct workers *self)
{
	struct work *work = self->head;
	struct store_conn *conn;

	self->head = work->next;
	if (!self->head)
		self->tail = &self->head;
	self->queued--;
	hand_over(self);
	pthread_mutex_unlock(&self->lock);
	gauge_add(self->queued_gauge, -1);
	struct status st = take_connection(self, &conn);
	work->next = NULL;
	work->run(work, conn, &st);
	put_connection(self, conn);
	pthread_mutex_lock(&self->lock);
}

static void
sleep_for(struct workers *self, struct task *task)
{
	struct timespec until = monotonic_at_ms(task->due_ms);

	self->sleepers++;
	task->is_awaited = true;
	pthread_cond_timedwait(&self->time, &self->lock, &until);
	task->is_awaited = false;
	self->sleepers--;
}

static void
wait_for_something(struct workers *self)
{
	struct task *task = first_task(self, false);

	if (task && (self->sleepers < SLEEPERS_MAX || !is_covered(self, task->due_ms))) {
		sleep_for(self, task);
		return;
	}
	self->waiting++;
	pthread_cond_wait(&self->wake, &self->lock);
	self->waiting--;
}

static void *
worker_main(void *arg)
{
	struct workers *self = arg;

	pthread_mutex_lock(&self->lock);
	for (;;) {
		struct task *task = due_task(self);
		if (!task && !self->head) {
			if (self->is_ending)
				break;
			wait_for_something(self);
			continue;
		}
		self->running++;
		if (task)
			run_task(self, task);
		else
			run_queued(self);
		self->running--;
		if (self->running == 0 && !self->head)
			pthread_cond_broadcast(&self->quiet);
	}
	pthread_mutex_unlock(&self->lock);
	return NULL;
}

static void
init_sync(struct workers *self)
{

	pthread_mutex_init(&self->lock, NULL);
	monotonic_cond_init(&self->wake);
	monotonic_cond_init(&self->time);
	monotonic_cond_init(&self->quiet);
}

static void
init_metrics(struct workers *self, const struct workers_options *options)
{
	static const char *const labels[] = {"service", NULL};
	static const struct metric_spec queued = {
	    .name = "corbel_workers_queued", .help = "Work that waits for a worker thread.", .labels = labels};
	static const struct metric_spec refused = {.name = "corbel_workers_refused",
	                                           .help = "Work refused because the queue was full.",
	                                           .labels = labels};

	if (!options->metrics)
		return;
	self->queued_gauge = metrics_gauge(options->metrics, &queued, &options->name);
	self->refused = metrics_counter(options->metrics, &refused, &options->name);
}

struct workers *
workers_new(const struct workers_options *options)
{
	struct workers *self = mem_alloc(sizeof(*self));

	assert(options->threads > 0 && options->queue_max > 0);
	self->log = options->log;
	self->store = options->store;
	self->queue_max = options->queue_max;
	self->tail = &self->head;
	init_sync(self);
	init_metrics(self, options);
	self->threads = mem_array(options->threads, sizeof(*self->threads));
	for (uint32_t i = 0; i < options->threads; i++) {
		char name[16];
		if (pthread_create(&self->threads[i], NULL, worker_main, self) != 0)
			break;
		snprintf(name, sizeof(name), "%.10s-w%u", options->name, i % 100);
		pthread_setname_np(self->threads[i], name);
		self->thread_count++;
	}
	assert(self->thread_count > 0);
	return self;
}

/* Called with the lock held. */
static void
append(struct workers *self, struct work *work)
{
	work->next = NULL;
	*self->tail = work;
	self->tail = &work->next;
	self->queued++;
	gauge_add(self->queued_gauge, 1);
	wake_one(self);
}

bool
workers_submit(struct workers *self, struct work *work)
{
	pthread_mutex_lock(&self->lock);
	bool is_accepted = self->queued < self->queue_max;
	if (is_accepted)
		append(self, work);
	pthread_mutex_unlock(&self->lock);
	if (!is_accepted)
		counter_add(self->refused, 1);
	return is_accepted;
}

void
workers_resubmit(struct workers *self, struct work *work)
{
	pthread_mutex_lock(&self->lock);
	append(self, work);
	pthread_mutex_unlock(&self->lock);
}

static void
run_job(struct work *work, struct store_conn *conn, const struct status *store)
{
	struct job *job = (struct job *)work; /* its first member */

	(void)store;
	job->run(job->arg, conn);
	mem_free(job);
}

bool
workers_run(struct workers *self, void (*run)(void *arg, struct store_conn *conn), void *arg)
{
	struct job *job = mem_alloc(sizeof(*job));

	*job = (struct job){.work.run = run_job, .run = run, .arg = arg};
	pthread_mutex_lock(&self->lock);
	bool is_accepted = !self->is_draining && self->queued < self->queue_max;
	if (is_accepted)
		append(self, &job->work);
	pthread_mutex_unlock(&self->lock);
	if (!is_accepted) {
		counter_add(self->refused, 1);
		mem_free(job);
	}
	return is_accepted;
}

struct status
workers_every(struct workers *self, uint32_t interval_ms, void (*run)(void *arg, struct store_conn *conn),
              void *arg)
{
	struct status st = status_ok_value();

	assert(interval_ms > 0);
	pthread_mutex_lock(&self->lock);
	if (self->task_count == TASKS_MAX)
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "more than %d repeated tasks", TASKS_MAX);
	else
		self->tasks[self->task_count++] = (struct task){
		    .run = run, .arg = arg, .interval_ms = interval_ms, .due_ms = now_ms() + jittered(interval_ms)};
	wake_all(self);
	pthread_mutex_unlock(&self->lock);
	return st;
}

bool
workers_drain(struct workers *self, uint32_t grace_ms)
{
	struct timespec until = monotonic_in_ms(grace_ms);
	int waited = 0;

	pthread_mutex_lock(&self->lock);
	self->is_draining = true;
	while ((self->head || self->running > 0) && waited != ETIMEDOUT)
		waited = pthread_cond_timedwait(&self->quiet, &self->lock, &until);
	bool is_quiet = !self->head && self->running == 0;
	pthread_mutex_unlock(&self->lock);
	return is_quiet;
}

void
workers_end(struct workers *self)
{
	pthread_mutex_lock(&self->lock);
	self->is_draining = self->is_ending = true;
	wake_all(self);
	pthread_mutex_unlock(&self->lock);
	for (uint32_t i = 0; i < self->thread_count; i++)
		pthread_join(self->threads[i], NULL);
	self->thread_count = 0;
}

void
workers_free(struct workers *self)
{
	if (!self)
		return;
	workers_end(self);
	pthread_cond_destroy(&self->wake);
	pthread_cond_destroy(&self->time);
	pthread_cond_destroy(&self->quiet);
	pthread_mutex_destroy(&self->lock);
	mem_free(self->threads);
	mem_free(self);
}
