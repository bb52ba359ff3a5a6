/*
 * Redis dies under the load of three replicas, and comes back empty: no caller hears of it, calls take no
 * longer than the patience, and the origin is asked little more often afterwards than before.
 *
 * CORBEL_CACHE_OUTAGE_S sets how long it is away (10).
 *
 * While each replica is alone it asks the origin for itself. Afterwards the copy of one of them is
 * everybody's (fleet_restock.c), and a key is asked for once in its life again: over four lives of a value,
 * from the moment that Redis is there, and in each one once the replicas have noticed that.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "support/test_cached.h"
#include "support/test_process.h"

#define REPLICAS    3u
#define READERS     3u
#define KEYS        2000u
#define BATCH       32u
#define TTL_MS      3000u
#define WARM_MS     5000u
#define WINDOW_MS   12000u /* four lives of a value */
#define NOTICE_S    2u     /* until replicas ask Redis again: its pauses between tries are 0.8 s at most */
#define CALL_MS     20000u
#define PAUSE_NS    2000000
#define LONGEST     20000u /* ms that are told apart */
#define SECONDS_MAX 300u

/* A machine that is busy with other things is no outage of Redis. */
static const char *const PATIENT[] = {"--cached.redis_patience=250ms", "--redis.timeout=1s", NULL};

enum part { WARMING, STEADY, AWAY, BACK, PARTS };

struct load {
	struct test_cached rig;
	_Atomic unsigned part;
	_Atomic bool is_over;
	_Atomic uint64_t origin_calls[PARTS], reads[PARTS], hits[PARTS], failed[PARTS];
	_Atomic uint32_t took_ms[PARTS][LONGEST];
	uint64_t start_ms;
	_Atomic uint32_t by_second[SECONDS_MAX]; /* calls of the origin */
};

static char *
text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

static void
note_failure(struct load *load, unsigned part, const struct status *st)
{
	if (atomic_fetch_add(&load->failed[part], 1) == 0)
		fprintf(stderr, "part %u: %s\n", part, st->message);
}

static void
fill(struct load *load, unsigned replica, char *key, char *lease, struct arena *arena)
{
	Corbel__V1__CacheSetRequest request = CORBEL__V1__CACHE_SET_REQUEST__INIT;
	unsigned part = atomic_load(&load->part);
	ProtobufCMessage *reply;

	uint64_t second = (test_now_ms() - load->start_ms) / 1000;

	atomic_fetch_add(&load->origin_calls[part], 1);
	atomic_fetch_add(&load->by_second[second < SECONDS_MAX ? second : SECONDS_MAX - 1], 1);
	request.namespace_ = text("pages");
	request.key = key;
	request.text = text("a value");
	request.lease = lease;
	request.has_ttl_ms = true;
	request.ttl_ms = TTL_MS;
	struct status st =
	    test_cached_call(&load->rig, replica, CACHE_SET, &request.base, CALL_MS, arena, &reply);
	/* ABORTED: somebody else was faster, which is an answer. */
	if (!status_ok(&st) && st.code != STATUS_ABORTED)
		note_failure(load, part, &st);
}

static void
read_some(struct load *load, struct arena *arena)
{
	Corbel__V1__CacheGetManyRequest request = CORBEL__V1__CACHE_GET_MANY_REQUEST__INIT;
	unsigned part = atomic_load(&load->part), replica = (unsigned)(random_fast_u64() % REPLICAS);
	char *keys[BATCH];
	ProtobufCMessage *message;

	for (unsigned i = 0; i < BATCH; i++)
		keys[i] = arena_printf(arena, "k%u", (unsigned)(random_fast_u64() % KEYS));
	request.namespace_ = text("pages");
	request.keys = keys;
	request.n_keys = BATCH;
	request.has_lease = request.lease = true;
	uint64_t asked_ms = test_now_ms();
	struct status st =
	    test_cached_call(&load->rig, replica, CACHE_GET_MANY, &request.base, CALL_MS, arena, &message);
	uint64_t took_ms = test_now_ms() - asked_ms;
	atomic_fetch_add(&load->took_ms[part][took_ms < LONGEST ? took_ms : LONGEST - 1], 1);
	if (!status_ok(&st)) {
		note_failure(load, part, &st);
		return;
	}
	const Corbel__V1__CacheGetManyReply *reply = (const Corbel__V1__CacheGetManyReply *)message;
	atomic_fetch_add(&load->reads[part], reply->n_entries);
	for (size_t i = 0; i < reply->n_entries; i++) {
		atomic_fetch_add(&load->hits[part], reply->entries[i]->text != NULL);
		if (reply->entries[i]->lease)
			fill(load, replica, keys[i], reply->entries[i]->lease, arena);
	}
}

static void *
read_all(void *arg)
{
	struct load *load = arg;
	struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct arena arena;

	arena_init(&arena, 1 << 18, SIZE_MAX);
	while (!atomic_load(&load->is_over)) {
		arena_reset(&arena);
		read_some(load, &arena);
		nanosleep(&pause, NULL);
	}
	arena_fini(&arena);
	return NULL;
}

static void
play(struct load *load, enum part part, uint64_t ms)
{
	atomic_store(&load->part, part);
	for (uint64_t end = test_now_ms() + ms; test_now_ms() < end;)
		test_pause();
}

static unsigned
percentile_ms(const struct load *load, enum part part, unsigned permille)
{
	uint64_t total = 0, seen = 0;
	unsigned ms = 0;

	for (unsigned i = 0; i < LONGEST; i++)
		total += load->took_ms[part][i];
	while (ms + 1 < LONGEST && (seen += load->took_ms[part][ms]) * 1000 < total * permille)
		ms++;
	return ms;
}

static double
origin_rate(const struct load *load, enum part part, uint64_t ms)
{
	return (double)load->origin_calls[part] * 1000 / (double)ms;
}

/* Once in each key's life; a busy machine asks for keys that have ended somewhat later, before or after. */
static double
steady_rate(const struct load *load)
{
	double measured = origin_rate(load, STEADY, WINDOW_MS), once = KEYS * 1000.0 / TTL_MS;
	return measured > once ? measured : once;
}

/* A second, in that one of these lives in which most was asked for. */
static double
worst_life_rate(const struct load *load, unsigned from_s, unsigned to_s)
{
	const unsigned life_s = TTL_MS / 1000;
	double worst = 0;

	for (unsigned at = from_s; at + life_s <= to_s && at + life_s <= SECONDS_MAX; at++) {
		double calls = 0;
		for (unsigned i = 0; i < life_s; i++)
			calls += load->by_second[at + i];
		worst = calls > worst ? calls : worst;
	}
	return worst / life_s;
}

static void
tell(const struct load *load, const char *name, enum part part, uint64_t ms)
{
	fprintf(stderr,
	        "%s: %lu reads, %.1f%% hits, %.0f calls of the origin a second, p50 %u ms, p99 %u ms, longest %u "
	        "ms, %lu "
	        "failed\n",
	        name, (unsigned long)load->reads[part],
	        100.0 * (double)load->hits[part] / (double)(load->reads[part] ? load->reads[part] : 1),
	        origin_rate(load, part, ms), percentile_ms(load, part, 500), percentile_ms(load, part, 990),
	        percentile_ms(load, part, 1000), (unsigned long)load->failed[part]);
}

START_TEST(redis_that_dies_under_load_and_comes_back_costs_no_error_and_no_stampede)
{
	static struct load load;
	const char *seconds = getenv("CORBEL_CACHE_OUTAGE_S");
	uint64_t away_ms = (seconds ? strtoull(seconds, NULL, 10) : 10) * 1000;
	pthread_t readers[READERS];

	test_cached_start(&load.rig, &(struct test_cached_options){
	                                 .replicas = REPLICAS, .has_redis = true, .options = PATIENT});
	load.start_ms = test_now_ms();
	for (unsigned i = 0; i < READERS; i++)
		pthread_create(&readers[i], NULL, read_all, &load);
	play(&load, WARMING, WARM_MS);
	play(&load, STEADY, WINDOW_MS);
	test_redis_kill(load.rig.redis);
	play(&load, AWAY, away_ms);
	uint64_t back_ms = test_now_ms();
	test_redis_restart(load.rig.redis);
	play(&load, BACK, WINDOW_MS);
	atomic_store(&load.is_over, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	tell(&load, "before", STEADY, WINDOW_MS);
	tell(&load, "without Redis", AWAY, away_ms);
	tell(&load, "after", BACK, WINDOW_MS);
	for (unsigned part = 0; part < PARTS; part++)
		ck_assert_uint_eq(load.failed[part], 0);
	ck_assert_uint_lt(percentile_ms(&load, AWAY, 1000), 5000);
	ck_assert_double_le(origin_rate(&load, BACK, WINDOW_MS), 1.2 * steady_rate(&load));
	unsigned back_s = (unsigned)((back_ms - load.start_ms) / 1000) + NOTICE_S;
	double before = worst_life_rate(&load, WARM_MS / 1000, (WARM_MS + WINDOW_MS) / 1000);
	double after = worst_life_rate(&load, back_s, back_s + WINDOW_MS / 1000 - NOTICE_S);
	double once = KEYS * 1000.0 / TTL_MS;
	fprintf(stderr, "in the worst life of a value: %.0f before, %.0f after\n", before, after);
	ck_assert_double_le(after, 1.2 * (before > once ? before : once));
	test_cached_stop(&load.rig);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache outage");
	TCase *tests = tcase_create("outage");

	tcase_set_timeout(tests, 300);
	tcase_add_test(tests, redis_that_dies_under_load_and_comes_back_costs_no_error_and_no_stampede);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
