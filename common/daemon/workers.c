/*
 * workers: one lock, one list, one condition for the threads and one for whoever waits for silence.
 *
 * Repeated tasks need no thread of their own: an idle worker sleeps until the earliest is due and runs
 * it itself. They go before queued work, since they are few and a full queue must not starve them.
 * Times are monotonic.
 */
#include "daemon/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/random.h"

#define TASKS_MAX    64
#define TAKE_WAIT_MS 2000
#define NEVER        UINT64_MAX
#define LOOK_MS      250 /* a sleeper looks for due tasks this often: the one who knew may be busy */

struct task {
	void (*run)(void *arg, struct store_conn *conn);
	void *arg;
	uint32_t interval_ms;
	uint64_t due_ms;
	bool is_running;
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
	pthread_cond_t wake;  /* something to do */
	pthread_cond_t quiet; /* nothing queued, nothing running */
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

static struct timespec
as_timespec(uint64_t ms)
{
	return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

/* The task that is due, or NULL; *next_ms is when to look again. Called with the lock held. */
static struct task *
task_due(struct workers *self, uint64_t *next_ms)
{
	uint64_t now = now_ms();

	*next_ms = NEVER;
	if (self->is_draining)
		return NULL;
	for (uint32_t i = 0; i < self->task_count; i++) {
		struct task *task = &self->tasks[i];
		if (!task->is_running && task->due_ms <= now)
			return task;
		uint64_t look_ms = task->is_running || task->due_ms > now + LOOK_MS ? now + LOOK_MS : task->due_ms;
		if (look_ms < *next_ms)
			*next_ms = look_ms;
	}
	return NULL;
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

/* Runs one task with the lock released, and plans its next turn. */
static void
run_task(struct workers *self, struct task *task)
{
	struct store_conn *conn;

	task->is_running = true;
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
	pthread_mutex_unlock(&self->lock);
	gauge_add(self->queued_gauge, -1);
	struct status st = take_connection(self, &conn);
	work->next = NULL;
	work->run(work, conn, &st);
	put_connection(self, conn);
	pthread_mutex_lock(&self->lock);
}

static void
wait_until(struct workers *self, uint64_t due_ms)
{
	if (due_ms == NEVER) {
		pthread_cond_wait(&self->wake, &self->lock);
		return;
	}
	struct timespec at = as_timespec(due_ms);
	pthread_cond_timedwait(&self->wake, &self->lock, &at);
}

static void *
worker_main(void *arg)
{
	struct workers *self = arg;

	pthread_mutex_lock(&self->lock);
	for (;;) {
		uint64_t next_ms;
		struct task *task = task_due(self, &next_ms);
		if (!task && !self->head) {
			if (self->is_ending)
				break;
			wait_until(self, next_ms);
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
	pthread_condattr_t attr;

	pthread_mutex_init(&self->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&self->wake, &attr);
	pthread_cond_init(&self->quiet, &attr);
	pthread_condattr_destroy(&attr);
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
	pthread_cond_signal(&self->wake);
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
	pthread_cond_broadcast(&self->wake);
	pthread_mutex_unlock(&self->lock);
	return st;
}

bool
workers_drain(struct workers *self, uint32_t grace_ms)
{
	struct timespec until = as_timespec(now_ms() + grace_ms);
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
	pthread_cond_broadcast(&self->wake);
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
	pthread_cond_destroy(&self->quiet);
	pthread_mutex_destroy(&self->lock);
	mem_free(self->threads);
	mem_free(self);
}
