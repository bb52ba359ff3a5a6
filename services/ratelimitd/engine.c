/*
 * engine: the thread that decides in Redis.
 *
 * It takes whatever has been queued since its last turn, up to 128 jobs, and decides all of them in one
 * round trip: the busier it is, the larger the batches.
 *
 * A round trip that takes longer than option ratelimitd.redis_patience opens the breaker; while it is open
 * jobs are decided by each limit's failure mode, at once. What Redis was sent by then it may still count:
 * that admits too little, never too much.
 */
#include <string.h>

#include "denials.h"
#include "job.h"

#define QUEUE_MAX   8192u
#define ARENA_BLOCK (256u << 10)

extern const char ratelimitd_decide_lua[];

struct shared_engine {
	struct ratelimitd *self;
	struct redis_script script;
	uint32_t patience_ms;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *first, **last; /* guarded by `lock`, as are count and is_stopping */
	size_t count;
	bool is_stopping;
	pthread_t thread;
	struct denials *denials;
	struct metric_counter *remembered;
	bool is_degraded; /* the engine's thread only: whether it was told */
};

/* Up to 128 jobs; NULL at the end. */
static struct job *
take_jobs(struct shared_engine *engine)
{
	pthread_mutex_lock(&engine->lock);
	while (!engine->first && !engine->is_stopping)
		pthread_cond_wait(&engine->wake, &engine->lock);
	struct job *jobs = engine->first, *last = jobs;
	size_t taken = jobs ? 1 : 0;
	while (last && last->next && taken < CODEC_JOBS_MAX) {
		last = last->next;
		taken++;
	}
	if (last) {
		engine->first = last->next;
		last->next = NULL;
		if (!engine->first)
			engine->last = &engine->first;
	}
	engine->count -= taken;
	pthread_mutex_unlock(&engine->lock);
	return jobs;
}

static struct status
decide_in_redis(struct shared_engine *engine, struct job *jobs, struct arena *arena)
{
	struct redis *redis = engine->self->env.redis;
	struct redis_reply reply;
	struct redis_conn *conn;
	size_t key_count;

	struct status st = redis_take_hurried(redis, engine->patience_ms, &conn);
	if (!status_ok(&st))
		return st;
	struct codec *codec = codec_new(arena);
	codec_add(codec, jobs);
	const struct redis_arg *keys = codec_keys(codec, &key_count);
	const struct redis_arg arg = codec_arg(codec);
	st = redis_eval(conn, &engine->script, keys, key_count, &arg, 1, arena, &reply);
	if (status_ok(&st) && reply.type == REDIS_ERROR)
		st = status_make(STATUS_INTERNAL, "Redis refused the script: %.200s", reply.text);
	else if (status_ok(&st) && !codec_read(codec, &reply))
		st = status_make(STATUS_INTERNAL, "Redis gave an answer that is not the script's");
	redis_put(redis, conn);
	return st;
}

/* Told once when it begins and once when it ends. */
static void
note_state(struct shared_engine *engine, const struct status *st)
{
	struct log *log = engine->self->env.log;
	if (!status_ok(st) && !engine->is_degraded)
		log_warn(log, "deciding without Redis", LOG_STATUS(st));
	else if (status_ok(st) && engine->is_degraded)
		log_info(log, "deciding in Redis again");
	engine->is_degraded = !status_ok(st);
}

/* Of jobs that were decided together one is enough: they share a counter. What was given back or reset ends
 * the memory also of what this batch refused. */
static void
learn(struct shared_engine *engine, const struct job *jobs, uint64_t sent_ns)
{
	for (const struct job *job = jobs; job; job = job->next) {
		const struct job *one = job->is_counted && job_is_simple(job) ? job : NULL;
		while (one && one->is_allowed)
			one = one->twin;
		if (one)
			denials_note(engine->denials, one, sent_ns);
	}
	for (const struct job *job = jobs; job; job = job->next)
		if (job->kind == JOB_GIVE_BACK || job->kind == JOB_RESET)
			denials_forget(engine->denials, job);
}

static void
decide(struct shared_engine *engine, struct job *jobs, struct arena *arena)
{
	uint64_t sent_ns = clock_mono_ns(engine->self->env.clock);
	struct status st = decide_in_redis(engine, jobs, arena);

	if (status_ok(&st))
		learn(engine, jobs, sent_ns);
	note_state(engine, &st);
	for (struct job *job = jobs, *next; job; job = next) {
		next = job->next;
		struct status decided = status_ok(&st) ? st : job_decide_degraded(engine->self, job);
		job_answer(engine->self, job, decided);
	}
}

static void *
engine_main(void *arg)
{
	struct shared_engine *engine = arg;
	struct arena arena;
	struct job *jobs;

	arena_init(&arena, ARENA_BLOCK, SIZE_MAX);
	while ((jobs = take_jobs(engine)) != NULL) {
		arena_reset(&arena);
		decide(engine, jobs, &arena);
	}
	arena_fini(&arena);
	return NULL;
}

struct status
shared_engine_new(struct ratelimitd *self, struct shared_engine **out)
{
	struct shared_engine *engine = mem_alloc(sizeof(*engine));

	engine->self = self;
	engine->patience_ms = (uint32_t)config_duration_ms(self->env.config, "ratelimitd.redis_patience");
	engine->script = (struct redis_script){.name = "decide", .source = ratelimitd_decide_lua};
	engine->last = &engine->first;
	engine->denials = denials_new(self->env.clock);
	engine->remembered =
	    metrics_counter(self->env.metrics,
	                    &(struct metric_spec){.name = "corbel_ratelimit_remembered",
	                                          .help = "Refusals that Redis did not have to be asked for"},
	                    NULL);
	pthread_mutex_init(&engine->lock, NULL);
	pthread_cond_init(&engine->wake, NULL);
	if (pthread_create(&engine->thread, NULL, engine_main, engine) != 0) {
		denials_free(engine->denials);
		mem_free(engine);
		return status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the thread that decides in Redis");
	}
	*out = engine;
	return status_ok_value();
}

void
shared_engine_free(struct shared_engine *engine)
{
	if (!engine)
		return;
	pthread_mutex_lock(&engine->lock);
	engine->is_stopping = true;
	pthread_cond_signal(&engine->wake);
	pthread_mutex_unlock(&engine->lock);
	pthread_join(engine->thread, NULL);
	pthread_cond_destroy(&engine->wake);
	pthread_mutex_destroy(&engine->lock);
	denials_free(engine->denials);
	mem_free(engine);
}

/* Answers what is known to be refused; the rest of the list. Before any of it is handed over: the jobs of a
 * bus message share memory. */
static struct job *
answer_known(struct shared_engine *engine, struct job *jobs)
{
	struct job *rest = NULL, **last = &rest;

	for (struct job *job = jobs, *next; job; job = next) {
		next = job->next;
		if (job_is_simple(job) && denials_decide(engine->denials, job)) {
			counter_add(engine->remembered, 1);
			job_answer(engine->self, job, status_ok_value());
			continue;
		}
		*last = job;
		last = &job->next;
	}
	*last = NULL;
	return rest;
}

void
shared_engine_push(struct shared_engine *engine, struct job *jobs)
{
	jobs = answer_known(engine, jobs);
	if (!jobs)
		return;
	struct job *last = jobs;
	size_t count = 1;
	for (; last->next; last = last->next)
		count++;
	pthread_mutex_lock(&engine->lock);
	bool is_full = engine->count + count > QUEUE_MAX;
	if (!is_full) {
		*engine->last = jobs;
		engine->last = &last->next;
		engine->count += count;
		pthread_cond_signal(&engine->wake);
	}
	pthread_mutex_unlock(&engine->lock);
	for (struct job *job = is_full ? jobs : NULL, *next; job; job = next) {
		next = job->next;
		job_answer(engine->self, job,
		           status_make(STATUS_RESOURCE_EXHAUSTED, "too many decisions are waiting for Redis"));
	}
}
