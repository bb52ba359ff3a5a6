/*
 * decide.lua beside the same decisions in memory: a real Redis, its own clock, no disagreement.
 *
 * CORBEL_MODEL_OPS sets the number of decisions (default 200,000).
 */
#include <check.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "ratelimitd/admission_log.h"
#include "ratelimitd/job.h"
#include "support/test_redis.h"

#define KEYS       24
#define STRATEGIES 8

extern const char ratelimitd_decide_lua[];

static const enum strategy ALL[STRATEGIES] = {
    STRATEGY_FIXED_WINDOW, STRATEGY_SLIDING_LOG, STRATEGY_SLIDING_COUNTER,
    STRATEGY_TOKEN_BUCKET, STRATEGY_LEAKY_METER, STRATEGY_LEAKY_QUEUE,
    STRATEGY_GCRA,         STRATEGY_ADAPTIVE};

/* A key's rule and what memory thinks of it. */
struct twin {
	struct definition definition;
	struct counter counter;
	struct table_key key;
};

static struct redis *
connect_to(struct test_redis *server)
{
	struct redis *redis;
	struct status st =
	    redis_new(&(struct redis_options){.url = server->url, .command_timeout_ms = 60000}, &redis);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	return redis;
}

static void
free_twins(struct twin *twins)
{
	for (size_t i = 0; i < KEYS; i++)
		if (twins[i].definition.rule.strategy == STRATEGY_SLIDING_LOG)
			admission_log_free(twins[i].counter.log.log);
}

static void
make_twins(const struct random *r, struct twin *twins)
{
	static const uint64_t WINDOWS[] = {1000, 5000, 20000, 100000, 86400000000};
	free_twins(twins);
	memset(twins, 0, KEYS * sizeof(*twins));
	for (uint64_t i = 0; i < KEYS; i++) {
		struct rule *rule = &twins[i].definition.rule;
		rule->strategy = ALL[i % STRATEGIES];
		rule->window_us = WINDOWS[random_below(r, 5)];
		bool is_huge = rule->strategy != STRATEGY_SLIDING_LOG && random_below(r, 3) == 0;
		rule->limit = is_huge ? RULE_LIMIT_MAX - random_below(r, 1000) : 1 + random_below(r, 30);
		rule->burst = is_huge ? rule->limit - random_below(r, 1000) : 1 + random_below(r, 30);
		if (rule->strategy == STRATEGY_ADAPTIVE) {
			rule->floor = 1 + random_below(r, rule->limit);
			rule->ceiling = rule->limit; /* what it has recovered to is what it is when it was forgotten */
			rule->backoff_permille = (uint32_t)(100 + random_below(r, 891));
			rule->recover_permille = (uint32_t)(1 + random_below(r, 1000));
			rule->latency_ms = 100;
		}
		twins[i].definition.name = "x";
		twins[i].definition.tenant = "root";
		twins[i].key = (struct table_key){.high = random_u64(r), .low = i};
	}
}

static uint64_t
random_cost(const struct random *r, const struct rule *rule)
{
	uint64_t capacity = rule->strategy >= STRATEGY_TOKEN_BUCKET ? rule->burst : rule->limit;
	switch (random_below(r, 8)) {
	case 0:
		return 0;
	case 1:
		return random_below(r, capacity + 3);
	default:
		return 1 + random_below(r, capacity / 8 + 1);
	}
}

static enum job_kind
random_kind(const struct random *r)
{
	static const enum job_kind RARE[] = {JOB_GIVE_BACK, JOB_GIVE_BACK, JOB_LOOK,
	                                     JOB_RESET,     JOB_REPORT,    JOB_LEASE};
	return random_below(r, 4) == 0 ? RARE[random_below(r, 6)] : JOB_TAKE;
}

static void
make_job(const struct random *r, struct twin *twins, struct job *job, size_t chosen[TABLE_ITEMS_MAX])
{
	memset(job, 0, sizeof(*job));
	job->kind = random_kind(r);
	job->is_throttled = random_below(r, 2) == 0;
	job->latency_ms = (uint32_t)random_below(r, 200);
	job->inquiry.tenant = "root";
	bool is_single = job->kind == JOB_RESET || job->kind == JOB_REPORT || job->kind == JOB_LEASE;
	job->inquiry.count = is_single ? 1 : 1 + random_below(r, 3);
	for (size_t i = 0; i < job->inquiry.count; i++) {
		chosen[i] = random_below(r, KEYS);
		struct twin *twin = &twins[chosen[i]];
		uint64_t cost = random_cost(r, &twin->definition.rule);
		if (job->kind == JOB_LEASE)
			cost = 1 + random_below(r, 40);
		job->inquiry.keys[i] = "k";
		job->inquiry.definitions[i] = &twin->definition;
		job->inquiry.items[i] = (struct table_item){
		    .key = twin->key, .rule = &twin->definition.rule, .cost = job->kind == JOB_LOOK ? 0 : cost};
	}
}

static bool
is_named_before(const size_t chosen[], size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (chosen[i] == chosen[at])
			return true;
	return false;
}

/* One item in memory; whether it admits. */
static bool
apply(const struct job *job, size_t i, struct counter *counter, uint64_t now_us, struct decision *decision)
{
	const struct table_item *item = &job->inquiry.items[i];
	uint64_t granted = 0;

	memset(decision, 0, sizeof(*decision));
	switch (job->kind) {
	case JOB_GIVE_BACK:
		counter_give_back(item->rule, counter, now_us, item->cost);
		return true;
	case JOB_RESET:
		counter_reset(item->rule, counter);
		return true;
	case JOB_REPORT:
		counter_report(item->rule, counter, now_us, job->is_throttled, job->latency_ms);
		return true;
	case JOB_LEASE:
		while (granted < item->cost &&
		       (counter_take(item->rule, counter, now_us, 1, decision), decision->is_allowed))
			granted++;
		ck_assert_uint_eq(job->granted, granted);
		return granted > 0;
	default:
		counter_take(item->rule, counter, now_us, item->cost, decision);
		return decision->is_allowed;
	}
}

/* The same in memory, at the time that the script saw. */
static void
expect(struct twin *twins, const struct job *job, const size_t chosen[], uint64_t now_us)
{
	struct counter before[TABLE_ITEMS_MAX];
	struct decision decisions[TABLE_ITEMS_MAX];
	bool is_allowed = true;

	for (size_t i = 0; i < job->inquiry.count; i++) {
		struct twin *twin = &twins[chosen[i]];
		before[i] = twin->counter;
		is_allowed = apply(job, i, &twin->counter, now_us, &decisions[i]) && is_allowed;
	}
	ck_assert_msg(job->is_allowed == is_allowed, "strategy %d: memory says %d",
	              job->inquiry.items[0].rule->strategy, is_allowed);
	for (size_t i = job->inquiry.count; !is_allowed && job->kind == JOB_TAKE && i-- > 0;) {
		struct twin *twin = &twins[chosen[i]];
		counter_undo(&twin->definition.rule, &twin->counter, &before[i],
		             decisions[i].is_allowed ? job->inquiry.items[i].cost : 0);
	}
	for (size_t i = 0; i < job->inquiry.count; i++) {
		struct twin *twin = &twins[chosen[i]];
		struct decision seen;
		counter_take(&twin->definition.rule, &twin->counter, now_us, 0, &seen);
		ck_assert_msg(seen.remaining == job->inquiry.items[i].decision.remaining,
		              "strategy %d: %llu remain in memory, %llu in Redis", twin->definition.rule.strategy,
		              (unsigned long long)seen.remaining,
		              (unsigned long long)job->inquiry.items[i].decision.remaining);
		ck_assert_uint_eq(seen.quota, job->inquiry.items[i].decision.quota);
		ck_assert_uint_eq(seen.reset_us, job->inquiry.items[i].decision.reset_us);
		/* A key named twice waits for both of its costs. */
		if (!is_allowed && !decisions[i].is_allowed && !is_named_before(chosen, i))
			ck_assert_uint_eq(job->inquiry.items[i].decision.retry_us, decisions[i].retry_us);
	}
}

static void
run_batch(struct redis *redis, const struct random *r, struct twin *twins, struct arena *arena)
{
	static struct job jobs[CODEC_JOBS_MAX];
	static size_t chosen[CODEC_JOBS_MAX][TABLE_ITEMS_MAX];
	struct redis_script script = {.name = "decide", .source = ratelimitd_decide_lua};
	struct codec *codec = codec_new(arena);
	size_t count = 1 + random_below(r, CODEC_JOBS_MAX), keys;
	struct redis_conn *conn;
	struct redis_reply reply;
	uint64_t now_us;

	for (size_t i = 0; i < count; i++) {
		make_job(r, twins, &jobs[i], chosen[i]);
		jobs[i].next = i + 1 < count ? &jobs[i + 1] : NULL;
	}
	codec_add(codec, jobs);
	struct status st = redis_take(redis, 2000, &conn);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	const struct redis_arg *key_list = codec_keys(codec, &keys);
	const struct redis_arg arg = codec_arg(codec);
	st = redis_eval(conn, &script, key_list, keys, &arg, 1, arena, &reply);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_msg(reply.type == REDIS_TEXT && reply.size >= sizeof(now_us), "%s", reply.text);
	memcpy(&now_us, reply.text, sizeof(now_us));
	now_us = le64toh(now_us);
	ck_assert(codec_read(codec, &reply));
	redis_put(redis, conn);
	/* Jobs that want the same of one counter are decided together, in the place of the first. */
	for (size_t i = 0; i < count; i++)
		for (const struct job *job = jobs[i].is_counted ? &jobs[i] : NULL; job; job = job->twin)
			expect(twins, job, chosen[job - jobs], now_us);
}

START_TEST(redis_and_memory_never_disagree)
{
	const char *wanted = getenv("CORBEL_MODEL_OPS");
	size_t left = wanted ? (size_t)strtoull(wanted, NULL, 10) : 200000;
	struct test_redis *server = test_redis_start(NULL);
	struct redis *redis = connect_to(server);
	struct seeded_random seeded;
	static struct twin twins[KEYS];
	struct arena arena;

	arena_init(&arena, 1u << 20, SIZE_MAX);
	seeded_random_init(&seeded, 7);
	for (size_t batch = 0; left > CODEC_JOBS_MAX; batch++, left -= CODEC_JOBS_MAX / 2) {
		if (batch % 200 == 0)
			make_twins(&seeded.random, twins);
		arena_reset(&arena);
		run_batch(redis, &seeded.random, twins, &arena);
	}
	free_twins(twins);
	arena_fini(&arena);
	redis_free(redis);
	test_redis_stop(server);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("decisions in Redis");
	TCase *tests = tcase_create("agreement");
	tcase_set_timeout(tests, getenv("CORBEL_MODEL_OPS") ? 7200 : 280);
	tcase_add_test(tests, redis_and_memory_never_disagree);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
